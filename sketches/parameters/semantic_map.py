"""The map of LMA: rows of similar sets share parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.support.backend import backend_of, read_only
from ...lsh.support.checks import check_int
from ...lsh.support.public import publish
from ..kernels import shared_parameters
from .parameter_map import ParameterMap, Runs, Table, table_keys
from .table_rows import TableRows

__all__ = ["SemanticMap"]

_MOST = 1 << 20
_WORD = 64


class SemanticMap(ParameterMap):
    """Map rows to places by their MinHash signatures, so that rows of similar sets share parameters (LMA).

    Parameters
    ----------
    power : int, default 4
        The number K of MinHash values that decide on the place of a block.
    bits : int, default 8
        The number b of bits that are used of a value; ``power * bits`` is at most 64.
    block : int, default 8
        The number of columns that lie side by side, as for `RobeMap`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    A row stands for a set: that of an id may hold the samples in which it occurs. The rows that are given to
    `SharedParameters.gather` are the signatures of the sets, such as those of a `MinHashSketch`, which keeps
    and merges them. Block j of a row is hashed by the lower b bits of the values ``K j`` to ``K j + K - 1``
    of its signature. So a table of n columns needs ``power * ceil(n / block)`` values; further ones are not
    used.

    Two values of sets of Jaccard similarity J are equal in their lower b bits with probability ``J_b = J +
    (1 - J) / 2**b``. For independent values, the expected share of entries that two rows have in common is

        J_b**K + (1 - J_b**K) / m

    with m parameters and blocks that lie apart. Common entries have the same signs, so that rows of equal
    sets are equal. The values of a `MinHashSketch` are about independent for sets of many more elements than
    its hashes. Those of smaller sets repeat, and similar rows share more. All sets without elements share one
    row.

    References
    ----------
    - Desai, Pan, Sun, Chou, Shrivastava. Semantically constrained memory allocation (SCMA) for embedding in
      efficient recommendation systems. arXiv:2103.06124, 2021.
    - Li, Koenig. b-Bit minwise hashing. WWW 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import MinHashSketch, SemanticMap, SharedParameters
    >>> samples = MinHashSketch(n_sets=3, n_hashes=32)  # a set of samples for each of three ids
    >>> for id, seen in enumerate([range(1000), range(50, 1000), range(5000, 6000)]):
    ...     _ = samples.update(np.arange(seen.start, seen.stop), id)
    >>> parameters = SharedParameters(10_000, SemanticMap(power=2)).initialize(std=0.1)
    >>> rows = parameters.gather(samples.signatures(), n_columns=64)
    >>> bool((rows[0] == rows[1]).mean() > 0.5), bool((rows[0] == rows[2]).mean() < 0.2)
    (True, True)
    """

    _parameters = ("power", "bits", "block")

    def __init__(self, power: int = 4, bits: int = 8, block: int = 8) -> None:
        self.power = check_int("power", power, 1, _WORD)
        self.bits = check_int("bits", bits, 1, _WORD)
        if self.power * self.bits > _WORD:
            raise ValueError(f"power * bits must be at most {_WORD}, got {power} * {bits}")
        self.block = check_int("block", block, 1, _MOST)

    def checked_rows(self, rows: Any, table: Table, name: str = "rows") -> TableRows:
        if isinstance(rows, (list, tuple)):
            refuse_flags(name, rows)
        array = check_array(name, rows)
        n_blocks = -(-table.n_columns // self.block)
        needed = n_blocks * self.power
        if array.ndim == 0 or array.shape[-1] < needed:
            raise ValueError(
                f"{name} must be signatures, in an array of shape (..., n_hashes) with n_hashes >= {needed} "
                f"for {table.n_columns} columns, got shape {array.shape}"
            )
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must be signatures of integers, got dtype {array.dtype}")
        xp, shape = backend_of(array).xp, array.shape[:-1]
        values = array.reshape(-1, array.shape[-1])[:, :needed]
        words = xp.zeros((len(values), n_blocks), np.uint64)
        mask = np.uint64((1 << self.bits) - 1)
        for k in range(self.power):
            some = values[:, k :: self.power].astype(np.uint64) & mask
            words |= some << np.uint64(k * self.bits)
        return TableRows(read_only(words), tuple(shape), False, False)

    def runs(self, words: NDArray[np.uint64], table: Table) -> Runs:
        backend, (n, n_blocks) = backend_of(words), words.shape
        block = min(self.block, table.n_columns)
        keys = backend.constant(table_keys(table.seed, table.number, 1 + n_blocks))
        # Each block is hashed like a row of one block, by a word of its own.
        runs = Runs.empty(n * n_blocks, 1, 1, xp=backend.xp)
        flat = read_only((words ^ keys[1:]).reshape(-1))
        kernel = backend.kernels(shared_parameters).hashed_runs
        kernel(flat, keys[:1], block, block, table.n_parameters, 0, n * n_blocks, *runs)
        shape = (n, 1, n_blocks)
        lengths = runs.lengths.reshape(shape)
        lengths[:, :, -1] = table.n_columns - (n_blocks - 1) * block
        return Runs(runs.starts.reshape(shape), lengths, runs.words.reshape(shape))


publish("mergesketch", __all__, globals())
