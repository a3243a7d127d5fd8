"""Training of a fixed network from scratch: a genotype, a preset, or a baseline from MONAI.

- ``preparation``: checks the configuration and builds the network.
- ``data``, ``module``, ``weight_average``: batches, the steps, the averaged weights.
- ``reporting``, ``run``: reports, and the run from start to result.
- ``scoring``: the scores of the validation cases.
"""
