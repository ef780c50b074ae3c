"""Read sparse rows from svmlight (libsvm) text, in parallel."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from functools import partial
from io import BufferedIOBase
from os import PathLike
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from ..errors import DocumentError
from ..lsh.support.backend import backend_of, read_only
from ..lsh.support.checks import check_int
from ..lsh.support.public import publish
from ..lsh.support.threads import cut_range, get_num_threads, run_tasks
from .kernels import svmlight
from .kernels.svmlight import BAD_LABEL, BAD_VALUE, ERRORS, NO_ERROR

__all__ = ["SvmlightRows", "as_csr", "iter_svmlight", "join_rows", "parse_svmlight", "read_svmlight"]

#: Bytes of text that a thread reads and parses at a time.
_PIECE = 4 << 20
#: Bytes that are read at a time to find the end of a piece's last line.
_TAIL = 1 << 16


class SvmlightRows(NamedTuple):
    """Sparse rows: row i has ``indices[offsets[i]:offsets[i + 1]]``; ``(indices, offsets)`` are sets."""

    #: The label of each row: float64, shape (n,).
    labels: NDArray[np.float64]
    #: The start of each row, and the end of the last: int64, shape (n + 1,).
    offsets: NDArray[np.int64]
    #: The numbers of the features as in the text, which usually counts them from 1: int64.
    indices: NDArray[np.int64]
    #: The values of the features: float32.
    values: NDArray[np.float32]


class _BadLine(ValueError):
    """A line of the text that is not svmlight."""

    def __init__(self, what: str, where: int, token: bytes) -> None:
        super().__init__(what)
        self.where, self.message = where, f"{what}, got {token[:80]!r}"


def _token(data: NDArray[np.uint8], start: int) -> bytes:
    """Return the whole token at `start`: a number may have hundreds of digits before its exponent."""
    length = 32
    while True:
        token = re.split(rb"[ \t\r\n#]", data[start : start + length].tobytes(), maxsplit=1)[0]
        if len(token) < length:
            return token
        length *= 8


def _parse(data: NDArray[np.uint8]) -> SvmlightRows:
    backend, data = backend_of(data), read_only(data)
    n_lines, n_entries = backend.kernels(svmlight).count_svmlight(data)
    labels, offsets = np.empty(n_lines + 1), np.zeros(n_lines + 2, dtype=np.int64)
    indices, values = np.empty(n_entries, dtype=np.int64), np.empty(n_entries, dtype=np.float32)
    hard = np.empty((1024, 2), dtype=np.int64)
    while True:
        rows, entries, n_hard, error, where = backend.kernels(svmlight).parse_svmlight(
            data, labels, offsets, indices, values, hard
        )
        if error != NO_ERROR:
            raise _BadLine(ERRORS[error], where, _token(data, where))
        if n_hard <= len(hard):
            break
        hard = np.empty((n_hard, 2), dtype=np.int64)
    for where, number in hard[:n_hard].tolist():
        token = _token(data, where)
        try:
            value = float(token)
        except ValueError:
            raise _BadLine(ERRORS[BAD_LABEL if number < 0 else BAD_VALUE], where, token) from None
        if number < 0:
            labels[-1 - number] = value
        else:
            with np.errstate(over="ignore"):  # A value beyond the range of float32 becomes infinity.
                values[number] = value
    return SvmlightRows(labels[:rows], offsets[: rows + 1], indices[:entries], values[:entries])


def join_rows(parts: list[SvmlightRows]) -> SvmlightRows:
    """Return the rows of all parts, in order."""
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


def as_csr(rows: SvmlightRows, n_features: int) -> scipy.sparse.csr_array:
    """Return rows as a SciPy CSR matrix, without their labels."""
    shape = (len(rows.labels), n_features)
    return scipy.sparse.csr_array((rows.values, rows.indices, rows.offsets), shape=shape)


def parse_svmlight(text: bytes | bytearray | memoryview | NDArray[np.uint8]) -> SvmlightRows:
    r"""Return the rows of svmlight text that is in memory.

    Parameters
    ----------
    text : bytes-like
        Lines ``label index:value ...``. ``#`` begins a comment. ``qid:`` entries and blank lines are
        ignored. Lines may end in ``\r\n``.

    Returns
    -------
    SvmlightRows

    Raises
    ------
    TypeError
        If `text` is not contiguous bytes.
    ValueError
        If a line is not svmlight; the message names the line and the error.

    Examples
    --------
    >>> from mergesketch.distributed import parse_svmlight
    >>> rows = parse_svmlight(b"1 3:0.5 7:1 # first\n-1 2:1e-3")
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
        raise ValueError(f"line {line}: {bad.message}") from None


def _read_piece(descriptor: int, start: int, stop: int) -> NDArray[np.uint8]:
    """Return the lines that begin in [start, stop)."""
    # The byte before `start` shows if a line begins at `start`.
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


def _line_of(path: str, token_at: int) -> int:
    """Return the number of the line with the byte at `token_at`."""
    with open(path, "rb") as file:
        lines, left = 1, token_at
        while left > 0 and (part := file.read(min(left, 1 << 20))):
            lines += part.count(b"\n")
            left -= len(part)
    return lines


def iter_svmlight(
    path: str | PathLike[str], *, start: int = 0, stop: int | None = None, batch_bytes: int = 32 << 20
) -> Iterator[SvmlightRows]:
    r"""Yield the rows of a svmlight file, a batch at a time, in bounded memory.

    Parameters
    ----------
    path : path
        A file of text, a file of text that gzip has compressed (``.gz``), or a pipe.
    start, stop : int
        A range of bytes: the lines that begin in it are read, by default all lines. Ranges that cover a
        file give each line once. Compressed files and pipes have no ranges, because they are read from the
        beginning to the end.
    batch_bytes : int
        Bytes of text in a batch.

    Yields
    ------
    SvmlightRows

    Raises
    ------
    DocumentError
        If a line is not svmlight; the message names the file and the line.
    ValueError
        If a range is negative, `batch_bytes` is not positive, or a range is given for a compressed file or
        a pipe.
    OSError
        If the file cannot be read.

    Notes
    -----
    Each thread reads and parses pieces of 4 MiB, so reading and parsing overlap. Memory is ``batch_bytes``
    for the text, and about the same for the rows.

    Examples
    --------
    >>> import os, tempfile
    >>> from mergesketch.distributed import iter_svmlight
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "rows.svm")
    ...     with open(path, "w") as file:
    ...         _ = file.write("1 3:0.5 7:1\n-1 2:1e-3\n")
    ...     sum(len(rows.labels) for rows in iter_svmlight(path))
    2
    """
    name = os.fspath(path)
    batch_bytes = check_int("batch_bytes", batch_bytes, 1)
    start = check_int("start", start, 0)
    stop = None if stop is None else check_int("stop", stop, 0)
    compressed = name.lower().endswith(".gz")
    # A pipe has no size, so it would seem to be empty.
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
        for left, right in cut_range(start, stop, batch_bytes):
            piece = max(1, min(_PIECE, -(-(right - left) // (2 * get_num_threads()))))
            bounds = [*range(left, right, piece), right]
            parse = partial(_parse_piece, descriptor, name, bounds)
            yield join_rows(run_tasks(parse, len(bounds) - 1))
    finally:
        os.close(descriptor)


def _parse_piece(descriptor: int, name: str, bounds: list[int], i: int) -> SvmlightRows:
    """Return the rows of the lines that begin between the bounds i and i + 1."""
    try:
        return _parse(_read_piece(descriptor, bounds[i], bounds[i + 1]))
    except _BadLine as bad:
        line = _line_of(name, _first_line_at(descriptor, bounds[i]) + bad.where)
        raise DocumentError(f"{name}:{line}: {bad.message}") from None


def _first_line_at(descriptor: int, start: int) -> int:
    """Return the place at which the first line that begins at or after `start` begins."""
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
        raise DocumentError(f"{name}:{line}: {bad.message}") from None


def read_svmlight(path: str | PathLike[str]) -> SvmlightRows:
    r"""Return all rows of a svmlight file.

    Parameters
    ----------
    path : path
        A file of text, a file of text that gzip has compressed (``.gz``), or a pipe.

    Returns
    -------
    SvmlightRows

    Raises
    ------
    DocumentError, ValueError, OSError
        See `iter_svmlight`.

    Examples
    --------
    >>> import os, tempfile
    >>> from mergesketch.distributed import read_svmlight
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "rows.svm")
    ...     with open(path, "w") as file:
    ...         _ = file.write("1 3:0.5 7:1\n-1 2:1e-3\n")
    ...     read_svmlight(path).labels
    array([ 1., -1.])
    """
    return join_rows(list(iter_svmlight(path)))


publish("mergesketch.distributed", __all__, globals())
