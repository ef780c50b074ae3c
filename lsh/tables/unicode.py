"""What `shingle` knows of each code point: the table that ``_make_unicode_table.py`` wrote."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["UnicodeTable", "unicode_table"]


class UnicodeTable(NamedTuple):
    """Records of code points in two stages.

    The record of code point c is ``records[stage2[stage1[c >> 7] << 7 | c & 127]]``: the flags of
    ``_make_unicode_table`` in its low four bits, and above them what lower-casing adds to c.
    """

    version: str
    stage1: NDArray[np.uint16]
    stage2: NDArray[np.uint8]
    records: NDArray[np.int32]


@cache
def unicode_table() -> UnicodeTable:
    """The table that is shipped, read at the first call."""
    with np.load(Path(__file__).with_name("unicode.npz"), allow_pickle=False) as arrays:
        return UnicodeTable(
            arrays["version"].tobytes().decode(), arrays["stage1"], arrays["stage2"], arrays["records"]
        )
