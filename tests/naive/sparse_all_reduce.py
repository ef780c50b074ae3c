"""The sum of sparse vectors, the owners of ids, and their codes, one id after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .words import mix13


def owner(number: int, n_ranks: int) -> int:
    """Return the rank that owns an id: the ranks take turns, and each group begins with a random one."""
    group, place = divmod(number, n_ranks)
    return (place + ((mix13(group) >> 32) * n_ranks >> 32)) % n_ranks


def code(ids: Sequence[int], n_ranks: int, first_group: int, n_bitmap: int) -> bytes:
    """Return the bytes of one owner's rising ids: gaps in seven bits a byte, or a longer or equal bitmap."""
    groups = [number // n_ranks for number in ids]
    gaps = bytearray()
    for before, group in zip([first_group - 1, *groups], groups, strict=False):
        gap = group - before - 1
        while gap >= 128:
            gaps.append(gap % 128 + 128)
            gap //= 128
        gaps.append(gap)
    if len(gaps) < n_bitmap:
        return bytes(gaps)
    return sum(1 << (group - first_group) for group in groups).to_bytes(n_bitmap, "little")


def add_up(ids: Sequence[int], values: np.ndarray) -> dict[int, Any]:
    """Return the sum of the values of each id, added in their order."""
    sums: dict[int, Any] = {}
    for number, value in zip(ids, values, strict=True):
        sums[number] = value if number not in sums else sums[number] + value
    return dict(sorted(sums.items()))


def all_reduce(ranks: Sequence[tuple[Sequence[int], np.ndarray]]) -> dict[int, Any]:
    """Return the sum of all ranks' vectors, added in the order of ranks."""
    own = [add_up(ids, values) for ids, values in ranks]
    ids = [number for sums in own for number in sums]
    values = [value for sums in own for value in sums.values()]
    return add_up(ids, np.array(values))
