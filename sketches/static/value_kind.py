"""The kind of a map's values: their type, and how a value becomes a 64-bit word and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.checks import check_real

__all__ = ["ValueKind"]

_SIGN = np.uint64(1 << 63)
#: The largest multiple of a precision, in absolute value: float64 represents all smaller integers.
_MAX_STEPS = 2.0**53
#: The kinds of NumPy dtypes that a look-up may return for each kind of values.
_DTYPE_KINDS = {"int": "iu", "bool": "b", "float": "f", "step": "f", "str": "OU", "bytes": "OS"}


class ValueKind(NamedTuple):
    """The type of values, in JSON-able words.

    Attributes
    ----------
    kind : str
        "int", "bool", "float" (the bits of the floats), "step" (floats as multiples of `precision`), "str" or
        "bytes".
    dtype : str
        NumPy's name of the dtype that a look-up returns: "int32", "float32", "object", "S7", "U3", ...
    precision : float
        0 except for "step".
    """

    kind: str
    dtype: str
    precision: float = 0.0

    @property
    def is_text(self) -> bool:
        return self.kind in ("str", "bytes")

    def config(self) -> dict[str, Any]:
        return self._asdict()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ValueKind:
        """Return the kind of a configuration; raise ValueError if no values can have it."""
        new = cls(config["kind"], config["dtype"], config["precision"])
        try:
            dtype = np.dtype(new.dtype)
        except TypeError as error:
            raise ValueError(f"dtype must be a NumPy dtype, got {new.dtype!r}") from error
        if dtype.kind not in _DTYPE_KINDS.get(new.kind, "") or dtype.str[0] == ">":
            raise ValueError(f"expected a kind of values and its dtype, got {new.kind!r} as {new.dtype!r}")
        if dtype.kind == "f" and dtype.itemsize not in (4, 8):
            raise ValueError(f"floats must be float32 or float64, got {new.dtype}")
        if new.kind == "step":
            check_real("precision", new.precision, 0.0, np.inf)
        return new

    def to_words(self, values: NDArray[Any], name: str) -> NDArray[np.uint64]:
        """Return numbers as words; those of integers, booleans and steps have the order of the numbers."""
        if self.kind == "int":
            if values.dtype.kind == "u":
                return values.astype(np.uint64)
            return values.astype(np.int64).view(np.uint64) ^ _SIGN
        if self.kind == "bool":
            return values.astype(np.uint64)
        if self.kind == "float":
            bits = np.ascontiguousarray(values).view(np.uint32 if values.dtype.itemsize == 4 else np.uint64)
            return bits.astype(np.uint64)
        steps = np.rint(values.astype(np.float64) / self.precision)
        is_valid = np.abs(steps) <= _MAX_STEPS
        if not is_valid.all():
            raise ValueError(
                f"{name} must be finite and within 2**53 steps of precision={self.precision}, got "
                f"{values[~is_valid][0]}"
            )
        return steps.astype(np.int64).view(np.uint64) ^ _SIGN

    def from_words(self, words: NDArray[np.uint64]) -> NDArray[Any]:
        """Return the numbers of words, which may be overwritten."""
        dtype = np.dtype(self.dtype)
        if self.kind == "int" and dtype.kind == "i":
            words ^= _SIGN
            return words.view(np.int64).astype(dtype)
        if self.kind in ("int", "bool"):
            return words.astype(dtype)
        if self.kind == "float":
            return words.astype(np.uint32).view(dtype) if dtype.itemsize == 4 else words.view(dtype)
        words ^= _SIGN
        return (words.view(np.int64) * self.precision).astype(dtype)

    def fitted(self, entries: list[bytes]) -> ValueKind:
        """Return the kind with the least width that fits all entries, if the dtype has a width."""
        if self.dtype == "object":
            return self
        if self.kind == "str":
            return self._replace(dtype=f"U{max([1, *(len(entry.decode()) for entry in entries)])}")
        return self._replace(dtype=f"S{max([1, *map(len, entries)])}")

    def joined(self, other: ValueKind) -> ValueKind:
        """Return the kind of the values of both; raise TypeError if no kind fits both."""
        ours, theirs = np.dtype(self.dtype), np.dtype(other.dtype)
        if self.kind == other.kind and self.is_text:
            # The width of S and U is fitted to the entries in the end.
            return self if ours.kind == "O" else other
        if self == other or (self.kind == other.kind == "int" and ours.kind == theirs.kind):
            return self if ours.itemsize >= theirs.itemsize else other
        raise TypeError(
            f"values must be of one kind, got {other.kind} ({other.dtype}) after {self.kind} ({self.dtype})"
        )
