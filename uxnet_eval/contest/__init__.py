"""Nested cross-validation of a search and its controls: every contender proposes, chooses and trains alike."""
