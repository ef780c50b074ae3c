"""Numba kernels of hashing and of the hash families; ``kernels/x.py`` has its CUDA twin in ``gpu/x.py``."""

from . import cache as _cache  # noqa: F401 - before all that compiles kernels
