"""Read a column of texts from Parquet files, by row groups, with pyarrow.

pyarrow is imported only when there is a Parquet file to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DocumentError
from ...lsh.inputs.columns import decoded
from ...lsh.support.install import how_to_install

__all__ = ["RowGroup", "TextColumn", "column_names", "opened", "read_row_group", "row_groups"]

#: Bytes of text that are decoded at a time if every text has the column's average length.
PIECE = 4 << 20


class RowGroup(NamedTuple):
    """The number of rows of a group, and the bytes of its column of texts in memory."""

    n_rows: int
    size: int


class TextColumn(NamedTuple):
    """Consecutive texts of a column; `null` marks the rows without a text, whose length is 0."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    null: NDArray[np.bool_] | None


def column_names(path: str) -> list[str]:
    """Return the names of the columns of a file; DocumentError if it is damaged."""
    with opened(path) as file:
        return list(file.schema_arrow.names)


def row_groups(path: str, field: str, *, numbers: bool = False) -> list[RowGroup]:
    """Return the row groups of a file that has texts in the column `field`; with `numbers`, or integers.

    Raises
    ------
    DocumentError
        If the file is damaged, has no such column, or the column has another type.
    """
    with opened(path) as file:
        _check_column(path, file.schema_arrow, field, numbers)
        leaf = _leaf(file, field)
        return [_row_group(file.metadata.row_group(i), leaf) for i in range(file.metadata.num_row_groups)]


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open a Parquet file; errors of pyarrow in the block become DocumentErrors."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DocumentError(
            f"reading the Parquet file {path} needs pyarrow: {how_to_install('arrow')}"
        ) from error
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise DocumentError(f"cannot read the Parquet file {path}: {lines[0]}") from error


def _check_column(path: str, schema: Any, field: str, numbers: bool) -> None:
    import pyarrow.types as types

    places = schema.get_all_field_indices(field)
    if not places:
        shown = ", ".join(repr(name) for name in schema.names[:20])
        raise DocumentError(f"{path} has no column {field!r}; it has {shown}")
    if len(places) > 1:
        raise DocumentError(f"{path} has {len(places)} columns {field!r}")
    kind = schema.field(places[0]).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    # A column of nulls alone has the type null if nobody gave the writer a type, as with pandas.
    names = ["string", "large_string", "string_view", "binary", "large_binary", "binary_view", "null"]
    names += ["integer"] if numbers else []
    if not any(getattr(types, f"is_{name}")(kind) for name in names):
        wanted = "text or integers" if numbers else "text"
        raise DocumentError(f"the column {field!r} of {path} holds {kind}, not {wanted}")


def _leaf(file: Any, field: str) -> int:
    """Return the number of the column among all stored columns, which include the fields of structs.

    A column `a.b` and the field b of a struct a have the same path, but different names.
    """
    stored = [file.schema.column(i) for i in range(len(file.schema))]
    return next(i for i, column in enumerate(stored) if column.name == column.path == field)


def _row_group(metadata: Any, leaf: int) -> RowGroup:
    column = metadata.column(leaf)
    return RowGroup(metadata.num_rows, column.total_uncompressed_size)


def read_row_group(path: str, group: int, field: str) -> Iterator[TextColumn]:
    """Yield the texts of one row group, a few megabytes at a time; an integer is the text of its digits.

    Raises
    ------
    DocumentError
        If the file is damaged.
    """
    with opened(path) as file:
        import pyarrow as pa

        size = _row_group(file.metadata.row_group(group), _leaf(file, field))
        rows = max(1, PIECE * size.n_rows // max(1, size.size))
        for batch in file.iter_batches(
            batch_size=rows, row_groups=[group], columns=[field], use_threads=False
        ):
            # A batch of the column `a.b` also has the field b of a struct a.
            column = batch.column(batch.schema.get_field_index(field))
            column = decoded(column)
            if pa.types.is_integer(column.type):
                column = column.cast(pa.large_string())
            yield _texts(column.cast(pa.large_binary()))


def _texts(column: Any) -> TextColumn:
    """Return views of an Arrow array of large binaries; its nulls become empty texts."""
    null = None
    if column.null_count:
        null = column.is_null().to_numpy(zero_copy_only=False)
        column = column.fill_null(b"")
    _, offsets_buffer, data_buffer = column.buffers()
    n = len(column)
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[column.offset : column.offset + n + 1]
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, dtype=np.uint8)
    return TextColumn(data[offsets[0] : offsets[-1]], offsets - offsets[0], null)
