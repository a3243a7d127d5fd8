"""Search strategies for the space: sigmoid gates, sparsity, pruning and the differentiable search."""
