"""Maps that hash the blocks of a row to any places: ROBE, several hashed rows, and pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of, read_only
from ...lsh.support.checks import check_int
from ...lsh.support.public import publish
from ..kernels import shared_parameters
from .parameter_map import ParameterMap, Runs, Table, bags_block, places_block, table_keys
from .table_rows import Bags, TableRows, read_pairs

__all__ = ["MultiHashMap", "PairMap", "RobeMap"]

#: The most columns of a block.
_MOST = 1 << 20


class HashedMap(ParameterMap):
    """Define maps that hash each block of a row, and where nothing else decides on its place."""

    block: int
    n_copies: int = 1

    def runs(self, words: NDArray[np.uint64], table: Table) -> Runs:
        backend, block = backend_of(words), min(self.block, table.n_columns)
        runs = Runs.empty(len(words), self.n_copies, -(-table.n_columns // block), xp=backend.xp)
        keys = backend.constant(table_keys(table.seed, table.number, self.n_copies))
        kernel = backend.kernels(shared_parameters).hashed_runs
        kernel(read_only(words), keys, block, table.n_columns, table.n_parameters, 0, len(words), *runs)
        return runs

    def gather_into(
        self,
        weights: NDArray[Any],
        words: NDArray[np.uint64],
        bags: Bags,
        table: Table,
        scale: float,
        out: NDArray[Any],
    ) -> None:
        backend, scale = backend_of(weights), scale * self.copy_factor
        keys = backend.constant(table_keys(table.seed, table.number, self.n_copies))
        given = (read_only(weights), read_only(words), *bags, keys, min(self.block, table.n_columns), scale)
        kernel = backend.kernels(shared_parameters).gather_hashed
        backend.map_blocks(lambda start, stop: kernel(*given, start, stop, out), len(out), bags_block(table))

    def scatter_into(
        self,
        words: NDArray[np.uint64],
        bags: Bags,
        gradients: NDArray[Any],
        table: Table,
        scale: float,
        weights: NDArray[Any],
    ) -> None:
        backend, scale = backend_of(weights), scale * self.copy_factor
        keys = backend.constant(table_keys(table.seed, table.number, self.n_copies))
        block = min(self.block, table.n_columns)
        given = (read_only(words), *bags, read_only(gradients), keys, block, scale)
        kernel = backend.kernels(shared_parameters).scatter_hashed
        backend.map_blocks(
            lambda start, stop: kernel(*given, start, stop, weights),
            weights.size,
            places_block(weights.size, gradients.size),
        )


class RobeMap(HashedMap):
    """Map each block of a row to a hashed place: random offset block embeddings (ROBE).

    Parameters
    ----------
    block : int, default 64
        The number Z of columns of a block, which lie side by side. Larger blocks are read faster, and fewer
        pairs of entries can share a place. With 1, every entry is hashed by itself.

    Raises
    ------
    TypeError, ValueError
        If `block` is no integer from 1 to 2**20.

    Notes
    -----
    Entry (e, i) of a virtual table lies at place ``(h(e, i div Z) + i mod Z) mod m`` of the m parameters, and
    has the sign s(e, i). So blocks go on at place 0 behind the end of the array.

    Let S be the matrix of `SharedParameters.scatter_add`. For any two tables x and y of virtual entries,
    given as vectors, and m >= Z, the inner product of S x and S y has mean x . y and variance

        (1 / m) sum over i != j in different blocks of (x_i**2 y_j**2 + x_i y_i x_j y_j)

    which is at most ``(|x|**2 |y|**2 + (x . y)**2) / m``. Proof: ``S x . S y - x . y`` is the sum over i != j
    of ``s_i s_j x_i y_j`` where places i and j are equal. They are equal with probability 1/m if i and j lie
    in different blocks, and never if they lie in one. The product of the signs of two such terms has mean 0
    unless both have the same pair {i, j}. Each entry needs a sign of its own for this; with one sign for a
    block, as in the paper, blocks that overlap in several places add further terms.

    References
    ----------
    - Desai, Chou, Shrivastava. Random offset block embedding (ROBE) for compressed embedding tables in deep
      learning recommendation systems. MLSys 2022.

    Examples
    --------
    >>> from mergesketch import RobeMap, SharedParameters
    >>> SharedParameters(1000, RobeMap(block=16)).gather([7, 8], n_columns=64).shape
    (2, 64)
    """

    _parameters = ("block",)

    def __init__(self, block: int = 64) -> None:
        self.block = check_int("block", block, 1, _MOST)

    @property
    def longest_run(self) -> int:
        """The number of entries that never share a place, because they lie side by side."""
        return self.block


class MultiHashMap(HashedMap):
    """Map a row to the mean of k hashed rows, so that two rows seldom share all their parameters.

    Parameters
    ----------
    n_hashes : int, default 2
        The number k of hashed rows, from 1 to 64.

    Raises
    ------
    TypeError, ValueError
        If `n_hashes` is no such integer.

    Notes
    -----
    Each of the hashed rows is a block as wide as the table, as `RobeMap` places it. Reading and adding take k
    times as long as with `RobeMap`.

    References
    ----------
    - Svenstrup, Hansen, Winther. Hash embeddings for efficient word representations. NIPS 2017.

    Examples
    --------
    >>> from mergesketch import MultiHashMap, SharedParameters
    >>> parameters = SharedParameters(1000, MultiHashMap(n_hashes=2)).scatter_add([3], [[2.0, 4.0]])
    >>> parameters.weights.sum() != 0 and sorted(abs(parameters.weights[parameters.weights != 0]).tolist())
    [1.0, 1.0, 2.0, 2.0]
    """

    _parameters = ("n_hashes",)
    block = _MOST

    def __init__(self, n_hashes: int = 2) -> None:
        self.n_hashes = check_int("n_hashes", n_hashes, 1, 64)

    @property
    def n_copies(self) -> int:  # type: ignore[override]
        """The number of hashed rows."""
        return self.n_hashes

    @property
    def copy_factor(self) -> float:  # type: ignore[override]
        """The factor of each hashed row."""
        return 1.0 / self.n_hashes


class PairMap(HashedMap):
    """Map a pair (a, b) to a hashed row: the table has a row for each ordered pair of tokens.

    Parameters
    ----------
    block : int, default 64
        The number of columns that lie side by side, as for `RobeMap`.

    Raises
    ------
    TypeError, ValueError
        If `block` is no integer from 1 to 2**20.

    Notes
    -----
    Rows are integer arrays whose last dimension is 2, or lists of tuples of two integers, strings or bytes.
    The pairs (a, b) and (b, a) are two rows.

    Examples
    --------
    >>> from mergesketch import PairMap, SharedParameters
    >>> parameters = SharedParameters(1000, PairMap()).scatter_add([("green", "tea")], [[1.0, 2.0]])
    >>> parameters.gather([("green", "tea")], n_columns=2)
    array([[1., 2.]], dtype=float32)
    """

    _parameters = ("block",)

    def __init__(self, block: int = 64) -> None:
        self.block = check_int("block", block, 1, _MOST)

    @property
    def longest_run(self) -> int:
        """The number of entries that never share a place, because they lie side by side."""
        return self.block

    def checked_rows(self, rows: Any, table: Table, name: str = "rows") -> TableRows:
        return read_pairs(rows, table.seed, name)


publish("mergesketch", __all__, globals())
