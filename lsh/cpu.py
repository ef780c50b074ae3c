"""The kernels for arrays in main memory, under the names that every backend shares."""

from .text_kernels import shingle_documents
from .xxh3 import hash_fixed, hash_slices, hash_u64

__all__ = ["hash_fixed", "hash_slices", "hash_u64", "shingle_documents"]
