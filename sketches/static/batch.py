"""Keys and values of one call, read once; the values are converted to 64-bit words."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import KEY_KINDS, Keys, read_keys
from ...lsh.support.backend import refuse_gpu
from .dictionary import Dictionary
from .value_kind import ValueKind
from .values import read_values

__all__ = ["Batch", "Kinds", "read_batch"]


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
    """

    keys: Keys
    values: NDArray[Any]
    kind: ValueKind
    words: NDArray[np.uint64]
    dictionary: Dictionary


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
    keys: Any, values: Any, name: str = "values", n_dimensions: int = 1, precision: float | None = None
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

    Raises
    ------
    TypeError, ValueError
        If keys or values are not accepted, or their lengths differ.
    NotImplementedError
        If keys or values are on a GPU.
    """
    refuse_gpu("building a static function or table", keys, values)
    kind, array = read_values(values, name, precision)
    if array.ndim != n_dimensions:
        shape = "be one-dimensional" if n_dimensions == 1 else "have shape (n, columns)"
        raise ValueError(f"{name} must {shape}, got shape {array.shape}")
    if not hasattr(keys, "__len__") or hasattr(keys, "tocsr") or isinstance(keys, (str, bytes)):
        raise TypeError(f"keys must be an array or a list, got {type(keys).__name__}")
    read = read_keys(keys)
    if len(read) != len(array):
        raise ValueError(f"keys and {name} must have the same length, got {len(read)} and {len(array)}")
    dictionary = Dictionary()
    if array.size == 0:
        words = np.empty(array.shape, dtype=np.uint64)
    elif kind.is_text:
        words = dictionary.words(array.reshape(-1), name).reshape(array.shape)
    else:
        words = kind.to_words(array, name)
    return Batch(read, array, kind, words, dictionary)
