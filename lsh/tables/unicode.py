"""The properties of code points that `shingle` uses, from the table that ``make_unicode.py`` wrote."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["UnicodeTable", "unicode_table"]

#: Flags in the low bits of a record: a character of words; one that joins the character before it; a word
#: by itself; assigned in this version of Unicode; neither of a word nor a symbol; left out; in words and
#: symbols, but never the first character.
WORD, MARK, SINGLE, ASSIGNED, BLANK, IGNORED, NEVER_FIRST = (1 << bit for bit in range(7))
#: Flags of normal forms: changed by NFC; changed by NFKC; may compose with the character before; may compose
#: with the one after it. The last flag says that the combining class, in the bits from `CLASS_SHIFT` on, is
#: not 0.
NOT_NFC, NOT_NFKC, MAY_COMPOSE, COMPOSES, NONSTARTER = (1 << bit for bit in range(7, 12))
CLASS_SHIFT = 12
#: The other bits are the number that lower-casing adds to the code point.
DELTA_SHIFT = 20


class UnicodeTable(NamedTuple):
    """Records of code points in two stages.

    The record of code point c is ``records[stage2[stage1[c >> 7] << 7 | c & 127]]``. Its lowest bits are the
    flags above, then come the combining class and the number that lower-casing adds to c.
    """

    version: str
    stage1: NDArray[np.uint16]
    stage2: NDArray[np.uint8]
    records: NDArray[np.int64]


@cache
def unicode_table() -> UnicodeTable:
    """Return the table of the package; it is read at the first call."""
    with np.load(Path(__file__).with_name("unicode.npz"), allow_pickle=False) as arrays:
        return UnicodeTable(
            arrays["version"].tobytes().decode(), arrays["stage1"], arrays["stage2"], arrays["records"]
        )
