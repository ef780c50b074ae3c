"""The table of counters of the sketches that count keys, and its two ways to estimate counts."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import Backend, read_only
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.random import random_uint64
from ...lsh.support.types import KeyLike, KeysLike
from ..core.base import MergeableSketch
from ..core.key_kinds import kind_specs
from ..core.state import StateSpec
from ..kernels import counting
from .counted_keys import CountedKeys, KeysCountedAbove

__all__ = [
    "KEYS_BLOCK",
    "MAX_BUCKETS",
    "CountMinTable",
    "CountSketchTable",
    "KeyCounts",
    "KeyTable",
    "add_to_rows",
    "ask_rows",
    "buckets_for",
    "check_total",
    "count_min_size",
    "row_words",
]

N = TypeVar("N", bound=np.generic)

#: Number of keys that are worth a thread of their own.
KEYS_BLOCK = 1 << 14
MAX_BUCKETS = 1 << 28
_MAX_SEED = 2**64 - 1


def buckets_for(relative_error: float, wanted: float) -> int:
    """Return the number of buckets, `wanted` rounded up; ValueError if a table cannot have that many."""
    if not wanted <= MAX_BUCKETS:
        raise ValueError(f"relative_error must be reached by {MAX_BUCKETS} buckets, got {relative_error:g}")
    return math.ceil(wanted)


def count_min_size(relative_error: float, confidence: float) -> tuple[int, int]:
    """Return the numbers of rows and buckets by which estimates err by less than a share of the total."""
    confidence = check_real("confidence", confidence, 0.0, 1.0)
    n_rows = max(1, math.ceil(-math.log1p(-confidence)))
    return n_rows, buckets_for(relative_error, math.e / relative_error)


def row_words(seed: int, n_rows: int) -> NDArray[np.uint64]:
    """Return the random words by which each row of a table hashes keys."""
    return random_uint64(seed, "KeyTable rows", 3 * n_rows).reshape(n_rows, 3)


def add_to_rows(
    backend: Backend,
    kernel: Any,
    hashes: NDArray[np.uint64],
    weights: NDArray[np.int64],
    words: NDArray[np.uint64],
    table: NDArray[Any],
) -> None:
    """Add keys to all rows of a table; a thread owns whole rows, so that no two add to one counter."""
    weights, n_rows = read_only(weights), table.shape[0]
    block = 1 if hashes.size > KEYS_BLOCK else n_rows
    backend.map_blocks(lambda a, b: kernel(hashes, weights, words, a, b, table), n_rows, block)


def ask_rows(
    backend: Backend,
    kernel: Any,
    table: NDArray[Any],
    hashes: NDArray[np.uint64],
    words: NDArray[np.uint64],
    out: NDArray[Any],
) -> None:
    """Write what a kernel estimates for each key from the rows of a table."""
    backend.map_blocks(lambda a, b: kernel(table, hashes, words, a, b, out), hashes.size, KEYS_BLOCK)


def check_total(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise ValueError if the total of a state is negative."""
    if arrays["total"][0] < 0:
        raise ValueError(f"total must be at least 0, got {arrays['total'][0]}")


class KeyTable(MergeableSketch):
    """A table of counters that keys are hashed into."""

    _gpu = True
    _filled = ("counts", "counters used")

    def __init__(self, n_rows: int, n_buckets: int, seed: int) -> None:
        self.n_rows = check_int("n_rows", n_rows, 1, 1 << 16)
        self.n_buckets = check_int("n_buckets", n_buckets, 1, MAX_BUCKETS)
        self.seed = check_int("seed", seed, 0, _MAX_SEED)

    def _layout(self) -> dict[str, StateSpec]:
        return {
            "counts": StateSpec((self.n_rows, self.n_buckets), "int32", "sum", widens_to="int64"),
            "total": StateSpec((1,), "int64", "sum"),
        }

    @property
    def total(self) -> int:
        """The sum of all counts taken in."""
        return int(self._arrays["total"][0])

    @lazy
    def _words(self) -> NDArray[np.uint64]:
        return row_words(self.seed, self.n_rows)

    # -- updates ----------------------------------------------------------------------------------

    def _amounts(self, batch: Any) -> dict[str, int]:
        return {"counts": batch.magnitude, "total": batch.magnitude, "n_updates": batch.hashes.size}

    def _add(self, batch: Any) -> None:
        self._add_to_table(batch.hashes, batch.weights)
        self._add_to_total(batch.hashes.size, batch.weights)

    @property
    @abstractmethod
    def _add_kernel(self) -> Any:
        """The kernel that adds keys to some rows of the table."""

    def _add_to_table(self, hashes: NDArray[np.uint64], weights: NDArray[np.int64]) -> None:
        """Add keys to all rows of the table."""
        add_to_rows(self._backend, self._add_kernel, hashes, weights, self._words, self._arrays["counts"])

    @contextmanager
    def _counted(
        self, hashes: NDArray[np.uint64], weights: NDArray[np.int64], *changed: str
    ) -> Iterator[None]:
        """Add keys to the table; if the block fails, take them out, and put the arrays `changed` back."""
        undo = -weights if weights.size else self._backend.xp.full(hashes.size, -1, np.int64)
        before = {name: self._arrays[name].copy() for name in changed}
        self._add_to_table(hashes, weights)
        try:
            yield
        except BaseException:
            for name, array in before.items():
                self._arrays[name][...] = array
            self._add_to_table(hashes, undo)
            raise

    def _add_to_total(self, n: int, weights: NDArray[np.int64]) -> None:
        self._arrays["total"] += int(weights.sum()) if weights.size else n

    # -- queries ----------------------------------------------------------------------------------

    def _ask(self, hashes: NDArray[np.uint64], kernel: Any, dtype: type[N]) -> NDArray[N]:
        """Return what a kernel estimates for each key."""
        out = self._backend.xp.empty(hashes.size, dtype)
        ask_rows(self._backend, kernel, self._arrays["counts"], hashes, self._words, out)
        return out

    def _row_products(self, other: Self) -> NDArray[np.float64]:
        """Return the scalar products of the rows of two tables."""
        self._check_compatible(other)
        pairs = zip(self._arrays["counts"], self._on_our_device(other)._arrays["counts"], strict=True)
        return np.array([float(a.astype(np.float64).dot(b.astype(np.float64))) for a, b in pairs])


class KeyCounts(CountedKeys, KeyTable):
    """A table of counters of keys that callers pass, which are all of one kind."""

    _internal = True

    def _layout(self) -> dict[str, StateSpec]:
        return {**super()._layout(), **kind_specs()}

    def _add(self, batch: Any) -> None:
        super()._add(batch)
        self._note_forms(batch.forms)


class CountMinTable(KeysCountedAbove, KeyCounts):
    """A table whose estimates are the least of a key's counters, which are never too low."""

    _internal = True
    _least_count = 0

    @property
    def _add_kernel(self) -> Any:
        return self._backend.kernels(counting).count_min_add

    def _estimate(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        return self._ask(hashes, self._backend.kernels(counting).count_min_query, np.int64)

    @overload
    def lower_bound(self, keys: KeyLike, confidence: float = ...) -> int: ...  # type: ignore[overload-overlap]
    @overload
    def lower_bound(self, keys: KeysLike, confidence: float = ...) -> NDArray[np.int64]: ...
    def lower_bound(self, keys: KeysLike, confidence: float = 0.99) -> Any:
        """Return a lower bound of each key's count; for any one key it holds with probability `confidence`.

        It lies ``(1 - confidence)**(-1 / n_rows) / n_buckets * total`` below the estimate: a row errs by
        c / n_buckets of the total or more with probability at most 1 / c (Markov), all rows with c**-n_rows.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Of any type that `mergesketch.lsh.hash_keys` takes.
        confidence : float, default 0.99
            In (0, 1).

        Returns
        -------
        ndarray of shape (n,), int64
            An int if `keys` is one key.

        Raises
        ------
        TypeError, ValueError
            As `query` does, or if `confidence` lies outside its range.
        """
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        share = float((1.0 - confidence) ** (-1.0 / self.n_rows) / self.n_buckets)
        error, xp = math.floor(share * self.total), self._backend.xp
        return self._answer(keys, lambda hashes: xp.maximum(self._estimate(hashes) - error, 0))

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        check_total(arrays)


class CountSketchTable(KeyTable):
    """A table to which keys add with signs, and whose estimates are medians of a key's counters."""

    _internal = True

    @property
    def _add_kernel(self) -> Any:
        return self._backend.kernels(counting).count_sketch_add

    def _estimate(self, hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
        return self._ask(hashes, self._backend.kernels(counting).count_sketch_query, np.float64)
