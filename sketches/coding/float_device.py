"""Read entropy-coded floats that lie on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import Backend
from ..kernels import float_ranges
from ..kernels.float_codes import MOST_SYMBOLS
from .float_chunks import CHUNK, code_lengths_of
from .float_reader import FloatReader

__all__ = ["DeviceReader", "kernel_arguments"]


def kernel_arguments(reader: FloatReader) -> tuple[NDArray[Any], ...]:
    """Return what the kernels of `float_ranges` read any range from, their arguments up to `symbols`."""
    plans = reader.plans
    shape = (len(reader.starts) - 1, MOST_SYMBOLS)
    word_lengths, symbols = np.zeros(shape, np.uint8), np.zeros(shape, np.int64)
    for chunk in np.flatnonzero(plans.plans[:, 3]).tolist():
        lengths = code_lengths_of(reader.data, plans, chunk)
        # A code of one symbol has no words.
        present = np.flatnonzero(lengths) if lengths.size > 1 else np.zeros(1, np.int64)
        word_lengths[chunk, : present.size] = lengths[present]
        symbols[chunk, : present.size] = present + plans.plans[chunk, 9]
    ends = np.concatenate([[0], np.cumsum(reader.lengths, dtype=np.int64)])
    return reader.data, reader.lengths, ends, plans.plans, word_lengths, symbols


class DeviceReader:
    """Read encoded floats on a GPU, of which a reader in main memory knows where they lie.

    It takes the bytes of the chunks, and 2.3 KB for each of them.
    """

    def __init__(self, reader: FloatReader, backend: Backend, dtype: np.dtype[Any]) -> None:
        self.starts, self.plans, self._ranges = reader.starts, reader.plans, reader.ranges
        self._backend, self._bits_dtype, self._dtype = backend, reader.bits_dtype, dtype
        self._given = tuple(backend.xp.asarray(part) for part in kernel_arguments(reader))

    def read(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Write the bits of the values [start, stop) to `out`."""
        self.read_many([start], stop - start, out.reshape(1, -1))

    def read_row(self, start: int, n: int) -> NDArray[Any]:
        """Return the n floats from `start` on."""
        out: NDArray[Any] = self._backend.xp.empty(n, self._bits_dtype)
        self.read(start, start + n, out)
        return out.view(self._dtype)

    def read_many(self, starts: list[int], n: int, out: NDArray[Any]) -> None:
        """Write the bits of the n values from each start on to a row of `out`."""
        ranges = [
            (chunk, first, last, k * n + self.starts[chunk] + first - start)
            for k, start in enumerate(starts)
            for chunk, first, last in self._ranges(start, start + n, CHUNK)
        ]
        if ranges:
            on_device = self._backend.xp.asarray(np.array(ranges, np.int64))
            kernel = self._backend.kernels(float_ranges).decode_ranges
            kernel(*self._given, on_device, out.reshape(-1))
