"""The kernels for arrays in main memory, under the names that every backend shares."""

from .banding_kernels import band_keys, bucket_pairs, sorted_overlap
from .counting_kernels import (
    count_min_add,
    count_min_add_conservative,
    count_min_query,
    count_sketch_add,
    count_sketch_query,
    find_frequent,
)
from .minhash_bins import minhash_fast_similarity, minhash_one_permutation
from .minhash_kernels import concatenate_codes, count_equal, minhash_permutations
from .scatter import gather_counts, scatter_add
from .text_kernels import shingle_documents
from .xxh3 import hash_fixed, hash_slices, hash_u64

__all__ = [
    "band_keys",
    "bucket_pairs",
    "concatenate_codes",
    "count_equal",
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
    "minhash_fast_similarity",
    "minhash_one_permutation",
    "minhash_permutations",
    "scatter_add",
    "shingle_documents",
    "sorted_overlap",
]
