"""Find the keys in a file: which column or field of it has them, from what the user asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from ...errors import DocumentError
from ...lsh.support.wording import counted
from ..documents.encodings import AUTO, text_encoding
from ..documents.files import UNREADABLE, InputFile
from ..documents.jsonl import UTF8_MARK, check_field
from ..documents.parquet import column_names
from .options import KEY_FORMATS

__all__ = ["AskedColumn", "KeyColumn", "find_column"]

#: Bytes that are read at first for the header of a table, and bytes of the longest header.
_FIRST_READ, _MAX_HEADER = 1 << 14, 1 << 20
#: Bytes of the longest mark of an encoding.
_MARK = 4
#: Digits of the largest number of a column, which kernels take as an integer of 64 bits.
_MAX_DIGITS = 18
#: The most names of columns in a message.
_N_NAMED = 20


class AskedColumn(NamedTuple):
    """The user's options about the keys of files.

    Attributes
    ----------
    column : str or None
        The name of the column or field, or the number of the column, counted from 1.
    format : str or None
        One of `KEY_FORMATS`; None means that the name of a file decides.
    delimiter : str or None
        The character between the fields of csv.
    header : bool
        True if the first record of csv and tsv has the names of the columns.
    """

    column: str | None = None
    format: str | None = None
    delimiter: str | None = None
    header: bool = True


class KeyColumn(NamedTuple):
    """The place of the keys of one file.

    Attributes
    ----------
    form : {"lines", "words", "fields", "jsonl", "parquet"}
        Whole lines, words of lines, fields of csv or tsv, fields of JSON objects, or a column of Parquet.
    name : str
        The field of JSON objects, or the column of Parquet.
    number : int
        The number of the word or of the field of csv, from 0.
    delimiter : str
    has_header : bool
    """

    form: Literal["lines", "words", "fields", "jsonl", "parquet"]
    name: str = ""
    number: int = 0
    delimiter: str = ","
    has_header: bool = False


def find_column(
    path: str, asked: AskedColumn, file: InputFile | None, head: Callable[[int], bytes]
) -> KeyColumn:
    """Return the place of the keys of a file.

    Parameters
    ----------
    path : str
        The name of the file for messages.
    asked : AskedColumn
    file : InputFile or None
        None for the standard input.
    head : callable
        A function: ``head(n)`` returns the first n bytes of the file, or all of them if there are fewer.

    Raises
    ------
    DocumentError
        If the file has no such column, or has several and the user asked for none; or if it is text in UTF-16
        or UTF-32.
    """
    form = asked.format or ("text" if file is None else _format_of(file))
    if form not in ("csv", "tsv") and (asked.delimiter is not None or not asked.header):
        option = "--no-header" if asked.delimiter is None else "--delimiter"
        raise DocumentError(f"{option} is for csv and tsv, and {path} is read as {form}; see --format")
    if form != "parquet" and (encoding := text_encoding(head(_MARK), AUTO)):
        raise DocumentError(
            f"cannot read {path}: it is text in {encoding.upper()}; convert it, for example by "
            f"`iconv -f {encoding[:6]} -t utf-8`"
        )
    if form == "text":
        return _of_text(path, asked.column)
    if form in ("csv", "tsv"):
        return _of_table(path, asked, "\t" if form == "tsv" else ",", head)
    if form == "parquet":
        if file is None:
            raise DocumentError(f"cannot read {path} as parquet: give the file by its name")
        names = column_names(path)
        return KeyColumn("parquet", name=names[_choose(path, asked.column, names)])
    if asked.column is None:
        raise DocumentError(f"{path} has JSON lines: name the field of the keys by --field")
    if file is not None:
        try:
            with file.open() as opened:
                check_field(path, opened.read, asked.column)
        except UNREADABLE as error:
            raise DocumentError(f"cannot read {path}: {error}") from error
    return KeyColumn("jsonl", name=asked.column)


def _format_of(file: InputFile) -> str:
    return file.kind if file.kind in KEY_FORMATS else "text"


def _of_text(path: str, column: str | None) -> KeyColumn:
    if column is None:
        return KeyColumn("lines")
    number = _number(column)
    if number is None:
        raise DocumentError(f"{path} is text, whose columns have numbers from 1: no column {column!r}")
    return KeyColumn("words", number=number)


def _of_table(path: str, asked: AskedColumn, delimiter: str, head: Callable[[int], bytes]) -> KeyColumn:
    delimiter = asked.delimiter or delimiter
    names = _first_record(path, delimiter, head)
    number = _choose(path, asked.column, names, are_names=asked.header)
    return KeyColumn("fields", number=number, delimiter=delimiter, has_header=asked.header)


def _first_record(path: str, delimiter: str, head: Callable[[int], bytes]) -> list[str]:
    """Return the fields of the first record, which may have ends of lines between quotes."""
    size = _FIRST_READ
    while True:
        text = head(size)
        is_all = len(text) < size
        line = text.removeprefix(UTF8_MARK).decode(errors="surrogateescape")
        if not line or line.startswith(("\n", "\r\n")):
            raise DocumentError(f"cannot read {path}: its first line has no columns")
        fields = _fields_of_record(path, line + "\n" * is_all, delimiter)
        if fields is not None:
            return fields
        if is_all:
            raise DocumentError(f"cannot read {path}: a quote is opened and not closed")
        if size >= _MAX_HEADER:
            raise DocumentError(f"cannot read {path}: its first line is longer than {_MAX_HEADER:,} bytes")
        size *= 2


def _fields_of_record(path: str, text: str, delimiter: str) -> list[str] | None:
    """Return the fields of the record that `text` begins with, as the kernel `take_fields` cuts them.

    None means that the record does not end within the text.
    """
    mark = re.escape(delimiter)
    field = re.compile(rf'(?:"((?:[^"]|"")*+)"|(?!"))([^\n{mark}]*)(\n|{mark})')
    fields, place = [], 0
    while found := field.match(text, place):
        quoted, plain, end = found.groups()
        plain = plain.removesuffix("\r") if end == "\n" else plain
        if "\r" in plain:
            raise DocumentError(
                f"cannot read {path}: a carriage return stands within its first line, and lines must end "
                "with a line feed"
            )
        fields.append((quoted or "").replace('""', '"') + plain)
        if end == "\n":
            return fields
        place = found.end()
    return None


def _number(column: str) -> int | None:
    """Return the place of a column that is given by its number from 1, or None."""
    is_number = column.isdecimal() and len(column) <= _MAX_DIGITS and int(column) > 0
    return int(column) - 1 if is_number else None


def _choose(path: str, column: str | None, names: Sequence[str], *, are_names: bool = True) -> int:
    """Return the place of the column that the user asked for."""
    shown = f": {', '.join(repr(name) for name in names[:_N_NAMED])}" if are_names else ""
    n = counted(len(names), "column")
    if column is None:
        if len(names) != 1:
            raise DocumentError(f"{path} has {n}, choose one by --column{shown}")
        return 0
    if are_names and names.count(column) == 1:
        return names.index(column)
    if are_names and column in names:
        raise DocumentError(f"{path} has {names.count(column)} columns {column!r}: give the column's number")
    number = _number(column)
    if number is None or number >= len(names):
        raise DocumentError(f"{path} has no column {column!r}, it has {n}{shown}")
    return number
