"""Sketches of each kind of state, whose merges can be checked by eye; MPI ranks import them too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from mergesketch import MergeableSketch
from mergesketch.lsh.support.checks import check_int
from mergesketch.sketches.core.state import StateSpec
from numpy.typing import NDArray

__all__ = ["Everything", "Largest"]

#: Longer than one piece of an all-reduce, and not a multiple of it.
WIDTH = 700_001


class Everything(MergeableSketch):
    """A sketch with one array of each reduction; key k touches cell ``k % width`` of each."""

    _parameters = ("width", "seed")

    def __init__(self, width: int = WIDTH, seed: int = 0) -> None:
        self.width = check_int("width", width, 1)
        self.seed = check_int("seed", seed, 0)

    def _layout(self) -> dict[str, StateSpec]:
        n = (self.width,)
        return {
            "sum": StateSpec(n, "int32", "sum", widens_to="int64"),
            "narrow": StateSpec((3, 1), "int8", "sum"),
            "real": StateSpec(n, "float64", "sum"),
            "max": StateSpec(n, "float32", "max", fill=float("-inf")),
            "min": StateSpec(n, "uint64", "min", fill=2**64 - 1),
            "or": StateSpec(n, "uint8", "or"),
            "seen": StateSpec((self.width, 1), "bool", "or"),
            "nothing": StateSpec((0, 5), "int64", "max"),
        }

    def update(self, X: Any) -> Self:
        """Take in keys."""
        return self._take_in({"X": X})

    def _read(self, X: Any) -> NDArray[np.int64]:
        return np.asarray(X, dtype=np.int64)

    def _amounts(self, keys: NDArray[np.int64]) -> dict[str, int]:
        return {"sum": len(keys), "narrow": int(len(keys) > 0), "n_updates": len(keys)}

    def _add(self, keys: NDArray[np.int64]) -> None:
        arrays, cells = self._arrays, keys % self.width
        np.add.at(arrays["sum"], cells, 1)
        arrays["narrow"] += np.int8(len(keys) > 0)
        np.add.at(arrays["real"], cells, keys / 8)
        np.maximum.at(arrays["max"], cells, keys.astype(np.float32))
        np.minimum.at(arrays["min"], cells, keys.astype(np.uint64))
        np.bitwise_or.at(arrays["or"], cells, (1 << (keys % 8)).astype(np.uint8))
        arrays["seen"][cells] = True


class Largest(MergeableSketch):
    """The `size` largest distinct keys, by a custom reduction over two arrays together."""

    _parameters = ("size", "fails_on")

    def __init__(self, size: int = 1000, fails_on: int = -2) -> None:
        self.size, self.fails_on = size, fails_on

    def _layout(self) -> dict[str, StateSpec]:
        return {
            "keys": StateSpec((self.size,), "int64", "largest", fill=-1),
            "squares": StateSpec((self.size,), "float64", "largest", fill=1.0),
        }

    def update(self, X: Any) -> Self:
        """Take in keys."""
        return self._take_in({"X": X})

    def _read(self, X: Any) -> NDArray[np.int64]:
        return np.asarray(X, dtype=np.int64)

    def _amounts(self, keys: NDArray[np.int64]) -> dict[str, int]:
        return {"n_updates": len(keys)}

    def _add(self, keys: NDArray[np.int64]) -> None:
        self._keep(self._arrays, keys)

    def _keep(self, arrays: dict[str, Any], keys: Any) -> None:
        merged = np.unique(np.concatenate([arrays["keys"], keys]))[::-1][: self.size]
        arrays["keys"][:] = -1
        arrays["keys"][: len(merged)] = merged
        arrays["squares"][:] = arrays["keys"].astype(np.float64) ** 2

    def _reduce_custom(self, reduction: str, ours: dict[str, Any], theirs: Mapping[str, Any]) -> None:
        assert reduction == "largest"
        assert (theirs["squares"] == theirs["keys"].astype(np.float64) ** 2).all()
        if self.fails_on in theirs["keys"]:
            raise RuntimeError(f"cannot merge {self.fails_on}")
        self._keep(ours, theirs["keys"])
