"""Find columns of texts in Arrow tables, nested ones by their path, and give their texts as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DocumentError
from ...lsh.inputs.columns import decoded
from ...lsh.support.install import how_to_install
from .skipped import FileError

__all__ = [
    "INTEGERS",
    "NUMBERS",
    "TextColumn",
    "column_at",
    "find_column",
    "find_text_column",
    "read_by_pyarrow",
    "text_column",
]

#: Kinds of numbers in Arrow columns, for the argument `numbers` of functions that read their texts.
INTEGERS: tuple[str, ...] = ("integer",)
NUMBERS: tuple[str, ...] = ("integer", "floating", "decimal")


class TextColumn(NamedTuple):
    """Consecutive texts of a column.

    Attributes
    ----------
    data : ndarray of uint8
    offsets : ndarray of int64
    null : ndarray of bool or None
        True for the rows without a text, whose length is 0.
    extra : list
        The value of a further column for each row; empty if there is none.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    null: NDArray[np.bool_] | None
    extra: list[Any]


@contextmanager
def read_by_pyarrow(module: str, kind: str, path: str) -> Iterator[Any]:
    """Yield a module of pyarrow, and turn its errors in the block into FileErrors that name the file."""
    try:
        import pyarrow as pa

        found = import_module(module)
    except ImportError as error:
        raise DocumentError(
            f"reading the {kind} file {path} needs pyarrow: {how_to_install('arrow')}"
        ) from error
    try:
        yield found
    except DocumentError:
        raise
    except (pa.ArrowException, OSError, LookupError, UnicodeError) as error:
        # LookupError stands for a part that a changed or damaged file does not have.
        lines = str(error).splitlines() or [type(error).__name__]
        message = f"cannot read the {kind} file {path}: {lines[0]}"
        raise FileError(message, path, f"damaged: {lines[0]}") from error


def find_column(path: str, schema: Any, field: str) -> list[str] | None:
    """Return the names that lead to a column of a file, through structs, or None if there is none.

    A column that has the name itself comes before a nested one.

    Raises
    ------
    FileError
        If several columns have the name.
    """
    import pyarrow as pa

    if isinstance(schema, pa.Schema):
        schema = pa.struct(schema)
    # A struct type has no other way to find several fields of one name.
    names = [schema.field(i).name for i in range(schema.num_fields)]
    if names.count(field) > 1:
        reason = f"{names.count(field)} columns {field!r}"
        raise FileError(f"{path} has {reason}", path, reason)
    if field in names:
        return [field]
    dot = field.find(".")
    while dot >= 0:
        if names.count(field[:dot]) == 1:
            inner = schema.field(names.index(field[:dot])).type
            found = find_column(path, inner, field[dot + 1 :]) if pa.types.is_struct(inner) else None
            if found is not None:
                return [field[:dot], *found]
        dot = field.find(".", dot + 1)
    return None


def find_text_column(path: str, schema: Any, field: str, *, numbers: tuple[str, ...] = ()) -> list[str]:
    """Return the names that lead to the column of texts of a file, or of numbers of the kinds `numbers`.

    Raises
    ------
    FileError
        If the file has no such column, several, or one of another type.
    """
    import pyarrow.types as types

    names = find_column(path, schema, field)
    if names is None:
        shown = ", ".join(repr(name) for name in schema.names[:20])
        reason = f"no column {field!r}; it has {shown}"
        raise FileError(f"{path} has {reason}", path, reason)
    kind = schema.field(names[0]).type
    for name in names[1:]:
        kind = kind.field(name).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    # A column of nulls alone has the type null if nobody gave the writer a type, as with pandas.
    allowed = ["string", "large_string", "string_view", "binary", "large_binary", "binary_view", "null"]
    if not any(getattr(types, f"is_{name}")(kind) for name in (*allowed, *numbers)):
        wanted = {(): "text", INTEGERS: "text or integers"}.get(numbers, "numbers or text")
        reason = f"the column {field!r} holds {kind}, not {wanted}"
        raise FileError(f"the column {field!r} of {path} holds {kind}, not {wanted}", path, reason)
    return names


def column_at(batch: Any, names: list[str]) -> Any:
    """Return the column of a record batch to which names lead; it is null where a struct is null."""
    import pyarrow.compute as pc

    column = batch.column(batch.schema.get_field_index(names[0]))
    for name in names[1:]:
        column = pc.struct_field(column, [column.type.get_field_index(name)])
    return column


def text_column(batch: Any, names: list[str], extra: list[str] | None = None) -> TextColumn:
    """Return the texts of a column of a record batch; a number is the text of its digits."""
    import pyarrow as pa

    column = decoded(column_at(batch, names))
    if any(getattr(pa.types, f"is_{kind}")(column.type) for kind in NUMBERS):
        column = column.cast(pa.large_string())
    column = column.cast(pa.large_binary())
    null = None
    if column.null_count:
        null = column.is_null().to_numpy(zero_copy_only=False)
        column = column.fill_null(b"")
    _, offsets_buffer, data_buffer = column.buffers()
    n = len(column)
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[column.offset : column.offset + n + 1]
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, dtype=np.uint8)
    values = [] if extra is None else _values(decoded(column_at(batch, extra)))
    return TextColumn(data[offsets[0] : offsets[-1]], offsets - offsets[0], null, values)


def _values(column: Any) -> list[Any]:
    """Return a column as a list, with dates and times as seconds: larger ones are later, in all units."""
    import pyarrow as pa

    if not pa.types.is_temporal(column.type) or pa.types.is_interval(column.type):
        return list(column.to_pylist())
    if pa.types.is_date32(column.type):
        days = column.cast(pa.int32()).to_pylist()
        return [None if n is None else n * 86_400 for n in days]
    # Dates of 64 bits count milliseconds.
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[getattr(column.type, "unit", "ms")]
    return [None if n is None else n / per_second for n in column.cast(pa.int64()).to_pylist()]
