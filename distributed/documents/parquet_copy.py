"""Copy a Parquet file without some of its rows: the same columns, types, metadata and compression."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import DocumentError
from .arrow_copy import without_rows
from .parquet import opened

__all__ = ["copy_rows"]

#: Bytes of a row group in memory above which it is cut into smaller ones, so that it need not be in memory
#: as a whole.
MAX_GROUP = 256 << 20


def copy_rows(path: str, source: IO[bytes], removed: list[int], target: BinaryIO) -> None:
    """Write the rows of a file except those whose numbers are listed, in rising order.

    Row groups stay as they are, unless they are larger than `MAX_GROUP`.

    Parameters
    ----------
    path : str
        The name for messages.
    source : binary file
    removed : list of int
    target : binary file

    Raises
    ------
    DocumentError
        If the file is damaged or does not have the rows any more.
    """
    import pyarrow.parquet as pq

    # Errors of reading name the file to read, so they are caught in the generators and not here.
    schema, settings = _description(path, source, removed[-1])
    with pq.ParquetWriter(target, schema, **settings) as writer:
        for table in _kept_tables(path, source, np.array(removed)):
            writer.write_table(table, row_group_size=len(table))


def _description(path: str, source: IO[bytes], last: int) -> tuple[Any, dict[str, Any]]:
    """Return the schema of a file that has a row `last`, and the arguments of a writer like its own."""
    with opened(path, source) as file:
        if last >= file.metadata.num_rows:
            raise DocumentError(f"{path} has no row {last + 1} any more: it has changed")
        return file.schema_arrow, _settings(file)


def _kept_tables(path: str, source: IO[bytes], removed: NDArray[np.int64]) -> Iterator[Any]:
    first = 0
    with opened(path, source) as file:
        for group in range(file.metadata.num_row_groups):
            for table in _pieces(file, group):
                stop = first + len(table)
                a, b = np.searchsorted(removed, [first, stop])
                if a < b:
                    table = without_rows(table, removed[a:b] - first)
                if len(table):
                    yield table
                first = stop


def _pieces(file: Any, group: int) -> Iterator[Any]:
    """Yield the rows of a row group as tables of bounded size."""
    import pyarrow as pa

    metadata = file.metadata.row_group(group)
    if metadata.total_byte_size <= MAX_GROUP:
        yield file.read_row_group(group, use_threads=False)
        return
    n_rows = max(1, MAX_GROUP * metadata.num_rows // metadata.total_byte_size)
    for batch in file.iter_batches(batch_size=n_rows, row_groups=[group], use_threads=False):
        yield pa.Table.from_batches([batch])


def _settings(file: Any) -> dict[str, Any]:
    """Return the arguments of a writer that stores columns as the file does."""
    metadata = file.metadata
    stored = [file.schema.column(i) for i in range(len(file.schema))]
    settings: dict[str, Any] = {
        "use_deprecated_int96_timestamps": any(column.physical_type == "INT96" for column in stored),
        "store_schema": b"ARROW:schema" in (metadata.metadata or {}),
        "use_compliant_nested_type": not any(".list.item" in column.path for column in stored),
    }
    if metadata.format_version != "1.0":
        settings["version"] = metadata.format_version
    if metadata.num_row_groups:
        group = metadata.row_group(0)
        columns = [group.column(i) for i in range(metadata.num_columns)]
        settings["compression"] = {column.path_in_schema: _codec(column.compression) for column in columns}
        dictionaries = [
            column.path_in_schema for column in columns if any("DICTIONARY" in e for e in column.encodings)
        ]
        settings["use_dictionary"] = dictionaries or False
        settings["write_statistics"] = any(column.is_stats_set for column in columns)
    return settings


def _codec(name: str) -> str:
    return "NONE" if name == "UNCOMPRESSED" else name
