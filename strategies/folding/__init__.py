"""Computes linear candidates as one convolution with the sum of their kernels."""
