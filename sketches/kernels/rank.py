"""The kernels that rank candidates, in one module because their twin is one: vectors, bits and sets."""

from .rank_sets import order_sets, rank_bits, rank_sets, rank_weights
from .rank_vectors import rank_vectors

__all__ = ["order_sets", "rank_bits", "rank_sets", "rank_vectors", "rank_weights"]
