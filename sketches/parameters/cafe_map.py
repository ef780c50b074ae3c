"""The map of CAFE: frequent rows have places of their own, and the others are hashed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.support.backend import backend_of, read_only, to_host
from ...lsh.support.checks import check_int
from ...lsh.support.public import publish
from ..kernels import frequent_rows, shared_parameters
from .parameter_map import ParameterMap, Runs, Table, table_keys
from .table_rows import TableRows, read_table_rows

__all__ = ["CafeMap", "with_frequent", "with_important"]

_MOST_ROWS, _MOST_COLUMNS = 1 << 24, 1 << 20


class CafeMap(ParameterMap):
    """Map frequent rows to places of their own, and hash the others to the places that are left.

    Parameters
    ----------
    n_frequent : int
        The number of rows that may have places of their own, at most 2**24.
    n_columns : int
        The number of columns of the table.
    block : int, default 64
        The number of columns of a block of the other rows, as for `RobeMap`.
    frequent : array of integers, default ()
        The rows that have places of their own, at most `n_frequent`. `SharedParameters.adapt` chooses them
        while a model is trained, so that they are usually not given.

    Attributes
    ----------
    frequent : tuple of int
        The rows that have places of their own, as words of 64 bits: integers modulo 2**64, or hashes of
        strings.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    The last ``n_frequent * n_columns`` of the m parameters belong to frequent rows. A row that is not
    frequent has the places that `RobeMap` has in the m' parameters before those, except that its blocks do
    not go on at place 0. So two entries of different blocks share a place with a probability of ``1 / (m' -
    block + 1)`` at most. The more frequent rows there are, the fewer parameters are left for the others, and
    only a trial tells which number is best.

    The map does not change. So everything that is linear for other maps is linear here, and objects merge as
    long as they have the same frequent rows. There is one virtual table, of number 0. Ids of several fields
    must differ, as strings such as "city=Rome" do.

    The paper measures importance by the norm of gradients, and finds the important rows by a table of small
    buckets that runs SpaceSaving in each. Here any sketch finds them, see `SharedParameters.adapt`. The
    hashed tables of several levels of the paper's second method are not offered.

    The time to find a row's places hardly depends on the number of frequent rows. Reading takes longer than
    with `RobeMap`, because places are written down before they are read.

    A file keeps the frequent rows in its header, which has room for about 47,000. `save` refuses more.

    References
    ----------
    - Zhang, Liu, Chen, Zhao, Zhao, Yang, Cui. CAFE: Towards compact, adaptive, and fast embedding for
      large-scale recommendation models. Proceedings of the ACM on Management of Data 2(1), 2024.

    Examples
    --------
    >>> from mergesketch import CafeMap, SharedParameters
    >>> map = CafeMap(n_frequent=2, n_columns=4, frequent=[7, 9])
    >>> parameters = SharedParameters(20, map).scatter_add([7, 7, 9], [[1.0, 2.0, 3.0, 4.0]] * 3)
    >>> parameters.gather([7, 9], n_columns=4)
    array([[2., 4., 6., 8.],
           [1., 2., 3., 4.]], dtype=float32)
    """

    _parameters = ("n_frequent", "n_columns", "block", "frequent")
    folds = False

    def __init__(self, n_frequent: int, n_columns: int, block: int = 64, frequent: ArrayLike = ()) -> None:
        self.n_frequent = check_int("n_frequent", n_frequent, 1, _MOST_ROWS)
        self.n_columns = check_int("n_columns", n_columns, 1, _MOST_COLUMNS)
        self.block = check_int("block", block, 1, _MOST_COLUMNS)
        # A configuration from a file has a list, whose integers may need 64 bits.
        read = read_table_rows(list(frequent) if isinstance(frequent, tuple) else frequent, 0, "frequent")
        if not read.are_numbers:
            raise TypeError("frequent must be integers; SharedParameters.adapt also takes strings")
        words = np.unique(to_host(read.words))
        if words.size > self.n_frequent:
            raise ValueError(f"frequent must have at most n_frequent = {n_frequent} rows, got {words.size}")
        self.frequent: tuple[int, ...] = tuple(words.tolist())
        # Two to four entries of `_first` a row, so that most searches end at once.
        bits = 1 + words.size.bit_length()
        self._shift = 64 - bits
        self._kept = read_only(np.sort(_mixed(words)))
        upper = np.arange(1 << bits, dtype=np.uint64) << np.uint64(self._shift)
        first = np.searchsorted(self._kept, upper).astype(np.int64)
        self._first = read_only(np.append(first, words.size))

    def __repr__(self) -> str:
        shown = f"n_frequent={self.n_frequent}, n_columns={self.n_columns}, block={self.block}"
        return f"CafeMap({shown}, frequent=<{len(self.frequent)} rows>)"

    def checked_rows(self, rows: Any, table: Table, name: str = "rows") -> TableRows:
        if table.number:
            raise ValueError(f"table must be 0, the only one of a CafeMap, got {table.number}")
        if table.n_columns != self.n_columns:
            raise ValueError(f"n_columns must be {self.n_columns}, as in the map, got {table.n_columns}")
        least = self.n_frequent * self.n_columns + min(self.block, self.n_columns)
        if table.n_parameters < least:
            raise ValueError(
                f"n_parameters must be at least {least} for {self.n_frequent} frequent rows of "
                f"{self.n_columns} columns and a block of others, got {table.n_parameters}"
            )
        return read_table_rows(rows, table.seed, name)

    def runs(self, words: NDArray[np.uint64], table: Table) -> Runs:
        backend, block, n_columns = backend_of(words), min(self.block, table.n_columns), table.n_columns
        origin = table.n_parameters - self.n_frequent * n_columns
        runs = Runs.empty(len(words), 1, -(-n_columns // block), xp=backend.xp)
        words = read_only(words)
        keys = backend.constant(table_keys(table.seed, table.number, 1))
        hashed_runs = backend.kernels(shared_parameters).hashed_runs
        # A block that begins at one of these places ends before those of frequent rows.
        hashed_runs(words, keys, block, n_columns, origin - block + 1, 0, len(words), *runs)
        given = (backend.constant(self._kept), backend.constant(self._first), self._shift, origin)
        own_starts = backend.kernels(frequent_rows).own_starts
        own_starts(words, *given, n_columns, block, 0, len(words), runs.starts)
        return runs


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return ``mix64(word)`` of the kernels for each word."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def with_frequent(map: CafeMap, frequent: ArrayLike) -> CafeMap:
    """Return the same map with other frequent rows."""
    return CafeMap(map.n_frequent, map.n_columns, map.block, frequent)


def with_important(map: CafeMap, importance: Mapping[int, float], margin: float) -> CafeMap:
    """Return the same map with the most important rows as the frequent ones.

    Parameters
    ----------
    map : CafeMap
    importance : mapping of int to float
        The importance of rows, by their words. It is 0 for all others.
    margin : float
        A row replaces a frequent one only if its importance is more than ``1 + margin`` times as large. With
        0, it does not matter which rows are frequent already.

    Returns
    -------
    CafeMap
    """
    known = set(map.frequent) if margin > 0.0 else set()
    scores = dict.fromkeys(known, 0.0)
    for word, value in importance.items():
        if value > 0.0:
            scores[word] = value * (1.0 + margin) if word in known else value
    # Among equals, rows that are frequent already stay, and the order does not depend on the input's.
    order = sorted(scores, key=lambda word: (-scores[word], word not in known, word))
    return with_frequent(map, np.array(order[: map.n_frequent], np.uint64))


publish("mergesketch", __all__, globals())
