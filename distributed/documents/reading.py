"""One pass over a rank's share of the chunks: what it gives out, and the counts that it keeps."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from .batches import BatchBuilder, DocumentBatch
from .chunks import RECORD_BITS, UNREADABLE, ChunkPlan
from .jsonl import MAX_DOCUMENT, UTF8_MARK, line_blocks, parse_block
from .listing import check_listed, open_listed
from .parquet import read_row_group
from .skipped import Skip, SkipList

__all__ = ["ReadingPass"]

TOO_LONG = f"longer than {MAX_DOCUMENT} bytes"


class ReadingPass:
    """Reads chunks into batches, in order.

    Parameters
    ----------
    plan : ChunkPlan
    mine : ndarray of int64
        The chunks to read, ascending.
    text_field : str
    batch_bytes : int
    refuse : callable or None
        Called with what would be skipped; raises, if nothing may be.

    Attributes
    ----------
    n_documents, bytes_read : int
        So far.
    n_taken_back : int
        Documents given out that turned out not to be usable; not among `n_documents`.
    skips : SkipList
    n_lines : ndarray of int64, shape (n_chunks,)
        Lines of each chunk of JSON lines.
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
        """Documents given out and skips seen, whatever was taken back."""
        return self.n_documents + self.n_taken_back, self.skips.n - self.n_taken_back

    def skip(self, skip: Skip) -> None:
        """Count what cannot be read, or refuse it."""
        if self._refuse is not None:
            self._refuse(skip)
        self.skips.add(skip)

    def take_back(self, document: int, reason: str) -> None:
        """Skip a document that was given out."""
        self.n_documents -= 1
        self.n_taken_back += 1
        self.skip(Skip(document, None, reason))

    def batches(self, advance: Callable[[int], object]) -> Iterator[DocumentBatch]:
        """The documents; `advance` is told the cost of each chunk that is done."""
        builder = BatchBuilder(self._batch_bytes)
        plan, mine = self._plan, self._mine
        columns = (mine, *(column[mine] for column in (plan.file, plan.start, plan.stop, plan.cost)))
        for chunk, i, start, stop, cost in zip(*(column.tolist() for column in columns), strict=True):
            file = plan.files[i]
            first = chunk << RECORD_BITS
            if file.kind == "parquet":
                yield from self._read_parquet(builder, first, file.path, start)
            elif file.kind == "jsonl":
                yield from self._read_jsonl(builder, first, file.path, start, stop, file.compressed)
            elif file.compressed:
                yield from self._read_gzip(builder, first, file.path)
            elif file.size > MAX_DOCUMENT:
                self.skip(Skip(first, None, TOO_LONG))
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
            with open_listed(path) as file:
                n = os.readv(file.fileno(), [room])
                while 0 < n <= size:
                    more = os.readv(file.fileno(), [room[n:]])
                    n += more
                    if not more:
                        break
        except OSError as error:
            self._skip_file(document, path, error)
            return
        if n > size:
            self.skip(Skip(document, path, "grew while it was read"))
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
            with open_listed(path) as stored, gzip.open(stored) as file:
                while part := file.read(1 << 20):
                    parts.append(part)
                    size += len(part)
                    if size > MAX_DOCUMENT:
                        self.skip(Skip(document, path, TOO_LONG))
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
            with open_listed(path) as stored, gzip.open(stored) if compressed else stored as file:
                if start and not compressed:
                    file.seek(start - 1)
                blocks = line_blocks(file.read, start, None if compressed else stop)
                for block in blocks:
                    if record == first and start == 0 and block is not None:
                        block = block.removeprefix(UTF8_MARK)
                    lines = parse_block(block, self._text_field)
                    for line, reason in lines.problems:
                        self.skip(Skip(record + line, None, reason))
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
        self.n_lines[first >> RECORD_BITS] = record - first

    def _read_parquet(
        self, builder: BatchBuilder, first: int, path: str, group: int
    ) -> Iterator[DocumentBatch]:
        row = first
        check_listed(path)
        for column in read_row_group(path, group, self._text_field):
            lengths = np.diff(column.offsets)
            rows = np.arange(len(lengths))
            if column.null is not None:
                for i in np.flatnonzero(column.null).tolist():
                    self.skip(Skip(row + i, None, "null"))
                rows, lengths = rows[~column.null], lengths[~column.null]
            ends = np.concatenate([[0], np.cumsum(lengths)])
            done = 0
            while done < len(rows):
                # As many rows as a batch takes, and at least one.
                upto = int(np.searchsorted(ends, ends[done] + self._batch_bytes, side="right")) - 1
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

    def _skip_file(self, document: int, name: str | None, error: Exception) -> None:
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        damaged = isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile))
        self.skip(Skip(document, name, f"damaged: {told}" if damaged else told))
