"""Numba kernels of hashing and of the hash families; ``kernels/x.py`` has its CUDA twin in ``gpu/x.py``."""
