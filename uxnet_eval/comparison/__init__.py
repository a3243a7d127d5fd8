"""Finished trainings side by side, and the choice of genotypes to train.

- ``trainings``: finds trainings in folders and NNI experiments, and names those that are not
  finished.
- ``labels``: what a network is called in a table.
- ``table``, ``significance``: a row for each network over folds and seeds, and the paired test
  against the first row.
- ``writing``, ``picture``: Markdown, CSV, JSON and one picture.
- ``derivation``: the different genotypes that searches give at several thresholds.
"""
