"""The kernels for arrays in main memory, under the names that every backend shares."""

from .minhash_bins import minhash_fast_similarity, minhash_one_permutation
from .minhash_kernels import concatenate_codes, count_equal, minhash_permutations
from .text_kernels import shingle_documents
from .xxh3 import hash_fixed, hash_slices, hash_u64

__all__ = [
    "concatenate_codes",
    "count_equal",
    "hash_fixed",
    "hash_slices",
    "hash_u64",
    "minhash_fast_similarity",
    "minhash_one_permutation",
    "minhash_permutations",
    "shingle_documents",
]
