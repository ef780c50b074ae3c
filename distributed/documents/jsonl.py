"""Read JSON lines: find the lines of a range of bytes, and the text in each line.

A line belongs to the range in which it begins. So every line is read once, however a file is cut into ranges.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of
from ..kernels import json_lines
from .fields import LongInteger, field_names, find_field
from .skipped import FileError

__all__ = [
    "MAX_DOCUMENT",
    "NOT_UTF8",
    "TOO_LONG",
    "UTF8_MARK",
    "Lines",
    "check_field",
    "check_records",
    "line_blocks",
    "object_decoder",
    "parse_block",
    "pick_lines",
    "text_of",
    "value_of",
]

#: Bytes of the largest document that is read. A longer document is skipped and named. Otherwise one file
#: without an end of line, or a small gzip file of endless text, would take all memory.
MAX_DOCUMENT = 1 << 30
#: The reason for skipping such a document.
TOO_LONG = f"longer than {MAX_DOCUMENT} bytes"
#: The reasons for refusing a document with bytes that are not UTF-8, and one with half a surrogate pair.
NOT_UTF8 = "not UTF-8"
HALF_PAIR = "not Unicode: the text has half a surrogate pair"
#: Bytes read at a time.
BLOCK = 1 << 20
#: The number of records at the beginning of a file. At least one of them must have the field.
N_FIRST = 100
#: The byte order mark that may begin a file in UTF-8.
UTF8_MARK = b"\xef\xbb\xbf"
#: JSON's white space within a line, and the byte order marks that remain when files are joined.
_BEFORE_VALUE = " \t\r\ufeff"
#: Digits of an integer that Python converts; it refuses more than 4,300.
_MAX_DIGITS = 4000


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= _MAX_DIGITS else LongInteger()


#: A decoder that takes integers of any length.
object_decoder = json.JSONDecoder(parse_int=_integer)
#: A decoder that returns numbers as they are written.
_NUMBERS_AS_TEXT = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


class Lines(NamedTuple):
    """The texts in a block of lines.

    Attributes
    ----------
    n_lines : int
    records : list of int
        The line of each text, counted from 0 at the block's first line.
    texts : list of bytes or memoryview
    problems : list of (int, str)
        The line and the reason for each line without a text. Blank lines are not listed.
    extra : list
        The value of a further field for each text, or None where there is none; empty if none is asked for.
    damaged : list of (int, str)
        The line and the reason for each line of `records` that is not valid Unicode.
    """

    n_lines: int
    records: list[int]
    texts: list[bytes | memoryview]
    problems: list[tuple[int, str]]
    extra: list[Any]
    damaged: list[tuple[int, str]]


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


def parse_block(
    block: bytes | None,
    field: str,
    *,
    numbers: bool = False,
    extra: str | None = None,
    bad_bytes: bool = False,
) -> Lines:
    """Return the texts under `field` in a block of `line_blocks`, as UTF-8, and the values under `extra`.

    With `numbers`, a number is the text by which it is written; otherwise it is a problem. With `bad_bytes`,
    bytes that are not UTF-8 stay in the text, and half a surrogate pair becomes such bytes; otherwise both
    are problems.
    """
    if block is None:
        return Lines(1, [], [], [(0, TOO_LONG)], [], [])
    data = np.frombuffer(block, dtype=np.uint8)
    is_utf8 = block.isascii() or backend_of(data).kernels(json_lines).is_utf8(data)
    parts = _take_texts(block, data, field) if extra is None and is_utf8 else block.split(b"\n")
    records: list[int] = []
    texts: list[bytes | memoryview] = []
    problems: list[tuple[int, str]] = []
    damaged: list[tuple[int, str]] = []
    values: list[Any] = []
    careful = _NUMBERS_AS_TEXT if numbers else object_decoder
    decode = (_NUMBERS_AS_TEXT if numbers else json.JSONDecoder()).raw_decode
    number = 0
    for number, part in enumerate(parts):
        if isinstance(part, memoryview):
            records.append(number)
            texts.append(part)
            continue
        line = part.decode() if is_utf8 else part
        try:
            # This takes half the time of json.loads, which looks for white space before and after.
            record, end = decode(line)  # type: ignore[arg-type]
            if end != len(line):
                raise ValueError
            texts.append((record[field] if field in record else find_field(record, field)).encode())
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            # The line is not just an object with a string under `field`, or it is bytes.
            record, problem = _parse_carefully(line, careful, bad_bytes)
            text = None
            if record is not None:
                text, reason = text_of(record, field, numbers=numbers, bad_bytes=bad_bytes)
                problem = problem if problem and text is not None else reason
            if problem:
                (problems if text is None else damaged).append((number, problem))
            if text is None:
                continue
            texts.append(text)
        records.append(number)
        if extra is not None:
            values.append(value_of(record, extra))
    return Lines(number + 1, records, texts, problems, values, damaged)


def pick_lines(block: bytes | None, wanted: NDArray[np.int64], field: str) -> Lines:
    """Return the texts of some lines of a block like `parse_block`, with the numbers of the block's lines.

    Parameters
    ----------
    block : bytes or None
    wanted : ndarray of int64
        The numbers of the lines, in rising order. Numbers behind the last line have no text.
    field : str
    """
    if block is None:
        return parse_block(block, field)
    ends = np.append(np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")), len(block))
    numbers = wanted[: np.searchsorted(wanted, len(ends))].tolist()
    if not numbers:
        return Lines(len(ends), [], [], [], [], [])
    bounds = ((0 if i == 0 else int(ends[i - 1]) + 1, int(ends[i])) for i in numbers)
    lines = parse_block(b"\n".join([block[a:b] for a, b in bounds]), field, bad_bytes=True)
    return Lines(
        len(ends),
        [numbers[i] for i in lines.records],
        lines.texts,
        [(numbers[i], reason) for i, reason in lines.problems],
        [],
        [(numbers[i], reason) for i, reason in lines.damaged],
    )


def _take_texts(block: bytes, data: NDArray[np.uint8], field: str) -> Iterator[bytes | memoryview]:
    """Yield the text of each line that the kernel takes, and every other line as it is.

    `json` takes three times as long, because it makes objects of all values.
    """
    try:
        name = np.frombuffer(field.encode(), dtype=np.uint8)
    except UnicodeEncodeError:
        yield from block.split(b"\n")
        return
    n = np.count_nonzero(data == ord("\n")) + 1
    starts, lengths = np.empty(n + 1, dtype=np.int64), np.empty(n, dtype=np.int64)
    out = np.empty_like(data)
    backend_of(data).kernels(json_lines).take_texts(data, name, starts, lengths, out)
    texts, at = out.data, 0
    bounds = starts.tolist()
    for i, length in enumerate(lengths.tolist()):
        if length == json_lines.LEFT:
            yield block[bounds[i] : bounds[i + 1] - 1]
        else:
            yield texts[at : at + length]
            at += length


def _parse_carefully(line: str | bytes, decoder: json.JSONDecoder, bad_bytes: bool) -> tuple[Any, str]:
    """Return the value in a line, or None and the reason why it has none, which is empty for a blank line.

    With `bad_bytes`, a line that is not UTF-8 has a value and a reason.
    """
    problem = ""
    try:
        text = line if isinstance(line, str) else line.decode()
    except UnicodeDecodeError:
        problem = NOT_UTF8
        if not bad_bytes:
            return None, problem
        text = line.decode("utf-8", "surrogateescape")  # type: ignore[union-attr]
    text = text.lstrip(_BEFORE_VALUE)
    if not text:
        return None, ""
    try:
        record = decoder.decode(text)
    except RecursionError:
        return None, "nested too deeply"
    except ValueError:
        return None, "not JSON"
    return (None, "not a JSON object") if record is None else (record, problem)


def text_of(
    record: Any, field: str, *, numbers: bool = False, bad_bytes: bool = False
) -> tuple[bytes | None, str]:
    """Return the text under the field of a record, or None and the reason why it has none.

    With `numbers`, the reason says that a number would do, too, which the decoder has made a string. With
    `bad_bytes`, a text with surrogates is returned with bytes that are not UTF-8, and the reason.
    """
    if not isinstance(record, dict):
        return None, "not a JSON object"
    try:
        value = find_field(record, field)
    except KeyError:
        return None, f"no field {field!r}"
    if not isinstance(value, str):
        kind = "null" if value is None else "int" if isinstance(value, LongInteger) else type(value).__name__
        wanted = "a string or a number" if numbers else "a string"
        return None, f"the field {field!r} is {kind}, not {wanted}"
    try:
        return value.encode(), ""
    except UnicodeEncodeError:
        pass
    try:
        # Surrogates that stand for bytes of the file.
        text, problem = value.encode("utf-8", "surrogateescape"), NOT_UTF8
    except UnicodeEncodeError:
        text, problem = value.encode("utf-8", "surrogatepass"), HALF_PAIR
    return (text, problem) if bad_bytes else (None, HALF_PAIR)


def value_of(record: dict[str, Any], field: str) -> Any:
    """Return the value under a field, or None if the record lacks it."""
    try:
        return find_field(record, field)
    except KeyError:
        return None


def check_field(path: str, read: Callable[[int], bytes], field: str) -> None:
    """Raise FileError if the first records of a file all lack the field, and name their fields."""
    head = b""
    while head.count(b"\n") < N_FIRST and len(head) < BLOCK:
        more = read(BLOCK // 16)
        if not more:
            head += b"\n"
            break
        head += more
    records = []
    for line in head.removeprefix(UTF8_MARK).split(b"\n")[:-1][:N_FIRST]:
        try:
            records.append(object_decoder.decode(line.decode().lstrip(_BEFORE_VALUE)))
        except (ValueError, RecursionError):
            continue
    check_records(path, records, field)


def check_records(path: str, records: Iterable[Any], field: str) -> None:
    """Raise DocumentError if records all lack the field, and name their fields."""
    fields: dict[str, None] = {}
    for record in records:
        if isinstance(record, dict):
            try:
                find_field(record, field)
            except KeyError:
                fields.update(dict.fromkeys(field_names(record, field)))
            else:
                return
    if fields:
        shown = ", ".join(repr(name) for name in list(fields)[:20])
        reason = f"no field {field!r} in its first records; they have {shown}"
        raise FileError(f"{path} has {reason}", path, reason)
