"""Read a rank's share of the chunks once: give out its documents, and count them."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from .batches import BatchBuilder, DocumentBatch
from .chunks import RECORD_BITS, ChunkPlan
from .files import UNREADABLE, InputFile, check_listed, open_listed
from .jsonl import MAX_DOCUMENT, TOO_LONG, UTF8_MARK, line_blocks, parse_block
from .parquet import TextColumn, read_row_group
from .skipped import FileError, Skip, SkipList

__all__ = ["ReadingPass"]


class ReadingPass:
    """Reads chunks into batches, in order.

    Parameters
    ----------
    plan : ChunkPlan
    mine : ndarray of int64
        The chunks to read, in rising order.
    text_field : str
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
    """

    def __init__(
        self,
        plan: ChunkPlan,
        mine: NDArray[np.int64],
        text_field: str,
        batch_bytes: int,
        refuse: Callable[[Skip], None] | None,
    ) -> None:
        self._plan = plan
        self._mine = mine
        self._text_field = text_field
        self._batch_bytes = batch_bytes
        self._refuse = refuse
        self.n_documents = 0
        self.bytes_read = 0
        self.n_taken_back = 0
        self.skips = SkipList()
        self.n_lines = np.zeros(len(plan), dtype=np.int64)

    def found(self) -> tuple[int, int]:
        """Return the numbers of documents and skips as they were before documents were taken back."""
        return self.n_documents + self.n_taken_back, self.skips.n - self.n_taken_back

    def skip(self, document: int, name: str | None, reason: str) -> None:
        """Count a document that cannot be read, or refuse it."""
        skip = Skip(document, name, reason)
        if self._refuse is not None:
            self._refuse(skip)
        self.skips.add(skip)

    def take_back(self, document: int, reason: str) -> None:
        """Skip a document that was given out."""
        self.n_documents -= 1
        self.n_taken_back += 1
        self.skip(document, None, reason)

    def batches(self, advance: Callable[[int], object]) -> Iterator[DocumentBatch]:
        """Yield the documents; `advance` gets the cost of each chunk after it is read."""
        builder = BatchBuilder(self._batch_bytes)
        plan, mine = self._plan, self._mine
        columns = (mine, *(column[mine] for column in (plan.file, plan.start, plan.stop, plan.cost)))
        for chunk, i, start, stop, cost in zip(*(column.tolist() for column in columns), strict=True):
            file, first = plan.files[i], chunk << RECORD_BITS
            if file.kind == "parquet":
                yield from self._read_parquet(builder, first, file.path, start)
            elif file.kind == "jsonl":
                yield from self._read_jsonl(builder, first, file, start, stop)
            elif file.compressed:
                yield from self._read_gzip(builder, first, file)
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
        self, builder: BatchBuilder, documents: list[int], lengths: Iterable[int], data: memoryview
    ) -> Iterator[DocumentBatch]:
        """Add documents, after yielding the batch before them if they do not fit into it."""
        yield from self._make_room(builder, len(data))
        builder.add_many(documents, lengths, data)

    def _read_text(self, builder: BatchBuilder, document: int, file: InputFile) -> None:
        """Read a small file straight into the batch, which has room for one byte more than its size.

        The further byte shows if the file has grown.
        """
        room = builder.room(file.size + 1)
        try:
            with open_listed(file.path) as opened:
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

    def _read_gzip(self, builder: BatchBuilder, document: int, file: InputFile) -> Iterator[DocumentBatch]:
        parts: list[bytes] = []
        size = 0
        try:
            with file.open() as opened:
                while part := opened.read(1 << 20):
                    parts.append(part)
                    size += len(part)
                    if size > MAX_DOCUMENT:
                        self.skip(document, file.path, TOO_LONG)
                        return
            self.bytes_read += os.stat(file.path).st_size
        except UNREADABLE as error:
            self._skip_file(document, file.path, error)
            return
        text = b"".join(parts).removeprefix(UTF8_MARK)
        yield from self._add(builder, [document], [len(text)], memoryview(text))

    def _read_jsonl(
        self, builder: BatchBuilder, first: int, file: InputFile, start: int, stop: int
    ) -> Iterator[DocumentBatch]:
        record = first
        try:
            with file.open() as opened:
                if start and not file.compressed:
                    opened.seek(start - 1)
                for block in line_blocks(opened.read, start, None if file.compressed else stop):
                    if record == first and start == 0 and block is not None:
                        block = block.removeprefix(UTF8_MARK)
                    lines = parse_block(block, self._text_field)
                    for line, reason in lines.problems:
                        self.skip(record + line, None, reason)
                    documents = [record + line for line in lines.records]
                    text = b"".join(lines.texts)
                    yield from self._add(builder, documents, map(len, lines.texts), memoryview(text))
                    record += lines.n_lines
                    if block is not None and not file.compressed:
                        self.bytes_read += len(block) + 1
                if file.compressed:
                    self.bytes_read += os.stat(file.path).st_size
        except UNREADABLE as error:
            self._skip_file(record, file.path if record == first and start == 0 else None, error)
        self.n_lines[first >> RECORD_BITS] = record - first

    def _read_parquet(
        self, builder: BatchBuilder, first: int, path: str, group: int
    ) -> Iterator[DocumentBatch]:
        row = first
        for column in self._row_group(first, path, group):
            lengths = np.diff(column.offsets)
            rows = np.arange(len(lengths))
            if column.null is not None:
                for i in np.flatnonzero(column.null).tolist():
                    self.skip(row + i, None, "null")
                rows, lengths = rows[~column.null], lengths[~column.null]
            ends = np.concatenate([[0], np.cumsum(lengths)])
            start = 0
            while start < len(rows):
                # The part is the longest that fits into a batch, but at least one row.
                stop = int(np.searchsorted(ends, ends[start] + self._batch_bytes, side="right")) - 1
                stop = min(len(rows), max(start + 1, stop))
                data = column.data[ends[start] : ends[stop]].data
                documents = (row + rows[start:stop]).tolist()
                yield from self._add(builder, documents, lengths[start:stop].tolist(), data)
                start = stop
            row += len(column.offsets) - 1
            self.bytes_read += len(column.data)

    def _row_group(self, first: int, path: str, group: int) -> Iterator[TextColumn]:
        """Yield the texts of a row group; if it is damaged, skip the rest of it."""
        row = first
        try:
            check_listed(path)
            for column in read_row_group(path, group, self._text_field):
                yield column
                row += len(column.offsets) - 1
        except FileError as error:
            rest = " (the rest of the row group is skipped)" if row > first or group else ""
            self.skip(row, None if rest else path, error.reason + rest)

    def _skip_file(self, document: int, name: str | None, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        damaged = isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile))
        self.skip(document, name, f"damaged: {reason}" if damaged else reason)
