"""Write records as a Parquet file, with pyarrow, which is imported only then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from ...errors import DocumentError
from ...lsh.support.install import how_to_install
from .output import writing

__all__ = ["check_parquet", "write_parquet"]

#: Records that are written at a time, which make a row group.
_GROUP = 1 << 16


def check_parquet(path: str) -> None:
    """Raise DocumentError if `path` is to be a Parquet file and pyarrow is not installed."""
    if path.endswith(".parquet"):
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            message = f"writing the Parquet file {path} needs pyarrow: {how_to_install('arrow')}"
            raise DocumentError(message) from error


def write_parquet(path: str, records: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Write records as a Parquet file, so that `path` has either all of them or its old contents.

    Parameters
    ----------
    path : str
    records : iterable of mappings
        A column takes None from a record that does not have it, and text from any value if it is a column
        of strings.
    columns : mapping of str to str
        The Arrow type of each column, in order.

    Raises
    ------
    OSError
        If the file cannot be written; the message names `path`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    rest = iter(records)
    with (
        writing(path) as file,
        pq.ParquetWriter(file, schema) as writer,
    ):
        while block := list(islice(rest, _GROUP)):
            arrays = [
                pa.array([_value(record.get(name), kind) for record in block], field.type)
                for (name, kind), field in zip(columns.items(), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _value(value: Any, kind: str) -> Any:
    if kind != "string" or value is None:
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()
