"""Write ``unicode.npz``: the properties of each code point that `shingle` uses.

It is run by hand, with a Python of the wanted Unicode version::

    python -m mergesketch.lsh.tables.make_unicode

Hashes of texts with changed code points change with the table. Texts are normalised with the same version of
Unicode, whatever the version of the running Python; see ``lsh/hashing/normal_forms.py``.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np

from .unicode import (
    ASSIGNED,
    BLANK,
    CLASS_SHIFT,
    COMPOSES,
    DELTA_SHIFT,
    IGNORED,
    MARK,
    MAY_COMPOSE,
    NEVER_FIRST,
    NONSTARTER,
    NOT_NFC,
    NOT_NFKC,
    SINGLE,
    WORD,
)

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


#: Invisible characters that are left out: the soft hyphen, the vowel separator of Mongolian, the word joiner
#: and its old form, and the marks of direction.
_IGNORED = {0x00AD, 0x061C, 0x180E, 0x200E, 0x200F, 0x2060, 0xFEFF}
_IGNORED |= {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
#: The joiners, which are characters of words (Unicode Technical Standard 18), and the variation selectors.
_JOINERS = {0x200C, 0x200D}
_SELECTORS = {0x034F, *range(0x180B, 0x180E), 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
_FINAL_SIGMA, _SIGMA, _REPLACEMENT = 0x03C2, 0x03C3, 0xFFFD
#: The leading consonants of Hangul, and the vowels and final consonants that join them.
_HANGUL_FIRST = {*range(0x1100, 0x1113)}
_HANGUL_NEXT = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}


def lower(code: int) -> int:
    """Return the simple (one to one) lower case of a code point; the final sigma is an ordinary one."""
    if code == _FINAL_SIGMA:
        return _SIGMA
    text = chr(code).lower()
    # Only U+0130 has a lower case of two code points in Python; the simple mapping of UnicodeData.txt is "i".
    return ord(text) if len(text) == 1 else ord("i")


def compositions() -> tuple[set[int], set[int]]:
    """Return the code points that may compose with one after them, and with one before them.

    A composed character is among the first. Marks after it may belong between its parts, as U+0328 after
    U+00E0 does: the result is the letter U+0105 with a grave accent.
    """
    first, second = set(_HANGUL_FIRST), set(_HANGUL_NEXT)
    for code in range(0x110000):
        if not 0xD800 <= code <= 0xDFFF and unicodedata.normalize("NFD", chr(code)) != chr(code):
            first.add(code)
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and parts[0][0] != "<" and unicodedata.normalize("NFC", chr(code)) == chr(code):
            first.add(int(parts[0], 16))
            second.add(int(parts[1], 16))
    return first, second


def word_flags(code: int) -> int:
    """Return the flags that say what a code point does between and in words."""
    character = chr(code)
    category = unicodedata.category(character)
    flags = 0 if category == "Cn" else ASSIGNED
    if code in _IGNORED:
        return flags | IGNORED
    if code in _JOINERS:
        return flags | WORD | MARK | NEVER_FIRST
    if category[0] in "LNM" or category == "Pc":
        flags |= WORD
    elif category[0] == "Z" or category in ("Cc", "Cf", "Cs") or code == _REPLACEMENT:
        flags |= BLANK
    if category[0] == "M":
        flags |= MARK | (NEVER_FIRST if code in _SELECTORS else 0)
    ideographic_zero = code == 0x3007  # a number (Nl), but written as a Han character
    if (category[0] == "L" or ideographic_zero) and unicodedata.name(character, "").startswith(_SINGLE_NAMES):
        flags |= SINGLE
    return flags


def form_flags(code: int, first: set[int], second: set[int]) -> int:
    """Return the flags of normal forms and the combining class; `first` and `second` are `compositions`."""
    character = chr(code)
    flags = 0
    if not 0xD800 <= code <= 0xDFFF:
        flags |= NOT_NFC if unicodedata.normalize("NFC", character) != character else 0
        flags |= NOT_NFKC if unicodedata.normalize("NFKC", character) != character else 0
    flags |= (COMPOSES if code in first else 0) | (MAY_COMPOSE if code in second else 0)
    combining = unicodedata.combining(character)
    return flags | (NONSTARTER if combining else 0) | combining << CLASS_SHIFT


def main() -> None:
    """Compress the records into two stages of blocks and save them beside this file."""
    pairs = compositions()
    codes = range(0x110000)
    records = np.array(
        [lower(c) - c << DELTA_SHIFT | form_flags(c, *pairs) | word_flags(c) for c in codes], dtype=np.int64
    )
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
