"""Families whose codes come from products of rows with random vectors: how they hash and probe."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..family import RowsToCodes
from ..inputs.rows import VectorRows, read_rows
from ..kernels.multiply import make_panels
from ..support.checks import check_int
from ..support.threads import cut_range, get_num_threads
from ..support.types import RowsLike
from .concatenation import ConcatenatedFamily
from .width import FamilyOfWidth, with_width

__all__ = ["ProjectionFamily", "RandomVectors", "prepare_vectors", "rows_of_a_range"]

#: Number of products that are worth a thread of their own.
_VALUES_BLOCK = 1 << 17
#: Number of rows that the kernels work on at a time.
_ROWS_BLOCK = 192
#: Number of probes, or of products to find them by, that are worth a thread of their own.
_PROBES_BLOCK = 1 << 12
#: Number of query rows that are probed at a time in main memory. All of their products are kept.
_PROBED_ROWS = 24
#: Number of products that are kept at a time on a GPU.
_PROBED_PRODUCTS = 1 << 26


class RandomVectors(NamedTuple):
    """Random vectors in the forms that the kernels of products read."""

    #: The vectors, shape (n_values, n_features).
    matrix: NDArray[np.float32]
    #: The vectors in the order of multiplication; see `make_panels`.
    panels: NDArray[np.float32]
    #: Their Euclidean lengths.
    norms: NDArray[np.float64]


def prepare_vectors(matrix: NDArray[np.float32]) -> RandomVectors:
    """Return vectors, the rows of a matrix, in the forms that the kernels read."""
    norms = np.sqrt(np.einsum("pd,pd->p", matrix, matrix, dtype=np.float64))
    return RandomVectors(matrix, make_panels(matrix), norms)


def rows_of_a_range(n: int, n_values: int) -> int:
    """Return how many of n rows a thread should multiply with `n_values` vectors before others take over.

    The vectors are read from memory once for each block of rows, so a thread gets more than one range only
    where each range holds a block.
    """
    threads = get_num_threads()
    n_ranges = threads * min(4, max(1, n // (_ROWS_BLOCK * threads)))
    return max(n // n_ranges, _VALUES_BLOCK // n_values)


class ProjectionFamily(FamilyOfWidth, ConcatenatedFamily):
    """A family whose hashes come from products of rows and ``n_values`` random vectors.

    Product ``k * n_hashes + h`` is the k-th of hash h.
    """

    def _read(self, X: RowsLike, name: str = "X") -> VectorRows:
        return read_rows(X, self.n_features, name)

    @abstractmethod
    def _coder(self, rows: VectorRows) -> RowsToCodes:
        """Return what writes the codes of rows [start, stop) to ``out[start:stop]``.

        Random parameters are drawn, and rows converted, in this call: threads share what it returns.
        """

    def _range_size(self, rows: VectorRows) -> int:
        """Return the least number of rows that are worth a thread of their own."""
        return rows_of_a_range(rows.n, self.n_values)

    @with_width
    def hash(self, X: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of rows.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers; float32 and float64 are used as they are.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN or infinity, or has another width.
        """
        rows = self._read(X)
        out: NDArray[np.uint32] = rows.backend.xp.empty((rows.n, self.n_hashes), dtype=np.uint32)
        if rows.n:
            write = self._coder(rows)
            rows.backend.map_blocks(lambda a, b: write(a, b, out), rows.n, self._range_size(rows))
        return out

    # -- multi-probe querying -----------------------------------------------------------------------

    @property
    @abstractmethod
    def _changes(self) -> tuple[int, str]:
        """The number of ways to change a value, and the name of values in messages."""

    @abstractmethod
    def _prober(self, rows: VectorRows) -> RowsToCodes:
        """Return what writes the probes of query rows [start, stop) to ``out``, shape (stop - start, ...).

        Random parameters are drawn, and rows converted, in this call: threads share what it returns.
        """

    @with_width
    def probe(self, Q: RowsLike, n_probes: int) -> NDArray[np.uint32]:
        """Return the codes of the `n_probes` buckets of each hash that are likeliest to contain neighbours.

        Parameters
        ----------
        Q : array_like or SciPy sparse matrix of shape (n, n_features)
        n_probes : int
            From 1 to the number of buckets that differ by one change of each value: ``2**power`` for
            signs, ``3**power`` for steps.

        Returns
        -------
        ndarray of shape (n, n_hashes, n_probes), uint32
            The likeliest bucket comes first: ``probe(Q, n)[:, :, 0]`` are the codes of ``hash_query(Q)``.
            Buckets of one hash are distinct before they are reduced to `n_buckets`.

        Raises
        ------
        TypeError, ValueError
            If `Q` is refused by `hash`, or `n_probes` is out of range.

        Notes
        -----
        This is the query-directed probing of Lv, Josephson, Wang, Charikar and Li 2007, section 4.3. Buckets
        are ordered by the sum of squared distances from the query's products to the borders that have to be
        crossed: for steps of `PStable` the borders of the cell, for signs 0, where a bit flips. A neighbour's
        products differ from the query's by normal noise, whose log-density falls with the square, so this is
        the order of likelihoods to first order (for p-stable families with p = 2; with p = 1 it is a rule of
        thumb).

        Time: O(n_probes log(n_probes) + power) for each row and hash, beside the projection. The order
        follows from float32 products, so buckets with almost equal scores may change places on another
        processor or a GPU.
        """
        kinds, name = self._changes
        n_probes = check_int("n_probes", n_probes, 1)
        limit = kinds**self.power
        if n_probes > limit:
            raise ValueError(
                f"n_probes must be at most {limit}, the ways to change {self.power} {name}, got {n_probes}"
            )
        if n_probes == 1:
            return self.hash_query(Q)[:, :, None]
        rows = self._read(Q, "Q")
        backend, probe = rows.backend, self._prober(rows)
        out: NDArray[np.uint32] = backend.xp.empty((rows.n, self.n_hashes, n_probes), dtype=np.uint32)
        together = _PROBED_ROWS if backend.device == "cpu" else max(1, _PROBED_PRODUCTS // self.n_values)

        def run(start: int, stop: int) -> None:
            for left, right in cut_range(start, stop, together):
                probe(left, right, out[left:right])

        backend.map_blocks(run, rows.n, max(1, _PROBES_BLOCK // (self.n_hashes * (n_probes + self.power))))
        return out
