"""Keys of several parts (tuples, tables, structured arrays), and the keys of any container that are null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import arrow_chunks, describe, is_arrow, is_null, is_table
from .libraries import is_arrow_column

__all__ = ["key_parts", "null_mask", "rows_kept"]


def key_parts(keys: Any, name: str) -> dict[str, Any] | None:
    """Return the columns of keys that have several parts, by the names that messages give them.

    These are the columns of a table of pandas, polars or Arrow, the levels of a pandas MultiIndex, the fields
    of a NumPy or Arrow array of structures, and the places of tuples in a list. None for keys of one part.

    Raises
    ------
    TypeError, ValueError
        If tuples have different lengths or are mixed with other keys, or a table has fewer than two columns.
    """
    parts = _columns(keys, name)
    if parts is None:
        return None
    if len(parts) < 2:
        raise TypeError(f"{name} must be one column, got {describe(keys)}: pass one of its columns")
    return {f"{name} ({label})": column for label, column in parts.items()}


def _columns(keys: Any, name: str) -> Mapping[str, Any] | None:
    if isinstance(keys, np.ndarray) and keys.dtype.kind != "O":
        if keys.dtype.names is None:
            return None
        if keys.ndim != 1:
            raise ValueError(f"{name} must be 1-D, got shape {keys.shape}")
        return {f"field {field!r}": keys[field] for field in keys.dtype.names}
    if isinstance(keys, (list, tuple, np.ndarray)):
        return _places(keys, name)
    if hasattr(keys, "get_level_values") and getattr(keys, "nlevels", 1) > 1:
        return {f"level {i}": keys.get_level_values(i) for i in range(keys.nlevels)}
    if is_table(keys):
        return _columns_of_table(keys)
    dtype = str(getattr(keys, "dtype", ""))
    if dtype.startswith("Struct") and hasattr(keys, "struct"):  # of polars
        return {f"field {column.name!r}": column for column in keys.struct.unnest().get_columns()}
    if dtype == "object" and hasattr(keys, "__array__"):  # of pandas
        return _places(np.asarray(keys), name)
    if is_arrow_column(keys) or dtype.startswith("struct"):
        return _fields_of_arrow(keys)
    return None


def _places(keys: Any, name: str) -> Mapping[str, Any] | None:
    """Return the places of tuples in a list or an array of objects."""
    if len(keys) == 0 or getattr(keys, "ndim", 1) != 1:
        return None
    items = keys.tolist() if isinstance(keys, np.ndarray) else keys
    if not isinstance(items[0], tuple) and not is_null(items[0]):
        return None
    tuples = [item for item in items if not is_null(item)]
    if not tuples or not isinstance(tuples[0], tuple):
        return None
    lengths = {len(item) if isinstance(item, tuple) else -1 for item in tuples}
    if len(lengths) > 1 or len(tuples[0]) < 2:
        found = sorted({f"{len(t)} parts" if isinstance(t, tuple) else type(t).__name__ for t in tuples})
        raise TypeError(
            f"{name} must all be tuples of the same number of parts, at least 2, got {', '.join(found)}"
        )
    n = lengths.pop()
    empty = (None,) * n
    columns = zip(*(empty if is_null(item) else item for item in items), strict=True)
    return {f"part {i}": list(column) for i, column in enumerate(columns)}


def _columns_of_table(table: Any) -> Mapping[str, Any]:
    if hasattr(table, "iloc"):  # of pandas
        columns = [table.iloc[:, i] for i in range(table.shape[1])]
        labels = list(table.columns)
    elif hasattr(table, "get_columns"):  # of polars
        columns, labels = table.get_columns(), list(table.columns)
    else:
        import pyarrow as pa

        arrow = table if isinstance(table, (pa.Table, pa.RecordBatch)) else pa.table(table)
        columns, labels = arrow.columns, arrow.column_names
    return _labelled("column", labels, columns)


def _fields_of_arrow(keys: Any) -> Mapping[str, Any] | None:
    import pyarrow as pa

    if not isinstance(keys, (pa.Array, pa.ChunkedArray)):
        keys = pa.chunked_array(keys)
    if not pa.types.is_struct(keys.type):
        return None
    labels = [keys.type.field(i).name for i in range(keys.type.num_fields)]
    return _labelled("field", labels, keys.flatten())


def _labelled(what: str, labels: Sequence[Any], columns: Sequence[Any]) -> Mapping[str, Any]:
    """Return columns by labels, of which several may be equal."""
    names = [f"{what} {label!r}" for label in labels]
    if len(set(names)) < len(names):
        names = [f"{what} {i} ({label!r})" for i, label in enumerate(labels)]
    return dict(zip(names, columns, strict=True))


def null_mask(keys: Any, name: str) -> tuple[Any, NDArray[np.bool_]]:
    """Return a column of keys in a form that `rows_kept` can take from, and which of its keys are null."""
    if isinstance(keys, np.ma.MaskedArray):
        return np.asarray(keys.data), np.ma.getmaskarray(keys)
    if isinstance(keys, np.ndarray) and keys.dtype.kind not in "OT":
        return keys, np.isnat(keys) if keys.dtype.kind == "M" else np.zeros(keys.shape, np.bool_)
    if isinstance(keys, (list, tuple, np.ndarray)):
        items = keys.tolist() if isinstance(keys, np.ndarray) else list(keys)
        if set(map(type, items)) <= {str, bytes, int}:
            return items, np.zeros(len(items), np.bool_)
        return items, np.fromiter(map(is_null, items), np.bool_, len(items))
    missing = getattr(keys, "isna", getattr(keys, "is_null", None))
    if missing is not None and type(keys).__module__.partition(".")[0] in ("pandas", "polars"):
        return keys, np.asarray(missing(), dtype=np.bool_)
    if not is_arrow(keys):
        return keys, np.zeros(len(keys), np.bool_)
    import pyarrow as pa

    chunks = arrow_chunks(keys, name, keep_nulls=True)
    if not chunks:
        return [], np.zeros(0, np.bool_)
    missing = np.concatenate([chunk.is_null().to_numpy(zero_copy_only=False) for chunk in chunks])
    return pa.chunked_array(chunks), missing


def rows_kept(keys: Any, kept: NDArray[np.bool_]) -> Any:
    """Return the keys of a column at the places where `kept` is True."""
    if isinstance(keys, list):
        return list(compress(keys, kept.tolist()))
    library = type(keys).__module__.partition(".")[0]
    if library == "polars":
        return keys.filter(kept.tolist())
    if library == "pyarrow":
        import pyarrow as pa

        return keys.filter(pa.array(kept))
    return keys[kept]
