"""Shared parameters whose important rows get parameters of their own while a model is trained."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from ...lsh.support.checks import check_real
from ...lsh.support.configured import arguments_of
from .cafe_map import CafeMap, with_important
from .matrix_products import MatrixProducts
from .table_rows import read_table_rows

__all__ = ["FrequentRows"]

_MOST_MARGIN, _LARGEST = 2.0**64, sys.float_info.max


class FrequentRows(MatrixProducts):
    """Define how rows get parameters of their own."""

    _internal = True

    def adapt(self, importance: Iterable[tuple[Any, float]], *, margin: float = 0.25) -> Self:
        """Return shared parameters in which the most important rows have parameters of their own.

        Parameters
        ----------
        importance : iterable of (row, number)
            Rows and their importance, of at least 0, each row once: for example ``counts.top(2 *
            n_frequent)`` of a `TopK` or `HeavyHitters` that has counted the rows of all batches. Rows that
            are missing have the importance 0.
        margin : float, default 0.25
            A row replaces one that has parameters of its own only if it is more than ``1 + margin`` times as
            important. So rows of about the same importance do not replace each other again and again. With 0,
            the choice depends on `importance` alone, and rows that it does not name leave.

        Returns
        -------
        SharedParameters
            With the updates of this object, which does not change. Its map is a `CafeMap` with other
            `frequent` rows.

        Raises
        ------
        TypeError, ValueError
            If the map is no `CafeMap`, or the rows or numbers are not as described.

        Notes
        -----
        As in CAFE, a row that enters begins with what it was read as before, and one that leaves is read from
        its hashed places again: what its own parameters had learned is dropped. Rows that stay keep their
        values, and so do all other rows, bit for bit.

        Only objects of the same frequent rows merge. Workers that train apart merge their counts, and adapt
        with ``margin=0`` to them. Then all have the same frequent rows, and `merge` and `average` work. A
        gradient must be added before its object adapts.

        Time is that of copying the parameters, and of sorting the importance.

        References
        ----------
        - Zhang, Liu, Chen, Zhao, Zhao, Yang, Cui. CAFE: Towards compact, adaptive, and fast embedding for
          large-scale recommendation models. Proceedings of the ACM on Management of Data 2(1), 2024.

        Examples
        --------
        >>> from mergesketch import CafeMap, SharedParameters, TopK
        >>> ids = ["tea"] * 5 + ["cake"] * 4 + ["milk", "jam"]
        >>> counts = TopK(2).update(ids)
        >>> parameters = SharedParameters(100, CafeMap(n_frequent=2, n_columns=8)).initialize(std=0.1)
        >>> adapted = parameters.adapt(counts.top(4))
        >>> adapted.map
        CafeMap(n_frequent=2, n_columns=8, block=64, frequent=<2 rows>)
        >>> bool((adapted.gather(ids, 8) == parameters.gather(ids, 8)).all())
        True
        """
        if not isinstance(self.map, CafeMap):
            raise ValueError(f"map must be a CafeMap to adapt, got {self.map!r}")
        margin = check_real("margin", margin, 0.0, _MOST_MARGIN, closed=True)
        refusal = f"importance must be pairs of a row and a number, got {importance!r:.80}"
        if isinstance(importance, Mapping):  # Its keys may be pairs, too.
            raise TypeError(refusal)
        try:
            pairs = [(row, number) for row, number in importance]
        except (TypeError, ValueError):
            raise TypeError(refusal) from None
        numbers = [
            check_real(f"importance of row {row!r:.40}", number, 0.0, _LARGEST, closed=True)
            for row, number in pairs
        ]
        rows = [row for row, _ in pairs]
        read = read_table_rows(rows, self.seed, "importance")
        words = read.words.tolist()
        if read.shape != (len(rows),):
            raise TypeError("importance must have one integer, str or bytes as each row, got several in one")
        if len(set(words)) < len(words):
            raise ValueError("importance must have each row once, got some twice")
        return self._moved_to(with_important(self.map, dict(zip(words, numbers, strict=True)), margin))

    def _moved_to(self, map: CafeMap) -> Self:
        """Return the same parameters for another map, which differs in the frequent rows."""
        xp, d = self._backend.xp, map.n_columns
        weights = self._arrays["weights"].copy()
        if map.frequent:
            own = xp.asarray(np.array(map.frequent, np.uint64))
            values = self.gather(own, d)
            weights[-map.n_frequent * d :] = 0
            bags = self._bags((len(own),), None, None)
            map.scatter_into(own, bags, values, self._table(d, 0), 1.0, weights)
        new = self._from_config({**arguments_of(self), "map": map})
        arrays = {"weights": weights, "n_updates": self._arrays["n_updates"].copy()}
        return new._set_arrays(arrays, self.device)
