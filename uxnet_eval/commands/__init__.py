"""The commands of ``uxnet``, one file for each.

A command imports what it needs when it runs.
"""
