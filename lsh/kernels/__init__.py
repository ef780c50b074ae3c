"""Numba kernels of hashing and of the hash families; ``kernels/x.py`` has its CUDA twin in ``gpu/x.py``.

The arguments of every kernel come in one order: arrays that it reads, parameters, the range [start, stop) of
its work, and arrays that it writes. An array that a kernel changes in place is one that it writes.
"""
