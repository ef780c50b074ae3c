"""JSON lines: which lines a byte range owns, and the text in each line.

A range owns the lines that begin in it, so any cutting of a file into ranges reads every line once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ...errors import DocumentError

__all__ = ["MAX_DOCUMENT", "Lines", "check_field", "line_blocks", "parse_block"]

#: Bytes of the largest document that is read; a longer one is skipped by name, for one file without
#: an end of line (or one that gunzips without end) would otherwise take all memory.
MAX_DOCUMENT = 1 << 30
#: Bytes read at a time.
BLOCK = 1 << 20
#: Records at the beginning of a file that tell whether it has the field at all.
N_FIRST = 100
UTF8_MARK = b"\xef\xbb\xbf"
#: JSON's white space within a line, and the marks that files bring along when they are joined.
_BEFORE_VALUE = " \t\r\ufeff"
#: Integers are told from other values, and not read: Python refuses those of more than 4,300 digits.
_DECODER = json.JSONDecoder(parse_int=lambda digits: 0)


class Lines(NamedTuple):
    """What a block of lines holds.

    Attributes
    ----------
    n_lines : int
    records : list of int
        Line of each text, from 0 at the block's first.
    texts : list of bytes
    problems : list of (int, str)
        Line and reason of each line without a text; blank lines are none.
    """

    n_lines: int
    records: list[int]
    texts: list[bytes]
    problems: list[tuple[int, str]]


def line_blocks(
    read: Callable[[int], bytes], start: int = 0, stop: int | None = None
) -> Iterator[bytes | None]:
    """Blocks of whole lines, without the last line's end: the lines that begin in [start, stop).

    Parameters
    ----------
    read : callable
        ``read(n)`` gives up to n further bytes, and none at the end; the first come from
        ``max(0, start - 1)``, for the byte before `start` tells whether a line begins there.
    start, stop : int
        Positions; None is the end of the file.

    Yields
    ------
    bytes or None
        None stands for one line that is longer than `MAX_DOCUMENT`.
    """
    position = max(0, start - 1)
    before_first = start > 0
    held: list[bytes] = []
    n_held = 0
    too_long = False
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
            # The last line is the one that holds the byte before `stop`.
            cut = block.find(b"\n", max(0, stop - 1 - begin))
            is_last = cut >= 0
        else:
            cut = block.rfind(b"\n")
        if cut < 0:
            n_held += len(block)
            too_long = too_long or n_held > MAX_DOCUMENT
            held = [] if too_long else [*held, block]
            continue
        if too_long:
            yield None
            first = block.find(b"\n")
            if first < cut:
                yield block[first + 1 : cut]
        else:
            yield b"".join([*held, block[:cut]])
        if is_last:
            return
        held, n_held, too_long = [block[cut + 1 :]], len(block) - cut - 1, False
    if too_long:
        yield None
    elif n_held:
        yield b"".join(held)


def parse_block(block: bytes | None, field: str) -> Lines:
    """The texts under `field` in a block of `line_blocks`, as UTF-8."""
    if block is None:
        return Lines(1, [], [], [(0, f"longer than {MAX_DOCUMENT} bytes")])
    lines: Sequence[str | bytes] = _split(block)
    records, texts, problems = [], [], []
    decode = json.JSONDecoder().raw_decode
    for number, line in enumerate(lines):
        try:
            # Half the time of json.loads, which looks for white space before and after.
            record, end = decode(line)  # type: ignore[arg-type]
            if end != len(line):
                raise ValueError
            texts.append(record[field].encode())
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            # Anything but an object alone, with a string under `field`; bytes come here as well.
            text, problem = _look_closely(line, field)
            if problem:
                problems.append((number, problem))
            if text is None:
                continue
            texts.append(text)
        records.append(number)
    return Lines(len(lines), records, texts, problems)


def _split(block: bytes) -> Sequence[str | bytes]:
    """The lines, decoded at once; as bytes if one of them is not UTF-8."""
    try:
        return block.decode().split("\n")
    except UnicodeDecodeError:
        return block.split(b"\n")


def _look_closely(line: str | bytes, field: str) -> tuple[bytes | None, str]:
    """A line's text, or None and why it has none; no reason if it is blank."""
    try:
        line = line if isinstance(line, str) else line.decode()
    except UnicodeDecodeError:
        return None, "not UTF-8"
    line = line.lstrip(_BEFORE_VALUE)
    if not line:
        return None, ""
    try:
        record = _DECODER.decode(line)
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
    """Refuse a file whose first records all lack the field, naming the fields that they have.

    Raises
    ------
    DocumentError
    """
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
        raise DocumentError(f"{path} has no field {field!r} in its first records; they have {shown}")
