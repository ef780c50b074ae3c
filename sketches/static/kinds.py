"""Which keys and values batches have, so that only those of a kind come together."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Keys
from .map import kind_of_none
from .values import ValueKind, kind_of_values

__all__ = ["Kinds"]


class Kinds(NamedTuple):
    """What there was in the batches that came.

    Attributes
    ----------
    keys : str
        "int", "bytes", or "" as long as there was no key.
    signed : bool
        Whether some integer keys were negative.
    values : ValueKind or None
        None as long as there was no value.
    no_values : ValueKind or None
        Of batches without records: what their values would have been.
    """

    keys: str = ""
    signed: bool = False
    values: ValueKind | None = None
    no_values: ValueKind | None = None

    @classmethod
    def of(cls, keys: Keys, values: NDArray[Any], precision: float | None) -> Kinds:
        """Those of a batch. TypeError if its values are mixed, or of none of the kinds."""
        kind, signed = keys.kind, keys.has_negative
        if values.size == 0:
            return cls(kind, signed, None, kind_of_none(values))
        return cls(kind, signed, kind_of_values(values, precision, "values"))

    def joined(self, other: Kinds) -> Kinds:
        """Those of both together. TypeError if they do not go together."""
        if self.keys and other.keys and self.keys != other.keys:
            names = {"int": "integers", "bytes": "strings or bytes"}
            raise TypeError(f"keys must be {names[self.keys]} as before, got {names[other.keys]}")
        values = self.values or other.values
        if self.values is not None and other.values is not None:
            values = self.values.joined(other.values)
        none = _joined_none(self.no_values, other.no_values)
        return Kinds(self.keys or other.keys, self.signed or other.signed, values, none)

    @property
    def result(self) -> ValueKind:
        """The kind of all values."""
        return self.values or self.no_values or kind_of_none(np.empty(0))


def _joined_none(one: ValueKind | None, other: ValueKind | None) -> ValueKind | None:
    """Of two kinds of no values: the wider, or whichever, but the same for any order."""
    if one is None or other is None:
        return one or other
    try:
        return one.joined(other)
    except TypeError:
        return min(one, other)
