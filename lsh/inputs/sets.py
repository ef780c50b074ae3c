"""Sets of tokens: the columns of sparse rows, ``(tokens, offsets)``, or lists of arrays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support.backend import CPU, Backend, backend_of, device_of, read_only
from ..support.checks import NO_INTEGERS
from ..support.lazy import lazy
from .arrays import check_array, refuse_flags
from .rows import Rows
from .sparse_structure import check_offsets, csr_parts

__all__ = ["SetRows", "read_sets"]


class SetRows(Rows):
    """Sets of integer tokens.

    ``arrays`` are ``(tokens, offsets)``: set i is ``tokens[offsets[i]:offsets[i + 1]]``. Tokens are int32,
    which the columns of most sparse matrices are and which kernels widen, or uint64; offsets are int64.
    """

    form = "sets"

    @abstractmethod
    def cut(self, start: int, stop: int) -> SetRows: ...

    def words(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return ``(tokens, offsets)`` with tokens of uint64."""
        tokens, offsets = self.arrays
        return read_only(tokens.astype(np.uint64, copy=False)), offsets


class _JoinedSets(SetRows):
    """Sets whose tokens lie in one array, of any integer dtype."""

    def __init__(self, tokens: NDArray[Any], offsets: NDArray[Any], backend: Backend) -> None:
        self.tokens, self.offsets, self.backend = tokens, offsets, backend
        self.n = offsets.size - 1

    @lazy
    def arrays(self) -> tuple[NDArray[Any], ...]:
        xp, tokens = self.backend.xp, self.tokens
        dtype = tokens.dtype if tokens.dtype == np.int32 else np.uint64
        return (
            read_only(xp.ascontiguousarray(tokens.astype(dtype, copy=False))),
            read_only(xp.ascontiguousarray(self.offsets, dtype=np.int64)),
        )

    def cut(self, start: int, stop: int) -> SetRows:
        offsets = self.offsets[start : stop + 1]
        tokens = self.tokens[int(offsets[0]) : int(offsets[-1])]
        return _JoinedSets(tokens, offsets - offsets[0], self.backend)


class _ListedSets(SetRows):
    """Sets in an array each."""

    def __init__(self, sets: Sequence[NDArray[Any]]) -> None:
        self.sets, self.n, self.backend = sets, len(sets), CPU

    @lazy
    def arrays(self) -> tuple[NDArray[Any], ...]:
        offsets = np.zeros(self.n + 1, dtype=np.int64)
        np.cumsum([one.size for one in self.sets], out=offsets[1:])
        full = [one.astype(np.uint64, copy=False) for one in self.sets if one.size]
        tokens = np.concatenate(full) if full else np.empty(0, dtype=np.uint64)
        return read_only(tokens), read_only(offsets)

    def cut(self, start: int, stop: int) -> SetRows:
        return _ListedSets(self.sets[start:stop])


def read_sets(X: Any, name: str = "X") -> SetRows:
    """Read sets of tokens.

    Tokens are any 64-bit integers; negative ones are taken modulo 2**64. Order and repetition within a set
    do not matter, so neither is checked.

    Parameters
    ----------
    X : sparse matrix, pair ``(tokens, offsets)``, list of integer arrays, or SetRows
        The tokens of a row of a SciPy or CuPy sparse matrix are the columns of its non-zero entries. Sets
        that have been read are returned as they are.
    name : str
        Name of the argument in messages.

    Returns
    -------
    SetRows

    Raises
    ------
    TypeError, ValueError
        If `X` is none of the above, or its parts contradict each other.
    """
    if isinstance(X, SetRows):
        return X
    if hasattr(X, "tocsr"):
        return _read_columns(X, name)
    if isinstance(X, tuple) and len(X) == 2:
        return _read_pair(X, name)
    if isinstance(X, (list, tuple)):
        return _read_list(X, name)
    raise TypeError(
        f"{name} must be a SciPy sparse matrix, a pair (tokens, offsets) or a list of integer "
        f"arrays, got {type(X).__name__}"
    )


def _read_columns(X: Any, name: str) -> SetRows:
    """Read sets from the places of the entries of a sparse matrix that are not zero."""
    matrix, _, n_falls, backend = csr_parts(X, name)
    if n_falls and bool((matrix.data < 0).any()):  # entries of one place may add up to 0
        matrix = matrix.copy()
        matrix.sum_duplicates()
    data, tokens, offsets = matrix.data, matrix.indices, matrix.indptr
    if not all(backend.map_blocks(lambda a, b: bool((data[a:b] != 0).all()), data.size, 1 << 20)):
        kept, xp = data != 0, backend.xp
        before = xp.zeros(kept.size + 1, np.int64)
        before[1:] = xp.cumsum(kept)
        tokens, offsets = tokens[kept], before[offsets]
    return _JoinedSets(tokens, offsets, backend)


def _read_pair(pair: tuple[Any, Any], name: str) -> SetRows:
    parts = zip((f"{name} tokens", f"{name} offsets"), pair, strict=True)
    tokens, offsets = (check_array(part, value) for part, value in parts)
    tokens = _integers_of_list(pair[0], tokens)
    backend = backend_of(tokens)
    if backend is not backend_of(offsets):
        raise TypeError(f"{name} must be tokens and offsets of one device, got one of each")
    if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
        raise TypeError(
            f"{name} must hold a 1-D array of integer tokens, got dtype {tokens.dtype} and shape "
            f"{tokens.shape}"
        )
    if offsets.dtype.kind not in "iu":
        raise TypeError(f"{name} must have integer offsets, got dtype {offsets.dtype}")
    refuse_flags(f"{name} tokens", pair[0])
    refuse_flags(f"{name} offsets", pair[1])
    check_offsets(offsets, tokens.size, f"{name} offsets")
    return _JoinedSets(tokens, offsets, backend)


def _read_list(sets: Sequence[Any], name: str) -> SetRows:
    if any(device_of(one) == "gpu" for one in sets):
        raise TypeError(f"{name} must be a pair (tokens, offsets) on a GPU, got a {type(sets).__name__}")
    return _ListedSets([_read_set(f"{name}[{i}]", one) for i, one in enumerate(sets)])


def _read_set(name: str, tokens: Any) -> NDArray[Any]:
    """Return one set as an array."""
    array = _integers_of_list(tokens, check_array(name, tokens))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(
            f"{name} must be a 1-D array of integers, got dtype {array.dtype} and shape {array.shape}"
        )
    refuse_flags(name, tokens)
    return array


def _integers_of_list(tokens: Any, array: NDArray[Any]) -> NDArray[Any]:
    """Return the array of some tokens; in place of NumPy's, that of a list with integers beyond int64.

    NumPy makes real numbers of them. They are taken modulo 2**64 here.
    """
    if not isinstance(tokens, (list, tuple)) or array.dtype.kind not in "fO":
        return array
    types = set(map(type, tokens))
    is_integer = all(issubclass(t, (int, np.integer)) and not issubclass(t, NO_INTEGERS) for t in types)
    if not is_integer or not all(-(1 << 63) <= int(token) < 1 << 64 for token in tokens):
        return array
    return np.array([int(token) % (1 << 64) for token in tokens], dtype=np.uint64)
