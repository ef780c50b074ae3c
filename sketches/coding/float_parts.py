"""Write and read the parts of archives that have coded floats, block by block.

A part has the arrays of `CompressedFloats` in the order in which a stream of values gives them: first the
data of all chunks, then what describes these, and last how much there is of each. So it is written from front
to back in the memory of a block, and read without copying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SketchFormatError
from ...lsh.support.backend import read_only
from .archive_format import CODED, DIFFERENCE, RAW, XORED
from .compressed_floats import CompressedFloats
from .float_chunks import CHUNK, FIELDS, Encoded, choose_coding, encode, join, padding
from .float_coding import Coding
from .float_differences import bits_apart, floats_apart, from_floats_apart
from .float_formats import FORMATS, FloatFormat
from .safetensors_file import FLOATS, Tensor

__all__ = [
    "BLOCK_VALUES",
    "DIFFERENCES",
    "PartPlan",
    "Values",
    "floats_of_part",
    "form_of",
    "part_pieces",
    "plan_part",
]

#: Values that are encoded at once, chunk by chunk on the threads.
BLOCK_VALUES = 8 * CHUNK
#: Chunks whose values decide on the coding.
_SAMPLED = 4
#: Bytes before and after the data of a part; those of `padding`.
_PAD = 8
#: Bytes of the end of a part: numbers of bytes of data, of chunks, and of lengths, in 8 bytes each.
_TRAILER = 24

#: What makes differences of each kind from values and a base, and what gives the values back.
DIFFERENCES = {XORED: (bits_apart, bits_apart), DIFFERENCE: (floats_apart, from_floats_apart)}

#: Returns the bits of the values from one number to another one.
Values = Callable[[int, int], NDArray[Any]]


class PartPlan(NamedTuple):
    """How a tensor is kept: the kind, and the format and the coding of what is coded."""

    kind: int
    form: FloatFormat
    coding: Coding | None


class _Integers(CompressedFloats):
    """Differences, which are integers of the width of their floats."""

    _internal = True

    @property
    def _form(self) -> FloatFormat:
        return _integers_of(super()._form)


def _integers_of(form: FloatFormat) -> FloatFormat:
    return FloatFormat(f"uint{form.width}", form.width, 0)


def form_of(tensor: Tensor) -> FloatFormat:
    """Return the format of a tensor of floats."""
    return FORMATS[FLOATS[tensor.dtype]]


def plan_part(values: Values, base: Values | None, n: int, form: FloatFormat) -> PartPlan:
    """Choose how n values are kept, from all of them or from some chunks at equal distances.

    With a base they are kept as differences if this is smaller.
    """
    sample = _sample(values, n)
    coding = choose_coding(sample, form, "auto")
    if base is None:
        return PartPlan(RAW if coding is None else CODED, form, coding)
    sizes = {PartPlan(RAW, form, None): sample.nbytes}
    if coding is not None:
        sizes[PartPlan(CODED, form, coding)] = _coded_size(sample, form, coding)
    integers, base_sample = _integers_of(form), _sample(base, n)
    for kind, (apart, _) in DIFFERENCES.items():
        differences = read_only(apart(sample, base_sample))
        coding = choose_coding(differences, integers, "auto")
        if coding is not None:
            sizes[PartPlan(kind, integers, coding)] = _coded_size(differences, integers, coding)
    return min(sizes, key=lambda plan: sizes[plan])


def _sample(values: Values, n: int) -> NDArray[Any]:
    if n <= _SAMPLED * CHUNK:
        return read_only(values(0, n))
    starts = [n // CHUNK * k // _SAMPLED * CHUNK for k in range(_SAMPLED)]
    return read_only(np.concatenate([values(start, start + CHUNK) for start in starts]))


def _coded_size(values: NDArray[Any], form: FloatFormat, coding: Coding) -> int:
    return sum(array.nbytes for array in encode(values, form, coding))


def part_pieces(values: Values, base: Values | None, n: int, plan: PartPlan) -> Iterator[Any]:
    """Yield the bytes of the part of n values, block by block."""
    described: list[Encoded] = []
    n_data = 2 * _PAD
    yield bytes(_PAD)
    for start in range(0, n, BLOCK_VALUES):
        stop = min(start + BLOCK_VALUES, n)
        block = values(start, stop)
        if plan.kind in DIFFERENCES and base is not None:
            block = DIFFERENCES[plan.kind][0](block, base(start, stop))
        encoded = encode(read_only(block), plan.form, plan.coding)
        pad = padding(encoded.chunks)
        own = encoded.data[pad : encoded.data.size - pad]
        n_data += own.size
        yield own.data
        described.append(encoded._replace(data=np.zeros(2 * pad, np.uint8)))
    whole = join(described)
    yield bytes(_PAD + -n_data % 8)
    yield whole.chunks.astype("<u8").tobytes()
    yield whole.lengths.astype("<u2").tobytes()
    yield np.array([n_data, len(whole.chunks), whole.lengths.size], "<u8").tobytes()


def floats_of_part(
    part: NDArray[np.uint8], kind: int, shape: tuple[int, ...], form: FloatFormat
) -> CompressedFloats:
    """Return the floats or differences of floats that a part has, whose data stay where they are.

    Raises
    ------
    SketchFormatError
        If the part is damaged, so that kernels could leave it.
    """
    try:
        n_data, n_chunks, n_lengths = part[-_TRAILER:].view("<u8").tolist()
        start = n_data + -n_data % 8
        middle = start + 8 * FIELDS * n_chunks
        if n_data < 2 * _PAD or middle + 2 * n_lengths + _TRAILER != part.size:
            raise ValueError("its lengths do not add up")
        chunks = part[start:middle].view("<u8").astype(np.uint64).reshape(-1, FIELDS)
        lengths = part[middle:-_TRAILER].view("<u2").astype(np.uint16)
        skip = _PAD - padding(chunks)
        arrays: dict[str, NDArray[Any]] = {
            "chunks": chunks,
            "lengths": lengths,
            "data": part[skip : n_data - skip],
        }
        cls = CompressedFloats if kind == CODED else _Integers
        floats = cls._from_config({"shape": shape, "format": form.name})
        floats._check_state(arrays)
    except ValueError as error:
        raise SketchFormatError(f"a part of the archive is damaged: {error}") from error
    return floats._set_arrays(arrays)
