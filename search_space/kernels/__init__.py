"""Fast kernels for the operations: the same functions as PyTorch's, and tested against them."""
