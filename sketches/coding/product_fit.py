"""Fitting the codebooks of a ProductQuantizer: k-means++, products of smaller codebooks, and Lloyd's steps.

All that ranks exchange are sums of integers, maxima, and a sample of rows which does not depend on how the
rows are divided. So every rank finds the codebooks that one process finds with the rows of all, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import hash_keys
from ...lsh.support.backend import CPU
from ...lsh.support.random import uniform
from ..kernels import product_fit
from .product_rows import FitRows

__all__ = ["ALONE", "Ranks", "fit_codebooks"]

Numbers = NDArray[np.float64]
#: The most rows that centroids are drawn from, and that restarts are compared on.
_SAMPLE = 8192
#: Steps end when they lower the error by less than this part of it.
_LEAST_GAIN = 10_000


class Ranks(Protocol):
    """The collective operations of `mergesketch.distributed.Communicator` that a fit needs."""

    @property
    def rank(self) -> int:
        """The number of this rank."""

    def allreduce(self, array: NDArray[Any], reduction: str) -> None:
        """Combine the arrays of all ranks in place, by "sum" or "max"."""

    def allgather_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the rows of all ranks, in the order of ranks."""


class _Alone:
    """One process."""

    rank = 0

    def allreduce(self, array: NDArray[Any], reduction: str) -> None:
        """Leave the array as it is."""

    def allgather_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the rows."""
        return rows


ALONE: Ranks = _Alone()


@dataclass(frozen=True)
class _Fit:
    """The rows, weights and units that all codebooks of a fit share; rows and weights are at most 1."""

    rows: FitRows
    sample: FitRows
    #: The numbers that weights, weighted rows and weighted squared distances are multiplied by.
    units: Numbers
    seed: int
    n_iterations: int
    ranks: Ranks

    def draw(self, centroids: Numbers, used: NDArray[np.bool_], purpose: str) -> None:
        """Put rows of the sample into the places of centroids that are not used."""
        n_groups, width, n_codes = centroids.shape
        purpose = f"product quantizer: {width} channels, {n_codes} codes, {purpose}"
        draws = uniform(self.seed, purpose, n_groups * n_codes).reshape(n_groups, n_codes)
        given = (*self.sample, draws, used)
        CPU.map_blocks(
            lambda start, stop: product_fit.draw_centroids(*given, start, stop, centroids), n_groups, 1
        )

    def sums(
        self, rows: FitRows, centroids: Numbers
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the weight of each centroid's rows, their weighted sum, and the error of each group."""
        n_groups, width, n_codes = centroids.shape
        masses, errors = np.zeros((n_groups, n_codes), np.int64), np.zeros(n_groups, np.int64)
        sums = np.zeros((n_groups, width, n_codes), np.int64)
        given = (*rows, centroids, self.units)
        CPU.map_blocks(
            lambda start, stop: product_fit.add_lloyd_sums(*given, start, stop, masses, sums, errors),
            n_groups,
            1,
        )
        return masses, sums, errors

    def improve(self, centroids: Numbers, purpose: str, *, whole: bool) -> tuple[Numbers, NDArray[np.int64]]:
        """Return the best centroids of Lloyd's steps on all rows or on the sample, and their errors."""
        rows, best, least = self.rows if whole else self.sample, centroids, np.zeros(0, np.int64)
        for step in range(self.n_iterations + 1):
            masses, sums, errors = self.sums(rows, centroids)
            if whole:
                for array in (masses, sums, errors):
                    self.ranks.allreduce(array, "sum")
            if step == 0:
                least = errors
            else:
                gains, before = np.maximum(least - errors, 0), int(least.sum(dtype=object))
                best = np.where((gains > 0)[:, None, None], centroids, best)
                least = least - gains
                if _LEAST_GAIN * int(gains.sum(dtype=object)) <= before:
                    break
            used = masses > 0
            means = (sums / self.units[1]) / np.where(used, masses / self.units[0], 1.0)[:, None]
            centroids = np.where(used[:, None], means, centroids)
            if 2 * step < self.n_iterations and not used.all():
                self.draw(centroids, used, f"{purpose}, step {step}")
        return best, least

    def restarted(self, n_groups: int, width: int, n_codes: int, n_restarts: int) -> Numbers:
        """Return the best of several k-means++ starts on the sample, group by group."""
        found = []
        for restart in range(n_restarts):
            centroids, purpose = np.zeros((n_groups, width, n_codes)), f"restart {restart}"
            self.draw(centroids, np.zeros((n_groups, n_codes), np.bool_), purpose)
            found.append(self.improve(centroids, purpose, whole=False))
        return _best(found)


def _best(found: list[tuple[Numbers, NDArray[np.int64]]]) -> Numbers:
    """Return the centroids of least error, group by group."""
    best, least = found[0]
    for centroids, errors in found[1:]:
        best = np.where((errors < least)[:, None, None], centroids, best)
        least = np.minimum(errors, least)
    return best


def fit_codebooks(
    rows: FitRows,
    n_groups: int,
    bits: int,
    *,
    seed: int,
    n_iterations: int,
    n_restarts: int,
    ranks: Ranks = ALONE,
) -> Numbers:
    """Return centroids (n_groups, c, 2**bits) of small weighted squared distance from the rows of all ranks.

    Raises
    ------
    ValueError
        On every rank, if there are no rows, or all weights are 0.
    """
    X, row_weights, channel_weights = rows
    n_rows = ranks.allgather_rows(np.array([len(X)], np.int64))
    total = int(n_rows.sum())
    largest = np.array([np.abs(X).max(initial=0.0), row_weights.max(initial=0.0)])
    ranks.allreduce(largest, "max")
    if total == 0:
        raise ValueError("X must have at least one row, got none")
    if largest[1] == 0.0:
        raise ValueError("weights must not all be 0")
    # Powers of two bring rows and weights to at most 1, and change no digit.
    exponent, weight_exponent = (int(e) for e in np.frexp(largest)[1])
    width = X.shape[1] // n_groups
    channels = np.ldexp(channel_weights, -int(np.frexp(width * channel_weights.max())[1]))
    rows = FitRows(np.ldexp(X, -exponent), np.ldexp(row_weights, -weight_exponent), channels)
    # Sums of `total` numbers of at most 1 stay below 2**62, and squared distances are at most 4.
    unit = 2.0 ** (61 - total.bit_length())
    first = int(n_rows[: ranks.rank].sum())
    fit = _Fit(
        rows,
        _sample(rows, first, seed, ranks),
        np.array([unit, unit, unit / 4.0]),
        seed,
        n_iterations,
        ranks,
    )
    centroids = np.zeros(0)
    for coupled, code_bits, parts in _levels(width, bits):
        starts = [fit.restarted(X.shape[1] // coupled, coupled, 1 << code_bits, n_restarts)]
        if parts > 1:
            starts.append(_product(centroids, parts))
        centroids = _best([fit.improve(start, f"start {i}", whole=True) for i, start in enumerate(starts)])
    return np.ldexp(centroids, exponent)


def _sample(rows: FitRows, first: int, seed: int, ranks: Ranks) -> FitRows:
    """Return those rows of all ranks whose numbers have the least hashes, in the order of hashes."""
    numbers = np.arange(first, first + len(rows.X))
    hashes = hash_keys(numbers, seed)
    chosen = np.argsort(hashes, kind="stable")[:_SAMPLE]
    every = ranks.allgather_rows(hashes[chosen])
    order = np.argsort(every, kind="stable")[:_SAMPLE]
    X, weights = (ranks.allgather_rows(array[chosen]) for array in (rows.X, rows.row_weights))
    return FitRows(X[order], weights[order], rows.channel_weights)


def _levels(width: int, bits: int) -> list[tuple[int, int, int]]:
    """Return the widths and bits of groups that are fitted in turn, and how many of the former make one.

    The centroids of a group are at first all combinations of those of its parts, which must have equal
    numbers of channels and of bits.
    """
    levels: list[tuple[int, int, int]] = []
    while (common := math.gcd(width, bits)) > 1:
        parts = next(p for p in range(2, common + 1) if common % p == 0)
        levels.append((width, bits, parts))
        width, bits = width // parts, bits // parts
    return [(width, bits, 1), *reversed(levels)]


def _product(centroids: Numbers, parts: int) -> Numbers:
    """Return all combinations of the centroids of neighbouring groups, `parts` of them at a time."""
    n_groups, width, n_codes = centroids.shape
    joined = np.empty((n_groups // parts, parts * width, n_codes**parts))
    codes = np.arange(n_codes**parts)
    for part in range(parts):
        chosen = centroids[part::parts][:, :, codes // n_codes**part % n_codes]
        joined[:, part * width : (part + 1) * width] = chosen
    return joined
