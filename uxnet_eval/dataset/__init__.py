"""Data sets on disk: reading, checking, folds, and generated ones."""
