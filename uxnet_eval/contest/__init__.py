"""Nested cross-validation of a search and its controls, in the same steps for each contender."""
