"""The kernels for arrays in main memory, under the names that every backend shares."""

from .counting_kernels import (
    count_min_add,
    count_min_add_conservative,
    count_min_query,
    count_sketch_add,
    count_sketch_query,
    find_frequent,
)
from .scatter import gather_counts, scatter_add
from .text_kernels import shingle_documents
from .xxh3 import hash_fixed, hash_slices, hash_u64

__all__ = [
    "count_min_add",
    "count_min_add_conservative",
    "count_min_query",
    "count_sketch_add",
    "count_sketch_query",
    "find_frequent",
    "gather_counts",
    "hash_fixed",
    "hash_slices",
    "hash_u64",
    "scatter_add",
    "shingle_documents",
]
