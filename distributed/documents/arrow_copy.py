"""Copy an Arrow file or stream without some of its rows: the same schema, batches and compression."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import DocumentError
from .arrow import ARROW_FILE_MARK, arrow_reader

__all__ = ["copy_batches", "without_rows"]

#: The codecs of the flatbuffers that describe record batches, by their numbers.
_CODECS = {0: "lz4", 1: "zstd"}


def copy_batches(path: str, source: IO[bytes], removed: list[int], target: BinaryIO) -> None:
    """Write the rows of an Arrow file except those whose numbers are listed, in rising order.

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
    import pyarrow as pa

    with arrow_reader(path, source, None) as reader:
        schema, is_file = reader.schema, hasattr(reader, "num_record_batches")
        source.seek(0)
        compression = _compression(source, is_file)
        source.seek(0)
    options = pa.ipc.IpcWriteOptions(compression=compression, emit_dictionary_deltas=True, use_threads=False)
    # Errors of reading name the file to read, so they are caught in the generator and not here.
    with (pa.ipc.new_file if is_file else pa.ipc.new_stream)(target, schema, options=options) as writer:
        for batch in _kept_batches(path, source, np.array(removed)):
            writer.write_batch(batch)


def _kept_batches(path: str, source: IO[bytes], removed: NDArray[np.int64]) -> Iterator[Any]:
    import pyarrow as pa

    first = 0
    with arrow_reader(path, source, None) as reader:
        n = getattr(reader, "num_record_batches", None)
        for batch in iter(reader) if n is None else (reader.get_batch(i) for i in range(n)):
            stop = first + len(batch)
            a, b = np.searchsorted(removed, [first, stop])
            if a < b:
                table = without_rows(pa.Table.from_batches([batch]), removed[a:b] - first)
                yield from table.to_batches()
            elif len(batch):
                yield batch
            first = stop
    if removed[-1] >= first:
        raise DocumentError(f"{path} has no row {removed[-1] + 1} any more: it has changed")


def without_rows(table: Any, removed: NDArray[np.int64]) -> Any:
    """Return a table without the rows whose numbers are listed, in rising order."""
    import pyarrow as pa

    keep = np.ones(len(table), dtype=bool)
    keep[removed] = False
    try:
        return table.filter(pa.array(keep))
    except pa.ArrowNotImplementedError:
        # pyarrow cannot filter some types, among them the strings of polars (string_view).
        starts, stops = [0, *(removed + 1).tolist()], [*removed.tolist(), len(table)]
        rows = [table.slice(a, b - a) for a, b in zip(starts, stops, strict=True) if a < b]
        return pa.concat_tables(rows or [table.slice(0, 0)]).combine_chunks()


def _compression(source: IO[bytes], is_file: bool) -> str | None:
    """Return the compression of the first record batch, which pyarrow itself does not tell."""
    import pyarrow as pa

    # A file has the messages of a stream behind its mark, which is padded to 8 bytes.
    source.seek(len(ARROW_FILE_MARK) + 2 if is_file else 0)
    messages = pa.ipc.MessageReader.open_stream(pa.PythonFile(source, mode="r"))
    while True:
        try:
            message = messages.read_next_message()
        except StopIteration:
            return None
        if message.type == "record batch":
            return _codec(message.metadata.to_pybytes())


def _codec(message: bytes) -> str | None:
    """Return the codec in the flatbuffer of a record batch: Message.header, RecordBatch.compression.codec."""
    header = _field(message, _follow(message, 0), 2)
    compression = _field(message, _follow(message, header), 3)
    if not compression:
        return None
    codec = _field(message, _follow(message, compression), 0)
    return _CODECS.get(message[codec] if codec else 0)


def _follow(buffer: bytes, place: int) -> int:
    """Return the place that the offset at a place points to."""
    return place + int.from_bytes(buffer[place : place + 4], "little", signed=True)


def _field(buffer: bytes, table: int, number: int) -> int:
    """Return the place of a field of a table, or 0 if the table does not have it."""
    entries = table - int.from_bytes(buffer[table : table + 4], "little", signed=True)
    size = int.from_bytes(buffer[entries : entries + 2], "little")
    entry = 4 + 2 * number
    if entry >= size:
        return 0
    offset = int.from_bytes(buffer[entries + entry : entries + entry + 2], "little")
    return table + offset if offset else 0
