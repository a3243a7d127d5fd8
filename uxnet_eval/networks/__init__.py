"""Networks from architectures: building, width, cost, baselines and checkpoints."""
