"""The kind of a map's values: their type, and how a value becomes a 64-bit word and back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal, localcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.checks import check_int, check_real

__all__ = ["MAX_SCALE", "ValueKind", "as_object"]

_SIGN = np.uint64(1 << 63)
#: The largest multiple of a precision, in absolute value: float64 represents all smaller integers.
_MAX_STEPS = 2.0**53
#: The kinds of NumPy dtypes that a look-up may return for each kind of values.
_DTYPE_KINDS = {
    "int": "iu",
    "bool": "b",
    "float": "f",
    "step": "f",
    "str": "OU",
    "bytes": "OS",
    "datetime": "M",
    "timedelta": "m",
    "decimal": "O",
}
#: The precision at which the point of a decimal number is moved without rounding.
_EXACT = Context(prec=60)
#: The most digits behind the point of a decimal number: int64 holds numbers of 18 digits.
MAX_SCALE = 18


class ValueKind(NamedTuple):
    """The type of values, in JSON-able words.

    Attributes
    ----------
    kind : str
        "int", "bool", "float" (the bits of the floats), "step" (floats as multiples of `precision`), "str",
        "bytes", "datetime", "timedelta" or "decimal".
    dtype : str
        NumPy's name of the dtype that a look-up returns: "int32", "float32", "object", "S7", "U3",
        "datetime64[us]", ...
    precision : float
        0 except for "step".
    scale : int
        The number of digits behind the point; 0 except for "decimal".
    null : int or None
        The word of missing values; None if no value is missing.
    """

    kind: str
    dtype: str
    precision: float = 0.0
    scale: int = 0
    null: int | None = None

    @property
    def is_text(self) -> bool:
        return self.kind in ("str", "bytes")

    @property
    def is_on_gpu(self) -> bool:
        """True if a GPU can return such values."""
        return self.kind in ("int", "bool", "float", "step") and self.null is None

    @property
    def needs_mask(self) -> bool:
        """True if a look-up must mask missing values, because no value of the dtype stands for them."""
        return self.null is not None and self.kind in ("int", "bool", "float", "step")

    def config(self) -> dict[str, Any]:
        """Return the kind in JSON-able form; fields that earlier versions lacked are left out if unused."""
        unused = {"scale": 0, "null": None}
        return {name: value for name, value in self._asdict().items() if unused.get(name, ()) != value}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ValueKind:
        """Return the kind of a configuration; raise ValueError if no values can have it."""
        new = cls(
            config["kind"],
            config["dtype"],
            config["precision"],
            check_int("scale", config.get("scale", 0), 0, MAX_SCALE),
            None if config.get("null") is None else check_int("null", config["null"], 0, 2**64 - 1),
        )
        try:
            dtype = np.dtype(new.dtype)
        except TypeError as error:
            raise ValueError(f"dtype must be a NumPy dtype, got {new.dtype!r}") from error
        if dtype.kind not in _DTYPE_KINDS.get(new.kind, "") or dtype.str[0] == ">":
            raise ValueError(f"expected a kind of values and its dtype, got {new.kind!r} as {new.dtype!r}")
        if dtype.kind == "f" and dtype.itemsize not in (4, 8):
            raise ValueError(f"floats must be float32 or float64, got {new.dtype}")
        if dtype.kind in "mM" and np.datetime_data(dtype)[0] == "generic":
            raise ValueError(f"dates and durations must have a unit, got {new.dtype}")
        if new.kind == "step":
            check_real("precision", new.precision, 0.0, np.inf)
        return new

    def to_words(self, values: NDArray[Any], name: str) -> NDArray[np.uint64]:
        """Return numbers as words, which have the order of the numbers except for floats."""
        if self.kind == "int" and values.dtype.kind == "u":
            return values.astype(np.uint64)
        if self.kind in ("int", "datetime", "timedelta"):
            return values.astype(np.int64).view(np.uint64) ^ _SIGN
        if self.kind == "decimal":
            return self._unscaled(values, name).view(np.uint64) ^ _SIGN
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
        """Return the numbers, dates or durations of words, which may be overwritten."""
        dtype = np.dtype(self.dtype)
        if dtype.kind in "imM":
            words ^= _SIGN
            return words.view(np.int64).astype(dtype)
        if self.kind == "decimal":
            words ^= _SIGN
            return self._decimals(words.view(np.int64))
        if self.kind in ("int", "bool"):
            return words.astype(dtype)
        if self.kind == "float":
            return words.astype(np.uint32).view(dtype) if dtype.itemsize == 4 else words.view(dtype)
        words ^= _SIGN
        return (words.view(np.int64) * self.precision).astype(dtype)

    def _unscaled(self, values: NDArray[Any], name: str) -> NDArray[np.int64]:
        """Return decimal numbers as integers, without the point; None is 0."""
        numbers = []
        with localcontext(_EXACT):
            for value in values.flat:
                # An integer of a large exponent would take as many digits.
                fits = value is None or not value or value.adjusted() + self.scale <= MAX_SCALE
                number = int(value.scaleb(self.scale)) if value is not None and fits else 0
                if not fits or abs(number) >= 1 << 63:
                    raise ValueError(
                        f"{name} must be decimal numbers that fit 64 bits without the point, got {value} "
                        f"with {self.scale} digits behind the point"
                    )
                numbers.append(number)
        return np.array(numbers, np.int64).reshape(values.shape)

    def _decimals(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        found = np.empty(numbers.size, dtype=object)
        with localcontext(_EXACT):
            found[:] = [Decimal(number).scaleb(-self.scale) for number in numbers.tolist()]
        return found

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


def as_object(value: Any) -> Any:
    """Return a NumPy scalar as a Python object, and other values as they are.

    Times of nanoseconds, and those beyond the years of Python, remain NumPy's: it would return integers.
    """
    if not isinstance(value, np.generic):
        return value
    item = value.item()
    return value if isinstance(item, int) and value.dtype.kind in "mM" else item
