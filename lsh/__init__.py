"""Locality-sensitive hash families and the hash functions that everything stands on."""

from .cross_polytope import CrossPolytope
from .family import HashFamily, family_from_config
from .hashing import hash_keys
from .minhash import MinHash
from .pstable import PStable
from .srp import SignedRandomProjection
from .text import Shingles, shingle

__all__ = [
    "CrossPolytope",
    "HashFamily",
    "MinHash",
    "PStable",
    "Shingles",
    "SignedRandomProjection",
    "family_from_config",
    "hash_keys",
    "shingle",
]
