"""Locality-sensitive hash families, and the hash functions of keys and texts."""

from .families.bbit_minhash import BBitMinHash
from .families.bit_sampling import BitSampling
from .families.cross_polytope import CrossPolytope
from .families.inner_product import InnerProduct
from .families.learned_projection import LearnedProjection
from .families.minhash import MinHash
from .families.pstable import PStable
from .families.srp import SignedRandomProjection
from .families.weighted_minhash import WeightedMinHash
from .families.winner_take_all import WinnerTakeAll
from .family import HashFamily, family_from_config
from .hashing.keys import hash_keys
from .hashing.text import Shingles, shingle
from .support.public import publish

__all__ = [
    "BBitMinHash",
    "BitSampling",
    "CrossPolytope",
    "HashFamily",
    "InnerProduct",
    "LearnedProjection",
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

publish("mergesketch.lsh", __all__, globals())
