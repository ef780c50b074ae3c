"""The format of entropy-coded floats: chunks that decode apart, their plans, and how they are checked.

Values are cut into chunks of up to `CHUNK` values. Each chunk is described by three words of 64 bits: the
number of values, the bits that all values have in common, and the coding. It is either raw, or has

- the lengths of the code words of its symbols, 4 bits each,
- pairs of streams. A stream has 1,024 values, but for the last one. A pair has the stored bits of its first
  stream and of its second one, in planes of 8, 4, 2 and 1 bits, and then the code words of both: those of
  the first stream from the front, those of the second one backwards from the end.

``lengths`` has the bytes of the code words of each pair, so the place of every pair follows. Before the first
chunk and after the last one there are 8 bytes, which loads of words may touch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of
from ...lsh.support.threads import cut_range, get_num_threads, run_tasks
from ..kernels import float_encoding
from ..kernels.float_codes import LONGEST, MOST_SYMBOLS, PAD, PLAN, STREAM, TABLE, code_words, lookup_table
from .float_coding import (
    TURNS,
    Coding,
    Survey,
    choose,
    code_of,
    constant_bits,
    stored_bits,
    survey,
    survey_for,
    total,
    turned,
)
from .float_formats import FloatFormat

__all__ = [
    "CHUNK",
    "FIELDS",
    "Encoded",
    "Encoder",
    "Plans",
    "code_lengths_of",
    "decoder_of",
    "join",
    "read_plans",
]

#: The most values of a coded chunk, and words of a chunk's description.
CHUNK = 1 << 18
FIELDS = 3
#: Bytes that a coded chunk must save. So all of them together make up for what raw ones take beside values.
_SAVED = 64
#: Chunks whose values decide on the coding.
_SAMPLED = 4
_PAIR = 2 * STREAM


T = TypeVar("T")


class Encoded(NamedTuple):
    """Chunks: their descriptions, the lengths of their pairs, and the data, with padding on both sides."""

    chunks: NDArray[np.uint64]
    lengths: NDArray[np.uint16]
    data: NDArray[np.uint8]


class Plans(NamedTuple):
    """Where chunks lie, by number: first values (and the end), bytes of data and kernels' plans."""

    starts: NDArray[np.int64]
    places: NDArray[np.int64]
    plans: NDArray[np.int64]
    firsts: NDArray[np.int64]
    spans: NDArray[np.int64]


# -- encoding -------------------------------------------------------------------------------------


class _Prepared(NamedTuple):
    """What encodes a chunk: its description and the code."""

    description: tuple[int, int, int]
    plan: NDArray[np.int64] | None
    first: int
    lengths: NDArray[np.uint8]


def _raw(n: int, form: FloatFormat) -> _Prepared:
    return _Prepared((n, 0, 0), None, 0, np.zeros(0, np.uint8))


def _prepare(values: NDArray[Any], form: FloatFormat, coding: Coding | None, found: Survey) -> _Prepared:
    """Return how a chunk is encoded: by the coding if that is smaller than the values are."""
    n, width = values.size, form.width
    if form.exponent == 0 and coding is not None:
        # How large integers are differs from chunk to chunk.
        coding = choose(found, form, "auto")
    code = None if coding is None else code_of(found, form, coding)
    if coding is None or code is None:
        return _raw(n, form)
    first, lengths, n_bits = code
    constant, raw = constant_bits(found, form, coding), stored_bits(found, form, coding)
    n_pairs = -(-n // _PAIR)
    most = (lengths.size + 1) // 2 + (n_bits + n * raw) // 8 + 3 * n_pairs + 8 * (raw + 2)
    if most + 2 * n_pairs + _SAVED > n * width // 8:
        return _raw(n, form)
    value = turned(int(values[0]), form, coding.turn)
    fill = value & ((1 << constant) - 1)
    fill |= value >> (width - coding.lead) << (width - coding.lead)
    plan = np.zeros(PLAN, np.int64)
    plan[[0, 3, 4, 5, 6, 7]] = n, coding.bits, coding.lead, raw, constant, coding.turn
    plan[10] = width - 1 - form.exponent
    packed = coding.bits | coding.lead << 8 | constant << 16 | coding.turn << 24
    packed |= first << 32 | (lengths.size - 1) << 48
    return _Prepared((n, fill, packed), plan, first, lengths)


def _write(values: NDArray[Any], prepared: _Prepared, room: NDArray[np.uint8]) -> Encoded:
    """Encode a chunk to an array that has as many bytes as the values, without padding around its data."""
    backend = backend_of(values)
    xp, chunks = backend.xp, _words([prepared.description])
    if prepared.plan is None:
        room[:] = values.view(np.uint8)
        return Encoded(chunks, xp.zeros(0, np.uint16), room)
    lengths = prepared.lengths
    nibbles = np.zeros((lengths.size + 1) // 2 * 2, np.uint8)
    nibbles[: lengths.size] = lengths
    n_bytes = nibbles.size // 2
    pairs = xp.empty(-(-values.size // _PAIR), np.uint16)
    room[:n_bytes] = xp.asarray(nibbles[::2] | nibbles[1::2] << 4)
    words = np.empty(lengths.size, np.uint32)
    code_words(lengths, words)
    encode_values = backend.kernels(float_encoding).encode_values
    n_bytes += int(encode_values(values, prepared.plan, prepared.first, words, room[n_bytes:], pairs))
    return Encoded(chunks, pairs, room[:n_bytes])


class Encoder:
    """Encode parts of an array by the coding that suits the first one, or as they are.

    Parameters
    ----------
    form : FloatFormat
    coding : str
        One of `CODINGS`.
    """

    def __init__(self, form: FloatFormat, coding: str) -> None:
        self._form, self._asked, self._is_chosen = form, coding, False
        self._coding: Coding | None = None

    def encode(self, values: NDArray[Any]) -> Encoded:
        """Encode the bits of floats, one-dimensional, contiguous and read-only, over the threads."""
        form, xp = self._form, backend_of(values).xp
        cuts = [(start, min(start + CHUNK, values.size)) for start in range(0, values.size, CHUNK)]
        parts = [values[start:stop] for start, stop in cuts]
        surveys = self._choose(parts)
        if self._coding is None or not parts:
            chunks = [_raw(values.size, form).description] if values.size else []
            data = xp.zeros(values.nbytes + 2 * PAD, np.uint8)
            data[PAD : PAD + values.nbytes] = values.view(np.uint8)
            return Encoded(xp.asarray(_words(chunks)), xp.zeros(0, np.uint16), data)

        coding = self._coding

        # The system provides memory when it is written to, so what is not used in the end was never taken.
        data, end = xp.empty(values.nbytes + 2 * PAD, np.uint8), PAD

        def encode(first: int, begin: int, i: int) -> Encoded:
            values = parts[first + i]
            found = surveys.get(first + i) or survey_for(values, form, coding)
            # No chunk takes more bytes than its values.
            start = begin + i * CHUNK * values.itemsize
            return _write(values, _prepare(values, form, coding, found), data[start : start + values.nbytes])

        data[:PAD] = 0
        found: list[tuple[NDArray[Any], NDArray[Any]]] = []
        n_threads = get_num_threads() if xp is np else 1
        for first, last in cut_range(0, len(parts), 4 * n_threads if n_threads > 1 else 1):
            group = _run(partial(encode, first, end), last - first, xp)
            end += group[0].data.size
            for part in group[1:]:
                _move(data, part.data, end)
                end += part.data.size
            found += ((part.chunks, part.lengths) for part in group)
        data[end : end + PAD] = 0
        if xp is np:
            data.resize(end + PAD, refcheck=False)
        else:
            data = data[: end + PAD].copy()
        merged = xp.asarray(merge_raw(np.concatenate([chunks for chunks, _ in found])))
        return Encoded(merged, xp.concatenate([lengths for _, lengths in found]), data)

    def _choose(self, parts: list[NDArray[Any]]) -> dict[int, Survey]:
        """Choose the coding if that has not been done; return the surveys of the parts that it took."""
        if self._is_chosen or not parts or self._asked == "raw":
            return {}
        n = min(_SAMPLED, len(parts))
        picked = [len(parts) * k // n for k in range(n)]
        found = _run(lambda k: survey(parts[picked[k]], self._form), n, backend_of(parts[0]).xp)
        self._coding, self._is_chosen = choose(total(found), self._form, self._asked), True
        return dict(zip(picked, found, strict=True))


def _run(function: Callable[[int], T], n: int, xp: Any) -> list[T]:
    """Call a function over the threads; on a GPU in this one, for others would leave the caller's stream."""
    return run_tasks(function, n) if xp is np else [function(i) for i in range(n)]


def _move(data: NDArray[np.uint8], part: NDArray[np.uint8], place: int) -> None:
    """Move a part of an array to a place before it. NumPy would make a copy where they overlap."""
    memoryview(data)[place : place + part.size] = memoryview(part)


def _words(descriptions: Sequence[Any]) -> NDArray[np.uint64]:
    return np.array(descriptions, np.uint64).reshape(-1, FIELDS)


def merge_raw(chunks: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Join raw chunks that follow each other: their values lie side by side."""
    merged: list[list[int]] = []
    for n, fill, packed in chunks.tolist():
        if packed == 0 and merged and merged[-1][2] == 0:
            merged[-1][0] += n
        else:
            merged.append([n, fill, packed])
    return _words(merged)


def join(parts: Sequence[Encoded]) -> Encoded:
    """Return consecutive chunks as one object has them."""
    chunks = merge_raw(np.concatenate([_words([]), *(part.chunks for part in parts)]))
    lengths = np.concatenate([np.zeros(0, np.uint16), *(part.lengths for part in parts)])
    pad = np.zeros(PAD, np.uint8)
    data = np.concatenate([pad, *(part.data[PAD : part.data.size - PAD] for part in parts), pad])
    return Encoded(chunks, lengths, data)


# -- reading --------------------------------------------------------------------------------------


def read_plans(
    chunks: NDArray[np.uint64], lengths: NDArray[np.uint16], n_data: int, form: FloatFormat
) -> Plans:
    """Return the plans of chunks; ValueError if kernels could leave the arrays.

    It takes about a microsecond for each 30 chunks of a million values.
    """
    if chunks.ndim != 2 or chunks.shape[1] != FIELDS:
        raise ValueError(f"chunks must have {FIELDS} columns, got {chunks.shape}")
    n = chunks[:, 0]
    # A float sum does not wrap around.
    if n.size and (int(n.min()) < 1 or float(n.sum(dtype=np.float64)) > 2.0**60):
        raise ValueError("chunks must have at least one value each, and at most 2**60 in all")
    packed = chunks[:, 2]
    bits, lead, constant, turn, first, span = (
        (packed >> np.uint64(at) & np.uint64(mask)).astype(np.int64)
        for at, mask in ((0, 255), (8, 255), (16, 255), (24, 255), (32, 0xFFFF), (48, 0xFFFF))
    )
    span += 1
    coded = bits > 0
    raw = form.width - bits - lead - constant
    rules = (
        (coded | ((packed == 0) & (chunks[:, 1] == 0)), "a raw chunk has no coding"),
        (~coded | (n <= CHUNK), f"a coded chunk has at most {CHUNK} values"),
        (~coded | ((bits <= 16) & (raw >= 0)), f"a value has {form.width} bits"),
        (~coded | (turn <= (TURNS[-1] if form.exponent else 0)), "values are turned in a known way"),
        (~coded | (first + span <= 1 << np.minimum(bits, 16)), "symbols fit their bits"),
        (~coded | (chunks[:, 1] & ~_common(form, lead, constant) == 0), "only common bits are filled in"),
    )
    for holds, rule in rules:
        if not holds.all():
            raise ValueError(f"chunk {int(np.flatnonzero(~holds)[0])} breaks the rule that {rule}")
    counts = n.astype(np.int64)
    n_pairs = np.where(coded, -(-counts // _PAIR), 0)
    if int(n_pairs.sum()) != lengths.size:
        raise ValueError(f"lengths must have {int(n_pairs.sum())} entries, got {lengths.size}")
    pairs = np.concatenate([[0], np.cumsum(n_pairs)])
    sums = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    # The last stream of a chunk is padded to 8 values.
    padded = counts // STREAM * STREAM + (counts % STREAM + 7) // 8 * 8
    table = np.where(coded, (span + 1) // 2, 0)
    sizes = np.where(coded, table + padded * raw // 8 + sums[pairs[1:]] - sums[pairs[:-1]], 0)
    if bool((~coded).any()):
        sizes = np.where(coded, sizes, counts * (form.width // 8))
    if float(sizes.sum(dtype=np.float64)) > 2.0**62 or int(sizes.sum()) + 2 * PAD != n_data:
        raise ValueError(f"data must have {sizes.sum(dtype=np.float64) + 2 * PAD:.0f} bytes, got {n_data}")
    places = PAD + np.concatenate([[0], np.cumsum(sizes)])
    plans = np.zeros((len(chunks), PLAN), np.int64)
    columns = (counts, places[:-1] + table, pairs[:-1], bits, lead, raw, constant, turn)
    for field, column in enumerate((*columns, np.ascontiguousarray(chunks[:, 1]).view(np.int64))):
        plans[:, field] = column
    plans[:, 9], plans[:, 10] = first, form.width - 1 - form.exponent
    return Plans(np.concatenate([[0], np.cumsum(counts)]), places, plans, first, span)


def _common(form: FloatFormat, lead: NDArray[np.int64], constant: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return masks of the `constant` lowest and the `lead` highest bits of values."""
    one = np.uint64(1)
    low = (one << np.minimum(constant, 63).astype(np.uint64)) - one
    everything = np.uint64((1 << form.width) - 1)
    high = everything >> np.minimum(lead, 63).astype(np.uint64)
    return low | (everything & ~high)


def code_lengths_of(data: NDArray[np.uint8], plans: Plans, chunk: int) -> NDArray[np.uint8]:
    """Return the lengths of the code words of a coded chunk; ValueError if they are no complete code."""
    span = int(plans.spans[chunk])
    packed = data[int(plans.places[chunk]) :][: (span + 1) // 2]
    nibbles = np.empty(2 * packed.size, np.uint8)
    nibbles[::2], nibbles[1::2] = packed & 15, packed >> 4
    lengths = nibbles[:span]
    present = lengths[lengths > 0].astype(np.int64)
    if span > MOST_SYMBOLS and present.size > MOST_SYMBOLS:
        raise ValueError(f"chunk {chunk} has more than {MOST_SYMBOLS} symbols")
    complete = int((1 << (LONGEST - np.minimum(present, LONGEST))).sum()) == TABLE
    if int(lengths.max()) > LONGEST or (span > 1 and not complete) or (span == 1 and present.size):
        raise ValueError(f"the code of chunk {chunk} is not complete")
    return lengths


def decoder_of(
    data: NDArray[np.uint8], plans: Plans, chunk: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the look-up table and the plan with which kernels decode a coded chunk."""
    lengths, plan = code_lengths_of(data, plans, chunk), plans.plans[chunk]
    if lengths.size > MOST_SYMBOLS:
        # The symbols are far apart: the table has their numbers, and the plan has them.
        symbols = np.zeros(MOST_SYMBOLS, np.int64)
        present = np.flatnonzero(lengths)
        symbols[: present.size] = present + plan[9]
        plan = np.concatenate([plan, symbols])
        plan[9] = -1
        lengths = lengths[present]
    table = np.empty(TABLE, np.uint64)
    lookup_table(lengths, table)
    return table, plan
