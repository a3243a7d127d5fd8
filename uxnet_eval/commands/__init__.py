"""The commands of ``uxnet``, by what they work on. Each imports its modules when it runs."""
