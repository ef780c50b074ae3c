"""Mixing of 64-bit words, in Python's own integers."""

from __future__ import annotations


def mix13(z: int) -> int:
    """Return SplitMix64's finaliser of a 64-bit word (Steele, Lea and Flood 2014; Stafford's variant 13)."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def concatenate(values: list[int], key: int, n_buckets: int) -> int:
    """Mix the `power` values of one hash function to its code."""
    z = key
    for value in values:
        z = mix13(z ^ value)
    return (z >> 32) * n_buckets >> 32
