"""Read this rank's share of the keys of files, in batches of one buffer and the ends of the keys in it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DocumentError
from ...lsh.hashing.keys import Keys
from ...lsh.support.progress import progress_bar
from ..documents.chunks import ChunkPlan, assign, plan_chunks
from ..documents.columns import INTEGERS
from ..documents.compression import TrailingBytesError, check_end
from ..documents.files import UNREADABLE, InputFile, check_listed, open_listed
from ..documents.jsonl import TOO_LONG, UTF8_MARK, line_blocks, parse_block
from ..documents.listing import list_files
from ..documents.parquet import read_row_group
from ..kernels.fields import take_fields, take_lines, take_words
from ..ranks.comm import Communicator
from .key_columns import AskedColumn, KeyColumn, find_column

__all__ = ["KeyFiles", "KeySummary", "Texts"]

#: The name of the standard input on the command line, and in messages.
STANDARD_INPUT, _INPUT_NAME = "-", "standard input"
#: Bytes of the ranges into which files of lines are cut.
CHUNK = 16 << 20
#: Bytes of the lines that become one batch of keys.
BATCH = 8 << 20
#: Bytes of the longest record of csv; a longer one has a quote that nothing closes.
MAX_RECORD = 64 << 20


class Texts(NamedTuple):
    """Texts of one file that are not empty.

    Attributes
    ----------
    name : str
        The name of the file.
    data : ndarray of uint8
    offsets : ndarray of int64
        Text i has the bytes of `data` from ``offsets[i]`` to ``offsets[i + 1]``.
    """

    name: str
    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]


class KeySummary(NamedTuple):
    """Totals over all ranks of the keys that were read.

    Attributes
    ----------
    n_files, n_keys, bytes_read : int
    n_empty : int
        Lines, fields and rows with an empty text, which are no keys.
    skipped : list of (str, str, int)
        The name of the file, the reason and the number of skipped lines or rows, by name and reason.
    """

    n_files: int
    n_keys: int
    bytes_read: int
    n_empty: int
    skipped: list[tuple[str, str, int]]

    @property
    def n_skipped(self) -> int:
        """The number of lines and rows that could not be read."""
        return sum(n for _, _, n in self.skipped)


class KeyFiles:
    """The keys of some files, of which each rank reads a share.

    Parameters
    ----------
    paths : sequence of str
        Files and folders. On one rank, ``-`` is the standard input.
    asked : AskedColumn
    comm : Communicator
    strict : bool
        If True, a line or row without a readable key is an error; otherwise it is skipped and counted.
    numbers : tuple of str
        The kinds of numbers that columns of Parquet may hold: see `find_text_column`.
    progress : bool

    Raises
    ------
    DocumentError
        If a path does not exist or a file has no such column. DistributedError with several ranks.
    """

    def __init__(
        self,
        paths: Sequence[str],
        asked: AskedColumn,
        comm: Communicator,
        *,
        strict: bool = False,
        numbers: tuple[str, ...] = INTEGERS,
        progress: bool = False,
    ) -> None:
        self._comm, self._strict, self._numbers, self._progress = comm, strict, numbers, progress
        self._skipped: Counter[tuple[str, str]] = Counter()
        self._n_keys = self._n_empty = self._bytes_read = 0
        self._stdin: tuple[KeyColumn, Callable[[int], bytes]] | None = None
        files, self._columns = comm.call_on_first(self._find, paths, asked)
        self._has_stdin = STANDARD_INPUT in paths
        self._plan = self._make_plan(files)
        self._mine: NDArray[np.int64] = np.flatnonzero(assign(self._plan.cost, comm.size) == comm.rank)

    @property
    def files(self) -> list[str]:
        """The paths of the files, without the standard input."""
        return [file.path for file in self._plan.files]

    # -- what to read -----------------------------------------------------------------------------

    def _find(self, paths: Sequence[str], asked: AskedColumn) -> tuple[list[InputFile], list[KeyColumn]]:
        if STANDARD_INPUT in paths and self._comm.size > 1:
            # MPICH's mpiexec gives up if a rank does not read as fast as its input arrives.
            raise DocumentError("- (the standard input) is for one process: give files to several ranks")
        listing = list_files([path for path in paths if path != STANDARD_INPUT])
        for name, reason in listing.refused:
            self._skip(name, reason, 1)
        columns = [find_column(f.path, asked, f, partial(_head, f)) for f in listing.files]
        if STANDARD_INPUT in paths:
            if sys.stdin is None:
                raise DocumentError("cannot read - (the standard input): it is closed")
            stream = sys.stdin.buffer
            kept: list[bytes] = []

            def head(n: int) -> bytes:
                kept[:] = [b"".join(kept) + stream.read(n - sum(map(len, kept)))]
                return kept[0]

            column = find_column(_INPUT_NAME, asked, None, head)
            self._stdin = column, lambda n: kept.pop() if kept and kept[0] else stream.read(n)
        return listing.files, columns

    def _make_plan(self, files: list[InputFile]) -> ChunkPlan:
        """Cut files into chunks. Tables are cut only for several ranks, and where they have no quotes."""
        comm = self._comm
        tables = [
            i
            for i, (file, column) in enumerate(zip(files, self._columns, strict=True))
            if column.form == "fields" and file.size > CHUNK and not file.compressed
        ]
        quoted = comm.local(lambda: [_has_quotes(files[i], comm) for i in tables]) if comm.size > 1 else []
        found = zip(*comm.allgather(quoted), strict=True)
        cut = {i for i, quotes in zip(tables, found, strict=False) if not any(quotes)}
        kinds = {"lines": "lines", "words": "lines", "jsonl": "jsonl", "parquet": "parquet"}
        files = [
            file._replace(kind="lines" if i in cut else kinds.get(column.form, "table"))  # type: ignore[arg-type]
            for i, (file, column) in enumerate(zip(files, self._columns, strict=True))
        ]
        names = [column.name for column in self._columns]
        return comm.call_on_first(partial(plan_chunks, files, names, CHUNK, numbers=self._numbers))

    # -- reading ----------------------------------------------------------------------------------

    def batches(self) -> Iterator[Keys]:
        """Yield this rank's keys; not a collective call.

        Raises
        ------
        DocumentError
            If a file cannot be read or, with `strict`, a key.
        """
        for texts in self.texts():
            yield Keys.of_text(texts.data, texts.offsets)

    def texts(self) -> Iterator[Texts]:
        """Yield the texts of this rank's keys like `batches`."""
        plan, mine = self._plan, self._mine
        shown = self._progress and self._comm.rank == 0
        with progress_bar("reading", int(plan.cost[mine].sum()), shown) as advance:
            if self._stdin is not None:
                column, read = self._stdin
                yield from self._of_lines(column, _INPUT_NAME, line_blocks(read), is_first=True)
            columns = (column[mine].tolist() for column in (plan.file, plan.start, plan.stop, plan.cost))
            for i, start, stop, cost in zip(*columns, strict=True):
                yield from self._of_chunk(plan.files[i], self._columns[i], start, stop)
                advance(cost)

    def _of_chunk(self, file: InputFile, column: KeyColumn, start: int, stop: int) -> Iterator[Texts]:
        if column.form == "parquet":
            check_listed(file.path)
            yield from self._of_parquet(file.path, column.name, start)
            return
        before = self._bytes_read
        try:
            with file.open() as opened:
                if start and not file.compressed:
                    opened.seek(start - 1)
                blocks = line_blocks(opened.read, start, None if file.compressed else stop)
                yield from self._of_lines(column, file.path, blocks, is_first=start == 0)
                check_end(opened)
        except TrailingBytesError as error:
            self._skip(file.path, str(error), 1)
        except UNREADABLE as error:
            raise DocumentError(f"cannot read {file.path}: {_reason(error)}") from error
        if file.compressed:
            self._bytes_read = before + file.size

    def _of_lines(
        self, column: KeyColumn, name: str, blocks: Iterable[bytes | None], *, is_first: bool
    ) -> Iterator[Texts]:
        blocks = self._counted(name, blocks, is_first)
        if column.form == "jsonl":
            for block in blocks:
                lines = parse_block(block, column.name, numbers=True)
                for _, reason in lines.problems:
                    self._skip(name, reason, 1)
                data = np.frombuffer(b"".join(lines.texts), dtype=np.uint8)
                yield from self._texts(name, data, np.fromiter(map(len, lines.texts), np.int64).cumsum(), 0)
            return
        rest = b""
        for text in _joined(blocks):
            text = rest + text
            data, ends, n_short, rest = _cut(column, text)
            if n_short:
                unit = "field" if column.form == "fields" else "word"
                self._skip(name, f"a line without {unit} {column.number + 1}", n_short)
            first = 0
            if is_first and column.has_header and len(ends):
                first, ends, is_first = int(ends[0]), ends[1:], False
            yield from self._texts(name, data, ends, n_short, first)
            if len(rest) > MAX_RECORD:
                break
        if rest:
            raise DocumentError(f"cannot read {name}: a quote is opened and not closed")

    def _counted(self, name: str, blocks: Iterable[bytes | None], is_first: bool) -> Iterator[bytes]:
        """Yield the blocks, without a byte order mark; count bytes and lines that are too long."""
        for block in blocks:
            if block is None:
                self._skip(name, TOO_LONG, 1)
            else:
                self._bytes_read += len(block) + 1
                yield block.removeprefix(UTF8_MARK) if is_first else block
            is_first = False

    def _of_parquet(self, path: str, field: str, group: int) -> Iterator[Texts]:
        for column in read_row_group(path, group, field):
            self._bytes_read += len(column.data)
            n_null = 0 if column.null is None else int(np.count_nonzero(column.null))
            if n_null:
                self._skip(path, "null", n_null)
            yield from self._texts(path, column.data, column.offsets[1:], n_null)

    def _texts(
        self, name: str, data: NDArray[np.uint8], ends: NDArray[np.int64], n_skipped: int, first: int = 0
    ) -> Iterator[Texts]:
        """Yield the texts that are not empty; `n_skipped` of the empty ones have been counted already."""
        offsets = np.concatenate([np.array([first], np.int64), ends])
        lengths = np.diff(offsets)
        n_empty = len(lengths) - int(np.count_nonzero(lengths))
        self._n_empty += n_empty - n_skipped
        if n_empty:
            # An empty text takes no bytes, so that its end can be left out.
            offsets = np.concatenate([offsets[:1], ends[lengths > 0]])
        if len(offsets) > 1:
            self._n_keys += len(offsets) - 1
            yield Texts(name, data, offsets)

    def refuse(self, name: str, reason: str, n: int) -> None:
        """Count n texts that were yielded as skipped.

        Raises
        ------
        DocumentError
            With `strict`.
        """
        self._skip(name, reason, n)
        self._n_keys -= n

    def _skip(self, name: str, reason: str, n: int) -> None:
        if self._strict:
            raise DocumentError(f"{name}: {reason} (strict)")
        self._skipped[name, reason] += n

    def finish(self) -> KeySummary:
        """Return the totals of all ranks; a collective call, after every rank has finished `batches`."""
        comm, skipped = self._comm, Counter[tuple[str, str]]()
        for part in comm.allgather(dict(self._skipped)):
            skipped.update(part)
        return KeySummary(
            n_files=len(self._plan.files) + self._has_stdin,
            n_keys=comm.sum(self._n_keys),
            bytes_read=comm.sum(self._bytes_read),
            n_empty=comm.sum(self._n_empty),
            skipped=[(*key, n) for key, n in sorted(skipped.items())],
        )


def _cut(column: KeyColumn, text: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64], int, bytes]:
    """Return the bytes and ends of the keys of whole lines, the number of short lines, and the rest."""
    data = np.frombuffer(text, dtype=np.uint8)
    out, ends = np.empty(len(text), np.uint8), np.empty(text.count(b"\n"), np.int64)
    n_short, kept = 0, len(text)
    if column.form == "lines":
        n = take_lines(data, out, ends)
    elif column.form == "words":
        n, n_short = take_words(data, column.number, out, ends)
    else:
        delimiter = ord(column.delimiter)
        n, n_short, kept = take_fields(data, column.number, delimiter, ord('"'), out, ends)
    return out, ends[:n], n_short, text[kept:]


def _joined(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield blocks of lines joined to larger ones, each with the end of its last line."""
    parts: list[bytes] = []
    size = 0
    for block in blocks:
        parts.append(block)
        size += len(block)
        if size >= BATCH:
            yield b"\n".join([*parts, b""])
            parts, size = [], 0
    if parts:
        yield b"\n".join([*parts, b""])


def _head(file: InputFile, n: int) -> bytes:
    """Return the first n bytes of a file."""
    parts: list[bytes] = []
    try:
        with file.open() as opened:
            while n and (part := opened.read(n)):
                parts.append(part)
                n -= len(part)
    except UNREADABLE as error:
        raise DocumentError(f"cannot read {file.path}: {_reason(error)}") from error
    return b"".join(parts)


def _has_quotes(file: InputFile, comm: Communicator) -> bool:
    """Return True if this rank's share of the bytes of a file has a quote."""
    start, stop = file.size * comm.rank // comm.size, file.size * (comm.rank + 1) // comm.size
    with open_listed(file.path) as opened:
        opened.seek(start)
        while start < stop and (block := opened.read(min(1 << 20, stop - start))):
            if b'"' in block:
                return True
            start += len(block)
    return False


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else f"damaged: {error}"
