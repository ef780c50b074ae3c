"""Keys and values of one call, read once; the values are converted to 64-bit words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import KEY_KINDS, Keys, read_key_list, read_keys
from ...lsh.support.backend import refuse_gpu
from .dictionary import Dictionary
from .frames import Columns
from .value_kind import ValueKind
from .values import read_values

__all__ = ["Batch", "Kinds", "items_of_dict", "read_batch", "read_frame_batch"]


class Batch(NamedTuple):
    """Keys and their values.

    Attributes
    ----------
    keys : Keys
    values : ndarray
        The values in an array of shape (n,) or (n, columns).
    kind : ValueKind
    words : ndarray of uint64, of the shape of the values
        The word of each value: a number as its kind converts it, or the hash of a text.
    dictionary : Dictionary
        The texts; empty if the values are numbers.
    missing : ndarray of bool, or None
        Where values are missing; their words say nothing. None if no value is missing.
    columns : tuple of ValueKind
        The kind of each column if the rows came in a frame, and `kind` does not say it.
    frame : str
        The kind of the frame, as in `FRAMES`; "" for other values.
    names : list of str
        The names of the columns of a frame.
    """

    keys: Keys
    values: NDArray[Any]
    kind: ValueKind
    words: NDArray[np.uint64]
    dictionary: Dictionary
    missing: NDArray[np.bool_] | None = None
    columns: tuple[ValueKind, ...] = ()
    frame: str = ""
    names: tuple[str, ...] = ()

    def shown(self, row: int) -> Any:
        """Return the value, or the values, of a row for messages."""
        value = self.values[row]
        if self.missing is not None and self.missing[row].any():
            value = np.where(self.missing[row], None, value)
        return value.tolist() if hasattr(value, "tolist") else value


class Kinds(NamedTuple):
    """The kinds of the keys and values of some batches.

    Attributes
    ----------
    keys : str
        "int", "bytes", or "" if there was no key.
    has_negative : bool
        True if an integer key was negative.
    values : ValueKind or None
        None if there was no value.
    of_empty : ValueKind or None
        The kind that a batch without values names by its dtype; None if no batch was empty.
    """

    keys: str = ""
    has_negative: bool = False
    values: ValueKind | None = None
    of_empty: ValueKind | None = None

    @classmethod
    def of(cls, batch: Batch) -> Kinds:
        """Return the kinds of one batch."""
        values, of_empty = (batch.kind, None) if batch.values.size else (None, batch.kind)
        return cls(batch.keys.kind, batch.keys.has_negative, values, of_empty)

    def joined(self, other: Kinds) -> Kinds:
        """Return the kinds of both together; raise TypeError if they differ."""
        if self.keys and other.keys and self.keys != other.keys:
            raise TypeError(f"keys must be {KEY_KINDS[self.keys]} as before, got {KEY_KINDS[other.keys]}")
        values = self.values or other.values
        if self.values and other.values:
            values = self.values.joined(other.values)
        of_empty = self.of_empty or other.of_empty
        if self.of_empty and other.of_empty:
            try:
                of_empty = self.of_empty.joined(other.of_empty)
            except TypeError:
                # Any of the two would do, but the order of the batches must not matter.
                of_empty = min(self.of_empty, other.of_empty)
        return Kinds(self.keys or other.keys, self.has_negative or other.has_negative, values, of_empty)

    @property
    def result(self) -> ValueKind:
        """The kind of all values."""
        return self.values or self.of_empty or ValueKind("int", "int64")


def read_batch(
    keys: Any,
    values: Any,
    name: str = "values",
    n_dimensions: int = 1,
    precision: float | None = None,
    *,
    may_be_one: bool = False,
) -> Batch:
    """Read keys and values of any container, and convert the values to words.

    Parameters
    ----------
    keys, values : arrays, lists or columns of n keys and n values
    name : str
        The name of the argument `values`, for messages.
    n_dimensions : {1, 2}
        1 for one value a key, 2 for a row of values a key.
    precision : float, optional
        For floats: the values become multiples of it.
    may_be_one : bool
        True to take one key and its value too.

    Raises
    ------
    TypeError, ValueError
        If keys or values are not accepted, or their lengths differ.
    NotImplementedError
        If keys or values are on a GPU.
    """
    keys, values = items_of_dict(keys, values, name)
    refuse_gpu("building a static function or table", keys, values)
    read = read_keys(keys) if may_be_one else read_key_list(keys)
    if read.is_single and np.ndim(values) == 0:
        values = values.reshape(1) if isinstance(values, np.ndarray) else [values]
    kind, array, missing = read_values(values, name, precision)
    if array.ndim != n_dimensions:
        shape = "be one-dimensional" if n_dimensions == 1 else "have shape (n, columns)"
        raise ValueError(f"{name} must {shape}, got shape {array.shape}")
    if len(read) != len(array):
        raise ValueError(f"keys and {name} must have the same length, got {len(read)} and {len(array)}")
    dictionary = Dictionary()
    return Batch(read, array, kind, _words(kind, array, missing, dictionary, name), dictionary, missing)


def read_frame_batch(keys: Any, rows: Columns, precision: float | None = None) -> Batch:
    """Read keys, and the columns of a frame, which may have different kinds.

    Raises
    ------
    TypeError, ValueError
        If keys or values are not accepted, lengths differ, or one column has strings and another bytes.
    """
    refuse_gpu("building a static table", keys, *rows.columns)
    read, dictionary = read_key_list(keys), Dictionary()
    shape = (len(read), len(rows.names))
    words, values = np.zeros(shape, np.uint64), np.empty(shape, dtype=object)
    missing, kinds = np.zeros(shape, np.bool_), []
    for place, (label, column) in enumerate(zip(rows.names, rows.columns, strict=True)):
        name = f"rows[{label!r}]"
        # A precision is for the columns of floats.
        found = read_values(column, name)
        if precision is not None and found.kind.kind == "float":
            found = read_values(column, name, precision)
        kind, array, absent = found
        if array.shape != (len(read),):
            raise ValueError(
                f"{name} must have one value for each of the {len(read)} keys, got shape {array.shape}"
            )
        if kind.is_text:
            kind = kind._replace(dtype="object")
        words[:, place] = _words(kind, array, absent, dictionary, name)
        values[:, place] = array.tolist()
        if absent is not None:
            missing[:, place] = absent
        kinds.append(kind)
    texts = {kind.kind for kind in kinds if kind.is_text}
    if len(texts) > 1:
        raise TypeError("rows must have strings or bytes, got columns of both: encode or decode some of them")
    return Batch(
        read,
        values,
        ValueKind("int", "int64"),
        words,
        dictionary,
        missing if missing.any() else None,
        tuple(kinds),
        rows.frame,
        tuple(rows.names),
    )


def items_of_dict(keys: Any, values: Any, name: str) -> tuple[Any, Any]:
    """Return keys and values apart if a dict with both was given in place of the keys."""
    if not isinstance(keys, Mapping):
        if values is None:
            raise TypeError(
                f"{name} must be given unless keys is a dict with them, got {type(keys).__name__}"
            )
        return keys, values
    if values is not None:
        raise TypeError(f"{name} must not be given if keys is a dict with them")
    return list(keys), list(keys.values())


def _words(
    kind: ValueKind,
    array: NDArray[Any],
    missing: NDArray[np.bool_] | None,
    dictionary: Dictionary,
    name: str,
) -> NDArray[np.uint64]:
    """Return the word of each value, and add texts to the dictionary."""
    words: NDArray[np.uint64] = np.zeros(array.shape, dtype=np.uint64)
    present = np.full(array.shape, True) if missing is None else ~missing
    if not kind.is_text:
        return kind.to_words(array, name) if array.size else words
    if present.any():
        words[present] = dictionary.words(array[present], name)
    return words
