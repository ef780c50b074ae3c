"""Sparse rows from svmlight (libsvm) text, read and parsed in parallel."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from os import PathLike
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DocumentError
from ..lsh.support.backend import backend_of
from ..lsh.support.checks import check_int
from ..lsh.support.threads import get_num_threads, run_tasks
from .kernels import svmlight
from .kernels.svmlight import ERRORS

__all__ = ["SvmlightRows", "iter_svmlight", "parse_svmlight", "read_svmlight"]

#: Bytes of text that a thread reads and parses at a time.
_PIECE = 4 << 20
_TAIL = 1 << 16


class SvmlightRows(NamedTuple):
    """Sparse rows: row i has ``indices[offsets[i]:offsets[i + 1]]``; ``(indices, offsets)`` are sets."""

    #: float64, shape (n,).
    labels: NDArray[np.float64]
    #: int64, shape (n + 1,).
    offsets: NDArray[np.int64]
    #: int64: the features' numbers as they stand in the text, mostly counted from 1.
    indices: NDArray[np.int64]
    #: float32.
    values: NDArray[np.float32]


class _BadLine(ValueError):
    """Something is wrong with the line at a place in the text."""

    def __init__(self, what: str, where: int, token: bytes) -> None:
        super().__init__(what)
        self.what, self.where, self.token = what, where, token[:80]


def _token(data: NDArray[np.uint8], start: int) -> bytes:
    """The whole token at `start`: a number may have hundreds of digits, and its exponent stands last."""
    length = 32
    while True:
        token = re.split(rb"[ \t\r\n#]", data[start : start + length].tobytes(), maxsplit=1)[0]
        if len(token) < length:
            return token
        length *= 8


def _parse(data: NDArray[np.uint8]) -> SvmlightRows:
    backend = backend_of(data)
    n_lines, n_entries = backend.kernels(svmlight).count_svmlight(data)
    labels, offsets = np.empty(n_lines + 1), np.zeros(n_lines + 2, dtype=np.int64)
    indices, values = np.empty(n_entries, dtype=np.int64), np.empty(n_entries, dtype=np.float32)
    hard = np.empty((1024, 2), dtype=np.int64)
    while True:
        rows, entries, n_hard, error, where = backend.kernels(svmlight).parse_svmlight(
            data, labels, offsets, indices, values, hard
        )
        if error:
            raise _BadLine(ERRORS[error], where, _token(data, where))
        if n_hard <= len(hard):
            break
        hard = np.empty((n_hard, 2), dtype=np.int64)
    for where, number in hard[:n_hard].tolist():
        token = _token(data, where)
        try:
            value = float(token)
        except ValueError:
            raise _BadLine(ERRORS[1 if number < 0 else 4], where, token) from None
        if number < 0:
            labels[-1 - number] = value
        else:
            with np.errstate(over="ignore"):  # beyond float32's range is infinity
                values[number] = value
    return SvmlightRows(labels[:rows], offsets[: rows + 1], indices[:entries], values[:entries])


def _join(parts: list[SvmlightRows]) -> SvmlightRows:
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.indices) for part in parts)])
    offsets = [part.offsets[1:] + start for part, start in zip(parts, starts, strict=False)]
    return SvmlightRows(
        np.concatenate([np.empty(0), *(part.labels for part in parts)]),
        np.concatenate([np.zeros(1, dtype=np.int64), *offsets]),
        np.concatenate([np.empty(0, dtype=np.int64), *(part.indices for part in parts)]),
        np.concatenate([np.empty(0, dtype=np.float32), *(part.values for part in parts)]),
    )


def parse_svmlight(text: bytes | bytearray | memoryview | NDArray[np.uint8]) -> SvmlightRows:
    """Rows of svmlight text that is in memory.

    Parameters
    ----------
    text : bytes-like
        Lines ``label index:value ...``; ``#`` begins a comment, ``qid:`` entries and blank lines are passed
        over, lines may end in ``\\r\\n``.

    Returns
    -------
    SvmlightRows

    Raises
    ------
    ValueError
        Naming the line and what is wrong with it.

    Examples
    --------
    >>> from mergesketch.distributed import parse_svmlight
    >>> rows = parse_svmlight(b"1 3:0.5 7:1 # first\\n-1 2:1e-3")
    >>> rows.labels, rows.offsets, rows.indices
    (array([ 1., -1.]), array([0, 2, 3]), array([3, 7, 2]))
    """
    try:
        data = np.frombuffer(text, dtype=np.uint8)
    except (TypeError, ValueError) as error:
        raise TypeError(f"text must be contiguous bytes, got {type(text).__name__}: {error}") from None
    try:
        return _parse(data)
    except _BadLine as bad:
        line = 1 + int(np.count_nonzero(data[: bad.where] == ord("\n")))
        raise ValueError(f"line {line}: {bad.what}, got {bad.token!r}") from None


def _read_piece(descriptor: int, start: int, stop: int) -> NDArray[np.uint8]:
    """The lines that begin in [start, stop): from after the newline before `start` to one at the end."""
    first = max(0, start - 1)
    buffer = bytearray(os.pread(descriptor, stop - first, first))
    while len(buffer) < stop - first:
        more = os.pread(descriptor, stop - first - len(buffer), first + len(buffer))
        if not more:
            break
        buffer += more
    if start > 0:
        newline = buffer.find(b"\n")
        if newline < 0:
            return np.empty(0, dtype=np.uint8)
        del buffer[: newline + 1]
    if not buffer or buffer.endswith(b"\n"):
        return np.frombuffer(buffer, dtype=np.uint8)
    at = stop
    while tail := os.pread(descriptor, _TAIL, at):
        newline = tail.find(b"\n")
        if newline >= 0:
            buffer += tail[: newline + 1]
            break
        buffer += tail
        at += len(tail)
    return np.frombuffer(buffer, dtype=np.uint8)


def _line_of(path: str | PathLike[str], token_at: int) -> int:
    with open(path, "rb") as file:
        lines, left = 1, token_at
        while left > 0 and (part := file.read(min(left, 1 << 20))):
            lines += part.count(b"\n")
            left -= len(part)
    return lines


def iter_svmlight(
    path: str | PathLike[str], *, start: int = 0, stop: int | None = None, batch_bytes: int = 32 << 20
) -> Iterator[SvmlightRows]:
    """Rows of a svmlight file, a batch at a time, never all held.

    Parameters
    ----------
    path : path
        Text, or text compressed with gzip (``.gz``); also a pipe.
    start, stop : int
        The lines that begin in this range of bytes, all by default; ranges that cover a file give each
        line once. Not for compressed files and pipes, which are read from the beginning to the end.
    batch_bytes : int
        Bytes of text that a batch is parsed from.

    Yields
    ------
    SvmlightRows

    Raises
    ------
    DocumentError
        Naming file and line of what is no svmlight.
    ValueError
        If a range is negative, `batch_bytes` not positive, or a range is given for what has none.
    OSError
        If the file cannot be read.

    Notes
    -----
    Each thread reads and parses pieces of 4 MiB, so reading and parsing overlap. Memory is
    ``batch_bytes`` of text and about as much again of rows.

    Examples
    --------
    >>> import os, tempfile
    >>> from mergesketch.distributed import iter_svmlight
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "rows.svm")
    ...     with open(path, "w") as file:
    ...         _ = file.write("1 3:0.5 7:1\\n-1 2:1e-3\\n")
    ...     sum(len(rows.labels) for rows in iter_svmlight(path))
    2
    """
    name = os.fspath(path)
    batch_bytes = check_int("batch_bytes", batch_bytes, 1)
    start = check_int("start", start, 0)
    stop = None if stop is None else check_int("stop", stop, 0)
    compressed = name.lower().endswith(".gz")
    # A pipe has no size, and would seem to be empty.
    if compressed or not (os.path.isfile(name) or os.path.isdir(name)):
        with gzip.open(name) if compressed else open(name, "rb") as file:
            if start or stop is not None:
                raise ValueError(f"start and stop must be left out for compressed files and pipes, as {name}")
            yield from _iter_stream(file, name, batch_bytes)
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        stop = size if stop is None else min(stop, size)
        for left in range(start, stop, batch_bytes):
            right = min(left + batch_bytes, stop)
            piece = max(1, min(_PIECE, -(-(right - left) // (2 * get_num_threads()))))
            bounds = [*range(left, right, piece), right]

            def task(i: int, bounds: list[int] = bounds) -> SvmlightRows:
                data = _read_piece(descriptor, bounds[i], bounds[i + 1])
                try:
                    return _parse(data)
                except _BadLine as bad:
                    ahead = _skipped(descriptor, bounds[i])
                    line = _line_of(name, ahead + bad.where)
                    raise DocumentError(f"{name}:{line}: {bad.what}, got {bad.token!r}") from None

            yield _join(run_tasks(task, len(bounds) - 1))
    finally:
        os.close(descriptor)


def _skipped(descriptor: int, start: int) -> int:
    """Where the first line that begins at or after `start` begins."""
    at = start - 1
    while start > 0 and (part := os.pread(descriptor, _TAIL, at)):
        newline = part.find(b"\n")
        if newline >= 0:
            return at + newline + 1
        at += len(part)
    return start


def _iter_stream(file: BufferedIOBase, name: str, batch_bytes: int) -> Iterator[SvmlightRows]:
    lines, rest = 0, b""
    try:
        while part := file.read(batch_bytes):
            end = part.rfind(b"\n") + 1
            if not end:
                rest += part
                continue
            text, rest = rest + part[:end], part[end:]
            yield _parse_text(text, name, lines)
            lines += text.count(b"\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DocumentError(f"{name}: damaged: {error}") from error
    if rest:
        yield _parse_text(rest, name, lines)


def _parse_text(text: bytes, name: str, lines: int) -> SvmlightRows:
    try:
        return _parse(np.frombuffer(text, dtype=np.uint8))
    except _BadLine as bad:
        line = lines + 1 + text.count(b"\n", 0, bad.where)
        raise DocumentError(f"{name}:{line}: {bad.what}, got {bad.token!r}") from None


def read_svmlight(path: str | PathLike[str]) -> SvmlightRows:
    """All rows of a svmlight file; see `iter_svmlight` for what it takes and raises.

    Parameters
    ----------
    path : path
        Read through gzip if it ends in ``.gz``.

    Returns
    -------
    SvmlightRows

    Raises
    ------
    ValueError, OSError
        As `iter_svmlight` does.

    Examples
    --------
    >>> import os, tempfile
    >>> from mergesketch.distributed import read_svmlight
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "rows.svm")
    ...     with open(path, "w") as file:
    ...         _ = file.write("1 3:0.5 7:1\\n-1 2:1e-3\\n")
    ...     read_svmlight(path).labels
    array([ 1., -1.])
    """
    return _join([*iter_svmlight(path)] or [_parse(np.empty(0, dtype=np.uint8))])
