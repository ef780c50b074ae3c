"""All ids of a sampler, with weights, beside an index that has the rows of most of them."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.weights import check_real_weights
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_choice
from ...lsh.support.types import RowsLike
from ..core.guard import Guarded, uninterrupted
from .index import LSHIndex
from .row_changes import refuse_missing_ids, refuse_repeated_ids

__all__ = ["AllIds", "IndexedIds"]

#: The sum of all weights as integers, about.
_WEIGHT_SUM = 2.0**52


class AllIds(NamedTuple):
    """The ids that may be drawn."""

    #: All ids, rising, in the dtype of slots.
    ids: NDArray[Any]
    #: The sums of their weights up to each, or no sums for equal weights.
    weight_ends: NDArray[np.int64]
    #: The ids in the tables, as `LSHIndex.ordered_ids` has returned them.
    there: NDArray[Any]


class IndexedIds(Guarded):
    """The part of `LSHSampler` that keeps the index and all ids."""

    _internal = True

    def __init__(self, index: LSHIndex, ids: ArrayLike | None, weights: ArrayLike | None) -> None:
        if not isinstance(index, LSHIndex):
            raise TypeError(f"index must be an LSHIndex, got {type(index).__name__}")
        refuse_gpu(type(self).__name__, ids, weights)
        self._index = index
        #: All ids, rising, if they were given.
        self._given: NDArray[Any] | None = None
        #: The ids of the index for which it is known that there are no others.
        self._checked: NDArray[Any] | None = None
        #: Their weights, if they were given, and sums of these as integers up to each, or no sums.
        self._weights: NDArray[np.float64] | None = None
        self._weight_ends = _weight_ends(None)
        self._check_place()
        if ids is None and weights is not None:
            raise ValueError("ids must be given for weights, one for each of them")
        if ids is not None:
            self._take_given(ids, weights)

    @property
    def index(self) -> LSHIndex:
        """The index that the sampler draws from."""
        return self._index

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids that may be drawn, rising: int64, a copy."""
        return self._all_ids().ids.astype(np.int64)

    def __len__(self) -> int:
        return self._all_ids().ids.size

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in dict(vars(self)).items() if name != "_guard"}
        return {**own, "_checked": None}

    # -- changes of the index ---------------------------------------------------------------------

    def update(self, X: RowsLike, ids: ArrayLike | None = None, *, weights: ArrayLike | None = None) -> Self:
        """Add rows to the index.

        Parameters
        ----------
        X : n rows
        ids : array_like of n integers, optional
            As for `LSHIndex.update`. They must be given if the sampler was made with `ids`.
        weights : array_like of n numbers above 0, optional
            They must be given if the sampler was made with `weights`. They replace those of ids that it has.

        Returns
        -------
        The sampler itself.

        Raises
        ------
        TypeError, ValueError, OverflowError
            As `LSHIndex.update` does. Nothing changes then.
        """
        refuse_gpu(type(self).__name__, ids, weights)
        with self._lock:
            if self._given is None:
                if weights is not None:
                    raise ValueError("weights must be None for a sampler that was made without weights")
                self._index.update(X, ids)
                return self
            if ids is None:
                raise ValueError("ids must be given for a sampler that was made with ids")
            added = self._index.check_ids(ids, None)
            if weights is None and self._weights is not None:
                raise ValueError("weights must be given for a sampler that was made with weights")
            if weights is not None and self._weights is None:
                raise ValueError("weights must be None for a sampler that was made without weights")
            all_ids, all_weights = np.union1d(self._given, added), self._weights
            if all_weights is not None:
                all_weights = np.empty(all_ids.size)
                all_weights[np.searchsorted(all_ids, self._given)] = self._weights
                all_weights[np.searchsorted(all_ids, added)] = _read_weights(weights, added.size)
            before = self._given, self._weights, self._weight_ends
            ends = _weight_ends(all_weights)
            try:
                self._given, self._weights, self._weight_ends = read_only(all_ids), all_weights, ends
                self._index.update(X, ids)
            except BaseException:
                self._given, self._weights, self._weight_ends = before
                raise
        return self

    def remove(self, ids: ArrayLike, X: RowsLike | None = None, *, missing: str = "raise") -> Self:
        """Remove rows from the index by their ids.

        Parameters
        ----------
        ids : array_like of n integers
        X : n rows, optional
        missing : {"raise", "ignore"}
            As for `LSHIndex.remove`.

        Returns
        -------
        The sampler itself. If all ids are removed, samples have no ids.

        Raises
        ------
        TypeError, ValueError, NotImplementedError
            As `LSHIndex.remove` does. Nothing changes then.
        """
        with self._lock:
            if self._given is None:
                self._index.remove(ids, X, missing=missing)
                return self
            left = ~np.isin(self._given, self._known(ids, missing))
            weights = None if self._weights is None else self._weights[left]
            ends = _weight_ends(weights)
            with uninterrupted():
                self._index.remove(ids, X, missing="ignore")
                self._given, self._weights, self._weight_ends = read_only(self._given[left]), weights, ends
        return self

    def replace(
        self, ids: ArrayLike, X: RowsLike, *, old: RowsLike | None = None, missing: str = "raise"
    ) -> Self:
        """Replace the rows of some ids in the index, after a step of training has changed them.

        Parameters
        ----------
        ids : array_like of n integers
        X : n rows
        old : n rows, optional
        missing : {"raise", "add"}
            As for `LSHIndex.replace`. If the sampler was made with `ids`, those are missing that it does not
            have.

        Returns
        -------
        The sampler itself.

        Raises
        ------
        TypeError, ValueError, NotImplementedError
            As `LSHIndex.replace` does; or if ids would be added to a sampler with `weights`, which `update`
            takes. Nothing changes then.

        Notes
        -----
        The probabilities of `sample` are those of the tables, and stay exact if rows in the index are out of
        date. So rows may be replaced every few steps, and not after each. Those of `retrieve` need the rows
        that the index has.
        """
        with self._lock:
            if self._given is None:
                self._index.replace(ids, X, old=old, missing=missing)
                return self
            check_choice("missing", missing, ("raise", "add"))
            before, array = self._given, self._known(ids, missing)
            added = np.setdiff1d(array, before)
            if added.size and self._weights is not None:
                raise ValueError(
                    f"ids must be those of the sampler, because it has weights, got {added.size} others; "
                    "add them by update, with their weights"
                )
            try:
                if added.size:
                    self._given = read_only(np.union1d(before, added))
                self._index.replace(ids, X, old=old, missing="add")
            except BaseException:
                self._given = before
                raise
        return self

    # -- parts ---------------------------------------------------------------------------------

    def _check_place(self, *arrays: Any) -> None:
        refuse_gpu("LSHSampler", *arrays)
        if self._index.device == "gpu":
            raise NotImplementedError(
                'LSHSampler has no GPU kernels; move the index by .to("cpu"), and make a sampler over that'
            )

    def _take_given(self, ids: Any, weights: Any) -> None:
        array = self._index.check_ids(ids, None)
        refuse_repeated_ids(array)
        self._refuse_unknown(array, self._index.ordered_ids())
        order = np.argsort(array)
        self._given = read_only(array[order])
        if weights is not None:
            self._weights = _read_weights(weights, array.size)[order]
            self._weight_ends = _weight_ends(self._weights)

    def _known(self, ids: Any, missing: str) -> NDArray[Any]:
        """Return ids of rows of the index; ValueError if there are others, unless they are ignored."""
        array, given = self._index.check_ids(ids, None), self._given
        if missing == "raise" and given is not None:
            refuse_missing_ids(np.setdiff1d(array, given), "ids of the sampler")
        return array

    @staticmethod
    def _refuse_unknown(given: NDArray[Any], there: NDArray[Any]) -> None:
        if not np.isin(there, given).all():
            raise ValueError(
                f"ids must contain all ids of the index, got {given.size} ids, and {there.size} are there; "
                "change the rows by the methods of the sampler"
            )

    def _all_ids(self) -> AllIds:
        """Return all ids that may be drawn; bring the buckets into order."""
        self._check_place()
        index = self._index
        with self._lock:
            there = index.ordered_ids()
            if there is not self._checked:
                if self._given is not None:
                    self._refuse_unknown(self._given, there)
                elif there.size < index.n_updates and index.overflow > 0.0:
                    raise ValueError(
                        f"ids must be given, because full buckets have dropped rows from all tables: the "
                        f"index has {index.n_updates} rows, and {there.size} ids are in its tables"
                    )
                self._checked = there
            return AllIds(there if self._given is None else self._given, self._weight_ends, there)


def _read_weights(weights: Any, n: int) -> NDArray[np.float64]:
    array = check_real_weights("weights", weights, n)
    if not bool((array > 0.0).all()):
        raise ValueError(f"weights must be above 0, got {array.min():g}")
    return array


def _weight_ends(weights: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """Return sums of weights as integers, of which draws are exact: the last is about 2**52."""
    if weights is None or not weights.size:
        return read_only(np.empty(0, np.int64))
    scaled = weights / weights.max()
    scaled *= _WEIGHT_SUM / scaled.sum()
    return read_only(np.cumsum(np.maximum(scaled, 1.0).astype(np.int64)))
