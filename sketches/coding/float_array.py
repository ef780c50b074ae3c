"""The base of compressed arrays of floats: shape, format, chunks and how they are checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.checks import check_choice
from ...lsh.support.lazy import lazy
from ..core.state import ArraySpec, State
from ..core.stored import Stored
from .float_chunks import Encoded
from .float_formats import FORMATS, FloatFormat, check_shape
from .float_reader import FloatReader

__all__ = ["FloatArray"]


class FloatArray(Stored):
    """Base of `CompressedFloats` and `FloatDelta`: numbers of a format in chunks, which do not change."""

    _internal = True
    _parameters: ClassVar[tuple[str, ...]] = ("shape", "format")

    shape: tuple[int, ...]
    format: str

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        new = cls.__new__(cls)
        new._set_config(config)
        return new

    def _set_config(self, config: Mapping[str, Any]) -> None:
        form = FORMATS[check_choice("format", config["format"], list(FORMATS))]
        self.shape, self.format = check_shape(config["shape"], form), form.name

    @lazy
    def _state(self) -> State[ArraySpec]:
        return State(type(self).__name__, self._specs())

    def _specs(self) -> dict[str, ArraySpec]:
        arrays = ArraySpec("uint64", 2), ArraySpec("uint16"), ArraySpec("uint8")
        return dict(zip(Encoded._fields, arrays, strict=True))

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._check_reader(self._reader_of(arrays))

    def _check_reader(self, reader: FloatReader) -> None:
        """Raise ValueError unless the reader, which is right in itself, has the values of this array."""
        if reader.starts[-1] != self.size:
            raise ValueError(f"chunks must have {self.size} values, got {reader.starts[-1]}")
        reader.check_codes()

    @property
    def _form(self) -> FloatFormat:
        return FORMATS[self.format]

    @property
    def _coded_form(self) -> FloatFormat:
        """The format of the numbers in chunks."""
        return self._form

    def _reader_of(self, arrays: Mapping[str, NDArray[Any]]) -> FloatReader:
        return FloatReader(Encoded(*(arrays[name] for name in Encoded._fields)), self._coded_form)

    @property
    def _reader(self) -> Any:
        """The reader of the values where they lie."""
        state = self._state
        found = state.caches.get("reader")
        return found or state.cached("reader", self._make_reader)

    def _make_reader(self) -> Any:
        return self._reader_of(self._arrays)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype of the values; that of unsigned integers if `ml_dtypes` is not installed.

        CuPy has no dtypes of `ml_dtypes`, so on a GPU it is that of unsigned integers, too.
        """
        found = self._form.dtype
        return found if self.device == "cpu" or found.isbuiltin == 1 else self._form.bits_dtype

    @property
    def raw_nbytes(self) -> int:
        """Bytes of the array of floats."""
        return self.size * self._form.width // 8

    def __copy__(self) -> Self:
        return self  # immutable

    def _facts(self) -> list[tuple[str, str]]:
        return [("uncompressed", f"{self.raw_nbytes:,} bytes"), *super()._facts()]

    def __repr__(self) -> str:
        share = f", {100 * self.nbytes / self.raw_nbytes:.1f} %" if self.size else ""
        return f"<{type(self).__name__}: {self.format}{list(self.shape)}, {self.nbytes:,} bytes{share}>"
