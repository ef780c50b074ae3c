"""Write ``unicode.npz``: the properties of each code point that `shingle` uses.

It is run by hand, with a Python of the wanted Unicode version::

    python -m mergesketch.lsh.tables.make_unicode

Hashes of texts with changed code points change too, so another table needs a new version of the file format.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np

#: Flags in the low bits of a record. The other bits are the number that lower-casing adds to the code point.
WORD, MARK, SINGLE, ASSIGNED = 1, 2, 4, 8
DELTA_SHIFT = 4
BLOCK_BITS = 7

#: Beginnings of the names of letters of scripts that are written without spaces between words: those of Han,
#: Hiragana, Thai, Lao, Khmer and Myanmar in Unicode's Scripts.txt, which Python does not have.
_SINGLE_NAMES = (
    "CJK UNIFIED IDEOGRAPH-",
    "CJK COMPATIBILITY IDEOGRAPH-",
    "IDEOGRAPHIC ITERATION MARK",
    "VERTICAL IDEOGRAPHIC ITERATION MARK",
    "OLD CHINESE ITERATION MARK",
    "IDEOGRAPHIC NUMBER ZERO",
    "HIRAGANA ",
    "HENTAIGANA ",
    "THAI ",
    "LAO ",
    "KHMER ",
    "MYANMAR ",
)


def lower(code: int) -> int:
    """Return the simple (one to one) lower case of a code point."""
    text = chr(code).lower()
    # Only U+0130 has a lower case of two code points in Python; the simple mapping of UnicodeData.txt is "i".
    return ord(text) if len(text) == 1 else ord("i")


def record(code: int) -> int:
    """Return the flags and the lower-casing of a code point, packed."""
    character = chr(code)
    category = unicodedata.category(character)
    flags = 0 if category == "Cn" else ASSIGNED
    if category[0] in "LNM" or category == "Pc":
        flags |= WORD
    if category[0] == "M":
        flags |= MARK
    ideographic_zero = code == 0x3007  # a number (Nl), but written as a Han character
    if (category[0] == "L" or ideographic_zero) and unicodedata.name(character, "").startswith(_SINGLE_NAMES):
        flags |= SINGLE
    return ((lower(code) - code) << DELTA_SHIFT) | flags


def main() -> None:
    """Compress the records into two stages of blocks and save them beside this file."""
    records = np.array([record(code) for code in range(0x110000)], dtype=np.int32)
    values, indices = np.unique(records, return_inverse=True)
    blocks, stage1 = np.unique(indices.reshape(-1, 1 << BLOCK_BITS), axis=0, return_inverse=True)
    if values.size > 256 or blocks.shape[0] > 65536:
        raise ValueError(f"{values.size} records in {blocks.shape[0]} blocks do not fit the stages' types")
    path = Path(__file__).with_name("unicode.npz")
    np.savez_compressed(
        path,
        version=np.frombuffer(unicodedata.unidata_version.encode(), dtype=np.uint8),
        stage1=stage1.reshape(-1).astype(np.uint16),
        stage2=blocks.reshape(-1).astype(np.uint8),
        records=values,
    )
    print(f"Unicode {unicodedata.unidata_version}: {values.size} records, {blocks.shape[0]} blocks, {path}")


if __name__ == "__main__":
    main()
