"""The kernels for arrays in main memory, under the names that every backend shares."""

from .minhash_bins import minhash_fast_similarity, minhash_one_permutation
from .minhash_kernels import concatenate_codes, count_equal, minhash_permutations

__all__ = [
    "concatenate_codes",
    "count_equal",
    "minhash_fast_similarity",
    "minhash_one_permutation",
    "minhash_permutations",
]
