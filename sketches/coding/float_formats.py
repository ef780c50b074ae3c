"""Formats of floats: their names, fields and dtypes, and arrays of them as unsigned integers."""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_array
from ...lsh.inputs.libraries import is_from
from ...lsh.support.backend import backend_of
from ...lsh.support.checks import check_choice

__all__ = ["FORMATS", "FloatFormat", "check_shape", "integers_of", "read_floats"]

_MOST_DIMENSIONS, _MOST_BYTES = 32, 1 << 62


class FloatFormat(NamedTuple):
    """A format of floats: a sign bit above the exponent, and the mantissa below it."""

    name: str
    #: Bits of a float, and of its exponent. With an exponent of 0 bits, these are unsigned integers.
    width: int
    exponent: int

    @property
    def bits_dtype(self) -> np.dtype[Any]:
        """The dtype of unsigned integers of the same width."""
        return np.dtype(f"uint{self.width}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the floats, or that of the integers if NumPy and `ml_dtypes` lack it."""
        found = _dtype_of(self.name)
        return self.bits_dtype if found is None else found


@cache
def _dtype_of(name: str) -> np.dtype[Any] | None:
    """Return the dtype of a name, or None if NumPy and `ml_dtypes` lack it.

    An import that fails takes a while, so its result is kept.
    """
    if hasattr(np, name):
        return np.dtype(name)
    try:
        return np.dtype(getattr(import_module("ml_dtypes"), name))
    except ImportError:
        return None


#: The formats by name.
FORMATS = {
    name: FloatFormat(name, width, exponent)
    for name, width, exponent in (
        ("bfloat16", 16, 8),
        ("float16", 16, 5),
        ("float32", 32, 8),
        ("float64", 64, 11),
        ("float8_e4m3fn", 8, 4),
        ("float8_e4m3fnuz", 8, 4),
        ("float8_e5m2", 8, 5),
        ("float8_e5m2fnuz", 8, 5),
    )
}


def integers_of(form: FloatFormat) -> FloatFormat:
    """Return the format of unsigned integers of the same width."""
    return FloatFormat(form.bits_dtype.name, form.width, 0)


def check_shape(shape: Any, form: FloatFormat) -> tuple[int, ...]:
    """Return a shape as a tuple; ValueError if no array has it."""
    shape = tuple(shape)
    if len(shape) > _MOST_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"shape must be up to {_MOST_DIMENSIONS} integers of at least 0, got {shape}")
    # NumPy refuses shapes whose other extents overflow even where one is 0.
    if math.prod(max(n, 1) for n in shape) * form.width // 8 > _MOST_BYTES:
        raise ValueError(f"shape must have at most {_MOST_BYTES} bytes, got {shape}")
    return shape


def read_floats(name: str, array: Any, dtype: Any = None) -> tuple[FloatFormat, NDArray[Any]]:
    """Return the format of an array of floats, and their bits as contiguous native unsigned integers.

    The bits share the memory of the array where they can. The dtype is needed for integers that stand for
    floats.
    """
    wanted = None if dtype is None else _wanted(dtype)
    found = ""
    if is_from(array, "torch", "Tensor"):
        found, array = _of_tensor(name, array)
    array = check_array(name, array)
    found = found or array.dtype.name
    if found in FORMATS:
        if wanted not in (None, found):
            raise TypeError(f"dtype must be that of {name}, {found!r}, got {wanted!r}: convert {name} first")
        form = FORMATS[found]
    elif wanted is not None and array.dtype.kind == "u":
        form = FORMATS[wanted]
        if array.dtype.itemsize * 8 != form.width:
            raise TypeError(f"{name} must have {form.width} bits for dtype={wanted!r}, got {found}")
    else:
        advice = ""
        if array.dtype.kind == "u":
            advice = "; integers that stand for floats need dtype, for example dtype='bfloat16'"
        elif array.dtype in (np.dtype("V1"), np.dtype("V2")):
            # So NumPy reads files of arrays of bfloat16 and float8.
            bits = f"uint{8 * array.dtype.itemsize}"
            advice = (
                f"; for bfloat16 and float8 pass {name}.view('{bits}') and their dtype, such as 'bfloat16'"
            )
        raise _not_floats(name, found + advice)
    # An array of no dimensions has no view of another dtype.
    return form, backend_of(array).xp.ascontiguousarray(array).reshape(array.shape).view(form.bits_dtype)


def _not_floats(name: str, found: str) -> TypeError:
    return TypeError(f"{name} must have one of the dtypes {', '.join(FORMATS)}, got {found}")


def _wanted(dtype: Any) -> str:
    """Return the name of a format that a caller asks for; PyTorch's dtypes have the same names."""
    if isinstance(dtype, str) or is_from(dtype, "torch", "dtype"):
        wanted = str(dtype).removeprefix("torch.")
    else:
        wanted = np.dtype(dtype).name
    return check_choice("dtype", wanted, list(FORMATS))


def _of_tensor(name: str, tensor: Any) -> tuple[str, Any]:
    """Return the name of the dtype of a PyTorch tensor, and its bits as a tensor of integers.

    NumPy lacks some of the dtypes. Of unsigned integers, return no name and the tensor.
    """
    found = str(tensor.dtype).removeprefix("torch.")
    tensor = tensor.detach()
    if found.startswith("uint"):
        return "", tensor
    if found not in FORMATS:
        raise _not_floats(name, found)
    torch = import_module("torch")
    return found, tensor.contiguous().view(getattr(torch, f"int{FORMATS[found].width}"))
