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

from ...lsh.support.backend import backend_of, read_only
from ...lsh.support.threads import cut_range, get_num_threads, run_tasks
from ..kernels import float_encoding
from ..kernels.float_codes import (
    MOST_SYMBOLS,
    PAD,
    PLAN,
    STREAM,
    TABLE,
    code_words,
    lookup_table,
)
from ..kernels.float_plans import fill_plans, unpack_lengths
from .float_coding import (
    Coding,
    Survey,
    bits_to_count,
    choose,
    code_of,
    constant_bits,
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
#: What `fill_plans` checks.
_RULES = (
    "",
    "a chunk has at least one value, and all have at most 2**60",
    "a raw chunk has no coding",
    "the data has the bytes of all chunks",
    f"a coded chunk has at most {CHUNK} values",
    "a value has as many bits as its format",
    "values are turned in a known way",
    "symbols fit their bits",
    "only common bits are filled in",
    "there is a length for each pair of streams",
)


T = TypeVar("T")


class Encoded(NamedTuple):
    """Chunks: their descriptions, the lengths of their pairs, and the data, with padding on both sides."""

    chunks: NDArray[np.uint64]
    lengths: NDArray[np.uint16]
    data: NDArray[np.uint8]


class Plans(NamedTuple):
    """Places of chunks, by number: first values (and the end), bytes of data, kernels' plans, and spans.

    A span is how many symbols lie between the first one and the last one, both included.
    """

    starts: NDArray[np.int64]
    places: NDArray[np.int64]
    plans: NDArray[np.int64]
    spans: NDArray[np.int64]


# -- encoding -------------------------------------------------------------------------------------


class _Prepared(NamedTuple):
    """The description of a chunk and its code, by which it is encoded."""

    description: tuple[int, int, int]
    plan: NDArray[np.int64] | None
    first: int
    lengths: NDArray[np.uint8]


def _raw(n: int) -> _Prepared:
    return _Prepared((n, 0, 0), None, 0, np.zeros(0, np.uint8))


def _prepare(values: NDArray[Any], form: FloatFormat, coding: Coding | None, found: Survey) -> _Prepared:
    """Return how a chunk is encoded: by the coding if that is smaller than the values are."""
    n, width = values.size, form.width
    if form.exponent == 0 and coding is not None:
        # How large integers are differs from chunk to chunk.
        coding = choose(found, form, "auto")
    code = None if coding is None else code_of(found, form, coding)
    if coding is None or code is None:
        return _raw(n)
    first, lengths, n_bits = code
    constant = constant_bits(found, form, coding)
    raw = width - coding.lead - coding.bits - constant
    n_pairs = -(-n // _PAIR)
    most = (lengths.size + 1) // 2 + (n_bits + n * raw) // 8 + 3 * n_pairs + 8 * (raw + 2)
    if most + 2 * n_pairs + _SAVED > n * width // 8:
        return _raw(n)
    value = turned(int(values[0]), form, coding.turn)
    fill = value & ((1 << constant) - 1)
    fill |= value >> (width - coding.lead) << (width - coding.lead)
    fields = (n, 0, 0, coding.bits, coding.lead, raw, constant, coding.turn, 0, 0, width - 1 - form.exponent)
    plan = np.array(fields, np.int64)
    packed = coding.bits | coding.lead << 8 | constant << 16 | coding.turn << 24
    packed |= first << 32 | (lengths.size - 1) << 48
    return _Prepared((n, fill, packed), plan, first, lengths)


def _write(values: NDArray[Any], prepared: _Prepared, room: NDArray[np.uint8]) -> Encoded:
    """Encode a chunk, without padding around its data, to an array of the size of the values."""
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
            chunks = [_raw(values.size).description] if values.size else []
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
        counted = bits_to_count(self._form, self._asked)
        found = _run(lambda k: survey(parts[picked[k]], self._form, counted), n, backend_of(parts[0]).xp)
        self._coding, self._is_chosen = choose(total(found), self._form, self._asked), True
        return dict(zip(picked, found, strict=True))


def _run(function: Callable[[int], T], n: int, xp: Any) -> list[T]:
    """Call a function over the threads; on a GPU in this one, for others would leave the caller's stream."""
    return run_tasks(function, n) if xp is np else [function(i) for i in range(n)]


def _move(data: NDArray[np.uint8], part: NDArray[np.uint8], place: int) -> None:
    """Move a part of an array to a place before it. NumPy would make a copy where they overlap."""
    data.data[place : place + part.size] = part.data


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

    It takes less than a microsecond a chunk.
    """
    if chunks.ndim != 2 or chunks.shape[1] != FIELDS:
        raise ValueError(f"chunks must have {FIELDS} columns, got {chunks.shape}")
    n, n_pairs = len(chunks), lengths.size
    starts, places = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    spans, plans = np.empty(n, np.int64), np.empty((n, PLAN), np.int64)
    limits = np.array([n_data, form.width, form.exponent, CHUNK], np.int64)
    chunk, rule = fill_plans(read_only(chunks), read_only(lengths), limits, starts, places, spans, plans)
    if rule:
        where = f"chunk {chunk}" if chunk < n else "the end"
        raise ValueError(
            f"{where} breaks the rule that {_RULES[rule]}; there are {n} chunks, {n_pairs} lengths and "
            f"{n_data} bytes of data"
        )
    return Plans(starts, places, plans, spans)


def code_lengths_of(data: NDArray[np.uint8], plans: Plans, chunk: int) -> NDArray[np.uint8]:
    """Return the lengths of the code words of a coded chunk; ValueError if they are no complete code."""
    span = int(plans.spans[chunk])
    place, lengths = int(plans.places[chunk]), np.empty(span, np.uint8)
    present = unpack_lengths(read_only(data[place : place + (span + 1) // 2]), lengths)
    if present < 0:
        raise ValueError(f"the code of chunk {chunk} is not complete")
    if present > MOST_SYMBOLS:
        raise ValueError(f"chunk {chunk} has more than {MOST_SYMBOLS} symbols")
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
