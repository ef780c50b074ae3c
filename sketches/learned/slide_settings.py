"""The settings of a network of `SlideClassifier`, and how "auto" chooses them."""

from __future__ import annotations

import math
from typing import NamedTuple

from ...lsh.families.srp import SignedRandomProjection
from ...lsh.families.winner_take_all import WinnerTakeAll
from ...lsh.family import HashFamily

__all__ = ["FAMILIES", "NEGATIVES", "SlideSettings", "auto_share", "auto_sparsity", "auto_tables"]

FAMILIES = ("signed_random_projection", "winner_take_all")
NEGATIVES = ("lsh", "uniform", "frequency")
#: Features of a group of winner-take-all hashing. The place of a winner has three bits.
_GROUP, _GROUP_BITS = 8, 3
#: About the number of tables that "auto" chooses, and its bounds: buckets that no table fills take memory.
_TABLES, _MOST_TABLES, _MOST_BITS, _LEAST_GROUPS, _MOST_GROUPS = 64, 256, 18, 2, 6


class SlideSettings(NamedTuple):
    """The settings that determine a network and its training.

    Attributes
    ----------
    n_active : int
        Labels that a row computes beside its targets, or more: all labels.
    table_share : float
        The share of these that come from the tables, for negatives "lsh". The others are random.
    """

    n_features: int
    n_labels: int
    n_hidden: int
    n_active: int
    negatives: str
    family: str
    n_hashes: int
    power: int
    learning_rate: float
    weights: str
    rounding: str
    rebuild_interval: int
    n_ranges: int
    seed: int
    table_share: float = 0.5

    @property
    def is_full(self) -> bool:
        """Tell whether all labels are active."""
        return self.n_active >= self.n_labels

    @property
    def has_tables(self) -> bool:
        """Tell whether active labels come from hash tables."""
        return self.negatives == "lsh" and not self.is_full

    def ranges(self) -> list[tuple[int, int]]:
        """Return the first and the last but one label of each range."""
        n = self.n_ranges
        return [(self.n_labels * i // n, self.n_labels * (i + 1) // n) for i in range(n)]

    def share(self, amount: int, first: int, stop: int) -> int:
        """Return a range's share of a number, rounded so that all shares add up to it."""
        return amount * stop // self.n_labels - amount * first // self.n_labels

    def make_family(self) -> HashFamily:
        """Return the family of the tables of all ranges: the activations of a row are hashed once."""
        n, seed = self.n_hashes, self.seed
        if self.family == "winner_take_all":
            return WinnerTakeAll(self.n_hidden, n, group_size=_GROUP, power=self.power, seed=seed)
        # Bits of the Hadamard projection take less than half of the time here.
        return SignedRandomProjection(self.n_hidden, n, power=self.power, projection="hadamard", seed=seed)


def auto_sparsity(n_labels: int) -> float:
    """Return the share of the labels that are active in a row: all of few, and about 256 of many."""
    return 1.0 if n_labels <= 512 else 256.0 / n_labels


def auto_share(n_labels: int) -> float:
    """Return the share of the active labels that come from the tables.

    Labels from the tables differ from row to row, and so each takes the time of about ten random ones, which
    all rows share. On 100,000 labels a step of 32 is as good as one of 128. On 7,000 labels it is not.
    """
    return 0.5 if n_labels <= 1 << 15 else 0.125


def auto_tables(sparsity: float, family: str) -> tuple[int, int]:
    """Return the number of tables and the power of a hash, by the rule of BOLT with half of its tables.

    A table has 2^p buckets, p = log2(64 / sparsity), and there are sparsity 2^p tables, about 64. If buckets
    are equally full, the buckets of a row have a share `sparsity` of all labels. BOLT has 128 in place of 64,
    and then hashing takes twice as long.
    """
    bits = math.log2(_TABLES / sparsity)
    if family == "winner_take_all":
        power = min(max(round(bits / _GROUP_BITS), _LEAST_GROUPS), _MOST_GROUPS)
        n_buckets = 2.0 ** (_GROUP_BITS * power)
    else:
        power = min(round(bits), _MOST_BITS)
        n_buckets = 2.0**power
    return max(1, min(_MOST_TABLES, round(sparsity * n_buckets))), power
