"""Counts of the cells of grids: in a table, and by name for the heavy cells and for a sample of all."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import hash_keys
from ...lsh.inputs.arrays import check_dense
from ...lsh.inputs.weights import check_weights
from ...lsh.support.backend import read_only
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.lazy import lazy
from ...lsh.support.threads import cut_range
from ..core.guard import check_interrupt
from ..core.records import Records, add_to_sample, find_keys
from ..core.state import StateSpec
from ..counts.key_table import CountSketchTable, check_total
from .cell_sample import SAMPLE, sampled_counts
from .grids import Grids

__all__ = ["CellCounts"]

#: The table of the heavy cells, by rising keys. Its numbers of grids begin at 1.
_HEAVY = Records(("bin_keys", "bin_repetitions", "bin_cells"), "bin_repetitions")
#: Number of cells without rows whose estimates show the errors of the table.
_N_EMPTY = 1 << 13
#: An estimate shows that a cell has rows if it exceeds this multiple of the table's root mean square error.
_SIGNIFICANT = 4.0
#: Numbers of cells that are worked on at a time.
_BLOCK = {"cpu": 1 << 19, "gpu": 1 << 26}


class _Batch(NamedTuple):
    """Checked rows and the weight of each."""

    rows: NDArray[np.float64]
    #: Empty if each row counts once.
    weights: NDArray[np.int64]
    magnitude: int


class CellCounts(CountSketchTable):
    """The counts of cells: in a Count-Sketch table, of the heavy cells, and of a sample of all cells."""

    _internal = True

    n_features: int
    n_repetitions: int
    max_bins: int
    rotate: bool
    width: float | list[float]

    def _layout(self) -> dict[str, StateSpec]:
        n = self.max_bins
        return {
            **super()._layout(),
            "bin_keys": StateSpec((n,), "uint64", "bins"),
            "bin_repetitions": StateSpec((n,), "int32", "bins"),
            "bin_cells": StateSpec((n, self.n_features), "int32", "bins"),
            "sample_keys": StateSpec((n,), "uint64", "cell sample"),
            "sample_repetitions": StateSpec((n,), "int32", "cell sample"),
            "sample_cells": StateSpec((n, self.n_features), "int32", "cell sample"),
            "sample_counts": StateSpec((n,), "int64", "cell sample"),
        }

    @lazy
    def _grids(self) -> Grids:
        return Grids(self.n_features, self.width, self.n_repetitions, rotate=self.rotate, seed=self.seed)

    @property
    def _n_drawn(self) -> int:
        return self._grids.n_drawn

    # -- updates ----------------------------------------------------------------------------------

    def _read(self, X: Any, weights: Any) -> _Batch:
        rows = self._check_rows(X)
        self._grids.check_reach(self._backend, rows)
        return _Batch(rows, *check_weights("weights", weights, len(rows), minimum=0))

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        magnitude = batch.magnitude
        return {
            "counts": magnitude * self.n_repetitions,
            "total": magnitude,
            "n_updates": len(batch.rows),
        }

    def _add(self, batch: _Batch) -> None:
        n = len(batch.rows)
        with self._state.restored_on_failure() if n > self._block_size else nullcontext():
            for start, stop in cut_range(0, n, self._block_size):
                cells, keys = self._grids.find_cells(self._backend, batch.rows[start:stop])
                check_interrupt()
                self._add_cells(cells, keys, batch.weights[start:stop])

    def _check_rows(self, X: Any) -> NDArray[np.float64]:
        return read_only(check_dense(X, self.n_features).astype(np.float64, copy=False))

    @property
    def _block_size(self) -> int:
        """The number of rows that are worked on at a time."""
        return max(1, _BLOCK[self.device] // (self.n_repetitions * self.n_features))

    def _add_cells(
        self, cells: NDArray[np.int32], keys: NDArray[np.uint64], weights: NDArray[np.int64]
    ) -> None:
        """Add the cells of some rows to the table, the sample and the heavy cells, all or none of them."""
        xp, r = self._backend.xp, self.n_repetitions
        repeated = xp.repeat(weights, r) if weights.size else weights
        numbers = (xp.arange(keys.size) % r + 1).astype(np.int32)
        sample = add_to_sample(self._backend, SAMPLE, self._arrays, (keys, numbers, cells), repeated)
        with self._counted(keys, repeated, "total"):
            self._add_to_total(keys.size // r, weights)
            self._keep_heavy_of(keys, numbers, cells)
        self._arrays.update(sample)

    def _threshold(self, times: int) -> int:
        """Return the count above which a cell is kept (`times` 1), or heavy (2)."""
        return times * self.n_repetitions * self.total // self.max_bins

    def _keep_heavy_of(
        self, keys: NDArray[np.uint64], numbers: NDArray[np.int32], cells: NDArray[np.int32]
    ) -> None:
        """Keep the cells of a batch that are heavy enough, and are not kept yet."""
        xp = self._backend.xp
        places = xp.flatnonzero(self._estimate(keys) > self._threshold(1))
        places = places[find_keys(self._backend, _HEAVY.used(self._arrays)[0], keys[places]) < 0]
        _, first = xp.unique(keys[places], return_index=True)
        places = places[first]
        self._keep(keys[places], numbers[places], cells[places])

    def _keep(self, *records: NDArray[Any]) -> None:
        """Add cells to those kept, drop the ones that are too light now, and order them by key."""
        xp = self._backend.xp
        joined = [xp.concatenate(pair) for pair in zip(_HEAVY.used(self._arrays), records, strict=True)]
        order = xp.argsort(joined[0], kind="stable")
        keys = joined[0][order]
        if bool((keys[1:] == keys[:-1]).any()):
            # Two cells hardly ever have one key. Then the lexicographically smaller one stays.
            columns = [joined[2][:, j] for j in range(self.n_features - 1, -1, -1)]
            order = _lexsort(xp, *columns, joined[1], joined[0])
            keys = joined[0][order]
            order = order[xp.append(xp.ones(1, bool), keys[1:] != keys[:-1])]
        estimates = self._estimate(joined[0][order])
        heavy = estimates > self._threshold(1)
        order, estimates = order[heavy], estimates[heavy]
        if order.size > self.max_bins:
            largest = _lexsort(xp, joined[0][order], -estimates)[: self.max_bins]
            order = order[xp.sort(largest)]
        _HEAVY.put(self._arrays, [values[order] for values in joined])

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        if reduction == "bins":
            # The table has been merged already, so that the merged counts decide which cells are kept.
            self._keep(*_HEAVY.used(theirs))
            return
        *columns, counts = SAMPLE.used(theirs)
        for name, array in add_to_sample(self._backend, SAMPLE, ours, columns, counts).items():
            ours[name][...] = array

    # -- counts -----------------------------------------------------------------------------------

    @property
    def n_cells(self) -> int:
        """Number of different cells with rows, in all grids: exact up to `max_bins`, estimated beyond."""
        n = SAMPLE.n_used(self._arrays)
        if n < self.max_bins:
            return n
        # The keys are uniform, and the sample has the least (Beyer and others 2007).
        return math.ceil(max(1, n - 1) * 2.0**64 / (float(self._arrays["sample_keys"][-1]) + 1.0))

    def _is_exact(self) -> bool:
        """Tell whether the sample holds every cell that has a row, so that the table is not needed."""
        return not self._arrays["sample_counts"][-1]

    def _count(self, keys: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Return the counts of cells: exact ones if the sample holds all cells, else those of the table."""
        if self._is_exact():
            return sampled_counts(self._backend, self._arrays, keys)
        return self._estimate(keys)

    def _table_noise(self) -> float:
        """Return the root mean square of the table's estimates of empty cells; 0 if it is not needed."""
        if self._is_exact():
            return 0.0
        found = self._estimate(hash_keys(self._backend.xp.arange(_N_EMPTY, dtype=np.uint64), self.seed))
        # One is added, for other cells may be hit even where none of these is.
        return math.sqrt((float((found**2).sum()) + 1.0) / _N_EMPTY)

    def _heavy(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """Return the grids, cells and counts of the heavy cells, in the order of their keys."""
        keys, numbers, cells, *_ = (SAMPLE if self._is_exact() else _HEAVY).used(self._arrays)
        counts = self._count(keys)
        heavy = counts > self._threshold(2)
        return numbers[heavy] - np.int32(1), cells[heavy], counts[heavy]

    def _heavy_keys(self) -> NDArray[np.uint64]:
        keys = _HEAVY.used(self._arrays)[0]
        return keys[self._estimate(keys) > self._threshold(2)]

    def _weighted_cells(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """Return the grids, cells and weights that synthetic rows are drawn from.

        If the sample holds all cells, these are all cells with their counts. If not, they are the cells whose
        estimates stand out from the table's noise, and the other cells of the sample for the rest.
        """
        keys, numbers, cells, counts = SAMPLE.used(self._arrays)
        weights, grids = counts.astype(np.float64), numbers - np.int32(1)
        if self._is_exact():
            return grids, cells, weights
        xp = self._backend.xp
        least = max(float(self._threshold(2)), _SIGNIFICANT * self._table_noise())
        light = self._estimate(keys) <= least
        heavy_keys, heavy_numbers, heavy_cells = _HEAVY.used(self._arrays)
        estimates = self._estimate(heavy_keys)
        heavy = estimates > least
        rest = max(0.0, float(self.total * self.n_repetitions) - float(estimates[heavy].sum()))
        weights = weights[light]
        if weights.size:
            weights *= rest / float(weights.sum())
        return (
            xp.concatenate([heavy_numbers[heavy] - np.int32(1), grids[light]]),
            xp.concatenate([heavy_cells[heavy], cells[light]]),
            xp.concatenate([estimates[heavy], weights]),
        )

    # -- state ------------------------------------------------------------------------------------

    def _warn_of_noise(self) -> bool:
        """Warn if single densities are mostly noise, and tell whether they are."""
        noise, held = self._table_noise() / math.sqrt(self.n_repetitions), self._arrays["sample_counts"]
        # A row's cell has the count c with a probability in proportion to c.
        typical = float((held.astype(np.float64) ** 2).sum()) / float(held.sum())
        is_noise = noise > 0.5 * typical
        if is_noise:
            self._warn(
                f"the table errs by {noise:.2g} rows a cell, where rows lie in cells of {typical:.2g}",
                (2.0 * noise / typical) ** 2,
            )
        return is_noise

    def _warn(self, what: str, times: float) -> None:
        """Warn of what the size of the table does not allow, while `times` its buckets would."""
        warnings.warn(
            f"{what}: about {self.n_cells} cells have rows; max_bins={math.ceil(1.1 * self.n_cells)} keeps "
            f"all by name, without error, or n_buckets={math.ceil(self.n_buckets * times)} is enough for "
            f"the table, or wider cells; got max_bins={self.max_bins}, n_buckets={self.n_buckets}",
            stacklevel=stacklevel_of_caller(),
        )

    def _has_state_of(self, other: Self) -> bool:
        exact = ("counts", "total", "n_updates", *SAMPLE.names)
        if not all(np.array_equal(self._arrays[name], other._arrays[name]) for name in exact):
            return False
        # Keys determine grids and cells, and equal tables give equal counts. If the sample holds all cells,
        # nothing asks for the heavy ones.
        return self._is_exact() or np.array_equal(self._heavy_keys(), other._heavy_keys())

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        check_total(arrays)
        self._grids.check_cells("bin", *_HEAVY.used(arrays))
        held, counts = SAMPLE.n_used(arrays), arrays["sample_counts"]
        most = self.n_repetitions * int(arrays["total"][0])
        if bool((counts < 0).any()) or bool((counts[:held] == 0).any()) or bool((counts > most).any()):
            raise ValueError(f"sample_counts must be from 1 to {most}, then 0")
        counted = sum(counts[:held].tolist())
        if counted > most or (held < counts.size and counted < most):
            # While there are free places, every cell that has rows is in the sample.
            raise ValueError(
                f"sample_counts must have a sum of {most}, or less if no place is empty, got {counted}"
            )
        self._grids.check_cells("sample", *SAMPLE.used(arrays)[:3])


def _lexsort(xp: Any, *columns: Any) -> Any:
    """Sort as NumPy's lexsort, by the last column first; CuPy's lexsort takes columns of one dtype only."""
    order = xp.argsort(columns[0], kind="stable")
    for column in columns[1:]:
        order = order[xp.argsort(column[order], kind="stable")]
    return order
