"""Compressed floats that are written as they come, in memory that does not depend on their number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ...lsh.support.backend import read_only
from ...lsh.support.checks import check_choice
from ...lsh.support.threads import get_num_threads
from ..kernels.float_codes import PAD
from .compressed_floats import CompressedFloats
from .float_chunks import CHUNK, Encoded, Encoder, merge_raw
from .float_coding import CODINGS
from .float_formats import FORMATS, read_floats

__all__ = ["FloatWriter"]


class FloatWriter:
    """Encode floats that come in parts, and hand the bytes on.

    Parameters
    ----------
    form : str
        Name of the format, a key of `FORMATS`.
    write : callable
        Takes each piece of the data as an array of bytes, in order.
    coding : str
        As for `CompressedFloats`. Automatic choices follow from the first values.

    Attributes
    ----------
    n_values, n_bytes : int
        Number of values and of bytes of data so far; values that wait count as values only.
    """

    def __init__(self, form: str, write: Callable[[NDArray[np.uint8]], Any], *, coding: str = "auto") -> None:
        self._form = FORMATS[check_choice("form", form, list(FORMATS))]
        self._encoder = Encoder(self._form, check_choice("coding", coding, CODINGS))
        self._write = write
        self._waiting = np.empty(0, self._form.bits_dtype)
        self._n_waiting = 0
        self._chunks: list[NDArray[np.uint64]] = []
        self._lengths: list[NDArray[np.uint16]] = []
        self.n_values = self.n_bytes = 0

    def append(self, values: Any, dtype: DTypeLike | None = None) -> None:
        """Append floats of the format, or unsigned integers with their bits."""
        form, bits = read_floats("values", values, self._form.name if dtype is None else dtype)
        if form != self._form:
            raise TypeError(f"values must be {self._form.name}, got {form.name}")
        bits = bits.reshape(-1)
        # A chunk for each thread waits.
        most = CHUNK * get_num_threads()
        at = 0
        while at < bits.size:
            if self._n_waiting == 0 and bits.size - at >= most:
                self._encode(bits[at : at + most])
                at += most
                continue
            taken = min(bits.size - at, max(most, self._n_waiting) - self._n_waiting)
            self._wait(bits[at : at + taken])
            at += taken
            if self._n_waiting >= most:
                self._flush()

    def _wait(self, bits: NDArray[Any]) -> None:
        needed = self._n_waiting + bits.size
        if needed > self._waiting.size:
            grown = np.empty(max(needed, 2 * self._waiting.size), self._waiting.dtype)
            grown[: self._n_waiting] = self._waiting[: self._n_waiting]
            self._waiting = grown
        self._waiting[self._n_waiting : needed] = bits
        self._n_waiting = needed

    def _flush(self) -> None:
        waiting, self._n_waiting = self._waiting[: self._n_waiting], 0
        self._encode(waiting)

    def _encode(self, bits: NDArray[Any]) -> None:
        encoded = self._encoder.encode(read_only(bits))
        self._chunks.append(encoded.chunks)
        self._lengths.append(encoded.lengths)
        self.n_values += bits.size
        self._hand_on(encoded.data[0 if self.n_bytes == 0 else PAD : encoded.data.size - PAD])

    def _hand_on(self, data: NDArray[np.uint8]) -> None:
        self.n_bytes += data.size
        self._write(data)

    def finish(self) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
        """Write what waits; return the arrays "chunks" and "lengths" that belong to the data."""
        self._flush()
        self._hand_on(np.zeros(PAD, np.uint8))
        return merge_raw(np.concatenate(self._chunks)), np.concatenate(self._lengths)

    @staticmethod
    def opened(
        form: str,
        shape: tuple[int, ...],
        chunks: NDArray[np.uint64],
        lengths: NDArray[np.uint16],
        data: NDArray[np.uint8],
    ) -> CompressedFloats:
        """Return what was written, for example with `data` in a memory map; ValueError if it is damaged."""
        found = CompressedFloats._from_encoded(shape, FORMATS[form], Encoded(chunks, lengths, data))
        found._check_reader(found._reader)
        return found
