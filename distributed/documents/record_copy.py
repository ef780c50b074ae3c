"""Copy the records of a file, or of a member of an archive, except some of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO, TypeVar

import numpy as np

from ...errors import DocumentError
from .arrow_copy import copy_batches
from .compressing import codec_writer
from .compression import DamagedError
from .contents import raw_records
from .encodings import Encoded
from .files import InputFile
from .jsonl import BLOCK, UTF8_MARK
from .parquet_copy import copy_rows
from .tar import TarMember

T = TypeVar("T")

__all__ = ["copy_content", "reading"]


def reading(path: str, parts: Iterable[T]) -> Iterator[T]:
    """Yield what is read; the OSErrors of reading become DocumentErrors, so that others are of writing."""
    try:
        yield from parts
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror or error}") from error


def copy_content(file: InputFile | TarMember, removed: list[int], target: BinaryIO) -> bool:
    """Copy a file of records without those whose numbers are listed, in rising order.

    The copy has the compression and the encoding of the file. Bytes that its encoding does not have become
    the replacement character of the encoding, unless that is UTF-8.

    Returns
    -------
    bool
        False if the file is damaged, and only the records before the damage were copied.

    Raises
    ------
    DocumentError
        If the file cannot be read, or does not have the records any more; or a package is missing.
    OSError
        If the copy cannot be written.
    """
    with codec_writer(file.compression, file.path)(target) as copy:
        if file.kind in ("parquet", "arrow"):
            _copy_table(file, removed, copy)
            return True
        encoder = Encoded(copy, file.encoding) if file.encoding else None
        write = copy.write if encoder is None else encoder.write
        if file.kind == "jsonl":
            blocks = _behind_mark(reading(file.path, _blocks(file)), write)
            is_complete = _copy_lines(blocks, removed, write, file.path)
        else:
            is_complete = _copy_records(file, removed, write)
        if encoder is not None:
            encoder.finish()
        return is_complete


def _copy_table(file: InputFile | TarMember, removed: list[int], copy: BinaryIO) -> None:
    copy_table = copy_rows if file.kind == "parquet" else copy_batches
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(file.open_anywhere())
        except OSError as error:
            raise DocumentError(f"cannot read {file.path}: {error.strerror or error}") from error
        copy_table(file.path, opened, removed, copy)


def _copy_records(file: InputFile | TarMember, removed: list[int], write: Callable[[Any], object]) -> bool:
    """Copy the records of a table, or the elements of an array in JSON, each of which gets a line."""
    is_array = file.kind == "json"
    missing, n_written = set(removed), 0
    is_complete = True
    if is_array:
        # Without a mark, a text in these encodings would not be recognised.
        write(UTF8_MARK if file.encoding.startswith(("utf-16", "utf-32")) else b"")
        write(b"[")
    records = reading(file.path, raw_records(file))
    number = 0
    while True:
        try:
            record = next(records, None)
        except DamagedError:
            is_complete = False
            break
        if record is None:
            break
        if number in missing:
            missing.discard(number)
        else:
            if is_array:
                write(b",\n" if n_written else b"\n")
            write(record)
            n_written += 1
        number += 1
    if is_array:
        write(b"\n]\n")
    _check_found(missing, file.path)
    return is_complete


def _check_found(missing: Iterable[int], path: str) -> None:
    """Raise DocumentError if there are records that were not found."""
    first = min(missing, default=None)
    if first is not None:
        raise DocumentError(f"{path} has no record {first + 1} any more: it has changed")


def _blocks(file: InputFile | TarMember) -> Iterator[bytes]:
    with file.open() as opened:
        while block := opened.read(BLOCK):
            yield block


def _behind_mark(blocks: Iterator[bytes], write: Callable[[Any], object]) -> Iterator[bytes]:
    """Copy the byte order mark that a text may begin with, and yield what follows.

    The mark belongs to the file, and stays if the first line does not.
    """
    head = b""
    for block in blocks:
        head += block
        if len(head) >= len(UTF8_MARK):
            break
    if head.startswith(UTF8_MARK):
        write(UTF8_MARK)
        head = head[len(UTF8_MARK) :]
    if head:
        yield head
    yield from blocks


def _copy_lines(
    blocks: Iterator[bytes], removed: list[int], write: Callable[[Any], object], path: str
) -> bool:
    """Copy lines except those whose numbers are listed; a line is never in memory as a whole."""
    numbers = np.array(removed)
    # The number of the line that the next block begins in, and if that line has any byte yet.
    line, is_begun = 0, False
    is_complete = True
    while True:
        try:
            block = next(blocks, None)
        except DamagedError:
            block, is_complete = None, False
        if block is None:
            _check_found(removed[bisect_left(removed, line + is_begun) :], path)
            return is_complete
        ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")) + 1
        # Line i of the block is block[bounds[i]:bounds[i + 1]]; the last one, without an end, may be empty.
        bounds = [0, *ends.tolist(), len(block)]
        first, last = np.searchsorted(numbers, [line, line + len(ends) + 1])
        view, place = memoryview(block), 0
        for i in (numbers[first:last] - line).tolist():
            write(view[place : bounds[i]])
            place = bounds[i + 1]
        write(view[place:])
        line, is_begun = line + len(ends), bounds[-2] < len(block)
