"""Documents as lists of terms: one flat list of terms, and where each document begins."""

from __future__ import annotations

from collections import deque
from collections.abc import KeysView, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support.backend import read_only, refuse_gpu
from .arrays import check_array, refuse_flags
from .columns import refuse_masked
from .sparse_structure import check_offsets

__all__ = ["read_documents"]

_DOCUMENTS = (list, tuple, set, frozenset, np.ndarray)


def read_documents(documents: Any, name: str = "documents") -> tuple[Any, NDArray[np.int64]]:
    """Return the terms of all documents, which are not read yet, and offsets.

    Parameters
    ----------
    documents : list or column of lists of terms, or pair ``(terms, offsets)``
        Document i of a pair is ``terms[offsets[i]:offsets[i + 1]]``. A tuple of two is always a pair.
    name : str
        The name of the argument in messages.

    Returns
    -------
    terms : list, array or column
        One after another. Whoever reads the terms checks that there are ``offsets[-1]`` of them.
    offsets : ndarray of n + 1 int64

    Raises
    ------
    TypeError, ValueError
        If `documents` is none of these, or the offsets fall or do not begin at 0.
    NotImplementedError
        If documents or offsets lie on a GPU.
    """
    if isinstance(documents, tuple) and len(documents) == 2:
        return documents[0], _read_offsets(documents[1], f"{name} offsets")
    refuse_masked(documents, name)
    documents = _opened(documents, name)
    if not isinstance(documents, (list, tuple)):
        raise TypeError(
            f"{name} must be a list of lists of terms, or a pair (terms, offsets), got "
            f"{type(documents).__name__}"
        )
    documents = [
        document if isinstance(document, _DOCUMENTS) else _opened(document, f"{name}[{i}]")
        for i, document in enumerate(documents)
    ]
    refuse_masked(documents, name)
    for i, document in enumerate(documents):
        if not isinstance(document, _DOCUMENTS) or (isinstance(document, np.ndarray) and document.ndim != 1):
            raise TypeError(
                f"{name}[{i}] must be a list of terms, got {_describe(document)}"
                + ("; split texts into terms first" if isinstance(document, (str, bytes)) else "")
            )
    offsets = np.zeros(len(documents) + 1, np.int64)
    np.cumsum([len(document) for document in documents], out=offsets[1:])
    return _joined(documents), read_only(offsets)


def _opened(values: Any, name: str) -> Any:
    """Return a column, a tensor or another sequence as a list, and all else as it is."""
    refuse_gpu(name, values)
    if isinstance(values, (deque, range, KeysView)):
        return list(values)
    if isinstance(values, np.ndarray):
        # The rows of a matrix of terms are documents, and so are lists in an array of Python objects.
        is_rows = values.ndim == 2 and values.dtype.kind in "iuSUOT"
        return list(values) if is_rows or (values.ndim == 1 and values.dtype.kind == "O") else values
    # Scalars of NumPy have `tolist` as well.
    if getattr(values, "ndim", 1) >= 1 and hasattr(values, "__len__"):
        for method in ("tolist", "to_pylist", "to_list"):
            if hasattr(values, method):
                return getattr(values, method)()
    return values


def _joined(documents: Sequence[Any]) -> Any:
    """Return the terms of all documents one after another."""
    dtypes = {document.dtype if isinstance(document, np.ndarray) else None for document in documents}
    if len(dtypes) == 1 and None not in dtypes:
        return np.concatenate(documents)
    # NumPy would make strings or floats of numbers of different types, so the terms become Python objects.
    return list(chain.from_iterable(map(_listed, documents)))


def _listed(document: Any) -> Any:
    is_plain = isinstance(document, np.ndarray) and document.dtype.kind in "iuSUOT"
    return document.tolist() if is_plain else document


def _read_offsets(offsets: Any, name: str) -> NDArray[np.int64]:
    refuse_gpu(name, offsets)
    refuse_flags(name, offsets)
    array = check_array(name, offsets)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    check_offsets(array, int(array[-1]) if array.ndim == 1 and array.size else 0, name)
    return read_only(np.ascontiguousarray(array, dtype=np.int64))


def _describe(document: Any) -> str:
    if isinstance(document, np.ndarray):
        return f"an array of shape {document.shape}"
    return type(document).__name__
