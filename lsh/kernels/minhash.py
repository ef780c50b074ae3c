"""The kernels of MinHash, in one module because their twin is one: those of each scheme and of all."""

from .minhash_bins import minhash_fast_similarity, minhash_one_permutation
from .minhash_counts import concatenate_codes, count_equal
from .minhash_permutations import minhash_permutations
from .minhash_stream import compare_bins, densify_signatures, throw_tokens

__all__ = [
    "compare_bins",
    "concatenate_codes",
    "count_equal",
    "densify_signatures",
    "minhash_fast_similarity",
    "minhash_one_permutation",
    "minhash_permutations",
    "throw_tokens",
]
