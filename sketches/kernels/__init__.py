"""Numba kernels of the sketches; ``kernels/x.py`` has its CUDA twin in ``gpu/x.py``."""
