"""Winner-take-all codes, and the share of groups on whose winner two rows agree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from fractions import Fraction

from naive.words import concatenate, mix13


def winner(row: list[float], group: Iterable[int]) -> int | None:
    """Return the place in the group of the first of its largest numbers; zeros count as absent."""
    present = [(-row[feature], place) for place, feature in enumerate(group) if row[feature] != 0]
    return min(present)[1] if present else None


def winner_codes(
    row: list[float],
    permutations: list[list[int]],
    power: int,
    group_size: int,
    donor_keys: list[list[int]],
    keys: list[int] | None,
    n_hashes: int,
    n_buckets: int,
) -> list[int]:
    """Return the codes of a row: its winners' places as digits or, with keys, its winning features mixed."""
    d, rounds = len(row), len(permutations) // power
    codes = []
    for h in range(n_hashes):
        places, features = [], []
        for part in range(power):
            number = part * rounds + h // (d // group_size)
            order = permutations[number]
            bins = [order[i : i + group_size] for i in range(0, d, group_size)]
            full = [b for b, group in enumerate(bins) if winner(row, group) is not None]
            if not full:
                places.append(0)
                features.append(d)
                continue
            own = h % (d // group_size)
            walk, rank = donor_keys[0][number], donor_keys[1][number]
            attempts = 1 + math.isqrt(len(bins)) // 4
            tried = [(mix13(walk ^ own << 32 ^ t) >> 32) * len(bins) >> 32 for t in range(attempts)]
            ranked = sorted(full, key=lambda b: (mix13(rank ^ own << 32 ^ b) >> 31, b))
            donor = next(b for b in [own, *tried, *ranked] if b in full)
            place = winner(row, bins[donor])
            assert place is not None
            features.append(bins[donor][place])
            if donor != own:
                place += (mix13(walk ^ own << 32 ^ donor ^ 1 << 63) >> 32) * group_size >> 32
            places.append(place % group_size)
        if keys is None:
            codes.append(sum(place * group_size ** (power - 1 - k) for k, place in enumerate(places)))
        else:
            codes.append(concatenate(features, keys[h], n_buckets))
    return codes


def winner_agreement(x: list[float], y: list[float], group_size: int, *, by_place: bool) -> float:
    """Return the share of ordered groups with one winner in x and y, among those not empty in both.

    A group that is not empty counts by 1 over the expected number of such groups, among the disjoint groups
    that the features form.
    """
    agree = either = Fraction(0)
    d = len(x)
    union = {f for f in range(d) if x[f] or y[f]}
    for group in itertools.permutations(range(d), group_size):
        a, b = winner(x, group), winner(y, group)
        if a is None and b is None:
            continue
        held = len(union.intersection(group))
        others = list(itertools.combinations(range(d - group_size), group_size))
        left = set(range(len(union) - held))
        empty = sum(left.isdisjoint(other) for other in others)
        touched = Fraction(len(others) - empty, len(others)) if others else Fraction(bool(left))
        weight = 1 / (1 + Fraction(d - group_size, group_size) * touched)
        either += weight
        if a is not None and b is not None:
            agree += weight * (a == b)
        elif by_place:
            agree += weight * Fraction(1, group_size)
    return float(agree / either) if either else 1.0
