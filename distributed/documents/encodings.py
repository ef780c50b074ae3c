"""Decode texts of other encodings to UTF-8 while they are read.

Bytes that an encoding does not have become the byte 0xFF, which is not UTF-8 either. So they are counted, and
separate words, as in texts that are not decoded.
"""

from __future__ import annotations

import codecs
from typing import Any

from .compression import DamagedError, PieceReader, Readable

__all__ = ["AUTO", "Encoded", "Transcoded", "check_encoding", "text_encoding"]

#: The encoding by which the byte order mark decides.
AUTO = "auto"
#: Byte order marks; that of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: Encodings that need no decoding; the mark of the second one is left out in any case.
_UTF8 = ("utf-8", "utf-8-sig")
_BAD_BYTES = "mergesketch.bad_bytes"
#: Bytes that are decoded at a time.
_BLOCK = 1 << 16


def _replace_bad(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    if isinstance(error, UnicodeEncodeError):
        return b"\xff" * (error.end - error.start), error.end
    raise error


codecs.register_error(_BAD_BYTES, _replace_bad)


def check_encoding(encoding: str) -> str:
    """Return "auto" or Python's own name of an encoding.

    Raises
    ------
    TypeError, ValueError
        If `encoding` is no string, or Python has no such encoding of text.
    """
    if not isinstance(encoding, str):
        raise TypeError(f"encoding must be a string, got {encoding!r}")
    if encoding == AUTO:
        return AUTO
    try:
        found = codecs.lookup(encoding)
        # Codecs that are no encodings of text, such as hex, refuse this. Without bytes, Python would not ask.
        bytes(4).decode(encoding, "replace")
    except (LookupError, ValueError):
        found = None
    if found is None or found.incrementaldecoder is None or found.incrementalencoder is None:
        raise ValueError(
            f"encoding must be 'auto' or the name of an encoding of text in Python, such as 'cp1252', "
            f"got {encoding!r}"
        )
    return found.name


def text_encoding(head: bytes, encoding: str) -> str:
    """Return the encoding of a text that begins with `head`, or an empty string if it needs no decoding.

    UTF-16 and UTF-32 without a byte order mark have the lowest byte first.

    Parameters
    ----------
    head : bytes
        At least the first four bytes of the text, or all of it.
    encoding : str
        What the caller says, checked by `check_encoding`.
    """
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), "")
    if encoding in ("utf-16", "utf-32"):
        return marked if marked.startswith(encoding) else f"{encoding}-le"
    return marked if encoding == AUTO else "" if encoding in _UTF8 else encoding


class Transcoded(PieceReader):
    """An opened file of texts, decoded from an encoding to UTF-8.

    Parameters
    ----------
    opened : Readable
    encoding : str

    Raises
    ------
    DamagedError
        By `read`, where the codec of an encoding does not go on behind bad bytes.
    """

    def __init__(self, opened: Readable, encoding: str) -> None:
        self._opened = opened
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)(_BAD_BYTES)
        self._output = memoryview(b"")
        self._is_ended = False

    def read(self, n: int = -1) -> bytes:
        """Return up to n further bytes; fewer than n do not mean the end of the file."""
        if n < 0:
            return self.readall()
        while n and not self._output and not self._is_ended:
            block = self._opened.read(_BLOCK)
            self._is_ended = not block
            try:
                text = self._decoder.decode(block, final=self._is_ended)
            except UnicodeError as error:
                raise DamagedError(f"not {self._encoding}: {error}") from error
            self._output = memoryview(text.encode("utf-8", _BAD_BYTES))
        piece, self._output = self._output[:n], self._output[n:]
        return bytes(piece)


class Encoded:
    """Write texts in UTF-8 to a file in another encoding: the opposite of `Transcoded`.

    What was decoded without bad bytes is written as it was, also in pieces that cut characters. Bad bytes
    become the replacement character of the encoding.

    Parameters
    ----------
    target : object
        An opened file, to which bytes are written. It is not closed.
    encoding : str
    """

    def __init__(self, target: Any, encoding: str) -> None:
        self._target = target
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._encoder = codecs.getincrementalencoder(encoding)("replace")

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write a piece of the text, and return the length of the piece."""
        self._target.write(self._encoder.encode(self._decoder.decode(bytes(data))))
        return len(data)

    def finish(self) -> None:
        """Write what the end of the text adds."""
        self._target.write(self._encoder.encode(self._decoder.decode(b"", final=True), final=True))
