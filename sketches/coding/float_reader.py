"""Read the bits of encoded floats: any range of them, over the threads where there are many."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import read_only
from ...lsh.support.threads import run_tasks
from ..kernels.float_codes import decode_values
from .float_chunks import CHUNK, Encoded, code_lengths_of, decoder_of, read_plans
from .float_formats import FloatFormat

__all__ = ["BLOCK", "FloatReader"]

#: Values that a thread decodes at a time, and look-up tables that are kept for random access, 16 KB each.
BLOCK, _TABLES = 1 << 17, 256


class FloatReader:
    """Read encoded floats.

    Parameters
    ----------
    encoded : Encoded
        Chunks; ValueError if kernels could leave the arrays.
    form : FloatFormat

    Attributes
    ----------
    starts : list of int
        The number of the first value of each chunk, and the number of all values.
    plans : Plans
    data, lengths : ndarray
        The bytes of the chunks, and of the code words of each pair of streams.
    """

    def __init__(self, encoded: Encoded, form: FloatFormat) -> None:
        #: Properties of the format, which take longer to find than to read a few values.
        self.bits_dtype, self.dtype = form.bits_dtype, form.dtype
        self.plans = read_plans(encoded.chunks, encoded.lengths, encoded.data.size, form)
        self.starts: list[int] = self.plans.starts.tolist()
        self.data, self.lengths = read_only(encoded.data), read_only(encoded.lengths)
        #: The look-up table and the plan of chunks that were read.
        self._decoders: dict[int, tuple[NDArray[np.uint64], NDArray[np.int64]]] = {}

    def check_codes(self) -> None:
        """Raise ValueError if the code of a chunk is not complete, and could not be decoded."""
        for chunk in np.flatnonzero(self.plans.plans[:, 3]).tolist():
            code_lengths_of(self.data, self.plans, chunk)

    def read(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Write the bits of the values [start, stop) to `out`."""
        if stop - start <= BLOCK:
            for chunk, first, last in self.ranges(start, stop, CHUNK):
                at = self.starts[chunk] + first - start
                self._read_chunk(chunk, first, last, out[at : at + last - first])
            return
        tasks = list(self.ranges(start, stop, BLOCK))

        def read(i: int) -> None:
            chunk, first, last = tasks[i]
            at = self.starts[chunk] + first - start
            self._read_chunk(chunk, first, last, out[at : at + last - first])

        run_tasks(read, len(tasks))

    def read_many(self, starts: list[int], n: int, out: NDArray[Any]) -> None:
        """Write the bits of the n values from each start on to a row of `out`, over the threads."""
        per_task = max(1, BLOCK // max(n, 1))

        def read(i: int) -> None:
            for k in range(i * per_task, min((i + 1) * per_task, len(starts))):
                self.read(starts[k], starts[k] + n, out[k])

        run_tasks(read, -(-len(starts) // per_task))

    def read_row(self, start: int, n: int) -> NDArray[Any]:
        """Return the n floats from `start` on, in few steps if they lie in a chunk that was read before."""
        out = np.empty(n, self.bits_dtype)
        chunk = bisect_right(self.starts, start) - 1
        decoder = self._decoders.get(chunk)
        if decoder is None or start + n > self.starts[chunk + 1]:
            self.read(start, start + n, out)
        else:
            start -= self.starts[chunk]
            decode_values(self.data, self.lengths, decoder[0], decoder[1], start, start + n, out)
        return out.view(self.dtype)

    def ranges(self, start: int, stop: int, size: int) -> Iterator[tuple[int, int, int]]:
        """Yield chunks and ranges of values in them that make up [start, stop), each of about `size` values.

        Ranges end where pairs of streams end, so that none is decoded twice.
        """
        chunk = bisect_right(self.starts, start) - 1
        while start < stop:
            first, end = self.starts[chunk], min(stop, self.starts[chunk + 1])
            while start < end:
                until = min(end, first + (start - first) // size * size + size)
                yield chunk, start - first, until - first
                start = until
            chunk += 1

    def _read_chunk(self, chunk: int, start: int, stop: int, out: NDArray[Any]) -> None:
        if self.plans.plans[chunk, 3]:
            decode_values(self.data, self.lengths, *self._decoder(chunk), start, stop, out)
        else:
            size, place = out.itemsize, int(self.plans.places[chunk])
            out.view(np.uint8)[:] = self.data[place + start * size : place + stop * size]

    def _decoder(self, chunk: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return the table and the plan of a coded chunk; the table is kept if there are not many others."""
        decoder = self._decoders.get(chunk)
        if decoder is None:
            decoder = decoder_of(self.data, self.plans, chunk)
            if len(self._decoders) >= _TABLES:
                self._decoders.clear()
            self._decoders[chunk] = decoder
        return decoder
