"""The commands of ``uxnet``: one file for each, of its name. Each imports its modules when it runs."""
