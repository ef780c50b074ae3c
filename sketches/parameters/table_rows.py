"""Rows of virtual tables: numbers of 64 bits, strings or bytes, in arrays of any shape."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Keys, is_key, read_keys
from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_int

__all__ = ["Bags", "TableRows", "read_pairs", "read_row_numbers", "read_shapes", "read_table_rows"]

_FORMS = ("int", "str", "bytes", "")


class TableRows(NamedTuple):
    """Rows that have been read.

    Attributes
    ----------
    words : ndarray of shape (n,), uint64
        The numbers modulo 2**64, or the hashes of strings.
    shape : tuple of int
        The shape in which the rows were given; its product is n.
    are_numbers : bool
        False for strings, whose words are hashes.
    has_negative : bool
    """

    words: NDArray[np.uint64]
    shape: tuple[int, ...]
    are_numbers: bool
    has_negative: bool


class Bags(NamedTuple):
    """Rows that are added up in bags; both arrays are empty where every row is a bag and has the factor 1.

    Attributes
    ----------
    offsets : ndarray of shape (n_bags + 1,), int64
        Bag b has the rows from ``offsets[b]`` to ``offsets[b + 1]``.
    factors : ndarray of shape (n,)
        The factor of each row, of the dtype of the parameters.
    """

    offsets: NDArray[np.int64]
    factors: NDArray[Any]

    def cut(self, start: int, stop: int) -> tuple[Bags, slice]:
        """Return the bags [start, stop) as bags of their own rows, and these rows."""
        if self.offsets.size == 0:
            return Bags(self.offsets, self.factors[start:stop]), slice(start, stop)
        rows = slice(int(self.offsets[start]), int(self.offsets[stop]))
        offsets = read_only(self.offsets[start : stop + 1] - rows.start)
        return Bags(offsets, self.factors[rows]), rows


def read_table_rows(rows: Any, seed: int, name: str = "rows") -> TableRows:
    """Read one row, or rows in an array of any shape, a list or a column."""
    flat, shape = _flattened(rows, name)
    keys = _checked(read_keys(flat, name), name)
    return TableRows(_words(keys, seed), (len(keys),) if shape is None else shape, *_numbers(keys))


def read_row_numbers(rows: Any, n_rows: int | None = None, name: str = "rows") -> TableRows:
    """Read one row number, or row numbers in an array of any shape; they lie in [0, n_rows)."""
    wanted = f"{name} must be row numbers" + (
        " of at least 0" if n_rows is None else f" from 0 to {n_rows - 1}"
    )
    read = read_table_rows(rows, 0, name)
    if not read.are_numbers:
        raise TypeError(f"{wanted}, got strings or bytes, which only hashed maps take")
    largest = int(read.words.max()) if read.words.size else 0
    if read.has_negative or largest >= (1 << 63 if n_rows is None else n_rows):
        got = int(read.words.view(np.int64).min()) if read.has_negative else largest
        raise ValueError(f"{wanted}, got {got}")
    return read


def read_pairs(rows: Any, seed: int, name: str = "rows") -> TableRows:
    """Read pairs: an array whose last dimension is 2, a list of tuples, or a frame of two columns."""
    wanted = f"{name} must be pairs, in an array of shape (..., 2) or a list of tuples"
    if is_key(rows):
        raise TypeError(f"{wanted}, got {rows!r}")
    if isinstance(rows, list) and (not rows or not isinstance(rows[0], tuple)):
        rows = _nested(rows, name) if rows else np.empty((0, 2), np.int64)
    shape: tuple[int, ...] | None = None
    if hasattr(rows, "reshape") and not hasattr(rows, "columns"):
        shape = tuple(rows.shape)
        if len(shape) == 0 or shape[-1] != 2:
            raise ValueError(f"{wanted}, got shape {shape}")
        refuse_gpu("a PairMap", rows)
        flat = _flattened(rows, name)[0].reshape(-1, 2)
        pairs = Keys("tuple", parts=(read_keys(flat[:, 0], name), read_keys(flat[:, 1], name)))
    else:
        pairs = read_keys(rows, name)
    if len(pairs) and len(pairs.parts) != 2:
        raise ValueError(f"{wanted}, got keys of {max(1, len(pairs.parts))} parts")
    # A string is hashed first, so that its hash is another name of it, as in rows that are no pairs.
    parts = tuple(Keys("int", words=_words(_checked(part, name), seed)) for part in pairs.parts)
    words = Keys("tuple", parts=parts).hashes(seed) if len(pairs) else np.empty(0, np.uint64)
    return TableRows(read_only(words), (len(pairs),) if shape is None else shape[:-1], False, False)


def _flattened(rows: Any, name: str) -> tuple[Any, tuple[int, ...] | None]:
    """Return arrays and nested lists as arrays of one dimension, and their shape; None for other rows."""
    if isinstance(rows, list) and rows and isinstance(rows[0], (list, tuple, np.ndarray)):
        rows = _nested(rows, name)
    if is_key(rows):
        return rows, ()
    shape = getattr(rows, "shape", None)
    if not isinstance(shape, tuple) or not hasattr(rows, "reshape") or len(shape) == 1:
        return rows, None
    return check_array(name, rows).reshape(-1), tuple(shape)


def _nested(rows: Any, name: str) -> NDArray[Any]:
    """Return nested lists as an array, whose elements are those of the lists."""
    refuse_flags(name, rows)
    array = check_array(name, rows)
    if array.dtype.kind in "iu":
        return array
    # NumPy would make strings of numbers beside strings, cut NULs at their ends, and make floats of integers
    # beyond 63 bits. Objects are checked one by one.
    objects = np.empty(array.shape, object)
    objects[...] = rows
    return objects


def _checked(keys: Keys, name: str) -> Keys:
    if keys.form not in _FORMS:
        raise TypeError(f"{name} must be integers, strings or bytes, got keys of the kind {keys.form}")
    return keys


def _words(keys: Keys, seed: int) -> NDArray[np.uint64]:
    return read_only(keys.hashes(seed) if keys.words is None else keys.words)


def _numbers(keys: Keys) -> tuple[bool, bool]:
    return keys.form in ("int", ""), keys.has_negative


def read_shapes(shapes: Any) -> tuple[tuple[int, int], ...]:
    """Read the shapes of tables, of which there is at least one."""
    try:
        pairs = [tuple(shape) for shape in shapes]
    except TypeError:
        pairs = []
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"shapes must be a sequence of pairs (n_rows, n_columns), got {shapes!r}")
    names = ("n_rows of shapes", "n_columns of shapes")
    return tuple(
        (check_int(names[0], pair[0], 1), check_int(names[1], pair[1], 1, 1 << 30)) for pair in pairs
    )
