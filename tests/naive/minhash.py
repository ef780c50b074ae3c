"""MinHash signatures: the least of a set's tokens under random orders."""

from __future__ import annotations

import math
from collections.abc import Iterable

from naive.words import mix13

EMPTY = 2**32 - 1


def _affine(h: int, a: int, b: int) -> int:
    return (a * (h % 2**32) + ((h >> 32) ^ b)) % 2**32


def minhash_permutations(tokens: Iterable[int], key: int, a: list[int], b: list[int]) -> list[int]:
    """Return a signature whose value k is the least of the tokens under the order of hash function k."""
    words = [mix13(token % 2**64 ^ key) for token in tokens]
    if not words:
        return [EMPTY] * len(a)
    return [min(EMPTY - 1, *(_affine(h, *ab) for h in words)) for ab in zip(a, b, strict=True)]


def minhash_one_permutation(
    tokens: Iterable[int], key: int, multiplier: int, walk_key: int, rank_key: int, m: int
) -> list[int]:
    """Return a signature: every bin has the least of its tokens; an empty bin copies a random full one."""
    bins: dict[int, int] = {}
    for token in tokens:
        h = mix13(token % 2**64 ^ key)
        k = (h * multiplier % 2**64 >> 32) * m >> 32
        bins[k] = min(bins.get(k, EMPTY), h % 2**32 >> 1)
    if not bins:
        return [EMPTY] * m
    signature = []
    for k in range(m):
        walk = [(mix13(walk_key ^ k << 32 ^ t) >> 32) * m >> 32 for t in range(1 + math.isqrt(m))]
        rest = sorted(bins, key=lambda full: mix13(rank_key ^ k << 32 ^ full))
        donor = next(d for d in [k, *walk, *rest] if d in bins)
        signature.append(bins[donor])
    return signature


def minhash_fast_similarity(
    tokens: Iterable[int],
    key: int,
    multipliers: list[int],
    a: list[int],
    b: list[int],
    bins: Iterable[int] | None = None,
) -> list[int]:
    """Return a signature: each bin keeps its first token by (round, value); the last round hits every bin.

    If `bins` are given, only their values are returned.
    """
    words = [mix13(token % 2**64 ^ key) for token in tokens]
    m, rounds = len(a), len(multipliers)
    if not words:
        return [EMPTY] * m
    signature = []
    for k in range(m) if bins is None else bins:
        order = []
        for h in words:
            for r, multiplier in enumerate(multipliers):
                if (h * multiplier % 2**64 >> 32) * m >> 32 == k:
                    value = h % 2**32 if r == 0 else EMPTY - h % 2**32
                    order.append((r, value >> (r + 1), 31 - r))
            order.append((rounds, _affine(h, a[k], b[k]) >> rounds, 32 - rounds))
        r, value, bits = min(order)
        signature.append(min((2**r - 1) * 2 ** (32 - r) + value, EMPTY - 1))
        assert value < 2**bits
    return signature


def jaccard(x: Iterable[int], y: Iterable[int]) -> float:
    x, y = set(x), set(y)
    return len(x & y) / len(x | y) if x | y else 1.0
