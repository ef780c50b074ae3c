"""Names of types that many signatures share.

`RowsLike` and `KeysLike` name the arguments that are read as rows and as keys, as NumPy's `ArrayLike` names
arguments that are read as an array. `Rows` and `Keys` are the classes that they are read into.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, overload
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ArrayLike", "ArrayModule", "Device", "KeyLike", "KeysLike", "RowsLike"]

S = TypeVar("S", bound=np.generic)
_Shape: TypeAlias = int | tuple[int, ...]
_DType: TypeAlias = type[S] | np.dtype[S] | str


class _Sparse(Protocol):
    def tocsr(self) -> Any: ...


class _Read(Protocol):
    def cut(self, start: int, stop: int) -> Any: ...


class _Exported(Protocol):
    def __dlpack__(self) -> Any: ...


class _ArrowArray(Protocol):
    def __arrow_c_array__(self) -> Any: ...


class _ArrowStream(Protocol):
    def __arrow_c_stream__(self) -> Any: ...


class _Frame(Protocol):
    def __dataframe__(self) -> Any: ...


#: A device: main memory, or a GPU.
Device: TypeAlias = Literal["cpu", "gpu"]
#: Rows of a caller (an array, lists, a sparse matrix, a data frame, an Arrow table), or rows that were read.
RowsLike: TypeAlias = ArrayLike | _Sparse | _Read | _Exported | _ArrowArray | _ArrowStream | _Frame
#: A key of a caller.
KeyLike: TypeAlias = int | np.integer[Any] | str | bytes | dt.date | np.datetime64 | UUID
#: Keys of a caller: a list of keys or tuples, an array, or columns of pandas, polars or Arrow.
KeysLike: TypeAlias = (
    KeyLike
    | ArrayLike
    | Sequence[KeyLike]
    | Sequence[tuple[KeyLike, ...]]
    | _Exported
    | _ArrowArray
    | _ArrowStream
)


class ArrayModule(Protocol):
    """NumPy or CuPy, whose functions have the same names. The most frequent ones have types here."""

    @overload
    def empty(self, shape: _Shape) -> NDArray[np.float64]: ...
    @overload
    def empty(self, shape: _Shape, dtype: _DType[S]) -> NDArray[S]: ...
    @overload
    def zeros(self, shape: _Shape) -> NDArray[np.float64]: ...
    @overload
    def zeros(self, shape: _Shape, dtype: _DType[S]) -> NDArray[S]: ...
    @overload
    def ascontiguousarray(self, a: NDArray[S]) -> NDArray[S]: ...
    @overload
    def ascontiguousarray(self, a: Any, dtype: _DType[S]) -> NDArray[S]: ...
    @overload
    def full(self, shape: _Shape, value: Any) -> NDArray[Any]: ...
    @overload
    def full(self, shape: _Shape, value: Any, dtype: _DType[S]) -> NDArray[S]: ...
    def empty_like(self, a: NDArray[S]) -> NDArray[S]: ...
    def maximum(self, a: Any, b: Any) -> NDArray[Any]: ...
    def minimum(self, a: Any, b: Any) -> NDArray[Any]: ...
    def where(self, condition: Any, a: Any, b: Any) -> NDArray[Any]: ...
    def __getattr__(self, name: str) -> Any: ...
