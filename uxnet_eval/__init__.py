"""Data, planning, search, export and the command line around the search space and its strategy."""
