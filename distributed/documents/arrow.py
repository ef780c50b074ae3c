"""Read a column of texts from Arrow files and streams, which Feather files are too, with pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from .columns import TextColumn, find_column, find_text_column, read_by_pyarrow, text_column

__all__ = ["ARROW_FILE_MARK", "arrow_reader", "check_arrow", "has_arrow_column", "read_arrow"]

#: The beginning of an Arrow file. A stream has no such mark.
ARROW_FILE_MARK = b"ARROW1"


def check_arrow(path: str, opened: IO[bytes], field: str) -> None:
    """Raise DocumentError unless a file has texts in the column `field`."""
    with arrow_reader(path, opened, None) as reader:
        find_text_column(path, reader.schema, field)


def has_arrow_column(path: str, field: str, opened: IO[bytes]) -> bool:
    """Return True if a file has a column, of any type."""
    with arrow_reader(path, opened, None) as reader:
        return find_column(path, reader.schema, field) is not None


def read_arrow(path: str, opened: IO[bytes], field: str, *, extra: str | None = None) -> Iterator[TextColumn]:
    """Yield the texts of each record batch; only their column is decompressed, and that of `extra`.

    Parameters
    ----------
    path : str
        The name for messages.
    opened : binary file
    field : str
        The name of a column, or its path through structs.
    extra : str or None
        A further column, whose values come with the texts if there is one.

    Raises
    ------
    DocumentError
        If the file is damaged, or has no such column of texts.
    """
    with arrow_reader(path, opened, None) as reader:
        schema = reader.schema
        names = find_text_column(path, schema, field)
        further = None if extra is None else find_column(path, schema, extra)
        opened.seek(0)
    wanted = {schema.get_field_index(part[0]) for part in (names, further) if part is not None}
    with arrow_reader(path, opened, sorted(wanted)) as reader:
        n = getattr(reader, "num_record_batches", None)
        batches = iter(reader) if n is None else (reader.get_batch(i) for i in range(n))
        for batch in batches:
            yield text_column(batch, names, further)


@contextmanager
def arrow_reader(path: str, opened: IO[bytes], columns: list[int] | None) -> Iterator[Any]:
    """Open an Arrow file or stream; errors of pyarrow in the block become FileErrors."""
    is_file = opened.read(len(ARROW_FILE_MARK)) == ARROW_FILE_MARK
    opened.seek(0)
    with read_by_pyarrow("pyarrow", "Arrow", path) as pa:
        options = pa.ipc.IpcReadOptions(included_fields=columns, use_threads=False)
        # The reader closes what it reads.
        source = pa.PythonFile(opened, mode="r")
        open_ipc = pa.ipc.open_file if is_file else pa.ipc.open_stream
        with open_ipc(source, options=options) as reader:
            yield reader
