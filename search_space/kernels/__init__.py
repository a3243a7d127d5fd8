"""Fast kernels behind the operations: the same functions as PyTorch's, tested against them."""
