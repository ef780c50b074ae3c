"""Copy a file of documents without some of its records.

A record that stays is copied byte for byte, whether it could be understood or not, and a file that loses no
record is copied as a whole.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ...errors import DocumentError
from .files import InputFile, check_listed, open_listed
from .jsonl import BLOCK
from .parquet_copy import copy_rows

__all__ = ["copy_without"]

#: Errors of a compressed file whose end is missing or damaged.
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
#: The level of compression of the command gzip.
_LEVEL = 6


def copy_without(file: InputFile, records: list[int], path: Path) -> bool:
    """Write the file to `path` without some records, and return True unless its end is lost.

    Parameters
    ----------
    file : InputFile
        A file that is not one document as a whole, unless it is copied as a whole.
    records : list of int
        The lines or rows to leave out, counted from 0, in rising order.
    path : Path
        The file to write. It is overwritten.

    Returns
    -------
    bool
        False if a compressed file is damaged, and only the records before the damage were written.

    Raises
    ------
    DocumentError
        If the file cannot be read, or does not have the records any more.
    OSError
        If the copy cannot be written.
    """
    with path.open("wb") as target:
        if records and file.kind == "parquet":
            copy_rows(file.path, records, target)
            return True
        check_listed(file.path)
        if not records:
            with open_listed(file.path) as whole:
                for block in _blocks(whole.read, file.path):
                    target.write(block)
            return True
        with file.open() as source, _compressing(target, file.compressed) as lines:
            # This gives all bytes before a damage, where `read` would lose those that it has collected.
            read = source.read1 if isinstance(source, io.BufferedIOBase) else source.read
            return _copy_lines(_blocks(read, file.path), records, lines.write, file.path)


def _blocks(read: Callable[[int], bytes], path: str) -> Iterator[bytes]:
    """Yield what is read; the errors of reading name the file, so that they differ from those of writing."""
    while True:
        try:
            block = read(BLOCK)
        except _DAMAGED:
            raise
        except OSError as error:
            raise DocumentError(f"cannot read {path}: {error.strerror or error}") from error
        if not block:
            return
        yield block


@contextmanager
def _compressing(target: IO[bytes], compressed: bool) -> Iterator[IO[bytes] | gzip.GzipFile]:
    if not compressed:
        yield target
        return
    # Without a name and a time in it, the file has the same bytes whenever and by whomever it is written.
    with gzip.GzipFile("", "wb", _LEVEL, target, mtime=0) as lines:
        yield lines


def _copy_lines(
    blocks: Iterator[bytes], removed: list[int], write: Callable[[Any], object], path: str
) -> bool:
    """Copy lines except those whose numbers are listed; a line is never in memory as a whole."""
    # `line` is the number of the line at the place that is looked at, and the next line to leave out is
    # removed[n_left].
    line, n_left, is_found = 0, 0, False
    while True:
        try:
            block = next(blocks, None)
        except _DAMAGED:
            _check_found(n_left + is_found, removed, path)
            return False
        if block is None:
            _check_found(n_left + is_found, removed, path)
            return True
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


def _check_found(n_found: int, removed: list[int], path: str) -> None:
    if n_found < len(removed):
        raise DocumentError(f"{path} has no record {removed[n_found] + 1} any more: it has changed")
