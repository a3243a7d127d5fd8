"""Training of a fixed network from scratch: a genotype, a preset, or a baseline from MONAI.

- ``config``: what ``X.train.run.yml`` says.
- ``architecture``, ``controls``, ``networks``, ``baselines``, ``deep_supervision``: from a name or a file to a network.
- ``cost``, ``width``: parameters and multiply-adds, and the width that fits a budget of either.
- ``folds``, ``data``: which cases are learned from and which are validated on.
- ``preparation``, ``module``, ``weight_average``, ``epochs``, ``reporting``, ``train``: the training itself.
- ``checkpoint``, ``scoring``: the trained network as one file, and the scores of its validation cases.
"""
