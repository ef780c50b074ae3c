"""Write and read the parts of archives that have coded floats or their differences, block by block.

A part has the arrays of `CompressedFloats` or `FloatDelta` in the order in which a stream of values gives
them: first the data of all chunks, then what describes these, then the differences that are kept apart, and
last how much there is of each. So it is written from front to back in the memory of a block, and read
without copying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SketchFormatError
from ...lsh.support.backend import read_only
from ...lsh.support.threads import run_tasks
from ..kernels.float_codes import PAD
from .compressed_floats import CompressedFloats
from .float_chunks import CHUNK, FIELDS, Encoded, Encoder, join
from .float_coding import choose, survey
from .float_differences import METHODS, Rule, best_rule, difference, put_back, restore, split
from .float_formats import FORMATS, FloatFormat, integers_of
from .float_reader import FloatReader
from .float_writer import FloatWriter
from .safetensors_file import FLOATS, Tensor

__all__ = ["PartPlan", "StoredPart", "Values", "form_of", "part_pieces", "plan_part"]

#: Values that are encoded and decoded at once, chunk by chunk on the threads.
_BLOCK = 32 * CHUNK
#: Values whose differences are computed at once: NumPy's intermediate arrays stay in the caches.
_PIECE = 1 << 16
#: Values by which it is decided whether differences are smaller.
_SAMPLE = 1 << 18
#: Numbers of 8 bytes at the end of a part: bytes of data, chunks, lengths, and of differences kept apart; the
#: number of the method of differences, and their bits.
_TRAILER = 6

#: Returns the bits of the values from one number to another one.
Values = Callable[[int, int], NDArray[Any]]


class PartPlan(NamedTuple):
    """The way a tensor is kept: whether coding it gains anything, and the rule of differences if any."""

    is_coded: bool
    rule: Rule | None


def form_of(tensor: Tensor) -> FloatFormat:
    """Return the format of a tensor of floats."""
    return FORMATS[FLOATS[tensor.dtype]]


def plan_part(values: Values, base: Values | None, n: int, form: FloatFormat) -> PartPlan:
    """Decide how n values are kept, from some of them; with a base as differences if this is smaller."""
    if base is None:
        found = survey(read_only(values(0, min(n, CHUNK))), form)
        return PartPlan(choose(found, form, "auto") is not None, None)
    start = max(0, n - _SAMPLE) // 2
    stop = min(n, start + _SAMPLE)
    sample, base_sample = values(start, stop), base(start, stop)
    rule = best_rule(n, lambda first, last: (values(first, last), base(first, last)), integers_of(form))
    small, apart = split(difference(sample, base_sample, rule.method), rule.bits)
    alone = _coded_size(sample, form)
    differences = apart.nbytes + _coded_size(small, integers_of(form))
    if differences < min(alone, sample.nbytes):
        return PartPlan(True, rule)
    return PartPlan(alone < sample.nbytes, None)


def _coded_size(values: NDArray[Any], form: FloatFormat) -> int:
    return sum(array.nbytes for array in Encoder(form, "auto").encode(_contiguous(values)))


def _contiguous(values: NDArray[Any]) -> NDArray[Any]:
    return read_only(np.ascontiguousarray(values))


def part_pieces(
    values: Values, base: Values | None, n: int, form: FloatFormat, rule: Rule | None
) -> Iterator[Any]:
    """Yield the bytes of the part of n values, block by block; with a rule as differences from the base."""
    encoder = Encoder(form if rule is None else integers_of(form), "auto")
    described, apart = [], [np.zeros(0, form.bits_dtype)]
    n_data = 2 * PAD
    yield bytes(PAD)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        block = values(start, stop)
        if rule is not None and base is not None:
            block, large = split(_in_chunks(difference, block, base(start, stop), rule.method), rule.bits)
            apart.append(large.copy())
        encoded = encoder.encode(_contiguous(block))
        own = encoded.data[PAD : encoded.data.size - PAD]
        n_data += own.size
        yield own.data
        described.append(encoded._replace(data=np.zeros(2 * PAD, np.uint8)))
    whole, large = join(described), np.concatenate(apart)
    yield bytes(PAD + -n_data % 8)
    yield whole.chunks.astype("<u8").tobytes()
    yield large.tobytes() + bytes(-large.nbytes % 8)
    yield whole.lengths.astype("<u2").tobytes() + bytes(-2 * whole.lengths.size % 8)
    method, bits = (0, 0) if rule is None else (METHODS.index(rule.method), rule.bits)
    yield np.array([n_data, len(whole.chunks), whole.lengths.size, large.size, method, bits], "<u8").tobytes()


def _in_chunks(
    function: Callable[..., NDArray[Any]], first: NDArray[Any], second: NDArray[Any], method: str
) -> NDArray[Any]:
    """Call a function of differences with chunks of two arrays, over the threads."""
    out = np.empty_like(first)

    def work(i: int) -> None:
        chunk = slice(i * _PIECE, (i + 1) * _PIECE)
        out[chunk] = function(first[chunk], second[chunk], method)

    run_tasks(work, -(-first.size // _PIECE))
    return out


class StoredPart:
    """A part of an archive, mapped or in memory.

    Parameters
    ----------
    part : array of uint8
    form : FloatFormat
        Of the floats, also if they are kept as differences.

    Raises
    ------
    SketchFormatError
        If the lengths that the part states do not add up.
    """

    def __init__(self, part: NDArray[np.uint8], form: FloatFormat) -> None:
        self._form = form
        try:
            numbers = part[-8 * _TRAILER :].view("<u8").tolist()
            n_data, n_chunks, n_lengths, n_apart, method, bits = numbers
            ends, end = [], 0
            for size in (n_data, 8 * FIELDS * n_chunks, form.width // 8 * n_apart, 2 * n_lengths):
                ends.append((end, end + size))
                end += size + -size % 8
            if end + 8 * _TRAILER != part.size or method >= len(METHODS) or bits > form.width:
                raise ValueError("its lengths do not add up")
        except ValueError as error:
            raise _damaged(error) from error
        data, chunks, apart, lengths = (part[first:last] for first, last in ends)
        self._encoded = Encoded(
            chunks.view("<u8").astype(np.uint64).reshape(-1, FIELDS),
            lengths.view("<u2").astype(np.uint16),
            data,
        )
        self._apart = apart.view(form.bits_dtype)
        self._rule = Rule(METHODS[method], bits)

    def floats(self, shape: tuple[int, ...]) -> CompressedFloats:
        """Return the floats in a shape; SketchFormatError if kernels could leave the part."""
        try:
            return FloatWriter.opened(self._form.name, shape, *self._encoded)
        except ValueError as error:
            raise _damaged(error) from error

    def restored(self, base: Values, n: int) -> Values:
        """Return what gives values back from differences. They must be read one after the other.

        Raises
        ------
        SketchFormatError
            If kernels could leave the part.
        """
        try:
            reader = FloatReader(self._encoded, integers_of(self._form))
            if reader.starts[-1] != n or self._rule.bits == 0:
                raise ValueError(f"it has {reader.starts[-1]} differences for {n} values")
            reader.check_codes()
        except ValueError as error:
            raise _damaged(error) from error
        n_apart = 0

        def read(start: int, stop: int) -> NDArray[Any]:
            nonlocal n_apart
            integers = np.empty(stop - start, self._form.bits_dtype)
            reader.read(start, stop, integers)
            try:
                n_apart += put_back(integers, self._apart[n_apart:], self._rule.bits)
            except ValueError as error:
                raise _damaged(error) from error
            return _in_chunks(restore, integers, base(start, stop), self._rule.method)

        return read


def _damaged(error: ValueError) -> SketchFormatError:
    return SketchFormatError(f"a part of the archive is damaged: {error}")
