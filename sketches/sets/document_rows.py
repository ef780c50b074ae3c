"""Documents by name as rows of arrays, and the union of several lists of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ..core.state import Arrays

__all__ = ["RECORD_BITS", "DocumentRows", "check_rows", "name_of_document", "united"]

#: Bits of a document's number in its file. The number of the file has the other bits of a word.
RECORD_BITS = 36
MOST_PATHS = 1 << (64 - RECORD_BITS)
#: The arrays with an entry for each document that are stored.
_STORED = ("records", "keys", "sizes", "scores", "signatures")
#: Documents whose signatures are compared at a time.
_BLOCK = 1 << 14


class DocumentRows(NamedTuple):
    """Documents in any order, each with its name and what is kept of it.

    Attributes
    ----------
    paths : list of bytes
        Distinct paths in rising order. Not every path needs a document.
    path_of : ndarray of int64, shape (n,)
        The place of each document's path in `paths`.
    records : ndarray of uint64, shape (n,)
        The number of each document in its file, counted from 1; 0 for a file that is one document.
    keys : ndarray of uint64, shape (n,)
        Hashes of the whole contents.
    sizes : ndarray of int64, shape (n,)
        Bytes of the texts.
    scores : ndarray of float64, shape (n,)
        Scores of the documents, minus infinity for those without one.
    signatures : ndarray of uint32, shape (n, n_hashes)
    """

    paths: list[bytes]
    path_of: NDArray[np.int64]
    records: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    scores: NDArray[np.float64]
    signatures: NDArray[np.uint32]

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the documents of the arrays that `united` made, without a copy."""
        first = arrays["first_documents"]
        path_of = np.repeat(np.arange(len(first) - 1), np.diff(first))
        return cls(_paths_of(arrays), path_of, *(arrays[name] for name in _STORED))

    def places(self) -> NDArray[np.uint64]:
        """Return a word for each document, by which documents are ordered by path and record."""
        return (self.path_of.astype(np.uint64) << np.uint64(RECORD_BITS)) | self.records

    def take(self, rows: NDArray[np.int64] | slice) -> Self:
        """Return some of the documents, in the order of `rows`."""
        return type(self)(self.paths, *(column[rows] for column in self.columns()))

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Return the arrays with an entry for each document."""
        columns: tuple[Any, ...] = self[1:]
        return columns

    def with_paths(self, number: Mapping[bytes, int]) -> Self:
        """Return the documents with a longer list of paths, which has all of theirs; `number` rises."""
        if len(number) == len(self.paths):
            return self
        numbers = np.array([number[path] for path in self.paths], dtype=np.int64)
        return self._replace(paths=list(number), path_of=numbers[self.path_of])


def united(parts: Sequence[DocumentRows]) -> tuple[Arrays, list[NDArray[np.int64]]]:
    """Return each document of some lists once, in the order of paths and records.

    Parameters
    ----------
    parts : sequence of DocumentRows
        At least one.

    Returns
    -------
    arrays : dict of str to ndarray
        The arrays of a `DocumentSignatures`.
    rows : list of ndarray of int64
        The row of each document of each part in these arrays.

    Raises
    ------
    IncompatibleSketchError
        If two documents of one name have different contents.
    """
    paths = sorted(set().union(*(part.paths for part in parts)))
    if len(paths) > MOST_PATHS:
        raise OverflowError(f"documents must be in at most {MOST_PATHS} files, got {len(paths)}")
    number = {path: i for i, path in enumerate(paths)}
    parts = [part.with_paths(number) for part in parts]
    places = np.concatenate([part.places() for part in parts])
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    row_of = np.empty(len(order), dtype=np.int64)
    row_of[order] = np.cumsum(fresh) - 1
    is_first = np.empty(len(order), dtype=bool)
    is_first[order] = fresh
    ends = np.cumsum([len(part.records) for part in parts])
    rows = np.split(row_of, ends[:-1])
    firsts = np.split(is_first, ends[:-1])
    columns = [_scattered([getattr(part, name) for part in parts], rows, firsts) for name in _STORED]
    ordered = ordered[fresh]
    whole = DocumentRows(paths, (ordered >> np.uint64(RECORD_BITS)).astype(np.int64), *columns)
    _add_repeated(whole, parts, rows, firsts)
    return _arrays_of(whole), rows


def _scattered(
    parts: Sequence[NDArray[Any]], rows: Sequence[NDArray[np.int64]], is_first: Sequence[NDArray[np.bool_]]
) -> NDArray[Any]:
    """Return a column of all documents, from the first part that has each."""
    n = sum(int(first.sum()) for first in is_first)
    out = np.empty((n, *parts[0].shape[1:]), dtype=parts[0].dtype)
    for values, of_part, first in zip(parts, rows, is_first, strict=True):
        out[of_part[first]] = values if first.all() else values[first]
    return out


def _add_repeated(
    whole: DocumentRows,
    parts: Sequence[DocumentRows],
    rows: Sequence[NDArray[np.int64]],
    is_first: Sequence[NDArray[np.bool_]],
) -> None:
    """Compare documents that came before with what is there, and take the larger sizes and scores."""
    for part, of_part, first in zip(parts, rows, is_first, strict=True):
        repeated = np.flatnonzero(~first)
        for start in range(0, len(repeated), _BLOCK):
            again = repeated[start : start + _BLOCK]
            here = of_part[again]
            differs = whole.keys[here] != part.keys[again]
            differs |= (whole.signatures[here] != part.signatures[again]).any(axis=1)
            if differs.any():
                row = here[np.flatnonzero(differs)[0]]
                path, record = whole.paths[whole.path_of[row]], int(whole.records[row])
                raise IncompatibleSketchError(
                    f"{name_of_document(path, record)} was read before with another text; "
                    "a document that changes needs another name"
                )
            np.maximum.at(whole.sizes, here, part.sizes[again])
            np.maximum.at(whole.scores, here, part.scores[again])


def name_of_document(path: bytes, record: int) -> str:
    """Return the name of a document for messages."""
    return os.fsdecode(path) + (f":{record}" if record else "")


def _arrays_of(rows: DocumentRows) -> Arrays:
    """Return the arrays of documents that are in order, without paths that have no document."""
    used, first = np.unique(rows.path_of, return_index=True)
    paths = [rows.paths[i] for i in used.tolist()]
    lengths = np.array([len(path) for path in paths], dtype=np.int64)
    return {
        "paths": np.frombuffer(b"".join(paths), dtype=np.uint8).copy(),
        "path_offsets": np.append(0, np.cumsum(lengths)),
        "first_documents": np.append(first, len(rows.records)).astype(np.int64),
        **{name: getattr(rows, name) for name in _STORED},
    }


def _paths_of(arrays: Mapping[str, NDArray[Any]]) -> list[bytes]:
    data, offsets = arrays["paths"].tobytes(), arrays["path_offsets"].tolist()
    return [data[start:stop] for start, stop in pairwise(offsets)]


def check_rows(arrays: Mapping[str, NDArray[Any]], n_hashes: int) -> None:
    """Raise ValueError unless arrays of the right dtypes are such as `united` makes."""
    n = len(arrays["records"])
    for name in ("keys", "sizes", "scores"):
        if len(arrays[name]) != n:
            raise ValueError(f"{name} must have an entry for each of {n} documents, got {len(arrays[name])}")
    if arrays["signatures"].shape != (n, n_hashes):
        raise ValueError(f"signatures must have shape {(n, n_hashes)}, got {arrays['signatures'].shape}")
    _check_offsets("path_offsets", arrays["path_offsets"], arrays["paths"].size, 0)
    _check_offsets("first_documents", arrays["first_documents"], n, 1)
    if len(arrays["path_offsets"]) != len(arrays["first_documents"]):
        raise ValueError("path_offsets and first_documents must have an entry for each path and one more")
    if len(arrays["path_offsets"]) > MOST_PATHS + 1:
        raise ValueError(f"there must be at most {MOST_PATHS} paths")
    paths = _paths_of(arrays)
    if any(path >= following for path, following in pairwise(paths)):
        raise ValueError("paths must rise")
    records = arrays["records"]
    if n and int(records.max()) >> RECORD_BITS:
        raise ValueError(f"records must be below 2**{RECORD_BITS}, got {records.max()}")
    rises = records[1:] > records[:-1]
    rises[arrays["first_documents"][1:-1] - 1] = True
    if not rises.all():
        raise ValueError("records of a path must rise")
    if n and int(arrays["sizes"].min()) < 0:
        raise ValueError(f"sizes must be at least 0, got {arrays['sizes'].min()}")
    if np.isnan(arrays["scores"]).any():
        raise ValueError("scores must not be NaN")


def _check_offsets(name: str, offsets: NDArray[Any], end: int, least: int) -> None:
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != end:
        raise ValueError(f"{name} must begin with 0 and end with {end}")
    if (offsets < 0).any() or (offsets > end).any() or (np.diff(offsets) < least).any():
        raise ValueError(f"{name} must rise")
