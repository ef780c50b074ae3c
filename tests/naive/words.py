"""Mixing of 64-bit words."""

from __future__ import annotations

__all__ = ["mix64"]

_WORDS = 1 << 64


def mix64(z: int) -> int:
    """Return Stafford's mix 13 of a word, the finaliser of SplitMix64."""
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % _WORDS
    z = (z ^ z >> 27) * 0x94D049BB133111EB % _WORDS
    return z ^ z >> 31
