"""Tables with named columns: pandas, polars, Arrow, Hugging Face datasets, and dicts of columns.

`open_columns` returns a table of any of these kinds as a `Table`, which reads single columns and makes tables
of the same kind. Tables are never changed. No library is imported here but pyarrow, for tables of Arrow.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import describe, is_arrow, is_table
from .libraries import is_from
from .strings import Buffer, byte_buffers
from .table_columns import Rows, as_numbers, filter_arrow, n_rows_of, take_rows

__all__ = ["Table", "looks_like_table", "open_columns"]

#: Column names in messages, and rows of a dataset that are read at a time.
_NAMES_SHOWN = 20
_DATASET_ROWS = 1000


class Table(ABC):
    """A table of one kind.

    Parameters
    ----------
    given : object
        What the caller has passed.

    Attributes
    ----------
    names : list
        The names of the columns.
    n_rows : int
    """

    names: list[Any]
    n_rows: int

    def __init__(self, given: Any) -> None:
        self._given = given
        self._frame = given

    def check_name(self, name: Any, argument: str) -> None:
        """Refuse a `name` that is not the name of exactly one column; `argument` is for the message."""
        found = self.names.count(name) if isinstance(name, Hashable) else 0
        if found == 0:
            raise ValueError(f"{argument} must be the name of a column, {self.list_names()}, got {name!r}")
        if found > 1:
            raise ValueError(f"{argument} must be the name of one column, got {name!r}, which {found} have")

    def list_names(self) -> str:
        """Return the names of the columns for messages."""
        if not self.names:
            return "of which there is none"
        more = len(self.names) - _NAMES_SHOWN
        shown = ", ".join(map(repr, self.names[:_NAMES_SHOWN])) + (f" and {more} more" if more > 0 else "")
        return f"one of {shown}"

    def texts(self, name: Any) -> Iterable[Buffer]:
        """Return the texts of a column as buffers, which can be iterated again; nulls are empty texts."""
        return byte_buffers(
            self.column(name), f"documents[{name!r}]", errors="surrogatepass", nulls_as_empty=True
        )

    def numbers(self, name: Any) -> NDArray[np.float64]:
        """Return the numbers of a column, with NaN in place of nulls."""
        return as_numbers(self.column(name), f"documents[{name!r}]")

    @abstractmethod
    def column(self, name: Any) -> Any:
        """Return a column that `take_rows` accepts."""

    @abstractmethod
    def filter(self, keep: NDArray[np.bool_]) -> Any:
        """Return a table of the kind of the caller's, with the rows where `keep` is true, in order."""

    @abstractmethod
    def make(self, columns: Mapping[str, Any], rows: Rows) -> Any:
        """Return a table of that kind with other columns, which describe the given rows of this one."""


class _Pandas(Table):
    def __init__(self, given: Any) -> None:
        super().__init__(given)
        if given.columns.nlevels > 1:
            raise TypeError(
                f"documents must have columns with plain names, got a MultiIndex of {given.columns.nlevels} "
                "levels: pass a DataFrame with some of the columns, renamed"
            )
        # The caller may give the frame other columns or another index later.
        self._frame = given.copy(deep=False)
        self.names, self.n_rows = given.columns.tolist(), len(given)

    def column(self, name: Any) -> Any:
        return self._frame[name]

    def filter(self, keep: NDArray[np.bool_]) -> Any:
        return self._frame.take(np.flatnonzero(keep))

    def make(self, columns: Mapping[str, Any], rows: Rows) -> Any:
        arrays = {name: getattr(column, "array", column) for name, column in columns.items()}
        return sys.modules["pandas"].DataFrame(arrays, index=self._frame.index[rows])


class _Polars(Table):
    def __init__(self, given: Any) -> None:
        super().__init__(given)
        self._frame = given.clone()
        self.names, self.n_rows = given.columns, given.height

    def column(self, name: Any) -> Any:
        return self._frame[name]

    def filter(self, keep: NDArray[np.bool_]) -> Any:
        return self._frame.filter(sys.modules["polars"].Series(values=keep, dtype=bool))

    def make(self, columns: Mapping[str, Any], rows: Rows) -> Any:
        return sys.modules["polars"].DataFrame(dict(columns))


class _Arrow(Table):
    """A table or a record batch of Arrow, or a table of another library that exports an Arrow stream."""

    def __init__(self, given: Any) -> None:
        super().__init__(given)
        import pyarrow as pa

        if not isinstance(given, (pa.Table, pa.RecordBatch)):
            self._frame = pa.table(given)
        self.names, self.n_rows = list(self._frame.schema.names), self._frame.num_rows

    def column(self, name: Any) -> Any:
        return self._frame.column(self.names.index(name))

    def filter(self, keep: NDArray[np.bool_]) -> Any:
        frame = self._frame
        columns = [filter_arrow(column, keep) for column in frame.columns]
        if not columns:
            return frame.slice(0, int(keep.sum()))
        return type(frame).from_arrays(columns, schema=frame.schema)

    def make(self, columns: Mapping[str, Any], rows: Rows) -> Any:
        import pyarrow as pa

        return type(self._frame).from_arrays(
            [pa.array(c) if isinstance(c, np.ndarray) else c for c in columns.values()], names=list(columns)
        )


class _HuggingFace(Table):
    def __init__(self, given: Any) -> None:
        super().__init__(given)
        self.names, self.n_rows = given.column_names, len(given)

    def _arrow(self, name: str) -> Any:
        """Return a dataset of one column, which gives Arrow tables with the rows that the caller sees."""
        return self._frame.select_columns([name]).with_format("arrow")

    def column(self, name: Any) -> Any:
        return self._arrow(name)[:].column(0)

    def texts(self, name: Any) -> Iterable[Buffer]:
        return _DatasetTexts(self._arrow(name), f"documents[{name!r}]")

    def filter(self, keep: NDArray[np.bool_]) -> Any:
        return self._frame.select(np.flatnonzero(keep))

    def make(self, columns: Mapping[str, Any], rows: Rows) -> Any:
        import pyarrow as pa

        return sys.modules["datasets"].Dataset(pa.table(dict(columns)))


class _DatasetTexts:
    """The texts of a dataset, read some rows at a time: those in its files need not fit into memory."""

    def __init__(self, dataset: Any, name: str) -> None:
        self._dataset, self._name = dataset, name

    def __iter__(self) -> Iterator[Buffer]:
        for part in self._dataset.iter(batch_size=_DATASET_ROWS):
            # Each row of a shuffled dataset is a chunk of its own.
            column = part.combine_chunks().column(0)
            yield from byte_buffers(column, self._name, errors="surrogatepass", nulls_as_empty=True)


class _Columns(Table):
    """A dict of columns."""

    def __init__(self, given: Mapping[Any, Any]) -> None:
        super().__init__(given)
        self._frame = dict(given)
        lengths = {name: n_rows_of(column, f"documents[{name!r}]") for name, column in given.items()}
        self.names, self.n_rows = list(given), next(iter(lengths.values()), 0)
        for name, n in lengths.items():
            if n != self.n_rows:
                raise ValueError(
                    f"documents must have columns of one length, got {self.n_rows} rows in column "
                    f"{self.names[0]!r} and {n} in column {name!r}"
                )

    def column(self, name: Any) -> Any:
        return self._frame[name]

    def filter(self, keep: NDArray[np.bool_]) -> Any:
        rows = np.flatnonzero(keep)
        return {name: take_rows(column, rows) for name, column in self._frame.items()}

    def make(self, columns: Mapping[str, Any], rows: Rows) -> Any:
        return dict(columns)


def looks_like_table(value: Any) -> bool:
    """Tell whether a value has named columns, or is one of the tables that `open_columns` refuses."""
    named = is_from(value, "datasets", "Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict")
    lazy = is_from(value, "polars", "LazyFrame")
    return isinstance(value, dict) or named or lazy or is_table(value)


def open_columns(value: Any) -> Table:
    """Return a table that a caller has passed as `documents`.

    Raises
    ------
    TypeError
        If it is no table, or must be converted first.
    """
    if is_from(value, "pandas", "DataFrame"):
        return _Pandas(value)
    if is_from(value, "polars", "DataFrame"):
        return _Polars(value)
    if is_from(value, "datasets", "Dataset"):
        return _HuggingFace(value)
    advice = ""
    if is_from(value, "polars", "LazyFrame"):
        advice = ": call collect() first"
    elif is_from(value, "datasets", "DatasetDict", "IterableDatasetDict"):
        advice = f": pass one of its splits {', '.join(map(repr, value))}"
    elif is_from(value, "datasets", "IterableDataset"):
        advice = ": pass a Dataset, or files on the disk through DocumentSource"
    elif isinstance(value, dict):
        return _Columns(value)
    elif is_arrow(value) and not is_from(value, "pyarrow", "Array", "ChunkedArray"):
        try:
            return _Arrow(value)
        except ImportError:
            raise TypeError(f"documents is {describe(value)}, which needs pyarrow to read") from None
        except (TypeError, ValueError):
            pass  # a column of another library
    raise TypeError(
        "documents must be a table of pandas, polars, Arrow or datasets or a dict of columns if text names "
        f"a column, got {describe(value)}{advice}"
    )
