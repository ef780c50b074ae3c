"""Families whose hashes are several elementary ones each: their numbers, and which codes they have."""

from __future__ import annotations

from typing import Any

from ..family import HashFamily
from ..support.checks import check_int

__all__ = ["ConcatenatedFamily"]


class ConcatenatedFamily(HashFamily):
    """A family whose hashes are `power` elementary ones each, concatenated to codes in [0, n_buckets)."""

    power: int
    #: Whether unlike concatenations have unlike codes. Otherwise they are mixed, and reduced to `n_buckets`.
    _code_is_exact: bool

    @property
    def n_values(self) -> int:
        """Number of elementary hashes of a row: ``n_hashes * power``."""
        return self.n_hashes * self.power

    def _set_hashes(self, n_hashes: Any, power: Any, most_power: int, most_values: int) -> None:
        """Check and set the numbers of hashes and of elementary hashes in each."""
        self.n_hashes = check_int("n_hashes", n_hashes, 1)
        self.power = check_int("power", power, 1, most_power)
        if self.n_values > most_values:
            raise ValueError(f"n_hashes * power must be at most {most_values}, got {self.n_values}")

    def _set_codes(self, n_buckets: Any, n_concatenations: int | None, seed: Any) -> None:
        """Check and set the number of codes and the seed. None stands for concatenations without an end."""
        self.n_buckets = check_int("n_buckets", n_buckets, 2, 2**32)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self._code_is_exact = self.n_buckets == n_concatenations
        self.chance_collision = 0.0 if self._code_is_exact else 1.0 / self.n_buckets
