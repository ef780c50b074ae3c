"""The pieces that documents are read in: a list that does not depend on the number of ranks.

A document's id is its chunk's place in this list and its place in the chunk, so that ids, and all that
is decided by them, are the same however many ranks share the work.
"""

from __future__ import annotations

import gzip
import heapq
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import DocumentError
from .jsonl import check_field
from .listing import InputFile, check_listed, open_listed
from .parquet import row_groups

__all__ = ["MAX_CHUNKS", "RECORD_BITS", "UNREADABLE", "ChunkPlan", "assign", "plan_chunks"]

#: Bits of a document id that hold its place in the chunk; those above hold the chunk's.
RECORD_BITS = 36
MAX_CHUNKS = 1 << (64 - RECORD_BITS)
#: What reading a plain or compressed file may raise.
UNREADABLE = (OSError, EOFError, zlib.error)
#: What opening a file costs, in bytes that could be read meanwhile.
OPENING = 1 << 14
#: Bytes that gzip makes of one, about, for text.
GZIP_RATIO = 4


@dataclass(frozen=True)
class ChunkPlan:
    """All chunks of the files, in order.

    Attributes
    ----------
    files : list of InputFile
    file : ndarray of int64, shape (n_chunks,)
        Place in `files`.
    start, stop : ndarrays of int64
        The bytes of the file; for Parquet the row group (and the next).
    first_record : ndarray of int64
        Line or row of the file that the chunk's record 0 is; -1 where only reading can tell.
    cost : ndarray of int64
        What reading and hashing it costs, in bytes of text.
    """

    files: list[InputFile]
    file: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    first_record: NDArray[np.int64]
    cost: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.file)


def plan_chunks(files: Sequence[InputFile], text_field: str, chunk_bytes: int) -> ChunkPlan:
    """Cut files into chunks.

    A text file and a compressed file is one chunk, uncompressed JSON lines are cut into ranges of
    `chunk_bytes`, Parquet into its row groups.

    Raises
    ------
    DocumentError
        If a file lacks the field, a Parquet file is damaged, or pyarrow is needed and missing.
    """
    rows: list[tuple[int, int, int, int, int]] = []
    for i, file in enumerate(files):
        rows.extend((i, *row) for row in _chunks_of(file, text_field, chunk_bytes))
    if len(rows) > MAX_CHUNKS:
        raise DocumentError(f"expected at most {MAX_CHUNKS} files and pieces of files, got {len(rows)}")
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    columns = [np.ascontiguousarray(column) for column in table.T]
    return ChunkPlan(list(files), *columns)


def _chunks_of(file: InputFile, field: str, chunk_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    if file.kind == "parquet":
        first = 0
        check_listed(file.path)
        for i, group in enumerate(row_groups(file.path, field)):
            yield i, i + 1, first, group.size + OPENING
            first += group.n_rows
    elif file.kind == "text" or file.compressed:
        if file.kind == "jsonl":
            _check_field(file, field)
        yield 0, file.size, 0, file.size * (GZIP_RATIO if file.compressed else 1) + OPENING
    else:
        _check_field(file, field)
        for start in range(0, max(1, file.size), chunk_bytes):
            stop = min(start + chunk_bytes, file.size)
            yield start, stop, -1 if start else 0, stop - start + OPENING


def _check_field(file: InputFile, field: str) -> None:
    try:
        with open_listed(file.path) as stored, gzip.open(stored) if file.compressed else stored as opened:
            check_field(file.path, opened.read, field)
    except DocumentError:
        raise
    except UNREADABLE:
        return  # It is reported where it is read.


def assign(cost: NDArray[np.int64], n_ranks: int) -> NDArray[np.int64]:
    """The rank of each chunk: the dearest first, each to the rank with the least to do so far."""
    rank = np.zeros(len(cost), dtype=np.int64)
    if n_ranks == 1:
        return rank
    loads = [(0, r) for r in range(n_ranks)]
    for chunk in np.argsort(-cost, kind="stable").tolist():
        load, least = loads[0]
        rank[chunk] = least
        heapq.heapreplace(loads, (load + int(cost[chunk]), least))
    return rank
