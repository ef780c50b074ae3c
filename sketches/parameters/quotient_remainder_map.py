"""The quotient-remainder trick: a row is made of two rows of small tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.public import publish
from .parameter_map import ParameterMap, Runs, Table
from .table_rows import TableRows, read_row_numbers

__all__ = ["QuotientRemainderMap"]


class QuotientRemainderMap(ParameterMap):
    """Map a row to two rows of small tables: that of its quotient by `n_remainders`, and of its remainder.

    Parameters
    ----------
    n_rows : int
        The number of rows of the virtual table.
    n_remainders : int
        The number r of rows of the second table, from 1 to `n_rows`. The root of `n_rows` takes the least
        memory.
    combine : {"sum", "concatenation"}
        "sum" adds up two rows of all columns. "concatenation" takes the first half of the columns, rounded
        up, from the quotient's row, and the others from the remainder's.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    No two rows are equal, unlike those of a table that is hashed. `size` tells the number of parameters.
    With fewer, both tables overlap. There is one virtual table, of number 0.

    The product of both rows, which the paper also proposes, is no linear map of the parameters. So it cannot
    be part of a sketch that merges.

    References
    ----------
    - Shi, Mudigere, Naumov, Yang. Compositional embeddings using complementary partitions for
      memory-efficient recommendation systems. KDD 2020.

    Examples
    --------
    >>> from mergesketch import QuotientRemainderMap, SharedParameters
    >>> qr = QuotientRemainderMap(n_rows=1_000_000, n_remainders=1000)
    >>> qr.size(n_columns=16)
    32000
    >>> SharedParameters(qr.size(16), qr).gather([999_999], n_columns=16).shape
    (1, 16)
    """

    _parameters = ("n_rows", "n_remainders", "combine")

    def __init__(self, n_rows: int, n_remainders: int, combine: str = "sum") -> None:
        self.n_rows = check_int("n_rows", n_rows, 1, 1 << 42)
        self.n_remainders = check_int("n_remainders", n_remainders, 1, self.n_rows)
        self.combine = check_choice("combine", combine, ("sum", "concatenation"))

    def size(self, n_columns: int) -> int:
        """Return the number of parameters of both tables.

        Parameters
        ----------
        n_columns : int

        Returns
        -------
        int

        Raises
        ------
        TypeError, ValueError
            If `n_columns` is no integer of at least 1.
        """
        of_quotient, of_remainder = self._widths(check_int("n_columns", n_columns, 1))
        return self.n_remainders * of_remainder + -(-self.n_rows // self.n_remainders) * of_quotient

    def _widths(self, n_columns: int) -> tuple[int, int]:
        """Return the numbers of columns of the quotients' table and of the remainders'."""
        if self.combine == "sum":
            return n_columns, n_columns
        return -(-n_columns // 2), n_columns // 2

    def checked_rows(self, rows: Any, table: Table, name: str = "rows") -> TableRows:
        if table.number:
            raise ValueError(f"table must be 0, the only one of a QuotientRemainderMap, got {table.number}")
        return read_row_numbers(rows, self.n_rows, name)

    def runs(self, words: NDArray[np.uint64], table: Table) -> Runs:
        xp, (of_quotient, of_remainder) = backend_of(words).xp, self._widths(table.n_columns)
        quotient, remainder = (
            xp.asarray(part, np.int64) for part in divmod(words, np.uint64(self.n_remainders))
        )
        first = self.n_remainders * of_remainder
        starts = xp.stack([first + quotient * of_quotient, remainder * of_remainder], axis=1)
        starts %= table.n_parameters
        lengths = xp.broadcast_to(xp.asarray([of_quotient, of_remainder]), starts.shape)
        # A sum has two copies of one run each, a concatenation one copy of two runs.
        shape = (len(words), 2, 1) if self.combine == "sum" else (len(words), 1, 2)
        no_words = xp.empty((0, 0, 0), np.uint64)
        return Runs(starts.reshape(shape), xp.ascontiguousarray(lengths).reshape(shape), no_words)


publish("mergesketch", __all__, globals())
