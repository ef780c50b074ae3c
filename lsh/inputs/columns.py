"""Tables and columns of other libraries: Arrow, pandas, polars, and others that export Arrow arrays."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..support.install import how_to_install
from .libraries import is_from

__all__ = [
    "arrow_chunks",
    "decoded",
    "describe",
    "import_arrow",
    "is_arrow",
    "is_null",
    "is_table",
    "open_column",
    "refuse_masked",
    "refuse_nulls",
]


#: The types of single values of which one, NaN or NaT, differs from itself.
_MAY_BE_NULL = (float, np.floating, np.datetime64, np.timedelta64)


def is_arrow(values: Any) -> bool:
    """Tell whether `values` is an Arrow array or has Arrow's PyCapsule interface (polars, nanoarrow)."""
    return hasattr(values, "__arrow_c_array__") or hasattr(values, "__arrow_c_stream__")


def is_table(values: Any) -> bool:
    """Tell whether `values` are a table of named columns, such as those of pandas, polars and Arrow."""
    # In pandas, a Series may have a row "columns". A LazyFrame of polars warns if it is asked for columns.
    is_column = is_from(values, "pandas", "Series") or not (
        is_arrow(values) or hasattr(values, "__dataframe__")
    )
    return not is_column and hasattr(values, "columns")


def is_null(value: Any) -> bool:
    """Tell whether an object stands for a missing value: None, NaN or NaT of Python, NumPy or pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, _MAY_BE_NULL) and bool(value != value)


def open_column(values: Any, name: str, *, nulls_as_empty: bool = False) -> Any:
    """Return a column as a NumPy array where Arrow cannot read it, and other `values` as they are.

    Arrow cannot read a column of Python objects: it would have to guess a type, and polars exports addresses.
    Without pyarrow, every column that can become a NumPy array becomes one.

    Nulls in such a column are refused. With `nulls_as_empty`, they stay in the array for the caller to
    replace, and a column of NaN alone, as which pandas reads a column without any text, becomes
    empty texts.
    """
    dtype: Any = getattr(values, "dtype", "")
    may_be_nan = nulls_as_empty and hasattr(values, "isna")
    if may_be_nan and (getattr(dtype, "kind", "") == "f" or str(dtype) == "category") and values.isna().all():
        return np.zeros(len(values), dtype="S1")
    if not is_arrow(values):
        return values
    if is_table(values):
        raise TypeError(f"{name} must be one column, got {describe(values)}: pass one of its columns")
    is_object = str(dtype).lower() == "object"
    if not is_object and not (hasattr(values, "__array__") and find_spec("pyarrow") is None):
        return values
    missing = getattr(values, "isna", getattr(values, "is_null", None))
    if missing is not None and not nulls_as_empty:
        refuse_nulls(np.asarray(missing(), dtype=np.bool_), name)
    return np.asarray(values)


def describe(values: Any) -> str:
    """Return the name that users give to what `values` are, for messages."""
    library, kind = type(values).__module__.partition(".")[0], type(values).__name__
    if library == "pyarrow":
        return "an Arrow array" if kind.endswith("Array") else f"an Arrow {kind}"
    if library in ("pandas", "polars"):
        return f"a {library} {kind}"
    return f"{'an' if kind[:1] in 'AEIOUaeiou' else 'a'} {kind}"


def import_arrow(values: Any, name: str) -> Any:
    """Return what another library exports as Arrow arrays; tables and other `values` as they are.

    A stream can be read only once.
    """
    known = type(values).__module__.partition(".")[0] in ("pandas", "polars", "pyarrow", "numpy")
    return values if known or not is_arrow(values) or is_table(values) else _arrow_of(values, name)


def _arrow_of(column: Any, name: str) -> Any:
    """Return a column as a pyarrow array or chunked array."""
    try:
        import pyarrow as pa
    except ImportError:
        raise TypeError(
            f"{name} is {describe(column)}, which needs pyarrow to read: "
            f"{how_to_install('arrow')}; or pass a list or a NumPy array"
        ) from None
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        return column
    try:
        return pa.array(column) if hasattr(column, "__arrow_c_array__") else pa.chunked_array(column)
    except (TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        raise TypeError(
            f"{name} must be {describe(column)} that Arrow can read, got one that it cannot: {error}"
        ) from None


def arrow_chunks(
    column: Any, name: str, *, nulls_as_empty: bool = False, keep_nulls: bool = False
) -> list[Any]:
    """Return the pyarrow arrays that `column` is made of; nulls are refused, or kept, or become empty texts.

    The arrays have plain types: dictionaries and runs are decoded, extension types of texts are replaced by
    their storage, and views and binary values of one size become large strings and large binary.
    """
    array = _arrow_of(column, name)
    import pyarrow as pa

    if pa.types.is_struct(array.type):
        raise TypeError(f"{name} must be {describe(column)} of one column, got one of {array.type}")
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    try:
        chunks = [decoded(chunk) for chunk in chunks]
    except (pa.ArrowInvalid, pa.ArrowIndexError) as error:
        raise ValueError(
            f"{name} must be {describe(column)} whose parts fit one another, got one that does not: {error}"
        ) from None
    if nulls_as_empty:
        return [_without_nulls(chunk) for chunk in chunks]
    if keep_nulls:
        return chunks
    if any(chunk.null_count for chunk in chunks):
        refuse_nulls(np.concatenate([c.is_null().to_numpy(zero_copy_only=False) for c in chunks]), name)
    # A column of Arrow's type null that has no rows has neither nulls nor values.
    return [chunk for chunk in chunks if not pa.types.is_null(chunk.type)]


def _without_nulls(chunk: Any) -> Any:
    """Return texts without bytes in place of nulls. They are copied only if a null has bytes."""
    import pyarrow as pa

    kind = chunk.type
    if pa.types.is_null(kind):
        return pa.nulls(len(chunk), pa.large_string())
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not chunk.null_count or not (is_text or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return chunk
    dtype = np.int64 if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind) else np.int32
    offsets = np.frombuffer(chunk.buffers()[1], dtype)[chunk.offset : chunk.offset + len(chunk) + 1]
    missing = chunk.is_null().to_numpy(zero_copy_only=False)
    if not (offsets[1:][missing] > offsets[:-1][missing]).any():
        return chunk
    return chunk.fill_null("" if is_text else b"")


def refuse_nulls(is_null: Any, name: str) -> None:
    """Raise ValueError if any value is null."""
    if is_null.any():
        raise ValueError(
            f"{name} must have no nulls, got {int(is_null.sum())}, the first at {int(is_null.argmax())}; "
            "drop them or fill them first"
        )


def refuse_masked(values: Any, name: str) -> None:
    """Refuse masked values: NumPy's functions would use the numbers under the mask."""
    # NumPy imports this module, which takes time, when a program first uses it.
    ma = sys.modules.get("numpy.ma")
    if ma is None:
        return
    if isinstance(values, (list, tuple)):
        if any(issubclass(t, ma.MaskedArray) for t in set(map(type, values))):
            for row in values:
                refuse_masked(row, name)
    elif isinstance(values, ma.MaskedArray) and ma.is_masked(values):
        raise ValueError(f"{name} must not be masked, got {int(ma.getmaskarray(values).sum())} masked values")


def decoded(chunk: Any) -> Any:
    """Return a pyarrow array with the same values and nulls, of a type that needs no decoding.

    Raises
    ------
    pyarrow.ArrowInvalid, pyarrow.ArrowIndexError
        If the array has parts that contradict each other.
    """
    import pyarrow as pa

    kind = chunk.type
    if isinstance(chunk, pa.ExtensionArray):
        # An extension type over texts holds texts. One over numbers may hold dates, flags or prices.
        storage = _widened(decoded(chunk.storage))
        is_text = pa.types.is_large_string(storage.type) or pa.types.is_large_binary(storage.type)
        return storage if is_text else chunk
    if pa.types.is_dictionary(kind):
        # dictionary_decode would not accept views, or nulls among the values of the dictionary.
        return _widened(decoded(chunk.dictionary)).take(chunk.indices)
    if pa.types.is_run_end_encoded(kind):
        ends = chunk.run_ends.to_numpy()
        rows = np.arange(chunk.offset, chunk.offset + len(chunk))
        return _widened(decoded(chunk.values)).take(pa.array(np.searchsorted(ends, rows, side="right")))
    if pa.types.is_string_view(kind):
        _check_offsets(chunk)
        return chunk.cast(pa.large_string())
    if pa.types.is_binary_view(kind):
        _check_offsets(chunk)
    if pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return chunk.cast(pa.large_binary())
    return chunk


def _widened(values: Any) -> Any:
    """Return texts with 64-bit offsets: repeated rows may pass 2 GiB, which 32-bit offsets forbid."""
    import pyarrow as pa

    _check_offsets(values)
    if pa.types.is_string(values.type):
        return values.cast(pa.large_string())
    return values.cast(pa.large_binary()) if pa.types.is_binary(values.type) else values


def _check_offsets(values: Any) -> None:
    """Check the offsets of texts before Arrow reads by them: buffers may have been overwritten."""
    import pyarrow as pa

    as_bytes = {
        pa.string(): pa.binary(),
        pa.large_string(): pa.large_binary(),
        pa.string_view(): pa.binary_view(),
    }
    if values.type in as_bytes:  # UTF-8 is checked elsewhere
        values = values.view(as_bytes[values.type])
    values.validate(full=True)
