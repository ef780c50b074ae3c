"""Bring texts to a Unicode normal form: those that the quick check of the shingle kernel has not passed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from ..tables.unicode import ASSIGNED, unicode_table

__all__ = ["in_normal_form"]

#: Bytes of text that are normalised at a time. A longer document is normalised by itself.
_BATCH_BYTES = 1 << 20


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
        return unicodedata.normalize(python_form, text)
    parts = _unassigned().split(text)
    # Every other part is what separates them.
    parts[::2] = [unicodedata.normalize(python_form, part) for part in parts[::2]]
    return "".join(parts)


@cache
def _unassigned() -> re.Pattern[str]:
    """Match a run of code points that the table's version of Unicode lacks."""
    table = unicode_table()
    blocks = table.stage2.reshape(-1, 128)[table.stage1]
    lacking = np.flatnonzero(table.records[blocks.reshape(-1)] & ASSIGNED == 0)
    starts = lacking[np.diff(lacking, prepend=-2) > 1]
    ends = lacking[np.diff(lacking, append=0x110001) > 1]
    ranges = zip(starts.tolist(), ends.tolist(), strict=True)
    return re.compile("([" + "".join(f"{chr(a)}-{chr(b)}" for a, b in ranges) + "]+)")
