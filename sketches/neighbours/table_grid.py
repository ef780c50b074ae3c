"""The tables of an index that `suggest` compares: their recall, cost and memory."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bucket_loads import LARGEST_CAPACITY, NODES, WEIGHTS, expected_held, expected_lost, least_capacity
from .crowding import MOST_POWER, Crowd, TableModel

__all__ = ["TableGrid", "Tables", "needs_wide_ids"]

#: Nanoseconds for each bucket and for each id of a query, measured on one AVX-512 core. Only ratios matter.
_NS_BUCKET, _NS_ID = 20.0, 10.0
#: The cost of a byte of memory per row in nanoseconds of a query. It is low, so that memory is used where it
#: makes queries faster.
_NS_BYTE_A_ROW = 1.0
#: Largest number of elementary hashes of an index.
_MOST_VALUES = 1 << 16


def needs_wide_ids(n_rows: int) -> bool:
    """Tell whether the ids of `n_rows` rows need 64 bits."""
    return n_rows > 2**32 - 1


class Tables(NamedTuple):
    """The parameters and predicted properties of an index, as in `Suggestion`."""

    n_hashes: int
    power: int
    width: float | None
    n_buckets: int
    capacity: int
    recall: float
    candidates: float
    overflow: float
    nbytes: int
    nanoseconds: float

    def cost(self, n_rows: int) -> float:
        """Return the time of a query in nanoseconds, with an addition for memory."""
        return self.nanoseconds + self.nbytes / n_rows * _NS_BYTE_A_ROW


class TableGrid:
    """All candidates (power, width, buckets), as arrays of shape (powers, widths, buckets)."""

    def __init__(
        self,
        model: TableModel,
        n_rows: int,
        widths: NDArray[np.float64],
        k_near: NDArray[np.float64],
        crowd: Crowd,
        n_probes: int,
        n_features: int,
        overflow: float,
    ) -> None:
        self.n_rows, self.n_probes = n_rows, n_probes
        largest = max(2, math.ceil(math.log2(n_rows)) + 4)
        exponents = np.arange(max(1, largest - 14), min(largest, 32) + 1)
        powers = np.arange(1, MOST_POWER + 1)
        self.power, self.width, self.n_buckets = np.meshgrid(
            powers, widths, np.int64(1) << exponents, indexing="ij"
        )
        chance = 1.0 / self.n_buckets
        if model.code_is_bits:
            # More buckets than codes are useless. With equally many, the bucket is the code.
            bits = np.int64(1) << self.power
            self.n_buckets = np.minimum(self.n_buckets, bits)
            chance[self.n_buckets == bits] = 0.0
        by_chance = -np.expm1(n_probes * np.log1p(-chance))
        self.meet = k_near[:, :, None] * (1 - by_chance) + by_chance
        share = crowd.mass[..., None] * np.exp(
            np.sqrt(crowd.spread)[..., None] * NODES - crowd.spread[..., None] / 2
        )
        load = n_rows * (share[:, :, None] * (1 - chance[..., None]) + chance[..., None])
        self.capacity = least_capacity(load, overflow)
        self.lost = expected_lost(load, self.capacity[..., None]) @ WEIGHTS
        self.met = n_probes * (expected_held(load, self.capacity[..., None]) @ WEIGHTS)
        slot = 8 if needs_wide_ids(n_rows) else 4
        self.table_bytes = self.n_buckets * (slot * self.capacity + 4)
        constant, each = model.ns_value
        self.ns_table = (
            self.power * (constant + each * n_features) + n_probes * _NS_BUCKET + self.met * _NS_ID
        )
        changes = 2.0 if model.code_is_bits else 3.0
        self.possible = (self.capacity <= LARGEST_CAPACITY) & (changes**self.power >= n_probes)

    def recall(self, n_tables: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(
            -np.expm1(n_tables * np.log1p(-np.minimum(self.meet * (1.0 - self.lost), 1 - 1e-16)))
        )

    def best(self, recall: float, memory: int | None) -> Tables:
        """Return the cheapest tables that reach the recall; ValueError if no tables in `memory` do."""
        hit = np.clip(self.meet * (1.0 - self.lost), 1e-300, 1 - 1e-16)
        wanted = np.ceil(np.maximum(math.log1p(-recall) / np.log1p(-hit), 1.0) - 1e-9)
        most = _MOST_VALUES // self.power
        possible = self.possible & (wanted <= most)
        if not possible.any():
            reached = float(self.recall(most)[self.possible].max(initial=0.0))
            raise ValueError(
                f"recall must be at most {reached:.4g}, which {_MOST_VALUES} hashes reach, got {recall:g}"
            )
        tables = np.where(possible, wanted, 1).astype(np.int64)
        nbytes = tables.astype(np.float64) * self.table_bytes  # may exceed 63 bits
        if memory is not None and not (possible & (nbytes <= memory)).any():
            fitting = np.minimum(memory // self.table_bytes, most)
            reached = float(self.recall(fitting)[self.possible].max(initial=0.0))
            enough = f"that is enough for a recall of {reached:.3g}" if reached else "no table fits into that"
            raise ValueError(
                f"memory must be at least {nbytes[possible].min():.0f} bytes for a recall of {recall:g}, got "
                f"{memory}: {enough}"
            )
        cost = tables * self.ns_table + nbytes / self.n_rows * _NS_BYTE_A_ROW
        fits = possible if memory is None else possible & (nbytes <= memory)
        at = np.unravel_index(np.argmin(np.where(fits, cost, np.inf)), cost.shape)
        width = float(self.width[at])
        return Tables(
            n_hashes=int(tables[at]),
            power=int(self.power[at]),
            width=width or None,
            n_buckets=int(self.n_buckets[at]),
            capacity=int(self.capacity[at]),
            recall=float(self.recall(tables)[at]),
            candidates=float(tables[at] * self.met[at]),
            overflow=float(self.lost[at]),
            nbytes=int(tables[at]) * int(np.broadcast_to(self.table_bytes, tables.shape)[at]),
            nanoseconds=float(tables[at] * self.ns_table[at]),
        )
