"""Objects that keep some numbers of each row in the order of arrival, or of ids: they append and merge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import IncompatibleSketchError
from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import PLACES, backend_of, device_of, refuse_gpu, to_host
from ...lsh.support.checks import check_choice
from ...lsh.support.types import Device
from ...lsh.support.wording import counted
from ..core.guard import changing, locked, uninterrupted
from ..core.merging import StoredMergeable, parts_of
from ..core.state import Arrays
from ..core.stored import Stored
from .row_changes import refuse_missing_ids, refuse_repeated_ids

__all__ = ["AppendedRows"]


class AppendedRows(StoredMergeable):
    """Keep arrays with one entry a row, one of which has the name "ids" and lies in main memory."""

    _internal = True
    #: Names of the arrays with an entry for each row; all objects have the first one.
    _row_arrays: ClassVar[tuple[str, ...]]
    #: Those that have entries for all rows, or for none.
    _optional_arrays: ClassVar[tuple[str, ...]] = ("ids",)

    def __len__(self) -> int:
        return len(self._arrays[self._row_arrays[0]])

    @property
    def n_updates(self) -> int:
        """The number of rows."""
        return len(self._arrays[self._row_arrays[0]])

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of rows, rising: those that were given, or else the numbers from 0 on."""
        ids = self._arrays["ids"]
        return ids.copy() if ids.size else np.arange(len(self), dtype=np.int64)

    @staticmethod
    def _check_stored_ids(ids: NDArray[np.int64], n: int) -> None:
        """Raise ValueError if an array of a file cannot be the ids of n rows."""
        if ids.size not in (0, n) or (ids.size and (ids[0] < 0 or (np.diff(ids) <= 0).any())):
            raise ValueError("ids must be empty, or rise from row to row")

    # -- devices ----------------------------------------------------------------------------------

    def to(self, device: Device) -> Self:
        """Return a copy on a device; updates and queries then take arrays there.

        Parameters
        ----------
        device : {"cpu", "gpu"}
            "gpu" is CuPy's current device. Ids stay in main memory.

        Returns
        -------
        An object of the same class, which shares no memory with this one.

        Raises
        ------
        TypeError, ValueError
            If `device` is neither.
        ImportError, RuntimeError
            For "gpu" if CuPy is not installed, or finds no GPU.
        """
        return self._moved(device)

    def _check_place(self, name: str, given: Any) -> None:
        place = device_of(given)
        if place != self.device:
            raise TypeError(
                f"{name} lies {PLACES[place]}, but the {type(self).__name__} {PLACES[self.device]}: copy the "
                f'array there, or move them with .to("{place}")'
            )

    # -- updates ----------------------------------------------------------------------------------

    def _read_ids(self, ids: Any, n: int) -> NDArray[np.int64]:
        if ids is None:
            return np.zeros(0, np.int64)
        array = check_array("ids", ids)
        if array.shape != (n,) or (n and array.dtype.kind not in "iu"):
            raise ValueError(
                f"ids must be {counted(n, 'integer')} in one dimension, got {array.dtype} of "
                f"shape {array.shape}"
            )
        if n and (int(array.min()) < 0 or int(array.max()) >= 2**63):
            raise ValueError(f"ids must be from 0 to 2**63 - 1, got {array.min()} to {array.max()}")
        return array.astype(np.int64)

    def _append(self, parts: list[Arrays]) -> None:
        """Append the rows of parts, which are not empty, and order all rows by ids if they have ids."""
        ours, n, key = self._arrays, len(self), self._row_arrays[0]
        for name in self._optional_arrays:
            if len({part[name].size > 0 for part in ([ours, *parts] if n else parts)}) > 1:
                raise ValueError(f"{name} must be given for all rows or for none, got some rows with {name}")
        at = n + sum(len(part[key]) for part in parts)
        room: Arrays = self._state.caches.get("room", {})
        if len(room.get(key, ())) < at:
            room = {
                name: self._wider(ours[name], parts[0][name], at)
                for name in self._row_arrays
                if ours[name].size or parts[0][name].size
            }
        start = n
        for part in parts:
            stop = start + len(part[key])
            for name, array in room.items():
                array[start:stop] = part[name]
            start = stop
        arrays = {**ours, **{name: array[:at] for name, array in room.items()}}
        ids = arrays["ids"]
        if (np.diff(ids) <= 0).any():
            order = np.argsort(ids, kind="stable")
            repeated = ids[order][1:][np.diff(ids[order]) == 0]
            if repeated.size:
                raise ValueError(f"ids must be distinct, got {repeated[0]} twice")
            room = {name: array[:at][self._beside(array, order)] for name, array in room.items()}
            arrays = {**ours, **room}
        with changing(self), uninterrupted():
            self._set_arrays(arrays)
            # Rows that are appended next go into the rest of these arrays.
            self._state.caches["room"] = room

    @staticmethod
    def _wider(ours: NDArray[Any], given: NDArray[Any], size: int) -> NDArray[Any]:
        wider = backend_of(given).xp.empty((max(size, 3 * len(ours) // 2), *given.shape[1:]), given.dtype)
        wider[: len(ours)] = ours
        return wider

    @staticmethod
    def _beside(array: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return numbers of rows on the device of an array."""
        return backend_of(array).xp.asarray(numbers)

    def remove(self, ids: ArrayLike, *, missing: str = "raise") -> Self:
        """Remove rows by their ids.

        Parameters
        ----------
        ids : array_like of n integers
            Distinct. Rows to which no ids were given have the numbers from 0 on.
        missing : {"raise", "ignore"}
            What to do with ids that no row has.

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            If ids are not distinct integers, or no rows have them. Nothing changes then.

        Notes
        -----
        The other rows keep their ids, so that they have ids afterwards, and rows that are appended need ids,
        too. If no row is left, the object is as new. If no row is removed, nothing changes. Cost: a copy of
        the other rows.
        """
        check_choice("missing", missing, ("raise", "ignore"))
        with self._lock, changing(self, beside_queries=True):
            _, numbers = self._find(ids, missing == "raise")
            gone = numbers[numbers >= 0]
            if not gone.size:
                # Rows without ids need none either.
                return self
            stay = np.delete(np.arange(len(self)), gone)
            ours = {**self._arrays, "ids": self.ids}
            kept = {n: ours[n][self._beside(ours[n], stay)] for n in self._row_arrays if ours[n].size}
            with changing(self), uninterrupted():
                self._set_arrays({**ours, **kept})
        return self

    def _find(self, ids: Any, refuse_missing: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return distinct ids, and the numbers of the rows that have them, -1 if none has."""
        refuse_gpu(f"{type(self).__name__} ids", ids)
        if ids is None:
            raise TypeError("ids must be integers, got None")
        asked = self._read_ids(ids, np.size(ids))
        refuse_repeated_ids(asked)
        ours = self.ids
        numbers = np.searchsorted(ours, asked)
        numbers[numbers == ours.size] = -1
        if ours.size:
            numbers[ours[numbers] != asked] = -1
        if refuse_missing:
            refuse_missing_ids(asked[numbers < 0], "rows")
        return asked, numbers

    # -- merging ----------------------------------------------------------------------------------

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Append the rows of others of the same parameters, in place.

        Parameters
        ----------
        *others : objects of the same class, or iterables of them
            They are not changed.

        Returns
        -------
        The object itself.

        Raises
        ------
        IncompatibleSketchError
            If parameters differ, or some rows have ids and others none, or two have the same id. Nothing
            changes then.
        """
        parts: tuple[Self, ...] = parts_of(others)
        for part in parts:
            self._check_compatible(part)
        with locked(self, *parts), changing(self):
            here = [part if part.device == self.device else part._moved(self.device) for part in parts]
            added = [dict(part._arrays) for part in here if len(part)]
            try:
                if added:
                    self._append(added)
            except ValueError as error:
                raise IncompatibleSketchError(f"{type(self).__name__} cannot merge: {error}") from None
        return self

    def _facts(self) -> list[tuple[str, str]]:
        return [("rows", f"{len(self):,}"), *super()._facts()]

    def __repr__(self) -> str:
        return f"<{Stored.__repr__(self)}: {counted(len(self), 'row')}, {self.nbytes:,} bytes>"

    # -- queries ----------------------------------------------------------------------------------

    def _read_numbers(self, rows: Any, n_queries: int) -> NDArray[np.int64]:
        """Return the numbers of rows that each query asks about: shape (n_queries, m)."""
        numbers, n = to_host(check_array("rows", rows)), len(self)
        if numbers.ndim == 1:
            numbers = np.broadcast_to(numbers, (n_queries, numbers.size))
        if (
            numbers.ndim != 2
            or len(numbers) != n_queries
            or (numbers.size and numbers.dtype.kind not in "iu")
        ):
            raise ValueError(
                f"rows must be integers of shape (m,) or ({n_queries}, m), got {numbers.dtype} of "
                f"{numbers.shape}"
            )
        if numbers.size and (int(numbers.min()) < 0 or int(numbers.max()) >= n):
            raise ValueError(f"rows must be from 0 to {n - 1}, got {numbers.min()} to {numbers.max()}")
        made: NDArray[np.int64] = self._backend.xp.asarray(np.ascontiguousarray(numbers, np.int64))
        return made
