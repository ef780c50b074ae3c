"""Maps: where the entries of virtual tables lie in an array of shared parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import Backend, backend_of, read_only
from ...lsh.support.configured import Configured, build_named, register, register_reader
from ...lsh.support.public import publish
from ...lsh.support.random import random_uint64
from ...lsh.support.threads import cut_range, get_num_threads
from ..kernels import shared_parameters
from .table_rows import Bags, TableRows, read_table_rows

__all__ = ["ParameterMap", "Runs", "Table", "table_keys"]

#: Entries that are worth a thread of their own.
_ENTRIES_BLOCK = 1 << 16
#: Runs that are written down at a time, which stay in the caches; on a GPU, in 24 bytes each of its memory.
_RUNS_BLOCK = {"cpu": 1 << 12, "gpu": 1 << 22}


class Table(NamedTuple):
    """A virtual table, as a map sees it.

    Attributes
    ----------
    n_parameters : int
        The number m of shared parameters.
    n_columns : int
    seed : int
        The seed of the shared parameters.
    number : int
        The number of the table. Tables of different numbers have rows of their own.
    """

    n_parameters: int
    n_columns: int
    seed: int
    number: int


class Runs(NamedTuple):
    """The places of rows: runs of consecutive places, which go on at place 0 behind the end of the array.

    A row is the sum of its copies, and the runs of a copy follow each other in the row. The kernels'
    module says how the word of a run gives signs to its entries.

    Attributes
    ----------
    starts : ndarray of shape (n, n_copies, n_runs), int64
        The place of the first entry, in [0, n_parameters).
    lengths : ndarray of the same shape, int64
        The numbers of entries. Those of a copy add up to the number of columns.
    words : ndarray of the same shape, uint64, or of size 0
        The words of the signs; of size 0 if no entry has a sign.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    words: NDArray[np.uint64]

    @classmethod
    def empty(cls, n: int, n_copies: int, n_runs: int, *, xp: Any = np, signed: bool = True) -> Runs:
        """Return runs that a kernel sets."""
        shape = (n, n_copies, n_runs)
        words = xp.empty(shape if signed else (0, 0, 0), np.uint64)
        return cls(xp.empty(shape, np.int64), xp.empty(shape, np.int64), words)


class ParameterMap(Configured, ABC):
    """Define where the entries of virtual tables lie in an array of shared parameters.

    Notes
    -----
    A subclass names its arguments in `_parameters`, and defines `runs`. A map whose places are quick to
    compute may also define `gather_into` and `scatter_into`, by kernels that write no runs down. Places are
    taken modulo the number of parameters last, so that `SharedParameters.fold` works. A map that takes them
    otherwise sets `folds` to False.
    """

    #: The factor of each copy of a row.
    copy_factor: float = 1.0
    #: True if places are taken modulo the number of parameters last.
    folds: ClassVar[bool] = True
    _registry: ClassVar[dict[str, type[ParameterMap]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register(ParameterMap._registry, cls)

    def config(self) -> dict[str, Any]:
        """Return the name of the class, under "map", and the arguments, as JSON-able values.

        Returns
        -------
        dict
        """
        return {"map": type(self).__name__, **super().config()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParameterMap) and self.config() == other.config()

    def __hash__(self) -> int:
        return hash(repr(self))

    @abstractmethod
    def runs(self, words: NDArray[np.uint64], table: Table) -> Runs:
        """Return the places of rows.

        Parameters
        ----------
        words : ndarray of shape (n,), uint64
            Rows, as `checked_rows` returns them.
        table : Table

        Returns
        -------
        Runs
        """

    def checked_rows(self, rows: Any, table: Table, name: str = "rows") -> TableRows:
        """Read rows, and refuse those that the table does not have.

        Parameters
        ----------
        rows : integers, strings or bytes
        table : Table
        name : str, default "rows"
            The name of the argument in messages.

        Returns
        -------
        TableRows

        Raises
        ------
        TypeError, ValueError
            If the rows are of another type, or the table has no such rows.
        """
        return read_table_rows(rows, table.seed, name)

    def numbered_words(self, start: int, stop: int, table: Table, xp: Any = np) -> NDArray[np.uint64]:
        """Return the words of the rows start, ..., stop - 1.

        Parameters
        ----------
        start, stop : int
        table : Table
        xp : module, default numpy
            numpy or cupy.

        Returns
        -------
        ndarray of shape (stop - start,), uint64

        Raises
        ------
        ValueError
            If the rows of the map are no numbers, or the table has no such rows.
        """
        read = self.checked_rows(xp.arange(start, stop), table)
        # Maps whose rows have several numbers may take the array as one row.
        if read.shape != (stop - start,):
            raise ValueError(f"map must have rows that are numbers here, got {self!r}")
        return read.words

    def gather_into(
        self,
        weights: NDArray[Any],
        words: NDArray[np.uint64],
        bags: Bags,
        table: Table,
        scale: float,
        out: NDArray[Any],
    ) -> None:
        """Set each row of `out` to the sum of the rows of a bag, each times its factor and `scale`.

        Parameters
        ----------
        weights : ndarray of shape (n_parameters,)
        words : ndarray of shape (n,), uint64
        bags : Bags
        table : Table
        scale : float
        out : ndarray of shape (n_bags, n_columns)
        """
        backend = backend_of(weights)
        gather_runs = backend.kernels(shared_parameters).gather_runs
        weights, scale = read_only(weights), scale * self.copy_factor

        def gather(start: int, stop: int) -> None:
            for a, b in cut_range(start, stop, self._rows_block(table, backend)):
                part, rows = bags.cut(a, b)
                runs = self.runs(words[rows], table)
                gather_runs(weights, *map(read_only, runs), *part, scale, 0, b - a, out[a:b])

        backend.map_blocks(gather, len(out), bags_block(table))

    def scatter_into(
        self,
        words: NDArray[np.uint64],
        bags: Bags,
        gradients: NDArray[Any],
        table: Table,
        scale: float,
        weights: NDArray[Any],
    ) -> None:
        """Add the gradients of bags to `weights`: the transpose of `gather_into`.

        Parameters
        ----------
        words : ndarray of shape (n,), uint64
        bags : Bags
        gradients : ndarray of shape (n_bags, n_columns)
        table : Table
        scale : float
        weights : ndarray of shape (n_parameters,)
        """
        backend = backend_of(weights)
        scatter_runs, scale = backend.kernels(shared_parameters).scatter_runs, scale * self.copy_factor
        for a, b in cut_range(0, len(gradients), self._rows_block(table, backend)):
            part, rows = bags.cut(a, b)
            runs, some = self.runs(words[rows], table), gradients[a:b]
            given = (*map(read_only, runs), *part, read_only(some), scale)
            scatter = partial(_call_range, scatter_runs, given, weights)
            backend.map_blocks(scatter, weights.size, places_block(weights.size, some.size))

    def add_loads(
        self, words: NDArray[np.uint64], table: Table, scale: float, loads: NDArray[np.float64]
    ) -> None:
        """Add the squared coefficient of each entry of rows to the place that it lies at.

        Parameters
        ----------
        words : ndarray of shape (n,), uint64
        table : Table
        scale : float
        loads : ndarray of shape (n_parameters,), float64
        """
        backend = backend_of(words)
        xp, scatter_runs = backend.xp, backend.kernels(shared_parameters).scatter_runs
        no_signs, no_offsets = xp.empty((0, 0, 0), np.uint64), xp.empty(0, np.int64)
        square = (scale * self.copy_factor) ** 2
        for a, b in cut_range(0, len(words), self._rows_block(table, backend)):
            starts, lengths, _ = map(read_only, self.runs(words[a:b], table))
            given = (starts, lengths, read_only(no_signs), read_only(no_offsets), read_only(xp.empty(0)))
            ones = read_only(xp.ones((b - a, table.n_columns)))
            scatter_runs(*given, ones, square, 0, loads.size, loads)

    def _rows_block(self, table: Table, backend: Backend) -> int:
        """Return the number of rows whose runs are written down at a time."""
        return max(1, _RUNS_BLOCK[backend.device] // (1 + table.n_columns // 64))


def _call_range(
    kernel: Callable[..., None], given: tuple[Any, ...], out: NDArray[Any], start: int, stop: int
) -> None:
    kernel(*given, start, stop, out)


def bags_block(table: Table) -> int:
    """Return the number of bags that are worth a thread of their own."""
    return max(1, _ENTRIES_BLOCK // table.n_columns)


def places_block(n_parameters: int, n_entries: int) -> int:
    """Return the number of places that are worth a thread of their own, where `n_entries` are added.

    Each thread computes all places, and adds to its own ones in the order of the rows. So there are as many
    parts as threads, and the sums do not depend on their number.
    """
    n_parts = min(get_num_threads(), 1 + n_entries // _ENTRIES_BLOCK)
    return -(-n_parameters // n_parts)


@lru_cache(maxsize=1 << 12)
def table_keys(seed: int, number: int, n: int) -> NDArray[np.uint64]:
    """Return n random words of a table, which hash its rows."""
    return read_only(random_uint64(seed, f"SharedParameters, table {number}", n))


def map_from_config(config: Mapping[str, Any]) -> ParameterMap:
    """Return the map that a configuration describes: the inverse of ``map.config()``."""
    found: ParameterMap = build_named("map", ParameterMap._registry, config)
    return found


register_reader("map", map_from_config)


publish("mergesketch", ["ParameterMap"], globals())
