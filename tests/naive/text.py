"""Words, symbols and shingles of texts, by Python's own Unicode database and the xxhash package."""

from __future__ import annotations

import functools
import unicodedata

import xxhash

#: Names of invisible characters that are left out, as if they were not there.
IGNORED = ["SOFT HYPHEN", "MONGOLIAN VOWEL SEPARATOR", "WORD JOINER", "ZERO WIDTH NO-BREAK SPACE"]
IGNORED += ["ARABIC LETTER MARK", "LEFT-TO-RIGHT MARK", "RIGHT-TO-LEFT MARK"]
#: Classes of the other marks of direction: embeddings, overrides, isolates and their ends.
DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
#: Characters of a word, or of a symbol, that cannot begin one.
NEVER_FIRST = ("ZERO WIDTH JOINER", "ZERO WIDTH NON-JOINER", "COMBINING GRAPHEME JOINER")
NEVER_FIRST += ("VARIATION SELECTOR-", "MONGOLIAN FREE VARIATION")


#: Looks every character up once; texts repeat the same few.
once = functools.lru_cache(1 << 16)


@once
def lower_one_to_one(character: str) -> str:
    """Lower a character as Python does, one to one; the final sigma is an ordinary sigma."""
    lower = character.lower()
    return {"i\u0307": "i", "\u03c2": "\u03c3"}.get(lower, lower)


@once
def stands_alone(character: str) -> bool:
    """Find characters of scripts that are written without spaces by their Unicode names."""
    name = unicodedata.name(character, "")
    script = name.startswith(
        ("CJK UNIFIED", "CJK COMPATIBILITY IDEO", "HIRAGANA", "HENTAI", "THAI ", "LAO ", "KHMER ", "MYANMAR ")
    )
    return character in "々〻〇\U00016fe3" or (script and unicodedata.category(character)[0] == "L")


@once
def kind_of(character: str) -> str:
    """Return what a character does in a text."""
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if name in IGNORED or unicodedata.bidirectional(character) in DIRECTIONS:
        return "ignored"
    if name.startswith(NEVER_FIRST):
        return "never first"
    if category[0] == "M":
        return "mark"
    if category[0] in "LN" or category == "Pc":
        return "alone" if stands_alone(character) else "letter"
    if category[0] in "CZ" and category not in ("Cn", "Co"):
        return "blank"
    return "blank" if character == "\ufffd" else "symbol"


def units(text: str, *, symbols: bool) -> list[str]:
    """Return the words in lower case; with `symbols`, as they are written and with all symbols between."""
    found: list[str] = []
    state = "separator"
    for character in text:
        kind = kind_of(character)
        if kind == "ignored" or (kind == "never first" and state == "separator"):
            continue
        if kind == "blank" or (kind == "symbol" and not symbols):
            state = "separator"
            continue
        written = character if symbols else lower_one_to_one(character)
        if kind in ("alone", "symbol"):
            found.append(written)
            state = "alone"
        elif state == "word" or (state == "alone" and kind in ("mark", "never first")):
            found[-1] += written
        else:
            found.append(written)
            state = "word"
    return found


def in_normal_form(document: bytes, normalize: str) -> str:
    """Return the text in a normal form; each byte that is not UTF-8 is a lone surrogate."""
    text = document.decode("utf-8", "surrogateescape")
    return text if normalize == "none" else unicodedata.normalize(normalize.upper(), text)


def shingles(
    document: bytes, unit: str, size: int, seed: int, normalize: str = "nfc"
) -> tuple[int, list[int]]:
    """Return a document's status (0 fine, 1 empty, 2 bad bytes) and the hashes of its shingles."""
    text = in_normal_form(document, normalize)
    document = text.encode("utf-8", "surrogateescape")
    n_bad = sum("\ud800" <= character <= "\udfff" for character in text)
    text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    found = units(text, symbols=unit == "symbol")
    if not found and unit != "symbol":
        unit, found = "symbol", units(text, symbols=True)
    if n_bad > len(document) / 2 or (n_bad and not found):
        return 2, [xxhash.xxh3_64_intdigest(document, seed)]
    if not found:
        return 1, []
    if unit == "character":
        joined = " ".join(found)
        texts = [joined[i : i + size] for i in range(max(1, len(joined) - size + 1))]
    else:
        texts = [" ".join(found[i : i + size]) for i in range(max(1, len(found) - size + 1))]
    return 2 if n_bad else 0, [xxhash.xxh3_64_intdigest(part.encode("utf-8"), seed) for part in texts]
