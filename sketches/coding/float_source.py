"""Floats that a caller hands in, as an array or compressed: their bits in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import refuse_gpu
from .float_array import FloatArray
from .float_formats import FORMATS, read_floats

__all__ = ["FloatSource"]


class FloatSource:
    """An array or compressed floats: their format and shape, and their bits in parts."""

    def __init__(self, name: str, array: Any, dtype: Any = None) -> None:
        self._compressed = array if isinstance(array, FloatArray) else None
        if isinstance(array, FloatArray):
            if array._coded_form != array._form:
                raise TypeError(f"{name} must be an array or CompressedFloats, got {type(array).__name__}")
            self.form, self.shape = FORMATS[array.format], array.shape
            return
        refuse_gpu("a FloatDelta", array)
        self.form, bits = read_floats(name, array, dtype)
        self.shape, self._bits = bits.shape, bits.reshape(-1)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the bits of the values [start, stop)."""
        if self._compressed is None:
            return self._bits[start:stop]
        out = np.empty(stop - start, self.form.bits_dtype)
        self._compressed._reader.read(start, stop, out)
        return out
