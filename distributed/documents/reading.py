"""Read a rank's share of the chunks once: give out its documents, and count them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batches import BatchBuilder, DocumentBatch
from .chunks import RECORD_BITS, ChunkPlan
from .columns import TextColumn
from .compression import DamagedError, TrailingBytesError
from .contents import contents
from .fields import as_scores
from .files import UNREADABLE, InputFile
from .jsonl import MAX_DOCUMENT, TOO_LONG, UTF8_MARK, Lines
from .names import Member
from .skipped import FileError, Skip, SkipList
from .tables import DELIMITERS
from .tar import TarMember, tar_members

__all__ = ["ReadingPass"]

#: Documents are given out in batches; a part of the reading also returns its number of records.
Batches = Generator[DocumentBatch, None, int]


class ReadingPass:
    """Reads chunks into batches, in order.

    Parameters
    ----------
    plan : ChunkPlan
    mine : ndarray of int64
        The chunks to read, in rising order.
    text_field : str
    score_field : str or None
    form : str
        The format of the members of archives; see `formats.FORMATS`.
    batch_bytes : int
    refuse : callable or None
        A function that gets each skip and raises an error, if no document may be skipped.

    Attributes
    ----------
    n_documents, bytes_read : int
        The documents given out and the bytes read so far.
    n_taken_back : int
        Documents that were given out and turned out to be unusable. `n_documents` does not include them.
    skips : SkipList
    n_lines : ndarray of int64, shape (n_chunks,)
        The number of lines in each chunk of JSON lines.
    members : dict of int to list of Member
        The files of each chunk that is an archive.
    """

    def __init__(
        self,
        plan: ChunkPlan,
        mine: NDArray[np.int64],
        text_field: str,
        score_field: str | None,
        form: str,
        batch_bytes: int,
        refuse: Callable[[Skip], None] | None,
    ) -> None:
        self._plan = plan
        self._mine = mine
        self._text_field = text_field
        self._score_field = score_field
        self._form = form
        self._batch_bytes = batch_bytes
        self._refuse = refuse
        self.n_documents = 0
        self.bytes_read = 0
        self.n_taken_back = 0
        self.skips = SkipList()
        self.n_lines = np.zeros(len(plan), dtype=np.int64)
        self.members: dict[int, list[Member]] = {}

    def found(self) -> tuple[int, int]:
        """Return the numbers of documents and skips as they were before documents were taken back."""
        return self.n_documents + self.n_taken_back, self.skips.n - self.n_taken_back

    def skip(self, document: int, name: str | None, reason: str) -> None:
        """Count a document that cannot be read, or refuse it."""
        skip = Skip(document, name, reason)
        if self._refuse is not None:
            self._refuse(skip)
        self.skips.add(skip)

    def refuse(self, document: int, reason: str) -> None:
        """Raise an error for a document that can be read in part, if no document may be skipped."""
        if self._refuse is not None:
            self._refuse(Skip(document, None, reason))

    def take_back(self, document: int, reason: str) -> None:
        """Skip a document that was given out."""
        self.n_documents -= 1
        self.n_taken_back += 1
        self.skip(document, None, reason)

    def batches(self, advance: Callable[[int], object]) -> Iterator[DocumentBatch]:
        """Yield the documents; `advance` gets the cost of each chunk after it is read."""
        builder = BatchBuilder(self._batch_bytes, scores=self._score_field is not None)
        plan, mine = self._plan, self._mine
        columns = (mine, *(column[mine] for column in (plan.file, plan.start, plan.stop, plan.cost)))
        for chunk, i, start, stop, cost in zip(*(column.tolist() for column in columns), strict=True):
            file, first = plan.files[i], chunk << RECORD_BITS
            if file.kind == "tar":
                yield from self._read_archive(builder, first, file)
            elif file.kind != "text" or file.sequential:
                self.n_lines[chunk] = yield from self._read(builder, first, file, start, stop)
            elif file.size > MAX_DOCUMENT:
                self.skip(first, None, TOO_LONG)
            else:
                yield from self._make_room(builder, file.size + 1)
                self._read_text(builder, first, file)
            advance(cost)
        if builder.n_documents:
            yield self._take(builder)

    def _take(self, builder: BatchBuilder) -> DocumentBatch:
        batch = builder.take()
        self.n_documents += len(batch.ids)
        return batch

    def _make_room(self, builder: BatchBuilder, n_bytes: int) -> Iterator[DocumentBatch]:
        """Yield the batch if `n_bytes` more do not fit into it, so that they fit into the next one."""
        if not builder.reserve(n_bytes):
            yield self._take(builder)
            builder.reserve(n_bytes)

    def _add(
        self,
        builder: BatchBuilder,
        documents: list[int],
        lengths: Iterable[int],
        data: memoryview,
        scores: Any,
    ) -> Iterator[DocumentBatch]:
        """Add documents, after yielding the batch before them if they do not fit into it."""
        yield from self._make_room(builder, len(data))
        builder.add_many(documents, lengths, data, scores)

    def _read_text(self, builder: BatchBuilder, document: int, file: InputFile) -> None:
        """Read a small file straight into the batch, which has room for one byte more than its size.

        The further byte shows if the file has grown.
        """
        room = builder.room(file.size + 1)
        try:
            with file.open_stored() as opened:
                n = os.readv(opened.fileno(), [room])
                while 0 < n <= file.size:
                    more = os.readv(opened.fileno(), [room[n:]])
                    n += more
                    if not more:
                        break
        except OSError as error:
            self._skip_file(document, file.path, error)
            return
        if n > file.size:
            self.skip(document, file.path, "grew while it was read")
            return
        self.bytes_read += n
        if n >= 3 and room[:3] == UTF8_MARK:
            room[: n - 3] = bytes(room[3:n])
            n -= 3
        builder.add(document, n)

    def _read_archive(self, builder: BatchBuilder, first: int, file: InputFile) -> Iterator[DocumentBatch]:
        """Read the files of an archive, whose records are numbered through."""
        found = self.members[first >> RECORD_BITS] = []
        record = first
        try:
            for member in tar_members(file, self._form):
                found.append(Member(record - first, member.path, member.kind == "text"))
                record += yield from self._read(builder, record, member, 0, 0)
            self.bytes_read += os.stat(file.place or file.path).st_size
        except UNREADABLE as error:
            self._skip_file(record, file.path, error)

    def _read(
        self, builder: BatchBuilder, first: int, file: InputFile | TarMember, start: int, stop: int
    ) -> Batches:
        """Read a chunk of a file, or a member of an archive."""
        if file.kind == "unread":
            self.skip(first, file.path, file.reason)
            return 1
        record = first
        try:
            for block in contents(file, self._text_field, start=start, stop=stop, extra=self._score_field):
                if isinstance(block, Lines):
                    yield from self._add_lines(builder, record, block, file.kind in DELIMITERS)
                    record += block.n_lines
                else:
                    yield from self._add_column(builder, record, block)
                    record += len(block.offsets) - 1
            if isinstance(file, InputFile) and file.kind != "parquet":
                is_range = file.kind == "jsonl" and not file.sequential
                self.bytes_read += stop - start if is_range else os.stat(file.place or file.path).st_size
        except TrailingBytesError as error:
            self.skip(record, file.path, str(error))
        except UNREADABLE as error:
            self._skip_file(record, file.path if record == first and start == 0 else None, error)
        except FileError as error:
            # A damaged row group of a file is skipped alone, and named by its row.
            is_whole = record == first and start == 0
            part = "row group" if file.kind == "parquet" and not file.compressed else "file"
            rest = "" if is_whole else f" (the rest of the {part} is skipped)"
            self.skip(record, file.path if is_whole else None, error.reason + rest)
        return max(record - first, 1) if isinstance(file, TarMember) else record - first

    def _add_lines(
        self, builder: BatchBuilder, record: int, lines: Lines, is_table: bool
    ) -> Iterator[DocumentBatch]:
        for line, reason in lines.problems:
            self.skip(record + line, None, reason)
        for line, reason in lines.damaged:
            self.refuse(record + line, reason)
        documents = [record + line for line in lines.records]
        scores = None if self._score_field is None else as_scores(lines.extra, texts=is_table)
        data = memoryview(b"".join(lines.texts))
        yield from self._add(builder, documents, map(len, lines.texts), data, scores)

    def _add_column(self, builder: BatchBuilder, row: int, column: TextColumn) -> Iterator[DocumentBatch]:
        lengths = np.diff(column.offsets)
        rows = np.arange(len(lengths))
        scores = None if self._score_field is None else np.full(len(lengths), np.nan)
        if scores is not None and column.extra:
            scores = as_scores(column.extra, texts=False)
        if column.null is not None:
            for i in np.flatnonzero(column.null).tolist():
                self.skip(row + i, None, "null")
            rows, lengths = rows[~column.null], lengths[~column.null]
            scores = None if scores is None else scores[~column.null]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        start = 0
        while start < len(rows):
            # The part is the longest that fits into a batch, but at least one row.
            stop = int(np.searchsorted(ends, ends[start] + self._batch_bytes, side="right")) - 1
            stop = min(len(rows), max(start + 1, stop))
            data = column.data[ends[start] : ends[stop]].data
            documents = (row + rows[start:stop]).tolist()
            part = None if scores is None else scores[start:stop]
            yield from self._add(builder, documents, lengths[start:stop].tolist(), data, part)
            start = stop
        self.bytes_read += len(column.data)

    def _skip_file(self, document: int, name: str | None, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self.skip(document, name, f"damaged: {reason}" if isinstance(error, DamagedError) else reason)
