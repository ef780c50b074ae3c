"""Bring texts to a Unicode normal form: those that the quick check of the shingle kernel has not passed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from ..tables.unicode import ASSIGNED, NONSTARTER, NOT_NFC, NOT_NFKC, unicode_table

__all__ = ["in_normal_form"]

#: Bytes of text that are normalised at a time. A longer document is normalised by itself.
_BATCH_BYTES = 1 << 20
#: A run of at least so many combining marks is put in order here; see `_with_ordered_marks`.
_LONG_RUN = 64


def in_normal_form(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], rows: NDArray[np.int64], form: str
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Yield the documents `rows` in a normal form, as buffers of a bounded number of bytes.

    Bytes that are not UTF-8 stay as they are. There is at least one row.
    """
    texts: list[bytes] = []
    size = 0
    for start, stop in zip(offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True):
        if size + stop - start > _BATCH_BYTES and texts:
            yield _buffer(texts)
            texts, size = [], 0
        text = data[start:stop].tobytes().decode("utf-8", "surrogateescape")
        texts.append(normalize(text, form).encode("utf-8", "surrogateescape"))
        size += stop - start
    yield _buffer(texts)


def _buffer(texts: list[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    data = np.frombuffer(b"".join(texts), dtype=np.uint8)
    return data, np.cumsum([0, *map(len, texts)])


def normalize(text: str, form: str) -> str:
    """Return `text` in a normal form of the table's version of Unicode, whatever Python's own version is.

    The normal forms of a character are the same in every version that has it. A version without it never
    changes it, so the text before it and the text after it are normalised apart.
    """
    python_form = cast(Literal["NFC", "NFKC"], form.upper())
    if unicodedata.unidata_version == unicode_table().version or text.isascii():
        return unicodedata.normalize(python_form, _with_ordered_marks(text, python_form))
    parts = _unassigned().split(text)
    # Every other part is what separates them.
    parts[::2] = [
        unicodedata.normalize(python_form, _with_ordered_marks(part, python_form)) for part in parts[::2]
    ]
    return "".join(parts)


def _with_ordered_marks(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """Return a text of the same normal form whose long runs of combining marks are in canonical order.

    Python orders the n marks of a run by moving each to its place, which takes n**2 steps. A text of a few
    megabytes could take hours. Marks in order take n steps.
    """
    decomposed = cast(Literal["NFD", "NFKD"], form.replace("C", "D"))
    # A long run has two of these characters in a row. Only they are looked at in texts without such runs.
    some = text[:: _LONG_RUN // 2]
    if len(some) < 2 or some.isascii() or not _runs_of_marks(decomposed, 2).search(some):
        return text

    def ordered(run: re.Match[str]) -> str:
        marks = "".join(unicodedata.normalize(decomposed, mark) for mark in run[0])
        return "".join(sorted(marks, key=unicodedata.combining))

    return _runs_of_marks(decomposed, _LONG_RUN).sub(ordered, text)


@cache
def _runs_of_marks(form: Literal["NFD", "NFKD"], n: int) -> re.Pattern[str]:
    """Match n or more code points that have only combining marks in their decomposed form."""
    table = unicode_table()
    blocks = table.stage2.reshape(-1, 128)[table.stage1]
    flags = table.records[blocks.reshape(-1)] & (NONSTARTER | NOT_NFC | NOT_NFKC)
    marks = [
        code
        for code in np.flatnonzero(flags).tolist()
        if all(unicodedata.combining(part) for part in unicodedata.normalize(form, chr(code)))
    ]
    return re.compile(f"{_character_class(np.array(marks))}{{{n},}}")


@cache
def _unassigned() -> re.Pattern[str]:
    """Match a run of code points that the table's version of Unicode lacks."""
    table = unicode_table()
    blocks = table.stage2.reshape(-1, 128)[table.stage1]
    lacking = np.flatnonzero(table.records[blocks.reshape(-1)] & ASSIGNED == 0)
    return re.compile(f"({_character_class(lacking)}+)")


def _character_class(codes: NDArray[np.intp]) -> str:
    """Return the pattern of one character of these code points, which rise."""
    starts = codes[np.diff(codes, prepend=-2) > 1]
    ends = codes[np.diff(codes, append=0x110001) > 1]
    ranges = zip(starts.tolist(), ends.tolist(), strict=True)
    return "[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in ranges) + "]"
