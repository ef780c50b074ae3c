"""Read a column of texts from Parquet files, by row groups, with pyarrow.

pyarrow is imported only when there is a Parquet file to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from .columns import NUMBERS, TextColumn, find_column, find_text_column, read_by_pyarrow, text_column

__all__ = ["RowGroup", "column_names", "has_column", "opened", "read_parquet", "read_row_group", "row_groups"]

#: Bytes of text that are decoded at a time if every text has the column's average length.
PIECE = 4 << 20


class RowGroup(NamedTuple):
    """The number of rows of a group, and the bytes of its column of texts in memory."""

    n_rows: int
    size: int


def column_names(path: str) -> list[str]:
    """Return the names of the columns of a file; DocumentError if it is damaged."""
    with opened(path) as file:
        return list(file.schema_arrow.names)


def row_groups(path: str, field: str, *, numbers: tuple[str, ...] = (), source: Any = None) -> list[RowGroup]:
    """Return the row groups of a file that has texts, or numbers of some kinds, in the column `field`.

    Parameters
    ----------
    path : str
    field : str
        The name of a column, or its path through structs.
    numbers : tuple of str
        See `find_text_column`.
    source : str, file or None
        The path or the opened file to read, if that is not `path`.

    Raises
    ------
    DocumentError
        If the file is damaged, has no such column, or the column has another type.
    """
    with opened(path, source) as file:
        leaf = _leaf(file, find_text_column(path, file.schema_arrow, field, numbers=numbers))
        return [_row_group(file.metadata.row_group(i), leaf) for i in range(file.metadata.num_row_groups)]


def has_column(path: str, field: str, source: Any = None) -> bool:
    """Return True if a file has a column, of any type."""
    with opened(path, source) as file:
        return find_column(path, file.schema_arrow, field) is not None


@contextmanager
def opened(path: str, source: Any = None) -> Iterator[Any]:
    """Open a Parquet file; errors of pyarrow in the block become FileErrors."""
    with (
        read_by_pyarrow("pyarrow.parquet", "Parquet", path) as pq,
        pq.ParquetFile(path if source is None else source, page_checksum_verification=True) as file,
    ):
        yield file


def _leaf(file: Any, names: list[str]) -> int:
    """Return the number of the column among all stored columns, which include the fields of structs.

    A column `a.b` and the field b of a struct a have the same path, but different names.
    """
    path = ".".join(names)
    stored = [file.schema.column(i) for i in range(len(file.schema))]
    return [column.path == path and column.name == names[-1] for column in stored].index(True)


def _row_group(metadata: Any, leaf: int) -> RowGroup:
    column = metadata.column(leaf)
    return RowGroup(metadata.num_rows, column.total_uncompressed_size)


def read_row_group(
    path: str, group: int, field: str, *, extra: str | None = None, source: Any = None
) -> Iterator[TextColumn]:
    """Yield the texts of one row group, a few megabytes at a time; a number is the text of its digits.

    Parameters
    ----------
    path : str
    group : int
    field : str
    extra : str or None
        A further column, whose values come with the texts if there is one.
    source : str, file or None
        The path or the opened file to read, if that is not `path`.

    Raises
    ------
    DocumentError
        If the file is damaged.
    """
    with opened(path, source) as file:
        # The column has been checked by `row_groups`, and may hold numbers.
        yield from _read_group(path, file, group, field, extra, numbers=NUMBERS)


def read_parquet(path: str, source: Any, field: str, *, extra: str | None = None) -> Iterator[TextColumn]:
    """Yield the texts of all row groups of an opened file like `read_row_group`."""
    with opened(path, source) as file:
        for group in range(file.metadata.num_row_groups):
            yield from _read_group(path, file, group, field, extra, numbers=())


def _read_group(
    path: str, file: Any, group: int, field: str, extra: str | None, *, numbers: tuple[str, ...]
) -> Iterator[TextColumn]:
    names = find_text_column(path, file.schema_arrow, field, numbers=numbers)
    further = None if extra is None else find_column(path, file.schema_arrow, extra)
    size = _row_group(file.metadata.row_group(group), _leaf(file, names))
    rows = max(1, PIECE * size.n_rows // max(1, size.size))
    # The path of a struct's field also chooses a column with this name, and the other way round.
    columns = [".".join(parts) for parts in (names, further) if parts is not None]
    for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=columns, use_threads=False):
        yield text_column(batch, names, further)
