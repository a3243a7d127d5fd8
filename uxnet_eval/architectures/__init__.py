"""Which network to train: genotypes, presets, baselines and the controls of a search."""
