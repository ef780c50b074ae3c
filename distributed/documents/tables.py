"""Read CSV and TSV by the rules of Python's module csv: quoted fields may have delimiters and ends of lines.

The first record has the names of the columns. Records are counted from it on, as record 1.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from .compression import DamagedError
from .records import Record
from .skipped import FileError

__all__ = ["DELIMITERS", "check_header", "table_records", "table_rows"]

DELIMITERS = {"csv": ",", "tsv": "\t"}
#: Characters of the longest record. A longer one probably has a quote that nothing closes.
MAX_RECORD = 1 << 26
_MARK = "\ufeff"


def table_rows(opened: io.RawIOBase, delimiter: str) -> Iterator[tuple[bytes, list[str]]]:
    """Yield the bytes of each record and its fields, which are none for a blank line.

    The bytes of all records together are those of the file. Bytes that are not UTF-8 are surrogates in fields
    (``surrogateescape``). The module csv has one limit of the length of fields for a process, which is
    raised.

    Raises
    ------
    DamagedError
        If a record is too long; also what reading raises.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD))
    taken: list[str] = []
    reader = csv.reader(_lines(opened, taken), delimiter=delimiter)
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise DamagedError(f"no table: {error}") from error
        if fields is None:
            return
        yield "".join(taken).encode("utf-8", "surrogateescape"), fields
        taken.clear()


def _lines(opened: io.RawIOBase, taken: list[str]) -> Iterator[str]:
    """Yield the lines of a file with their ends, without a byte order mark, and add them to `taken`."""
    text = io.TextIOWrapper(
        io.BufferedReader(opened, 1 << 16), encoding="utf-8", errors="surrogateescape", newline=""
    )
    size, mark = 0, _MARK
    while line := text.readline(MAX_RECORD + 1):
        # The list is emptied when a record has ended.
        size = len(line) + (size if taken else 0)
        if size > MAX_RECORD:
            raise DamagedError(f"a record is longer than {MAX_RECORD} characters: is a quote not closed?")
        taken.append(line)
        yield line.removeprefix(mark)
        mark = ""


def check_header(path: str, opened: io.RawIOBase, delimiter: str, field: str) -> None:
    """Raise FileError if a table has no column `field`, or several; an empty file is no table."""
    for _, names in table_rows(opened, delimiter):
        _find_column(path, names, field)
        return


def _find_column(path: str, names: list[str], field: str) -> int:
    if names.count(field) == 1:
        return names.index(field)
    if field in names:
        reason = f"{names.count(field)} columns {field!r}"
        raise FileError(f"{path} has {reason}", path, reason)
    shown = ", ".join(repr(name) for name in names[:20])
    reason = f"no column {field!r}; it has {shown}"
    raise FileError(f"{path} has {reason}", path, reason)


def table_records(
    path: str, opened: io.RawIOBase, delimiter: str, field: str, extra: str | None = None
) -> Iterator[Record]:
    """Yield the text in the column `field` of each record, and the text in the column `extra`.

    The first record, which has the names, is a record without a text.

    Raises
    ------
    FileError
        If the table has no such column.
    """
    column, further = -1, -1
    for _, fields in table_rows(opened, delimiter):
        if column < 0:
            column = _find_column(path, fields, field)
            further = fields.index(extra) if extra in fields else -1
            yield Record(None)
        elif len(fields) > column:
            text = fields[column].encode("utf-8", "surrogateescape")
            yield Record(text, "", fields[further] if 0 <= further < len(fields) else None)
        else:
            yield Record(None, f"no column {field!r}" if fields else "")
