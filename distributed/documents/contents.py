"""Read the documents of a file, or of a chunk of it, whatever kind of content it has."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain

from .arrow import read_arrow
from .columns import TextColumn
from .compression import DamagedError, check_end
from .files import InputFile, check_listed
from .json_array import array_elements, array_records
from .jsonl import BLOCK, MAX_DOCUMENT, TOO_LONG, UTF8_MARK, Lines, line_blocks, parse_block
from .parquet import read_parquet, read_row_group
from .records import in_blocks
from .tables import DELIMITERS, table_records, table_rows
from .tar import TarMember

__all__ = ["contents", "raw_records"]


def contents(
    file: InputFile | TarMember, field: str, *, start: int = 0, stop: int = 0, extra: str | None = None
) -> Iterator[Lines | TextColumn]:
    """Yield the documents of a chunk in blocks, all records of which follow one another.

    Parameters
    ----------
    file : InputFile or TarMember
        A file that is neither an archive nor unread.
    field : str
        The field or column of the texts.
    start, stop : int
        The range of bytes of uncompressed JSON lines, or the row group of an uncompressed Parquet file.
        Other files are read completely.
    extra : str or None
        A further field, whose values come with the texts.

    Raises
    ------
    OSError, DamagedError
        If the file cannot be read, after the documents before.
    TrailingBytesError
        If other bytes follow the end of compressed data, after all documents.
    FileError
        If a file that pyarrow reads is damaged, or a table lacks the column.
    """
    if file.kind == "parquet" and not file.compressed and isinstance(file, InputFile):
        check_listed(file.place or file.path)
        yield from read_row_group(file.path, start, field, extra=extra, source=file.place or None)
    elif file.kind in ("parquet", "arrow"):
        read = read_parquet if file.kind == "parquet" else read_arrow
        with file.open_anywhere() as anywhere:
            yield from read(file.path, anywhere, field, extra=extra)
    else:
        with file.open() as opened:
            yield from _of_stream(file, opened, field, start, stop, extra)
            check_end(opened)


def _of_stream(
    file: InputFile | TarMember, opened: io.RawIOBase, field: str, start: int, stop: int, extra: str | None
) -> Iterator[Lines]:
    if file.kind == "jsonl":
        is_range = isinstance(file, InputFile) and not file.sequential
        if start:
            opened.seek(start - 1)
        for i, block in enumerate(line_blocks(opened.read, start, stop if is_range else None)):
            if block is not None and i == start == 0:
                block = block.removeprefix(UTF8_MARK)
            yield parse_block(block, field, extra=extra, bad_bytes=True)
    elif file.kind == "json":
        yield from in_blocks(array_records(opened, field, extra), extra=extra is not None)
    elif file.kind in DELIMITERS:
        records = table_records(file.path, opened, DELIMITERS[file.kind], field, extra)
        yield from in_blocks(records, extra=extra is not None)
    else:
        yield _whole(opened, extra)


def _whole(opened: io.RawIOBase, extra: str | None) -> Lines:
    """Return the only document of a text file."""
    parts: list[bytes] = []
    size = 0
    while part := opened.read(BLOCK):
        parts.append(part)
        size += len(part)
        if size > MAX_DOCUMENT:
            return Lines(1, [], [], [(0, TOO_LONG)], [], [])
    text = b"".join(parts).removeprefix(UTF8_MARK)
    return Lines(1, [0], [text], [], [] if extra is None else [None], [])


def raw_records(file: InputFile | TarMember) -> Iterator[bytes]:
    """Yield the bytes of each record of a file, such that record i is the one that `name_of` numbers i + 1.

    Parameters
    ----------
    file : InputFile or TarMember
        A file of the kind ``jsonl``, ``csv``, ``tsv`` or ``json``.

    Yields
    ------
    bytes
        A line of JSON lines with its end, or a record of a table with its end. All of them together are the
        uncompressed file: the first line may begin with a byte order mark, and the first record of a table
        has the names of the columns. Of an array in JSON, the text of an element without the commas and white
        space around it. Damaged lines are records like all others. A text that is decoded when it is read
        is in UTF-8; `encodings.Encoded` writes it in its encoding again.

    Raises
    ------
    OSError, DamagedError
        If the file cannot be read or is damaged, after the records before; also for a line of JSON that is
        longer than 1 GiB.
    ValueError
        If the file is of another kind.
    """
    if file.kind not in ("jsonl", "json", *DELIMITERS):
        raise ValueError(f"file must be JSON lines, a JSON array or a table, got the kind {file.kind!r}")
    with file.open() as opened:
        if file.kind == "jsonl":
            yield from _raw_lines(opened)
        elif file.kind == "json":
            for text, _ in array_elements(opened):
                yield text.encode("utf-8", "surrogateescape")
        else:
            for raw, _ in table_rows(opened, DELIMITERS[file.kind]):
                yield raw


def _raw_lines(opened: io.RawIOBase) -> Iterator[bytes]:
    rest: list[bytes] = []
    size = 0
    while block := opened.read(BLOCK):
        first, *lines = block.split(b"\n")
        rest.append(first)
        size += len(first)
        if size > MAX_DOCUMENT:
            raise DamagedError(f"a line is {TOO_LONG}")
        if lines:
            last = lines.pop()
            yield from (line + b"\n" for line in chain([b"".join(rest)], lines))
            rest, size = [last], len(last)
    if size:
        yield b"".join(rest)
