"""Read one JSON array of any length, element by element, with a window of its text in memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from .compression import DamagedError, Readable
from .jsonl import (
    BLOCK,
    MAX_DOCUMENT,
    N_FIRST,
    NOT_UTF8,
    TOO_LONG,
    check_records,
    object_decoder,
    text_of,
    value_of,
)
from .records import Record

__all__ = ["array_elements", "array_records", "check_array"]

#: Characters of the longest token that may be cut by the end of the window, without strings: ``-Infinity``,
#: an escaped pair of surrogates, and a margin.
_LONGEST_TOKEN = 32
_SPACE = re.compile(r"[ \t\r\n]*")
_MARK = "\ufeff"


class _Window:
    """The part of a text that is in memory, and a place in it."""

    def __init__(self, opened: Readable) -> None:
        self._opened = opened
        # Bytes that are not UTF-8 become surrogates, from which the bytes can be had again.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._is_ended = False
        self.text = ""
        self.place = 0

    def grow(self) -> bool:
        """Read more text, at least as much as there is; return False if there is no more."""
        if self._is_ended:
            return False
        rest = len(self.text) - self.place
        if rest > MAX_DOCUMENT:
            raise DamagedError(f"an element of the JSON array is {TOO_LONG}")
        parts, missing = [self.text[self.place :]], max(BLOCK, rest)
        while missing > 0 and not self._is_ended:
            block = self._opened.read(missing)
            self._is_ended = not block
            # The bytes of one character may come in several pieces.
            parts.append(self._decoder.decode(block, final=self._is_ended))
            missing -= len(parts[-1])
        self.text, self.place = "".join(parts), 0
        return len(self.text) > rest

    def peek(self) -> str:
        """Go to the next character that is no white space and return it, or nothing at the end."""
        while True:
            match = _SPACE.match(self.text, self.place)
            assert match is not None
            self.place = match.end()
            if self.place < len(self.text):
                return self.text[self.place]
            if not self.grow():
                return ""

    def take(self) -> str:
        """Return the next character like `peek`, and go behind it."""
        found = self.peek()
        self.place += len(found)
        return found

    def value(self) -> tuple[str, Any]:
        """Return the text and the value of the JSON value at the place, and go behind it."""
        while True:
            try:
                value, end = object_decoder.raw_decode(self.text, self.place)
            except RecursionError:
                raise DamagedError("the JSON array is nested too deeply") from None
            except json.JSONDecodeError as error:
                is_cut = error.pos >= len(self.text) - _LONGEST_TOKEN or error.msg.startswith("Unterminated")
                if is_cut and self.grow():
                    continue
                raise DamagedError("not JSON, or cut off") from None
            # A number near the end of the window may go on, as 1.5 does behind "1.".
            length = end - self.place
            if end + _LONGEST_TOKEN < len(self.text) or not self.grow():
                # Even if there is no more text, its part in memory may begin at another place.
                text = self.text[self.place : self.place + length]
                self.place += length
                return text, value


def array_elements(opened: Readable) -> Iterator[tuple[str, Any]]:
    """Yield the text and the value of each element of an array.

    Bytes that are not UTF-8 are surrogates in the text (``surrogateescape``).

    Raises
    ------
    DamagedError
        After the elements before it, at the first place that is not JSON; or if the text is no array, or goes
        on behind the array.
    """
    window = _Window(opened)
    if window.peek() == _MARK:
        window.take()
    if window.take() != "[":
        raise DamagedError("not a JSON array")
    if window.peek() == "]":
        window.take()
    else:
        while True:
            if not window.peek():
                raise DamagedError("the JSON array ends before its last bracket")
            yield window.value()
            mark = window.take()
            if mark == "]":
                break
            if mark != ",":
                what = "not JSON" if mark else "the JSON array ends before its last bracket"
                raise DamagedError(what)
    if window.peek():
        raise DamagedError("other text follows the JSON array")


def check_array(path: str, opened: Readable, field: str) -> None:
    """Raise DocumentError if the first elements all lack the field, and name their fields."""
    check_records(path, (element for _, element in islice(array_elements(opened), N_FIRST)), field)


def array_records(opened: Readable, field: str, extra: str | None = None) -> Iterator[Record]:
    """Yield the text under `field` of each element, and the value under `extra`."""
    for raw, element in array_elements(opened):
        text, problem = text_of(element, field, bad_bytes=True)
        if text is not None and not raw.isascii() and not _is_utf8(raw):
            problem = NOT_UTF8
        found = value_of(element, extra) if extra is not None and text is not None else None
        yield Record(text, problem, found)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
