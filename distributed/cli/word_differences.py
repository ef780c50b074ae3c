"""Mark, word by word, how two texts differ, and leave out long parts that both have."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from ...errors import readable

__all__ = ["Part", "beginning", "differences"]

#: Characters of a text that are looked at, and of a word that is shown.
_MOST_TEXT, _MOST_WORD = 200_000, 80
#: Words of each text that are compared, after the beginning and the end that both have.
_MOST_WORDS = 1_500
#: Common words that are shown before and after a difference, and different words that are shown at once.
_AROUND, _MOST_SHOWN = 8, 60
#: Parts after which further differences are left out.
_MOST_PARTS = 60


class Part(NamedTuple):
    """Some words, which both texts have, or one of them.

    Attributes
    ----------
    kind : {"both", "first", "second", "gap"}
        A gap says in its text how many words are left out.
    text : str
        One line that has no character that is not printable.
    """

    kind: Literal["both", "first", "second", "gap"]
    text: str


def differences(first: bytes, second: bytes) -> list[Part]:
    """Return the words of two texts in their order, those of the first text before those of the second.

    Examples
    --------
    >>> for part in differences(b"a fox runs home", b"a dog runs home"):
    ...     print(part.kind, part.text)
    both a
    first fox
    second dog
    both runs home
    """
    a, b = _words(first), _words(second)
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    middle_a, middle_b = a[start : len(a) - end], b[start : len(b) - end]
    shown_a, shown_b = middle_a[:_MOST_WORDS], middle_b[:_MOST_WORDS]
    parts = list(_common(a[:start], is_first=True, is_last=False))
    blocks = SequenceMatcher(None, shown_a, shown_b, autojunk=False).get_opcodes()
    n_left = max(len(middle_a) - len(shown_a), len(middle_b) - len(shown_b))
    for number, (kind, a_from, a_to, b_from, b_to) in enumerate(blocks):
        if len(parts) >= _MOST_PARTS:
            n_left = max(len(middle_a) - a_from, len(middle_b) - b_from)
            break
        if kind == "equal":
            is_first = number == 0 and not start
            parts += _common(shown_a[a_from:a_to], is_first=is_first, is_last=False)
            continue
        parts += _different("first", shown_a[a_from:a_to])
        parts += _different("second", shown_b[b_from:b_to])
    if n_left:
        parts.append(Part("gap", f"{n_left:,} more words, with differences too"))
    parts += _common(a[len(a) - end :], is_first=not parts, is_last=True)
    return parts


def beginning(text: bytes, n_characters: int) -> str:
    """Return the beginning of a text as one line that has no character that is not printable."""
    words = text[: 8 * n_characters].decode("utf-8", "replace").split()
    line = " ".join(words)
    is_cut = len(line) > n_characters or len(text) > 8 * n_characters
    return readable(line[:n_characters]) + ("…" if is_cut else "")


def _words(text: bytes) -> list[str]:
    return text[:_MOST_TEXT].decode("utf-8", "replace").split()


def _common(words: list[str], *, is_first: bool, is_last: bool) -> Iterator[Part]:
    """Yield words that both texts have, without those that are far from the differences around them."""
    before = 0 if is_first else _AROUND
    after = 0 if is_last else _AROUND
    n_left = len(words) - before - after
    if is_first and is_last:
        before, n_left = _MOST_SHOWN, len(words) - _MOST_SHOWN
    if n_left < _AROUND:
        yield from _part("both", words)
        return
    yield from _part("both", words[:before])
    yield Part("gap", f"{n_left:,} equal words")
    yield from _part("both", words[len(words) - after :] if after else [])


def _different(kind: Literal["first", "second"], words: list[str]) -> Iterator[Part]:
    yield from _part(kind, words[:_MOST_SHOWN])
    if len(words) > _MOST_SHOWN:
        yield Part("gap", f"{len(words) - _MOST_SHOWN:,} more words")


def _part(kind: Literal["both", "first", "second"], words: list[str]) -> Iterator[Part]:
    if words:
        short = (word if len(word) <= _MOST_WORD else word[:_MOST_WORD] + "…" for word in words)
        yield Part(kind, readable(" ".join(short)))
