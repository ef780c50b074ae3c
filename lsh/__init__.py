"""Locality-sensitive hash families and the hash functions that everything stands on."""

from . import kernel_cache as _kernel_cache  # noqa: F401 - before all that compiles kernels
from .bbit_minhash import BBitMinHash
from .bit_sampling import BitSampling
from .cross_polytope import CrossPolytope
from .family import HashFamily, family_from_config
from .hashing import hash_keys
from .inner_product import InnerProduct
from .minhash import MinHash
from .pstable import PStable
from .srp import SignedRandomProjection
from .text import Shingles, shingle
from .weighted_minhash import WeightedMinHash
from .winner_take_all import WinnerTakeAll

__all__ = [
    "BBitMinHash",
    "BitSampling",
    "CrossPolytope",
    "HashFamily",
    "InnerProduct",
    "MinHash",
    "PStable",
    "Shingles",
    "SignedRandomProjection",
    "WeightedMinHash",
    "WinnerTakeAll",
    "family_from_config",
    "hash_keys",
    "shingle",
]
