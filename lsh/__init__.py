"""Locality-sensitive hash families and the hash functions that everything stands on."""

from .family import HashFamily, family_from_config
from .minhash import MinHash

__all__ = ["HashFamily", "MinHash", "family_from_config"]
