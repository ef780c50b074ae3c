"""Write ``unicode.npz``: what `shingle` knows of each code point.

Run by hand to move to another Unicode version, with a Python of that version::

    python -m mergesketch.lsh.tables.make_unicode

Hashes of texts that use changed code points change with it, so that is a new version of the file format.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np

# The meaning of the low bits of a record; the rest is what lower-casing adds to the code point.
WORD, MARK, SINGLE, ASSIGNED = 1, 2, 4, 8
DELTA_SHIFT = 4
BLOCK_BITS = 7

# Scripts written without spaces between words, by the names of their letters: the letters of the scripts
# Han, Hiragana, Thai, Lao, Khmer and Myanmar in Unicode's Scripts.txt, which Python does not have.
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
    """The simple (one to one) lower case of a code point."""
    text = chr(code).lower()
    # U+0130 alone lower-cases to two code points in Python; UnicodeData.txt's simple mapping is "i".
    return ord(text) if len(text) == 1 else ord("i")


def record(code: int) -> int:
    """Flags and lower-casing of a code point, packed."""
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
