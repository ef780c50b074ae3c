"""RACE over a sliding window: a ring of panes, of which the oldest is dropped when a new one begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.support.backend import device_of, sum_rows
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.guard import changing
from ..core.hashed_rows import check_family, hash_block, row_blocks
from ..core.state import StateSpec
from .code_counters import scatter
from .kernel_sums import KernelQueries
from .race import Race, largest_weight, weights_for
from .release import UNKNOWN_WEIGHT

__all__ = ["RaceWindow"]

_LARGEST = int(np.iinfo(np.int64).max)
_TOO_MANY = "the panes of a RaceWindow together count beyond 63 bits"


class _Part(NamedTuple):
    """Hold what a batch adds to one pane."""

    counts: NDArray[Any]
    total: Any
    heaviest: int


class _Batch(NamedTuple):
    """Rows that are hashed and counted apart, so that nothing has changed if one of them is refused."""

    n: int
    magnitude: int
    newest: int
    #: By the places of the panes in the ring.
    parts: dict[int, _Part]


class RaceWindow(KernelQueries):
    """Estimate kernel densities over a sliding window: the last panes of a stream, such as hours or days.

    Parameters
    ----------
    family : HashFamily
        As for `Race`.
    n_panes : int
        Number of panes in the window.
    dtype : {"int", "float"}
        Kind of the weights and counters, as for `Race`.

    Attributes
    ----------
    newest : int
        The newest pane, -1 before the first.
    total : int or float
        The sum of the weights of the rows in the window.

    Notes
    -----
    Each pane is a separate RACE, and the window is the sum of the panes from ``newest - n_panes + 1`` to
    `newest`. When a newer pane begins, the oldest is cleared. If a pane is older than the window, its rows
    are only counted by `n_updates`. This applies to rows that arrive late and to rows that were in the window
    before. The state depends only on the rows and their panes, not on the order of arrival. So windows over
    parts of a stream merge exactly: of two windows, the one that is behind drops the panes that the other has
    dropped.

    An update costs as much as for a `Race`, and R W additions for each batch, so batches should not be small.
    A query costs as much as for a `Race`, the sum of the panes, which is kept up to date. Memory is that of
    ``n_panes + 2`` sketches (the last two with counters of 64 bits).

    References
    ----------
    - Coleman, Shrivastava. Sub-linear RACE sketches for approximate kernel density estimation on
      streaming data. WWW 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> from mergesketch.lsh import SignedRandomProjection
    >>> family = SignedRandomProjection(n_features=2, n_hashes=400, power=4, seed=1)
    >>> window = mergesketch.RaceWindow(family, n_panes=24)
    >>> for hour in range(30):
    ...     _ = window.update(np.array([[1.0, 0.0]]), pane=hour)
    >>> window.newest, window.total
    (29, 24)
    >>> window.query(np.array([[1.0, 0.0]]))
    array([24.])
    """

    _filled = ("counts", "counters used")
    _parameters = ("family", "n_panes", "dtype")
    _not_compared = frozenset(["largest_weights"])  # as for a Race
    _gpu = True

    def __init__(self, family: HashFamily, n_panes: int, *, dtype: str = "int") -> None:
        self.family = check_family(family)
        self.n_panes = check_int("n_panes", n_panes, 1, 1 << 20)
        self.dtype: str = check_choice("dtype", dtype, ("int", "float"))

    def _layout(self) -> dict[str, StateSpec]:
        # The number of a pane determines its place in the ring, so the newest number identifies all panes.
        shape = (self.n_panes, self.family.n_hashes, self.family.n_buckets)
        if self.dtype == "float":
            counters = StateSpec(shape, "float64", "panes"), StateSpec(shape[:1], "float64", "panes")
        else:
            counters = (
                StateSpec(shape, "int32", "panes", widens_to="int64", counts=True),
                StateSpec(shape[:1], "int64", "panes", counts=True),
            )
        return {
            "counts": counters[0],
            "totals": counters[1],
            "newest": StateSpec((1,), "int64", "panes", fill=-1),
            # The largest weight of each pane, which the noise of a release must hide.
            **({"largest_weights": StateSpec(shape[:1], "int64", "panes")} if self.dtype == "int" else {}),
        }

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        return np.full(self.n_panes, UNKNOWN_WEIGHT) if name == "largest_weights" else None

    @property
    def newest(self) -> int:
        """The number of the newest pane, -1 before the first."""
        return int(self._arrays["newest"][0])

    @property
    def total(self) -> Any:
        """The sum of the weights of the rows in the window."""
        return sum(self._arrays["totals"].tolist())

    # -- updates ----------------------------------------------------------------------------------

    def advance(self, pane: int) -> Self:
        """Begin a pane, and drop the panes that the window then leaves.

        Parameters
        ----------
        pane : int
            The number of the pane, from 0 to 2**62. Nothing happens if it is not newer than the newest.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If `pane` is no integer or out of range.
        """
        pane = check_int("pane", pane, 0, 1 << 62)
        with self._lock, changing(self), self._without_trace():
            self._advance(pane)
        return self

    def _advance(self, pane: int) -> None:
        leaving = self._backend.xp.asarray(self._places_left(self.newest, pane))
        if leaving.size:
            kept = self._state.caches.get("sum")
            if kept is not None and self.dtype == "int":
                kept -= self._arrays["counts"][leaving].sum(axis=0)
            else:
                self._state.caches.pop("sum", None)
            self._arrays["counts"][leaving] = 0
            self._arrays["totals"][leaving] = 0
            if self.dtype == "int":
                self._arrays["largest_weights"][leaving] = 0
        self._arrays["newest"][0] = max(self.newest, pane)

    def _places_left(self, newest: int, later: int) -> NDArray[np.int64]:
        """Return the places of the panes that a window leaves when `later` becomes its newest pane."""
        if newest < 0:
            return np.empty(0, np.int64)
        return np.arange(newest + 1, min(later, newest + self.n_panes) + 1) % self.n_panes

    def update(self, X: RowsLike, weights: ArrayLike | None = None, pane: ArrayLike | None = None) -> Self:
        """Add a batch of rows.

        Parameters
        ----------
        X : n rows
            As ``family.hash`` takes them.
        weights : array of n numbers, optional
            As for `Race`.
        pane : int or array of n int, optional
            The number of the rows' pane, or of each row's, from 0 to 2**62; by default the newest, or 0
            in a new sketch. A newer one than the newest advances the window, with or without rows.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError, OverflowError
            As for `Race`, and if panes are no integers or out of range. Nothing changes then.
        """
        return self._take_in({"X": X, "weights": weights}, pane)

    def _read(self, X: Any, weights: Any, pane: Any) -> _Batch:
        rows = self.family.read_rows(X)
        n = rows.n
        checked, magnitude = weights_for(self.dtype, weights, n)
        xp = self._backend.xp
        if not checked.size:
            checked = xp.ones(n, checked.dtype)
        panes, latest = self._check_panes(pane, n)
        newest = max(self.newest, latest)
        oldest = newest - self.n_panes + 1
        # Late rows are hashed as well, so that invalid ones are refused.
        counts: dict[int, NDArray[Any]] = {}
        for start, stop in row_blocks(n, self.family.n_hashes, self.device):
            codes = hash_block(self.family, self.family.hash, rows, start, stop)
            held = panes[start:stop]
            for number in xp.unique(held[held >= oldest]).tolist():
                of_pane = held == number
                into = counts.setdefault(number % self.n_panes, self._zeros())
                scatter(into, codes[of_pane], checked[start:stop][of_pane])
        in_window = {
            number % self.n_panes: checked[panes == number]
            for number in xp.unique(panes[panes >= oldest]).tolist()
        }
        parts = {
            place: _Part(
                counts[place],
                sum_rows(part),
                largest_weight(part, len(part)) if self.dtype == "int" else 0,
            )
            for place, part in in_window.items()
        }
        return _Batch(n, magnitude, newest, parts)

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return {**dict.fromkeys(self._state.counters, batch.magnitude), "n_updates": batch.n}

    def _add(self, batch: _Batch) -> None:
        if batch.newest >= 0:
            self._advance(batch.newest)
        arrays = self._arrays
        for place, part in batch.parts.items():
            for counts in self._counts_of(place):
                counts += part.counts
            arrays["totals"][place] += part.total
            if self.dtype == "int":
                kept = arrays["largest_weights"][place : place + 1]
                np.maximum(kept, part.heaviest, out=kept)

    def _zeros(self) -> NDArray[Any]:
        return self._backend.xp.zeros(
            self._arrays["counts"].shape[1:], np.float64 if self.dtype == "float" else np.int64
        )

    def _check_panes(self, pane: Any, n: int) -> tuple[NDArray[np.int64], int]:
        """Return the pane of each row, and the latest pane, -1 if neither rows nor a number are given."""
        if pane is None or (device_of(pane) == "cpu" and check_array("pane", pane).ndim == 0):
            number = max(self.newest, 0) if pane is None else check_int("pane", pane, 0, 1 << 62)
            return self._backend.xp.full(n, number, np.int64), -1 if pane is None and n == 0 else number
        panes = self._as_our_array("pane", pane)
        if panes.shape != (n,):
            raise ValueError(f"pane must be an integer or of shape ({n},), got shape {panes.shape}")
        if n and panes.dtype.kind not in "iu":
            raise TypeError(f"pane must hold integers, got dtype {panes.dtype}")
        refuse_flags("pane", pane)
        if n and (int(panes.min()) < 0 or int(panes.max()) > 1 << 62):
            raise ValueError(f"pane must lie from 0 to 2**62, got {panes.min()} to {panes.max()}")
        return panes.astype(np.int64), int(panes.max()) if n else -1

    def _counts_of(self, place: int) -> list[NDArray[Any]]:
        """Return the counters that rows of a pane are added to: the pane's, and the sum if it is kept."""
        if self.dtype == "float" or not self._fits():
            # Sums of real counters are computed anew, so that they do not depend on the order of updates.
            # Those of integers that could wrap are computed, and refused, when they are asked for.
            self._state.caches.pop("sum", None)
        kept = self._state.caches.get("sum")
        return [self._arrays["counts"][place], *([] if kept is None else [kept])]

    # -- queries ----------------------------------------------------------------------------------

    @property
    def _sum(self) -> NDArray[Any]:
        """The sum of all panes' counters; it is kept, and updates that can add to it do so."""
        kept: NDArray[Any] | None = self._state.caches.get("sum")
        if kept is None:
            # The lock keeps updates from adding to the panes meanwhile.
            with self._lock:
                kept = self._state.cached("sum", self._sum_of_panes)
        return kept

    def _sum_of_panes(self) -> NDArray[Any]:
        counts = self._arrays["counts"]
        if self.dtype == "int" and not self._fits():
            del self._state.bounds["counts"]  # It may be that of counters which have left.
            if not self._fits():
                raise OverflowError(_TOO_MANY)
        return counts.sum(axis=0, dtype=np.float64 if self.dtype == "float" else np.int64)

    def _fits(self) -> bool:
        """Tell whether no sum of integer counters over the panes can wrap."""
        return self._state.bound("counts") * self.n_panes <= _LARGEST

    def race(self) -> Race:
        """Return the rows of the window as a `Race`, which later updates do not change.

        Returns
        -------
        Race

        Raises
        ------
        OverflowError
            If counters, or the weights in all, go beyond 63 bits over the panes together.
        """
        race, sum_of_weights = Race(self.family, dtype=self.dtype), self.total
        if self.dtype == "int" and abs(sum_of_weights) > _LARGEST:
            raise OverflowError(_TOO_MANY)
        total = self._backend.xp.asarray(np.array([sum_of_weights], race._layout()["total"].dtype))
        # A Race counts its rows. The number of rows in the window is not known, so all rows are counted.
        arrays = {"counts": self._sum.copy(), "total": total, "n_updates": self._arrays["n_updates"].copy()}
        if self.dtype == "int":
            arrays["largest_weight"] = self._arrays["largest_weights"].max(keepdims=True)
        race._columns = self._columns
        return race._set_arrays(arrays, self.device)

    def _kernel_counters(self) -> NDArray[Any]:
        return self._sum

    # -- state ------------------------------------------------------------------------------------

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        newest = int(theirs["newest"][0])
        self._state.caches.pop("sum", None)
        if newest >= 0:
            self._advance(newest)
        left = self._places_left(newest, self.newest)
        kept = self._backend.xp.asarray(np.setdiff1d(np.arange(self.n_panes), left))
        self._arrays["counts"][kept] += theirs["counts"][kept]
        self._arrays["totals"][kept] += theirs["totals"][kept]
        if self.dtype == "int":
            largest = self._arrays["largest_weights"]
            largest[kept] = np.maximum(largest[kept], theirs["largest_weights"][kept])

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        newest = int(arrays["newest"][0])
        if not -1 <= newest <= 1 << 62:
            raise ValueError(f"newest must lie from -1 to 2**62, got {newest}")
        if "largest_weights" in arrays and int(arrays["largest_weights"].min()) < 0:
            raise ValueError(f"largest_weights must be at least 0, got {arrays['largest_weights'].min()}")


publish("mergesketch", __all__, globals())
