"""Rows of vector codes: they are encoded, appended and merged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import IncompatibleSketchError
from ...lsh.inputs.arrays import check_numbers
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import backend_of, read_only, refuse_gpu
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.lazy import lazy
from ...lsh.support.random import normal, random_uint64
from ...lsh.support.threads import cut_range
from ...lsh.support.types import RowsLike
from ..core.guard import changing, uninterrupted
from ..core.state import Arrays, ArraySpec, State
from ..kernels import vector_codes
from .appended_rows import AppendedRows
from .vector_queries import Rotated, Rotation, rotate_rows

__all__ = ["VectorRows"]

#: Coordinates from which rows are rotated by Hadamard transforms, and not by a matrix.
_MANY = 256
#: The most coordinates, whose products and sums of integers fit 64 bits.
_MOST_FEATURES = 1 << 16
#: Coordinates that are rotated and then encoded at a time, and rows that are worth a thread of their own.
_NUMBERS, _ROWS = 1 << 22, 256


class VectorRows(AppendedRows):
    """Keep the codes of rows; `VectorCodes` adds the queries, and documents the parameters."""

    _internal = True
    _parameters = ("n_features", "bits", "seed")
    _row_arrays = ("codes", "scales", "radii", "offsets", "ids")

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
        self._check_stored_ids(ids, n)

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

    @property
    def center(self) -> NDArray[np.float64]:
        """The point that rows are taken relative to."""
        center = self._arrays["center"]
        return center.copy() if center.size else np.zeros(self.n_features)

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

    def replace(self, ids: ArrayLike, X: RowsLike, *, missing: str = "raise") -> Self:
        """Replace the rows of some ids by others.

        Parameters
        ----------
        ids : array_like of n integers
            Distinct. Rows to which no ids were given have the numbers from 0 on.
        X : array_like or sparse matrix of shape (n, n_features)
            The new rows.
        missing : {"raise", "add"}
            What to do with ids that no row has. "add" appends their rows.

        Returns
        -------
        The codes themselves.

        Raises
        ------
        TypeError, ValueError
            As `update` and `remove` do. Nothing changes then.

        Examples
        --------
        >>> import numpy as np, mergesketch
        >>> X = np.random.default_rng(0).standard_normal((100, 64))
        >>> codes = mergesketch.VectorCodes(n_features=64, bits=4, seed=1).update(X[:90])
        >>> codes.replace([7], X[95:96]).search(X[95:96], k=1).ids
        array([[7]])
        """
        check_choice("missing", missing, ("raise", "add"))
        self._check_place("X", X)
        with self._lock, changing(self, beside_queries=True):
            new = self._encode(X, ids)
            new["ids"], numbers = self._find(ids, missing == "raise")
            is_there = numbers >= 0
            old, added = np.flatnonzero(is_there), np.flatnonzero(~is_there)
            ours: Arrays = {**self._arrays, "ids": self.ids}
            order = np.argsort(np.concatenate([ours["ids"], new["ids"][added]]), kind="stable")
            changed: Arrays = {}
            for name in self._row_arrays:
                xp, theirs = backend_of(ours[name]).xp, new[name]
                if ours[name].size or theirs.size:
                    # A copy, because arrays of a file may be read only.
                    array = xp.concatenate([ours[name], theirs[self._beside(theirs, added)]])
                    array[self._beside(array, numbers[old])] = theirs[self._beside(theirs, old)]
                    changed[name] = array[self._beside(array, order)] if added.size else array
            if not added.size:
                changed["ids"] = self._arrays["ids"]
            with changing(self), uninterrupted():
                self._set_arrays({**self._arrays, **changed})
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

    # -- merging ----------------------------------------------------------------------------------

    def _check_compatible(self, other: object) -> None:
        super()._check_compatible(other)
        assert isinstance(other, VectorRows)
        if not np.array_equal(self._arrays["center"], other._arrays["center"]):
            raise IncompatibleSketchError(f"{type(self).__name__} differ in center")

    def empty_like(self) -> Self:
        """Return codes of the same parameters and centre without rows.

        Returns
        -------
        VectorCodes
        """
        new = super().empty_like()
        new._set_arrays({**new._arrays, "center": self._arrays["center"].copy()})
        return new
