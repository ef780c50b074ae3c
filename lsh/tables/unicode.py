"""The properties of code points that `shingle` uses, from the table that ``make_unicode.py`` wrote."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["UnicodeTable", "unicode_table"]


class UnicodeTable(NamedTuple):
    """Records of code points in two stages.

    The record of code point c is ``records[stage2[stage1[c >> 7] << 7 | c & 127]]``. Its low four bits are
    the flags of ``make_unicode``; the bits above them are the number that lower-casing adds to c.
    """

    version: str
    stage1: NDArray[np.uint16]
    stage2: NDArray[np.uint8]
    records: NDArray[np.int32]


@cache
def unicode_table() -> UnicodeTable:
    """Return the table of the package; it is read at the first call."""
    with np.load(Path(__file__).with_name("unicode.npz"), allow_pickle=False) as arrays:
        return UnicodeTable(
            arrays["version"].tobytes().decode(), arrays["stage1"], arrays["stage2"], arrays["records"]
        )
