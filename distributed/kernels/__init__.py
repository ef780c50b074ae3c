"""Numba kernels of what runs over ranks."""
