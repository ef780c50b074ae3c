"""Documents from files: each rank streams its share, and every document has one id for all ranks.

What counts as a document
-------------------------
- a text file, whole (a mark of UTF-8 at its beginning is not part of it);
- a line of a ``.jsonl`` or ``.ndjson`` file: the string under `text_field`; blank lines are none;
- a row of a ``.parquet`` file: the text in the column `text_field` (needs pyarrow);
- the same inside ``.gz``, for text and JSON lines.

What is skipped, counted and named
----------------------------------
Files that cannot be read or are no regular files, text that is not UTF-8, lines without a string
under the field, rows that are null, and any one document longer than 1 GiB. With ``strict=True`` each
of these is an error. A path that does not exist, a folder without files, a field that the first
records of a file lack, and a damaged Parquet file are always errors.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DocumentError
from ..lsh.validation import check_int
from .batches import BatchBuilder, DocumentBatch
from .chunks import RECORD_BITS, UNREADABLE, ChunkPlan, assign, plan_chunks
from .comm import communicator
from .jsonl import MAX_DOCUMENT, UTF8_MARK, line_blocks, parse_block
from .listing import list_files
from .parquet import read_row_group
from .progress import progress_bar
from .skipped import N_NAMED, Skip, SkipList

__all__ = ["DocumentSource", "ReadSummary"]

_RECORD_MASK = (1 << RECORD_BITS) - 1
NOT_UTF8 = "not UTF-8"
TOO_LONG = f"longer than {MAX_DOCUMENT} bytes"


class ReadSummary(NamedTuple):
    """What was read, over all ranks.

    Attributes
    ----------
    n_documents : int
    n_skipped : int
    skipped : list of (str, str)
        Name and reason of the first ones skipped, in the order of documents; at most 100.
    bytes_read : int
        Bytes of the files (of the column of texts, in Parquet files), compressed ones as stored.
    """

    n_documents: int
    n_skipped: int
    skipped: list[tuple[str, str]]
    bytes_read: int


class DocumentSource:
    """A stream of documents from files, shared out over ranks.

    The files are listed by rank 0 and cut into chunks (a text file, a range of bytes of JSON lines, a
    row group), whose list does not depend on the number of ranks; every chunk is read by one rank. The
    id of a document is its chunk's place in that list times 2**36 plus its place in the chunk, so it
    is the same for any number of ranks, and ids grow in the order of paths, files and lines.

    Parameters
    ----------
    paths : path or sequence of paths
        Files and folders. Folders are walked to the bottom in the order of names; names that begin
        with a dot and links to folders are left out, and a file that is reached twice counts once.
    text_field : str
        The field of JSON lines, or the column of Parquet files, that holds the text.
    strict : bool
        Whether a document that cannot be read is an error, rather than skipped and named.
    comm : mpi4py communicator, Communicator or None
        See `communicator`.
    include, exclude : sequences of str
        Shell patterns that choose among the files found in folders, compared with their names, or,
        with a slash in them, with their paths below the folder given. `exclude` also drops folders.
    chunk_bytes : int
        Length of the ranges that uncompressed JSON lines are cut into. Part of the ids.
    batch_bytes : int
        Bytes of text in a batch; a longer single document makes its own.
    progress : bool
        Show a progress bar of rank 0's share on stderr, if that is a terminal.

    Attributes
    ----------
    n_documents, n_skipped, bytes_read : int
        What this rank has read so far; `finish` tells it for all ranks.

    Raises
    ------
    DocumentError
        If a path does not exist, a folder holds no file of documents, the first records of a file lack
        the field, a Parquet file is damaged, or pyarrow is missing.
    DistributedError
        On every rank, in place of that error when there are several ranks; or if ranks pass different
        arguments.

    Notes
    -----
    A rank holds about two batches and a few blocks of 1 MiB at a time, besides the list of files.
    Chunks go to ranks by size, the largest first, each to the rank with the least so far.

    Examples
    --------
    >>> from pathlib import Path
    >>> for name, text in [("a.txt", "one"), ("b.txt", "two"), ("c.jsonl", '{"text": "three"}')]:
    ...     _ = Path(name).write_text(text)
    >>> source = DocumentSource(["a.txt", "b.txt", "c.jsonl"])
    >>> for batch in source.batches():
    ...     print(bytes(batch.data), batch.offsets)
    b'onetwothree' [ 0  3  6 11]
    >>> source.finish().n_documents
    3
    >>> source.name_of(batch.ids)
    [('a.txt', None), ('b.txt', None), ('c.jsonl', 1)]
    """

    def __init__(
        self,
        paths: str | PathLike[str] | Sequence[str | PathLike[str]],
        *,
        text_field: str = "text",
        strict: bool = False,
        comm: Any = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        chunk_bytes: int = 16 << 20,
        batch_bytes: int = 16 << 20,
        progress: bool = False,
    ) -> None:
        given = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
        if not given or not all(isinstance(path, (str, PathLike)) for path in given):
            raise ValueError(f"paths must be one or more paths, got {paths!r}")
        self.paths = [os.fsdecode(path) for path in given]
        if not isinstance(text_field, str):
            raise TypeError(f"text_field must be a string, got {text_field!r}")
        self.text_field = text_field
        self.strict = bool(strict)
        self.chunk_bytes = check_int("chunk_bytes", chunk_bytes, 1)
        self.batch_bytes = check_int("batch_bytes", batch_bytes, 1)
        self._progress = progress
        self._comm = communicator(comm)
        include, exclude = list(include), list(exclude)
        settings = (self.paths, text_field, self.strict, include, exclude, self.chunk_bytes)
        self._comm.check_same("the documents to read", settings)
        self._plan, self._refused = self._list_files(include, exclude)
        owner = assign(self._plan.cost, self._comm.size)
        self._mine: NDArray[np.int64] = np.flatnonzero(owner == self._comm.rank)
        self._first_record = self._plan.first_record
        self._first_pass: tuple[int, int] | None = None
        self._reset()

    def _reset(self) -> None:
        self.n_documents = 0
        self.bytes_read = 0
        self._n_taken_back = 0
        self._n_lines = np.zeros(len(self._plan), dtype=np.int64)
        self._skips = SkipList()
        if self._comm.rank == 0:
            for name, reason in self._refused:
                self._skip(Skip(-1, name, reason))

    def _list_files(
        self, include: Sequence[str], exclude: Sequence[str]
    ) -> tuple[ChunkPlan, list[tuple[str, str]]]:
        """Rank 0 looks and tells the others, who may have another view of a network's files."""
        outcome: tuple[ChunkPlan, list[tuple[str, str]]] | None = None
        with self._comm.agree():
            if self._comm.rank == 0:
                listing = list_files(self.paths, include, exclude)
                if self.strict and listing.refused:
                    name, reason = listing.refused[0]
                    raise DocumentError(f"{name}: {reason} (strict)")
                outcome = plan_chunks(listing.files, self.text_field, self.chunk_bytes), listing.refused
        outcome = self._comm.bcast(outcome)
        assert outcome is not None
        return outcome

    @property
    def files(self) -> list[str]:
        """The paths of all files, in the order of the ids of their documents."""
        return [file.path for file in self._plan.files]

    # -- reading ----------------------------------------------------------------------------------

    def batches(self) -> Iterator[DocumentBatch]:
        """This rank's documents, a batch of bounded size at a time, in the order of ids.

        Not a collective call: ranks go at their own pace and may have different numbers of batches.
        Called again after a complete pass it gives the same batches, and counts and reports nothing
        twice.

        Raises
        ------
        DocumentError
            On this rank alone: a Parquet file is damaged, a later pass no longer finds the documents of
            the first or, with `strict`, a document cannot be read.
        """
        if self._first_pass is None:
            self._reset()
            yield from self._read("reading")
            self._first_pass = self._found()
            return
        kept = self.n_documents, self.bytes_read, self._n_taken_back, self._n_lines, self._skips
        self._reset()
        try:
            yield from self._read("reading again")
            if self._found() != self._first_pass:
                raise DocumentError("the files have changed since they were first read")
        finally:
            self.n_documents, self.bytes_read, self._n_taken_back, self._n_lines, self._skips = kept

    def _found(self) -> tuple[int, int]:
        """Documents given out and skips seen in a pass, whatever was taken back."""
        return self.n_documents + self._n_taken_back, self.n_skipped - self._n_taken_back

    def _read(self, what: str) -> Iterator[DocumentBatch]:
        builder = BatchBuilder(self.batch_bytes)
        files = self._plan.files
        shown = self._progress and self._comm.rank == 0
        total = int(self._plan.cost[self._mine].sum())
        with progress_bar(what, total, shown) as advance:
            for chunk, i, start, stop, cost in zip(
                self._mine.tolist(),
                self._plan.file[self._mine].tolist(),
                self._plan.start[self._mine].tolist(),
                self._plan.stop[self._mine].tolist(),
                self._plan.cost[self._mine].tolist(),
                strict=True,
            ):
                file = files[i]
                first = chunk << RECORD_BITS
                if file.kind == "parquet":
                    yield from self._read_parquet(builder, first, file.path, start)
                elif file.kind == "jsonl":
                    yield from self._read_jsonl(builder, first, file.path, start, stop, file.compressed)
                elif file.compressed:
                    yield from self._read_gzip(builder, first, file.path)
                elif file.size > MAX_DOCUMENT:
                    self._skip(Skip(first, None, TOO_LONG))
                else:
                    if not builder.fits(file.size + 1):
                        yield self._take(builder)
                        builder.fits(file.size + 1)
                    self._read_text(builder, first, file.path, file.size)
                advance(cost)
            if builder.n_documents:
                yield self._take(builder)

    def _take(self, builder: BatchBuilder) -> DocumentBatch:
        batch = builder.take()
        self.n_documents += len(batch.ids)
        return batch

    def _read_text(self, builder: BatchBuilder, document: int, path: str, size: int) -> None:
        """Read a small file straight into the batch; there is room for one byte more than its size."""
        room = builder.room(size + 1)
        try:
            # Not to wait, should the file have become a pipe since it was listed.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                n = os.readv(descriptor, [room])
                while 0 < n <= size:
                    more = os.readv(descriptor, [room[n:]])
                    n += more
                    if not more:
                        break
            finally:
                os.close(descriptor)
        except OSError as error:
            self._skip_file(document, path, error)
            return
        if n > size:
            self._skip(Skip(document, path, "grew while it was read"))
            return
        self.bytes_read += n
        if n >= 3 and room[:3] == UTF8_MARK:
            room[: n - 3] = bytes(room[3:n])
            n -= 3
        builder.add(document, n)

    def _read_gzip(self, builder: BatchBuilder, document: int, path: str) -> Iterator[DocumentBatch]:
        parts: list[bytes] = []
        size = 0
        try:
            with gzip.open(path) as file:
                while part := file.read(1 << 20):
                    parts.append(part)
                    size += len(part)
                    if size > MAX_DOCUMENT:
                        self._skip(Skip(document, path, TOO_LONG))
                        return
            self.bytes_read += os.stat(path).st_size
        except UNREADABLE as error:
            self._skip_file(document, path, error)
            return
        text = b"".join(parts).removeprefix(UTF8_MARK)
        yield from self._add(builder, [document], [len(text)], memoryview(text))

    def _read_jsonl(
        self, builder: BatchBuilder, first: int, path: str, start: int, stop: int, compressed: bool
    ) -> Iterator[DocumentBatch]:
        record = first
        try:
            with gzip.open(path) if compressed else open(path, "rb", buffering=0) as file:
                if start and not compressed:
                    file.seek(start - 1)
                blocks = line_blocks(file.read, start, None if compressed else stop)
                for block in blocks:
                    if record == first and start == 0 and block is not None:
                        block = block.removeprefix(UTF8_MARK)
                    lines = parse_block(block, self.text_field)
                    for line, reason in lines.problems:
                        self._skip(Skip(record + line, None, reason))
                    documents = [record + line for line in lines.records]
                    text = b"".join(lines.texts)
                    yield from self._add(builder, documents, map(len, lines.texts), memoryview(text))
                    record += lines.n_lines
                    if compressed:
                        continue
                    self.bytes_read += 0 if block is None else len(block) + 1
                if compressed:
                    self.bytes_read += os.stat(path).st_size
        except UNREADABLE as error:
            self._skip_file(record, path if record == first and start == 0 else None, error)
        self._n_lines[first >> RECORD_BITS] = record - first

    def _read_parquet(
        self, builder: BatchBuilder, first: int, path: str, group: int
    ) -> Iterator[DocumentBatch]:
        row = first
        for column in read_row_group(path, group, self.text_field):
            lengths = np.diff(column.offsets)
            rows = np.arange(len(lengths))
            if column.null is not None:
                for i in np.flatnonzero(column.null).tolist():
                    self._skip(Skip(row + i, None, "null"))
                rows, lengths = rows[~column.null], lengths[~column.null]
            ends = np.concatenate([[0], np.cumsum(lengths)])
            done = 0
            while done < len(rows):
                # As many rows as a batch takes, and at least one.
                upto = int(np.searchsorted(ends, ends[done] + self.batch_bytes, side="right")) - 1
                upto = min(len(rows), max(done + 1, upto))
                data = column.data[ends[done] : ends[upto]].data
                documents = (row + rows[done:upto]).tolist()
                yield from self._add(builder, documents, lengths[done:upto].tolist(), data)
                done = upto
            row += len(column.offsets) - 1
            self.bytes_read += len(column.data)

    def _add(
        self, builder: BatchBuilder, documents: list[int], lengths: Iterable[int], data: memoryview
    ) -> Iterator[DocumentBatch]:
        """Add documents, after the batch before them if they do not fit into it any more."""
        if not builder.fits(len(data)):
            yield self._take(builder)
            builder.fits(len(data))
        builder.add_many(documents, lengths, data)

    # -- what could not be read -------------------------------------------------------------------

    def _skip_file(self, document: int, name: str | None, error: Exception) -> None:
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        damaged = isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile))
        self._skip(Skip(document, name, f"damaged: {told}" if damaged else told))

    def _skip(self, skip: Skip) -> None:
        if self.strict:
            name = skip.name or self._local_name(skip.document)
            raise DocumentError(f"{name}: {skip.reason} (strict)")
        self._skips.add(skip)

    def report_skipped(self, ids: ArrayLike, reason: str = NOT_UTF8) -> None:
        """Take documents of this rank back out of the count: they turned out not to be usable.

        Parameters
        ----------
        ids : array_like of uint64
            Documents that `batches` has given out.
        reason : str

        Raises
        ------
        DocumentError
            With `strict`.
        """
        for document in np.asarray(ids, dtype=np.uint64).tolist():
            self.n_documents -= 1
            self._n_taken_back += 1
            self._skip(Skip(document, None, reason))

    @property
    def n_skipped(self) -> int:
        return self._skips.n

    def finish(self) -> ReadSummary:
        """What all ranks have read. A collective call, once every rank is through with `batches`.

        After it `name_of` knows the line numbers of every document.
        """
        n_lines = self._n_lines.copy()
        self._comm.allreduce(n_lines, "sum")
        self._first_record = _first_records(self._plan, n_lines)
        every = [skip for part in self._comm.allgather(self._skips.first()) for skip in part]
        every.sort(key=lambda skip: (skip.document, skip.name or "", skip.reason))
        return ReadSummary(
            n_documents=self._comm.sum(self.n_documents),
            n_skipped=self._comm.sum(self.n_skipped),
            skipped=[(skip.name or self._local_name(skip.document), skip.reason) for skip in every[:N_NAMED]],
            bytes_read=self._comm.sum(self.bytes_read),
        )

    # -- names ------------------------------------------------------------------------------------

    def name_of(self, ids: ArrayLike) -> list[tuple[str, int | None]]:
        """The path of each document, and its line or row in it, counted from 1.

        Parameters
        ----------
        ids : array_like of uint64, shape (n,)
            Documents of any rank, once `finish` was called.

        Returns
        -------
        list of (str, int or None)
            None for a document that is a whole file.
        """
        ids = np.asarray(ids, dtype=np.uint64)
        chunks = (ids >> np.uint64(RECORD_BITS)).astype(np.int64)
        if len(chunks) and int(chunks.max()) >= len(self._plan):
            raise ValueError("ids must be ids of this source's documents")
        records = (ids & np.uint64(_RECORD_MASK)).astype(np.int64) + self._first_record[chunks] + 1
        files = self._plan.files
        return [
            (files[i].path, None if files[i].kind == "text" else record)
            for i, record in zip(self._plan.file[chunks].tolist(), records.tolist(), strict=True)
        ]

    def _local_name(self, document: int) -> str:
        """A name for messages; the line is told where it is known."""
        chunk = document >> RECORD_BITS
        ((path, record),) = self.name_of([document])
        if record is None:
            return path
        if self._first_record[chunk] < 0:
            start, stop = int(self._plan.start[chunk]), int(self._plan.stop[chunk])
            return f"{path}, a line between bytes {start} and {stop}"
        return f"{path}:{record}"


def _first_records(plan: ChunkPlan, n_lines: NDArray[np.int64]) -> NDArray[np.int64]:
    """The line that each chunk's first one is, from the number of lines in all chunks."""
    before = np.cumsum(n_lines) - n_lines
    starts = np.flatnonzero(np.diff(plan.file, prepend=-1))
    lengths = np.diff(starts, append=len(plan))
    counted = before - np.repeat(before[starts], lengths)
    return np.where(plan.first_record < 0, counted, plan.first_record)
