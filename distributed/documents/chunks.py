"""Cut files into chunks, in a list that does not depend on the number of ranks.

The id of a document is the place of its chunk in this list together with its place in the chunk. So ids, and
everything that depends on them, are the same for any number of ranks.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import DocumentError
from .arrow import check_arrow
from .files import UNREADABLE, InputFile, check_listed
from .json_array import check_array
from .jsonl import check_field
from .parquet import row_groups
from .skipped import FileError
from .tables import DELIMITERS, check_header

__all__ = [
    "MAX_CHUNKS",
    "RECORD_BITS",
    "UNKNOWN_RECORD",
    "ChunkPlan",
    "assign",
    "check_field_of_records",
    "plan_chunks",
]

#: Bits of a document's id for its place in the chunk; the bits above are the chunk's place in the list.
RECORD_BITS = 36
MAX_CHUNKS = 1 << (64 - RECORD_BITS)
#: The first record of a chunk whose lines must be read before its place in the file is known.
UNKNOWN_RECORD = -1
#: The cost of opening a file, as the number of bytes that could be read in the same time.
OPENING = 1 << 14
#: Bytes of text that one byte of a compressed file usually holds.
RATIO = 4


@dataclass(frozen=True)
class ChunkPlan:
    """All chunks of the files, in order.

    Attributes
    ----------
    files : list of InputFile
    file : ndarray of int64, shape (n_chunks,)
        The place of each chunk's file in `files`.
    start, stop : ndarrays of int64
        The range of bytes in the file; in a Parquet file the row group and the next one.
    first_record : ndarray of int64
        The line or row of the file at which the chunk begins, or `UNKNOWN_RECORD`.
    cost : ndarray of int64
        The cost of reading and hashing the chunk, in bytes of text.
    """

    files: list[InputFile]
    file: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    first_record: NDArray[np.int64]
    cost: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.file)


def plan_chunks(
    files: Sequence[InputFile],
    text_fields: str | Sequence[str],
    chunk_bytes: int,
    *,
    numbers: tuple[str, ...] = (),
    refused: list[FileError] | None = None,
) -> ChunkPlan:
    """Cut files into chunks.

    Uncompressed JSON lines and other lines in UTF-8 are cut into ranges of `chunk_bytes`, and uncompressed
    Parquet files into their row groups. Any other file is one chunk. The field of the texts is one for all
    files, or one for each. Columns of Parquet may hold the kinds of numbers that `numbers` names, too. A
    file that lacks the field or is damaged gets no chunk if there is a list `refused`, which gets its error.

    Raises
    ------
    FileError
        If a file lacks the field or is damaged, without a list `refused`; with it, if this is so for all.
    DocumentError
        If a package is needed and missing.
    """
    rows: list[tuple[int, int, int, int, int]] = []
    fields = [text_fields] * len(files) if isinstance(text_fields, str) else text_fields
    for i, (file, field) in enumerate(zip(files, fields, strict=True)):
        try:
            rows.extend([(i, *row) for row in _chunks_of(file, field, chunk_bytes, numbers)])
        except FileError as error:
            if refused is None:
                raise
            refused.append(error)
    if refused and len(refused) == len(files):
        raise refused[0]
    if len(rows) > MAX_CHUNKS:
        raise DocumentError(f"expected at most {MAX_CHUNKS} files and pieces of files, got {len(rows)}")
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    columns = [np.ascontiguousarray(column) for column in table.T]
    return ChunkPlan(list(files), *columns)


def _chunks_of(
    file: InputFile, field: str, chunk_bytes: int, numbers: tuple[str, ...]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield (start, stop, first record, cost) of each chunk of a file."""
    if file.kind == "parquet" and not file.compressed:
        first = 0
        check_listed(file.place or file.path)
        groups = row_groups(file.path, field, numbers=numbers, source=file.place or None)
        for i, group in enumerate(groups):
            yield i, i + 1, first, group.size + OPENING
            first += group.n_rows
        return
    _check_field(file, field)
    if file.sequential or file.kind not in ("jsonl", "lines"):
        yield 0, file.size, 0, file.size * (RATIO if file.compressed else 1) + OPENING
        return
    for start in range(0, max(1, file.size), chunk_bytes):
        stop = min(start + chunk_bytes, file.size)
        yield start, stop, UNKNOWN_RECORD if start else 0, stop - start + OPENING


def check_field_of_records(file: InputFile, field: str) -> None:
    """Raise DocumentError if the first records of a file of JSON or csv do not have the field."""
    if file.kind not in ("jsonl", "json", *DELIMITERS):
        return
    with file.open() as opened:
        if file.kind == "jsonl":
            check_field(file.path, opened.read, field)
        elif file.kind == "json":
            check_array(file.path, opened, field)
        else:
            check_header(file.path, opened, DELIMITERS[file.kind], field)


def _check_field(file: InputFile, field: str) -> None:
    """Raise FileError if the field is missing where the beginning of the file shows the fields."""
    try:
        if file.kind == "arrow" and not file.compressed:
            with file.open_anywhere() as opened:
                check_arrow(file.path, opened, field)
        else:
            check_field_of_records(file, field)
    except DocumentError:
        raise
    except UNREADABLE:
        return  # The error is reported when the file is read.


def assign(cost: NDArray[np.int64], n_ranks: int) -> NDArray[np.int64]:
    """Return a rank for each chunk.

    The most costly chunks are assigned first, each to the rank with the least cost so far.
    """
    rank = np.zeros(len(cost), dtype=np.int64)
    if n_ranks == 1:
        return rank
    loads = [(0, r) for r in range(n_ranks)]
    for chunk in np.argsort(-cost, kind="stable").tolist():
        load, least = loads[0]
        rank[chunk] = least
        heapq.heapreplace(loads, (load + int(cost[chunk]), least))
    return rank
