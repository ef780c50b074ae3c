"""Static tables: immutable maps from keys to rows of values, in about the entropy of the columns."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from ...lsh.support.types import KeysLike, RowsLike
from ...lsh.support.wording import counted
from .batch import read_batch
from .blueprint import build_map
from .map import MAX_COLUMNS, StaticMap

__all__ = ["StaticTable"]


class StaticTable(StaticMap):
    """Compress a read-only lookup table from keys to rows of values: one `StaticFunction` for each column.

    Parameters
    ----------
    keys : array or list of n keys
        As for `StaticFunction`.
    rows : array of shape (n, columns)
        Values of one kind, as for `StaticFunction`; at most 16,384 columns.
    seed, key_check_bits, precision, progress
        As for `StaticFunction`.
    codebook : {"separate", "shared"}
        "separate" gives each column a prefix code of its own. "shared" gives one code to all columns, which
        takes less space if many columns have the same values.
    permute : {"none", "entropy", "global"}
        For rows that are multisets: change the order of the values in a row, so that columns become
        predictable. "global" sorts the values of a row by their frequency in the table; "entropy" puts a
        frequent value into the same column of all rows where possible, column after column. The caller's
        array does not change.

    Attributes
    ----------
    n_keys, n_columns, nbytes : int

    Raises
    ------
    ValueError
        If a key has two different rows: the message names it.

    Notes
    -----
    A look-up takes 10 to 25 ns a key and column. Everything else is as for `StaticFunction`.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> table = mergesketch.StaticTable(["x", "y"], [[1, 2, 3], [4, 5, 6]])
    >>> table.lookup(["y", "x"])
    array([[4, 5, 6],
           [1, 2, 3]])
    """

    def __init__(
        self,
        keys: KeysLike,
        rows: RowsLike,
        *,
        seed: int = 0,
        key_check_bits: int = 0,
        precision: float | None = None,
        codebook: str = "separate",
        permute: str = "none",
        progress: bool = True,
    ) -> None:
        batch = read_batch(keys, rows, "rows", 2, precision)
        if batch.words.shape[1] > MAX_COLUMNS:
            raise ValueError(f"rows must have at most {MAX_COLUMNS} columns, got {batch.words.shape[1]}")
        self._set(*build_map(batch, seed, key_check_bits, progress, codebook, permute))

    @property
    def n_columns(self) -> int:
        """Number of values in a row."""
        return len(self._column_configs)

    def lookup(self, keys: KeysLike, missing: ArrayLike | None = None) -> NDArray[Any]:
        """Return the rows of a batch of keys.

        Parameters
        ----------
        keys : array or list of n keys
        missing : value or row, optional
            With key_check_bits: the value, or the row, for absent keys.

        Returns
        -------
        ndarray of shape (n, columns)
            With key_check_bits and without `missing`, a masked array in which the rows of absent keys are
            masked.

        Raises
        ------
        TypeError, ValueError
            If the keys have another kind than at construction, or `missing` has another kind than the values.

        Examples
        --------
        >>> import mergesketch
        >>> table = mergesketch.StaticTable([7, 8], [["a", "b"], ["a", "c"]])
        >>> table.lookup([8]).tolist()
        [['a', 'c']]
        """
        return self._look_up(keys, missing)

    def __repr__(self) -> str:
        return (
            f"<StaticTable: {counted(self.n_keys, 'key')} to {self.n_columns} x {self._kind.dtype}, "
            f"{self.nbytes:,} bytes>"
        )
