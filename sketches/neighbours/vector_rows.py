"""Rows of vector codes: they are encoded, appended and merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import IncompatibleSketchError
from ...lsh.inputs.arrays import check_array, check_numbers
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import PLACES, backend_of, device_of, read_only, refuse_gpu
from ...lsh.support.checks import check_int
from ...lsh.support.configured import differing_field
from ...lsh.support.lazy import lazy
from ...lsh.support.random import normal, random_uint64
from ...lsh.support.threads import cut_range
from ...lsh.support.types import Device, RowsLike
from ...lsh.support.wording import counted
from ..core.guard import changing, locked, uninterrupted
from ..core.merging import StoredMergeable, parts_of
from ..core.state import Arrays, ArraySpec, State
from ..core.stored import Stored
from ..kernels import vector_codes
from .vector_queries import Rotated, Rotation, rotate_rows

__all__ = ["VectorRows"]

#: Coordinates from which rows are rotated by Hadamard transforms, and not by a matrix.
_MANY = 256
#: The most coordinates, whose products and sums of integers fit 64 bits.
_MOST_FEATURES = 1 << 16
#: Coordinates that are rotated and then encoded at a time, and rows that are worth a thread of their own.
_NUMBERS, _ROWS = 1 << 22, 256
#: Arrays with an entry for each row.
_OF_ROWS = ("codes", "scales", "radii", "offsets", "ids")


class VectorRows(StoredMergeable):
    """Keep the codes of rows; `VectorCodes` adds the queries, and documents the parameters."""

    _internal = True
    _parameters = ("n_features", "bits", "seed")

    def __init__(
        self, n_features: int, bits: int = 1, *, center: ArrayLike | None = None, seed: int = 0
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1, _MOST_FEATURES)
        self.bits = check_int("bits", bits, 1, 8)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        if center is not None:
            self._set_arrays({**self._arrays, "center": self._read_center(center)})

    def _read_center(self, center: ArrayLike) -> NDArray[np.float64]:
        refuse_gpu("VectorCodes", center)
        point = check_numbers("center", center)
        if point.shape != (self.n_features,):
            raise ValueError(f"center must have shape ({self.n_features},), got {point.shape}")
        if not np.isfinite(point).all():
            raise ValueError("center must be finite, got NaN or infinity")
        if not np.linalg.norm(point / max(1.0, float(np.abs(point).max()))) * np.abs(point).max() < 1e38:
            raise ValueError("center must have a length below 1e38")
        return point.copy() if point.any() else np.zeros(0)

    # -- state ------------------------------------------------------------------------------------

    @property
    def _n_words(self) -> int:
        """The number of words of a plane."""
        return -(-self.n_features // 64)

    @property
    def _n_drawn(self) -> int:
        size = 64 * self._n_words
        return size * size if size < _MANY else size

    @lazy
    def _state(self) -> State[ArraySpec]:
        specs = {
            "codes": ArraySpec("uint64", 2, on_device=True),
            "scales": ArraySpec("float32", on_device=True),
            "radii": ArraySpec("float32", on_device=True),
            # Products of the centre with rows less the centre. Without a centre there are none.
            "offsets": ArraySpec("float32", on_device=True),
            # Without ids, rows have the numbers from 0 on.
            "ids": ArraySpec("int64"),
            "center": ArraySpec("float64"),
        }
        arrays: Arrays = {
            name: np.zeros((0,) if spec.n_dimensions == 1 else (0, self.bits * self._n_words), spec.dtype)
            for name, spec in specs.items()
        }
        return State(type(self).__name__, specs, arrays)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        n, center, ids = len(arrays["codes"]), arrays["center"], arrays["ids"]
        if arrays["codes"].shape[1] != self.bits * self._n_words:
            raise ValueError(f"codes must have {self.bits * self._n_words} columns")
        if center.size and (center.size != self.n_features or not np.isfinite(center).all()):
            raise ValueError(f"center must be empty, or {self.n_features} finite numbers")
        sizes = {"scales": n, "radii": n, "offsets": n if center.size else 0}
        for name, size in sizes.items():
            if arrays[name].size != size or not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} must be {size} finite numbers")
        if min(arrays["scales"].min(initial=0.0), arrays["radii"].min(initial=0.0)) < 0.0:
            raise ValueError("scales and radii must be at least 0")
        if ids.size not in (0, n) or (ids.size and (ids[0] < 0 or (np.diff(ids) <= 0).any())):
            raise ValueError("ids must be empty, or rise from row to row")

    # -- devices ----------------------------------------------------------------------------------

    def to(self, device: Device) -> Self:
        """Return a copy of the codes on a device; updates and queries take rows there.

        Parameters
        ----------
        device : {"cpu", "gpu"}
            "gpu" is CuPy's current device. Ids and the centre stay in main memory.

        Returns
        -------
        Equal codes, which share no memory with these.

        Raises
        ------
        TypeError, ValueError
            If `device` is no such name.
        ImportError, RuntimeError
            For "gpu" if CuPy is not installed, or finds no GPU.
        """
        return self._moved(device)

    def _check_place(self, name: str, array: Any) -> None:
        """Refuse rows on another device than the codes."""
        device = device_of(array)
        if device != self.device:
            raise TypeError(
                f"{name} lies {PLACES[device]}, but the VectorCodes {PLACES[self.device]}: copy the rows "
                f'there, or move the codes with .to("{device}")'
            )

    @lazy
    def _rotation(self) -> Rotation:
        size = 64 * self._n_words
        if size < _MANY:
            matrix, normals = np.eye(size), normal(self.seed, "vector codes matrix", size * (size + 1) // 2)
            vector_codes.draw_rotation(normals.astype(np.float64), matrix)
            return Rotation(np.ascontiguousarray(matrix.T, np.float32), np.zeros((0, 48), np.uint16))
        part = 1 << (size.bit_length() - 1)
        turns = 1 if part == size else 4
        words = random_uint64(self.seed, "vector codes signs", turns * 3 * part // 64)
        masks = words.astype("<u8").view("<u2").astype(np.uint16).reshape(turns, 3 * part // 16)
        return Rotation(np.zeros((0, 0), np.float32), masks)

    def __len__(self) -> int:
        return len(self._arrays["codes"])

    @property
    def n_updates(self) -> int:
        """The number of rows."""
        return len(self._arrays["codes"])

    @property
    def center(self) -> NDArray[np.float64]:
        """The point that rows are taken relative to."""
        center = self._arrays["center"]
        return center.copy() if center.size else np.zeros(self.n_features)

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of rows, rising: those that were given, or else the numbers from 0 on."""
        ids = self._arrays["ids"]
        return ids.copy() if ids.size else np.arange(len(self), dtype=np.int64)

    # -- updates ----------------------------------------------------------------------------------

    def update(self, X: RowsLike, ids: ArrayLike | None = None) -> Self:
        """Append rows.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        ids : array_like of n integers, optional
            Distinct, at least 0, and not those of other rows. Either all rows have ids, or none. Without ids,
            rows are numbered from 0 on.

        Returns
        -------
        The codes themselves.

        Raises
        ------
        TypeError, ValueError
            If the rows have another width, are not finite, or are too long for float32; if ids are not n
            distinct integers, or some rows have ids and others none. Nothing changes then.
        """
        refuse_gpu("VectorCodes", ids)
        self._check_place("X", X)
        with self._lock, changing(self, beside_queries=True):
            added = self._encode(X, ids)
            if len(added["codes"]):
                self._append([added])
        return self

    def _encode(self, X: Any, ids: Any) -> Arrays:
        """Return the arrays of new rows."""
        rows, center = read_rows(X, self.n_features), read_only(self._arrays["center"])
        n, words, xp = rows.n, self._n_words, self._backend.xp
        codes, scales = xp.empty((n, self.bits * words), np.uint64), xp.empty(n, np.float32)
        radii, offsets = xp.empty(n, np.float32), xp.empty(n if center.size else 0, np.float32)
        encode_rows = self._backend.kernels(vector_codes).encode_rows
        for first, last in cut_range(0, n, max(_ROWS, _NUMBERS // (64 * words))):
            part, given = slice(first, last), rows.cut(first, last)
            rotated = rotate_rows("X", given, first, center, self._rotation, 64 * words)
            out = codes[part], scales[part]

            def encode(a: int, b: int, rotated: Rotated = rotated, out: Any = out) -> None:
                encode_rows(*rotated[:3], self.bits, a, b, *out)

            self._backend.map_blocks(encode, last - first, _ROWS)
            radii[part] = rotated.radii
            if center.size:
                offsets[part] = rotated.offsets
        numbers = self._read_ids(ids, n)
        return {"codes": codes, "scales": scales, "radii": radii, "offsets": offsets, "ids": numbers}

    def _read_ids(self, ids: Any, n: int) -> NDArray[np.int64]:
        if ids is None:
            return np.zeros(0, np.int64)
        array = check_array("ids", ids)
        if array.shape != (n,) or (n and array.dtype.kind not in "iu"):
            raise ValueError(f"ids must be {counted(n, 'integer')}, got {array.dtype} of {array.shape}")
        if n and (int(array.min()) < 0 or int(array.max()) >= 2**63):
            raise ValueError(f"ids must be from 0 to 2**63 - 1, got {array.min()} to {array.max()}")
        return array.astype(np.int64)

    def _append(self, parts: list[Arrays]) -> None:
        """Append the rows of parts, which are not empty, and order all rows by ids if they have ids."""
        ours, n = self._arrays, len(self)
        with_ids = {part["ids"].size > 0 for part in ([ours, *parts] if n else parts)}
        if len(with_ids) > 1:
            raise ValueError("ids must be given for all rows or for none, got some rows with ids")
        more = sum(len(part["codes"]) for part in parts)
        room: Arrays = self._state.caches.get("room", {})
        if len(room.get("codes", ())) < n + more:
            room = {
                name: self._wider(ours[name], parts[0][name], n + more)
                for name in _OF_ROWS
                if ours[name].size or parts[0][name].size
            }
        at = n
        for part in parts:
            stop = at + len(part["codes"])
            for name, array in room.items():
                array[at:stop] = part[name]
            at = stop
        arrays = {**ours, **{name: array[:at] for name, array in room.items()}}
        if True in with_ids:
            ids = arrays["ids"]
            if (np.diff(ids) <= 0).any():
                order = np.argsort(ids, kind="stable")
                repeated = ids[order][1:][np.diff(ids[order]) == 0]
                if repeated.size:
                    raise ValueError(f"ids must be distinct, got {repeated[0]} twice")
                there = self._backend.xp.asarray(order)
                room = {name: array[:at][order if name == "ids" else there] for name, array in room.items()}
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

    # -- merging ----------------------------------------------------------------------------------

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Append the rows of other codes of the same parameters and centre, in place.

        Parameters
        ----------
        *others : VectorCodes, or iterables of them
            They are not changed.

        Returns
        -------
        The codes themselves.

        Raises
        ------
        IncompatibleSketchError
            If parameters or centres differ, or some rows have ids and others none, or two have the same id.
            Nothing changes then.
        """
        parts: tuple[Self, ...] = parts_of(others)
        for part in parts:
            self._check_compatible(part)
        with locked(self, *parts), changing(self):
            here = [part if part.device == self.device else part.to(self.device) for part in parts]
            added = [dict(part._arrays) for part in here if len(part)]
            try:
                if added:
                    self._append(added)
            except ValueError as error:
                raise IncompatibleSketchError(f"VectorCodes cannot merge: {error}") from None
        return self

    def _check_compatible(self, other: object) -> None:
        if not isinstance(other, VectorRows):
            raise IncompatibleSketchError(f"expected VectorCodes to merge, got {type(other).__name__}")
        difference = differing_field(self.config(), other.config())
        if difference is not None:
            raise IncompatibleSketchError(f"VectorCodes differ in {difference}")
        if not np.array_equal(self._arrays["center"], other._arrays["center"]):
            raise IncompatibleSketchError("VectorCodes differ in center")

    def _merged(self, *others: Self) -> Self:
        return self.copy().merge(*others)

    def empty_like(self) -> Self:
        """Return codes of the same parameters and centre on the same device, without rows.

        Returns
        -------
        VectorCodes
        """
        new = self._without_arrays()
        new._set_arrays({**new._arrays, "center": self._arrays["center"].copy()})
        return new if self.device == "cpu" else new.to(self.device)

    def copy(self) -> Self:
        """Return equal codes, which share no memory with these.

        Returns
        -------
        VectorCodes
        """
        new = self._without_arrays()
        with self._lock:
            new._state = self._state.copy()
        return new

    def __copy__(self) -> Self:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return Stored.__reduce__(self.copy())

    def _facts(self) -> list[tuple[str, str]]:
        return [("rows", f"{len(self):,}"), *super()._facts()]

    def __repr__(self) -> str:
        return f"<{Stored.__repr__(self)}: {counted(len(self), 'row')}, {self.nbytes:,} bytes>"
