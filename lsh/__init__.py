"""Locality-sensitive hash families and the hash functions that everything stands on."""

from .family import HashFamily, family_from_config

__all__ = ["HashFamily", "family_from_config"]
