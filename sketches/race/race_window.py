"""RACE over a sliding window: a ring of panes whose oldest is forgotten as a new one begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.inputs.weights import check_real_weights, check_weights
from ...lsh.support.backend import device_of, sum_rows
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch, StateSpec
from ..core.guard import uninterrupted
from ..core.hashed_rows import check_family, hash_block, row_blocks
from .code_counters import kernel_densities, kernel_sums, scatter
from .private_race import UNKNOWN_WEIGHT
from .race import Race, largest_weight

__all__ = ["RaceWindow"]


class RaceWindow(MergeableSketch):
    """Kernel sums over the rows of the last panes: hours, days, or any numbered stretches of a stream.

    Parameters
    ----------
    family : HashFamily
        As for `Race`.
    n_panes : int
        Panes that the window spans.
    dtype : {"int", "float"}
        Of weights and counters, as for `Race`.

    Attributes
    ----------
    newest : int
        The newest pane, -1 before the first.
    total : int or float
        The sum of the weights of the rows in the window.

    Notes
    -----
    Each pane is a RACE of its own, and the window the sum of the panes from ``newest - n_panes + 1`` to
    `newest`; when a newer pane begins, the oldest is cleared. Rows of a pane that the window has left are
    counted by `n_updates` and otherwise forgotten, whether they come late or were there before: the state
    depends on the rows and their panes alone, not on the order they come in, so windows over parts of a
    stream merge exactly, and one that lags behind gives up what the other has forgotten.

    Updates cost what they cost a `Race` and R W additions a batch, so batches should not be small. Queries
    are those of one `Race`, the sum of the panes, which is kept up beside them; memory is that of
    ``n_panes + 2`` of them (with counters of 64 bits the last two).

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

    _parameters = ("family", "n_panes", "dtype")
    _not_compared = frozenset(["largest_weights"])  # as of a Race
    _gpu = True

    def __init__(self, family: HashFamily, n_panes: int, *, dtype: str = "int") -> None:
        self.family = check_family(family)
        self.n_panes = check_int("n_panes", n_panes, 1, 1 << 20)
        self.dtype: str = check_choice("dtype", dtype, ("int", "float"))

    def _layout(self) -> dict[str, StateSpec]:
        # A pane has its place in the ring by its number, so the newest number tells what each place holds.
        shape = (self.n_panes, self.family.n_hashes, self.family.n_buckets)
        if self.dtype == "float":
            counters = StateSpec(shape, "float64", "panes"), StateSpec(shape[:1], "float64", "panes")
        else:
            counters = (
                StateSpec(shape, "int32", "panes", widens_to="int64"),
                StateSpec(shape[:1], "int64", "panes"),
            )
        return {
            "counts": counters[0],
            "totals": counters[1],
            "newest": StateSpec((1,), "int64", "panes", fill=-1),
            # Of each pane: what a release of the window must pay for.
            **({"largest_weights": StateSpec(shape[:1], "int64", "panes")} if self.dtype == "int" else {}),
        }

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        return np.full(self.n_panes, UNKNOWN_WEIGHT) if name == "largest_weights" else None

    def _integer_sums(self) -> list[str]:
        return [*super()._integer_sums(), *(["counts", "totals"] if self.dtype == "int" else [])]

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
        """Begin pane number `pane`, forgetting the panes that the window then leaves.

        Parameters
        ----------
        pane : int
            From 0 to 2**62. Nothing happens if it is not newer than the newest.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If `pane` is no integer or out of range.
        """
        pane = check_int("pane", pane, 0, 1 << 62)
        leaving = self._backend.xp.asarray(self._places_left(self.newest, pane))
        if leaving.size:
            if "_sum" in self.__dict__:
                if self.dtype == "int":
                    self._sum[...] -= self._arrays["counts"][leaving].sum(axis=0)
                else:
                    self.__dict__.pop("_sum")
            self._arrays["counts"][leaving] = 0
            self._arrays["totals"][leaving] = 0
            if self.dtype == "int":
                self._arrays["largest_weights"][leaving] = 0
        self._arrays["newest"][0] = max(self.newest, pane)
        return self

    def _places_left(self, newest: int, later: int) -> NDArray[np.int64]:
        """Places of the panes that a window leaves as `later` becomes its newest pane."""
        if newest < 0:
            return np.empty(0, np.int64)
        return np.arange(newest + 1, min(later, newest + self.n_panes) + 1) % self.n_panes

    def update(self, X: RowsLike, weights: ArrayLike | None = None, pane: ArrayLike | None = None) -> Self:
        """Take in a batch of rows.

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
            As for `Race`, and for panes that are no integers or out of range; nothing is changed then.
        """
        rows = self.family.read_rows(X, "X")
        n = rows.n
        self._settle("X", X)
        self._settle("weights", weights)
        xp = self._backend.xp
        checked: NDArray[Any]
        if self.dtype == "float":
            checked, magnitude = check_real_weights("weights", weights, n), 0
        else:
            checked, magnitude = check_weights("weights", weights, n)
        if not checked.size:
            checked = xp.ones(n, checked.dtype)
        panes, latest = self._check_panes(pane, n)
        newest = max(self.newest, latest)
        # Counted apart first, so that nothing has changed, nor the window advanced, if a later row is
        # refused. Late rows are hashed as well: bad ones are refused whenever they come.
        parts: dict[int, NDArray[Any]] = {}
        for start, stop in row_blocks(n, self.family.n_hashes, self.device):
            codes = hash_block(self.family, self.family.hash, rows, start, stop)
            held = panes[start:stop]
            kept = xp.unique(held[held > newest - self.n_panes])
            for number in kept.tolist():
                part = parts.setdefault(number % self.n_panes, self._zeros())
                of_pane = held == number
                scatter(part, codes[of_pane], checked[start:stop][of_pane])
        in_window = {
            number % self.n_panes: checked[panes == number]
            for number in xp.unique(panes[panes > newest - self.n_panes]).tolist()
        }
        totals = {place: sum_rows(weights) for place, weights in in_window.items()}
        heaviest = {
            place: largest_weight(weights, len(weights))
            for place, weights in in_window.items()
            if self.dtype == "int"
        }
        with uninterrupted():
            for name in self._integer_sums():
                self._reserve(name, n if name == "n_updates" else magnitude)
            if newest >= 0:
                self.advance(newest)
            for place, part in parts.items():
                for counts in self._counts_of(place):
                    counts += part
            for place, total in totals.items():
                self._arrays["totals"][place] += total
            for place, heavy in heaviest.items():
                kept = self._arrays["largest_weights"][place : place + 1]
                np.maximum(kept, heavy, out=kept)
            self._arrays["n_updates"] += n
        return self

    def _zeros(self) -> NDArray[Any]:
        return self._backend.xp.zeros(
            self._arrays["counts"].shape[1:], np.float64 if self.dtype == "float" else np.int64
        )

    def _check_panes(self, pane: Any, n: int) -> tuple[NDArray[np.int64], int]:
        """The pane of each row, and the latest: also of no rows, if it is given as one number; else -1."""
        if pane is None or (device_of(pane) == "cpu" and check_array("pane", pane).ndim == 0):
            number = max(self.newest, 0) if pane is None else check_int("pane", pane, 0, 1 << 62)
            return self._backend.xp.full(n, number, np.int64), -1 if pane is None and n == 0 else number
        panes = self._bring("pane", pane)
        if panes.shape != (n,):
            raise ValueError(f"pane must be an integer or of shape ({n},), got shape {panes.shape}")
        if n and panes.dtype.kind not in "iu":
            raise TypeError(f"pane must hold integers, got dtype {panes.dtype}")
        refuse_flags("pane", pane)
        if n and (int(panes.min()) < 0 or int(panes.max()) > 1 << 62):
            raise ValueError(f"pane must lie from 0 to 2**62, got {panes.min()} to {panes.max()}")
        return panes.astype(np.int64), int(panes.max()) if n else -1

    def _counts_of(self, place: int) -> list[NDArray[Any]]:
        """The counters that rows of a pane are added to: the pane's and, where they are kept, the sums."""
        if self.dtype == "float":
            # Sums of real counters are made anew, so that they do not depend on the way they came about.
            self.__dict__.pop("_sum", None)
        kept = [self._sum] if "_sum" in self.__dict__ else []
        return [self._arrays["counts"][place], *kept]

    # -- queries ----------------------------------------------------------------------------------

    @property
    def _sum(self) -> NDArray[Any]:
        """The counters of all panes together, kept until they change otherwise than by adding to both."""
        kept = self.__dict__.get("_sum")
        if kept is None:
            # Made while no update adds to the panes, which it would miss.
            with self._lock:
                kept = self.__dict__["_sum"] = self._sum_of_panes()
        return kept

    def _sum_of_panes(self) -> NDArray[Any]:
        counts = self._arrays["counts"]
        if self.dtype == "int" and self._bound("counts") * self.n_panes > np.iinfo(np.int64).max:
            raise OverflowError("the panes of a RaceWindow together count beyond 63 bits")
        total: NDArray[Any] = counts.sum(axis=0, dtype=np.float64 if self.dtype == "float" else np.int64)
        return total

    def race(self) -> Race:
        """The rows of the window as a `Race` of its own, which later updates do not change.

        Returns
        -------
        Race
            Of the rows in the window.
        """
        race = Race(self.family, dtype=self.dtype)
        total = self._backend.xp.asarray(np.array([self.total], race._layout()["total"].dtype))
        race.__dict__["_device"] = self.device
        # A Race counts the rows that it has seen; how many of them the window still holds is not known.
        arrays = {"counts": self._sum.copy(), "total": total, "n_updates": self._arrays["n_updates"].copy()}
        if self.dtype == "int":
            arrays["largest_weight"] = self._arrays["largest_weights"].max(keepdims=True)
        return race._adopt(arrays)

    @overload
    def query(
        self, Q: RowsLike, *, groups: int | None = None, return_std: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    def query(
        self, Q: RowsLike, *, groups: int | None = None, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def query(self, Q: RowsLike, *, groups: int | None = None, return_std: bool = False) -> Any:
        """Estimated kernel sums over the rows in the window; as `Race.query`.

        Parameters
        ----------
        Q : n rows
            As ``family.hash_query`` takes them.
        groups : int, optional
            Take the median of the means of so many groups of repetitions.
        return_std : bool
            Also return the standard errors.

        Returns
        -------
        ndarray of shape (n,) or (n, n_outputs), float64, or two of them

        Raises
        ------
        TypeError, ValueError
            As `Race.query` does.
        """
        self._settle("Q", Q)
        return kernel_sums(self.family, self._sum, self.total, Q, groups, return_std)

    def density(self, Q: RowsLike, *, groups: int | None = None, return_std: bool = False) -> Any:
        """Estimated kernel densities: kernel sums over the total weight; as `Race.density`.

        Parameters
        ----------
        Q : n rows
            As ``family.hash_query`` takes them.
        groups : int, optional
            Take the median of the means of so many groups of repetitions.
        return_std : bool
            Also return the standard errors.

        Returns
        -------
        ndarray of shape (n,) or (n, n_outputs), float64, or two of them

        Raises
        ------
        TypeError, ValueError
            As `Race.density` does.
        """
        self._settle("Q", Q)
        sums = kernel_sums(self.family, self._sum, self.total, Q, groups, return_std)
        return kernel_densities(sums, self.total)

    # -- state ------------------------------------------------------------------------------------

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        newest = int(theirs["newest"][0])
        self.__dict__.pop("_sum", None)
        if newest >= 0:
            self.advance(newest)
        left = self._places_left(newest, self.newest)
        kept = self._backend.xp.asarray(np.setdiff1d(np.arange(self.n_panes), left))
        self._arrays["counts"][kept] += theirs["counts"][kept]
        self._arrays["totals"][kept] += theirs["totals"][kept]
        if self.dtype == "int":
            largest = self._arrays["largest_weights"]
            largest[kept] = np.maximum(largest[kept], theirs["largest_weights"][kept])

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        newest = int(arrays["newest"][0])
        if not -1 <= newest <= 1 << 62:
            raise ValueError(f"newest must lie from -1 to 2**62, got {newest}")
        if "largest_weights" in arrays and int(arrays["largest_weights"].min()) < 0:
            raise ValueError(f"largest_weights must be at least 0, got {arrays['largest_weights'].min()}")

    def empty_like(self) -> Self:
        new = super().empty_like()
        new.__dict__.pop("_sum", None)
        return new

    def _adopt(self, arrays: dict[str, NDArray[Any]]) -> Self:
        self.__dict__.pop("_sum", None)
        return super()._adopt(arrays)
