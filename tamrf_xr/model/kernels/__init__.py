"""Kernels in Triton of what PyTorch does in several passes; each in a file, on plain tensors."""
