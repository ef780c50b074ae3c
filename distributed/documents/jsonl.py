"""Read JSON lines: find the lines of a range of bytes, and the text in each line.

A line belongs to the range in which it begins. So every line is read once, however a file is cut into ranges.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .skipped import FileError

__all__ = ["MAX_DOCUMENT", "TOO_LONG", "UTF8_MARK", "Lines", "check_field", "line_blocks", "parse_block"]

#: Bytes of the largest document that is read. A longer document is skipped and named. Otherwise one file
#: without an end of line, or a small gzip file of endless text, would take all memory.
MAX_DOCUMENT = 1 << 30
#: The reason for skipping such a document.
TOO_LONG = f"longer than {MAX_DOCUMENT} bytes"
#: Bytes read at a time.
BLOCK = 1 << 20
#: The number of records at the beginning of a file. At least one of them must have the field.
N_FIRST = 100
#: The byte order mark that may begin a file in UTF-8.
UTF8_MARK = b"\xef\xbb\xbf"
#: JSON's white space within a line, and the byte order marks that remain when files are joined.
_BEFORE_VALUE = " \t\r\ufeff"
#: A decoder that recognises integers without reading them: Python refuses more than 4,300 digits.
_DECODER = json.JSONDecoder(parse_int=lambda _: 0)
#: A decoder that returns numbers as they are written.
_NUMBERS_AS_TEXT = json.JSONDecoder(parse_int=str, parse_float=str)


class Lines(NamedTuple):
    """The texts in a block of lines.

    Attributes
    ----------
    n_lines : int
    records : list of int
        The line of each text, counted from 0 at the block's first line.
    texts : list of bytes
    problems : list of (int, str)
        The line and the reason for each line without a text. Blank lines are not listed.
    """

    n_lines: int
    records: list[int]
    texts: list[bytes]
    problems: list[tuple[int, str]]


def line_blocks(
    read: Callable[[int], bytes], start: int = 0, stop: int | None = None
) -> Iterator[bytes | None]:
    """Yield the lines that begin in [start, stop) as blocks of whole lines, without the last line's end.

    Parameters
    ----------
    read : callable
        A function: ``read(n)`` returns up to n further bytes, and none at the end. Its first byte is that at
        ``max(0, start - 1)``, because the byte before `start` shows if a line begins at `start`.
    start, stop : int
        Positions in the file; None is its end.

    Yields
    ------
    bytes or None
        None stands for one line that is longer than `MAX_DOCUMENT`.
    """
    position = max(0, start - 1)
    before_first = start > 0
    # `kept` is the beginning of a line whose end is not read yet.
    kept: list[bytes] = []
    n_kept = 0
    is_too_long = False
    while block := read(BLOCK):
        begin, position = position, position + len(block)
        if before_first:
            cut = block.find(b"\n")
            begin += cut + 1
            if cut >= 0 and (stop is None or begin < stop):
                before_first = False
                block = block[cut + 1 :]
            elif cut >= 0 or (stop is not None and position >= stop):
                return
            else:
                continue
        is_last = False
        if stop is not None and position >= stop:
            # The byte before `stop` belongs to the last line.
            cut = block.find(b"\n", max(0, stop - 1 - begin))
            is_last = cut >= 0
        else:
            cut = block.rfind(b"\n")
        if cut < 0:
            n_kept += len(block)
            is_too_long = is_too_long or n_kept > MAX_DOCUMENT
            kept = [] if is_too_long else [*kept, block]
            continue
        if is_too_long:
            yield None
            first = block.find(b"\n")
            if first < cut:
                yield block[first + 1 : cut]
        else:
            yield b"".join([*kept, block[:cut]])
        if is_last:
            return
        kept, n_kept, is_too_long = [block[cut + 1 :]], len(block) - cut - 1, False
    if is_too_long:
        yield None
    elif n_kept:
        yield b"".join(kept)


def parse_block(block: bytes | None, field: str, *, numbers: bool = False) -> Lines:
    """Return the texts under `field` in a block of `line_blocks`, as UTF-8.

    With `numbers`, a number is the text by which it is written; otherwise it is a problem.
    """
    if block is None:
        return Lines(1, [], [], [(0, TOO_LONG)])
    lines: Sequence[str | bytes] = _split(block)
    records, texts, problems = [], [], []
    careful = _NUMBERS_AS_TEXT if numbers else _DECODER
    decode = (_NUMBERS_AS_TEXT if numbers else json.JSONDecoder()).raw_decode
    for number, line in enumerate(lines):
        try:
            # This takes half the time of json.loads, which looks for white space before and after.
            record, end = decode(line)  # type: ignore[arg-type]
            if end != len(line):
                raise ValueError
            texts.append(record[field].encode())
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            # The line is not just an object with a string under `field`, or it is bytes.
            text, problem = _parse_carefully(line, field, careful)
            if problem:
                problems.append((number, problem))
            if text is None:
                continue
            texts.append(text)
        records.append(number)
    return Lines(len(lines), records, texts, problems)


def _split(block: bytes) -> Sequence[str | bytes]:
    """Return the lines, decoded at once; as bytes if one of them is not UTF-8."""
    try:
        return block.decode().split("\n")
    except UnicodeDecodeError:
        return block.split(b"\n")


def _parse_carefully(line: str | bytes, field: str, decoder: json.JSONDecoder) -> tuple[bytes | None, str]:
    """Return a line's text, or None and the reason why it has none, which is empty for a blank line."""
    try:
        line = line if isinstance(line, str) else line.decode()
    except UnicodeDecodeError:
        return None, "not UTF-8"
    line = line.lstrip(_BEFORE_VALUE)
    if not line:
        return None, ""
    try:
        record = decoder.decode(line)
    except RecursionError:
        return None, "nested too deeply"
    except ValueError:
        return None, "not JSON"
    if not isinstance(record, dict):
        return None, "not a JSON object"
    if field not in record:
        return None, f"no field {field!r}"
    value = record[field]
    if not isinstance(value, str):
        kind = "null" if value is None else type(value).__name__
        return None, f"the field {field!r} is {kind}, not a string"
    try:
        return value.encode(), ""
    except UnicodeEncodeError:
        return None, "not Unicode: the text has half a surrogate pair"


def check_field(path: str, read: Callable[[int], bytes], field: str) -> None:
    """Raise FileError if the first records of a file all lack the field, and name their fields."""
    head = b""
    while head.count(b"\n") < N_FIRST and len(head) < BLOCK:
        more = read(BLOCK // 16)
        if not more:
            head += b"\n"
            break
        head += more
    fields: dict[str, None] = {}
    for line in head.removeprefix(UTF8_MARK).split(b"\n")[:-1][:N_FIRST]:
        try:
            record = _DECODER.decode(line.decode().lstrip(_BEFORE_VALUE))
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            if field in record:
                return
            fields.update(dict.fromkeys(record))
    if fields:
        shown = ", ".join(repr(name) for name in list(fields)[:20])
        reason = f"no field {field!r} in its first records; they have {shown}"
        raise FileError(f"{path} has {reason}", path, reason)
