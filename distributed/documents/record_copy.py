"""Copy the records of a file, or of a member of an archive, except some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO, TypeVar

from ...errors import DocumentError
from .arrow_copy import copy_batches
from .compressing import codec_writer
from .compression import DamagedError
from .contents import raw_records
from .files import InputFile
from .jsonl import BLOCK
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

    The copy has the compression of the file.

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
        if file.kind == "jsonl":
            return _copy_lines(reading(file.path, _blocks(file)), removed, copy.write, file.path)
        return _copy_records(file, removed, copy.write)


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


def _copy_lines(
    blocks: Iterator[bytes], removed: list[int], write: Callable[[Any], object], path: str
) -> bool:
    """Copy lines except those whose numbers are listed; a line is never in memory as a whole."""
    # `line` is the number of the line at the place that is looked at, and the next line to leave out is
    # removed[n_left].
    line, n_left, is_found = 0, 0, False
    is_complete = True
    while True:
        try:
            block = next(blocks, None)
        except DamagedError:
            block, is_complete = None, False
        if block is None:
            _check_found(removed[n_left + is_found :], path)
            return is_complete
        at = 0
        while at < len(block):
            if n_left == len(removed):
                write(memoryview(block)[at:])
                break
            if line == removed[n_left]:
                # At the end of the file, the line has no end.
                is_found = True
                end = block.find(b"\n", at)
                if end < 0:
                    break
                line, n_left, is_found, at = line + 1, n_left + 1, False, end + 1
                continue
            end, passed = _end_of_lines(block, at, removed[n_left] - line)
            write(memoryview(block)[at:end])
            line, at = line + passed, end


def _end_of_lines(block: bytes, at: int, n: int) -> tuple[int, int]:
    """Return the place behind the n-th end of line from `at` on, or the block's end, and the ends passed."""
    ends = block.count(b"\n", at)
    if ends < n:
        return len(block), ends
    for _ in range(n):
        at = block.find(b"\n", at) + 1
    return at, n
