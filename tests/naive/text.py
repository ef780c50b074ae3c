"""Words and shingles of texts, by Python's own Unicode database and the xxhash package."""

from __future__ import annotations

import unicodedata

import xxhash


def lower_one_to_one(character: str) -> str:
    """Lower a character as Python does, except for the one whose lower-case form has two characters."""
    lower = character.lower()
    return lower if len(lower) == 1 else "i"


def stands_alone(character: str) -> bool:
    """Find characters of scripts that are written without spaces by their Unicode names."""
    name = unicodedata.name(character, "")
    script = name.startswith(
        ("CJK UNIFIED", "CJK COMPATIBILITY IDEO", "HIRAGANA", "HENTAI", "THAI ", "LAO ", "KHMER ", "MYANMAR ")
    )
    return character in "々〻〇\U00016fe3" or (script and unicodedata.category(character)[0] == "L")


def words(text: str) -> list[str]:
    """Return the words in the order of the text, lower-cased."""
    found: list[str] = []
    state = "separator"
    for character in text:
        category = unicodedata.category(character)
        if category[0] not in "LNM" and category != "Pc":
            state = "separator"
            continue
        lower = lower_one_to_one(character)
        if stands_alone(character):
            found.append(lower)
            state = "alone"
        elif state == "word" or (state == "alone" and category[0] == "M"):
            found[-1] += lower
        else:
            found.append(lower)
            state = "word"
    return found


def shingles(document: bytes, unit: str, size: int, seed: int) -> tuple[int, list[int]]:
    """Return a document's status (0 fine, 1 empty, 2 not UTF-8) and the hashes of its shingles."""
    try:
        found = words(document.decode("utf-8"))
    except UnicodeDecodeError:
        return 2, []
    if not found:
        return 1, []
    if unit == "word":
        texts = [" ".join(found[i : i + size]) for i in range(max(1, len(found) - size + 1))]
    else:
        text = " ".join(found)
        texts = [text[i : i + size] for i in range(max(1, len(text) - size + 1))]
    return 0, [xxhash.xxh3_64_intdigest(text.encode("utf-8"), seed) for text in texts]
