"""Items with random sparse codes and the network that predicts them: training, merging and averaging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import IncompatibleSketchError
from ...lsh.inputs.rows import read_rows
from ...lsh.inputs.weights import check_real_weights
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.types import RowsLike
from ..core.guard import changing, locked, uninterrupted
from ..core.merging import parts_of
from ..core.state import Arrays, ArraySpec, State
from .bucket_network import UNITS, BucketNetwork, draw_network, train, unit_rows
from .item_lists import ItemLists, read_ids
from .relevant_items import read_relevant, refuse_numbers_of_items

__all__ = ["CodeNetwork"]


class CodeNetwork(ItemLists):
    """Keep items and the network that predicts their buckets: its training, merges and means."""

    _internal = True

    n_features: int
    n_hidden: int
    _losses: tuple[float, ...]

    # -- state ------------------------------------------------------------------------------------

    @property
    def _n_outputs(self) -> int:
        return self.n_chunks * self.n_buckets

    @property
    def _n_drawn(self) -> int:
        return self.n_hidden * (self.n_features + self.n_chunks * self.n_buckets)

    @lazy
    def _state(self) -> State[ArraySpec]:
        specs = {
            "ids": ArraySpec("int64"),
            **{name: ArraySpec("float32", n) for name, n in UNITS.items()},
            "n_trained": ArraySpec("int64"),
        }
        arrays = {name: np.zeros((0,) * spec.n_dimensions, spec.dtype) for name, spec in specs.items()}
        return State(type(self).__name__, specs, {**arrays, "n_trained": np.zeros(1, np.int64)})

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        ids, n_trained = arrays["ids"], arrays["n_trained"]
        if ids.size and (ids[0] < 0 or (np.diff(ids) <= 0).any()):
            raise ValueError("ids must be at least 0, and rise")
        if n_trained.shape != (1,) or n_trained[0] < 0:
            raise ValueError("n_trained must be a number of at least 0")
        shapes = {
            "hidden": (self.n_features, self.n_hidden),
            "hidden_bias": (self.n_hidden,),
            "output": (self._n_outputs, self.n_hidden),
            "output_bias": (self._n_outputs,),
        }
        for name, shape in shapes.items():
            expected = shape if n_trained[0] else (0,) * len(shape)
            if arrays[name].shape != expected:
                raise ValueError(f"{name} must have shape {expected}, got {arrays[name].shape}")
            # Products of larger numbers would be infinite, and their order not that of numbers.
            if arrays[name].size and not float(np.abs(arrays[name]).max()) < 1e15:
                raise ValueError(f"{name} must have finite numbers below 1e15")

    @property
    def n_trained(self) -> int:
        """The number of rows that the network was trained with."""
        return int(self._arrays["n_trained"][0])

    @property
    def losses(self) -> tuple[float, ...]:
        """The mean loss of the rows in each epoch of the last training."""
        return self._losses

    @property
    def _network(self) -> BucketNetwork:
        return BucketNetwork(*(self._arrays[name] for name in UNITS))

    # -- training ---------------------------------------------------------------------------------

    def fit(
        self,
        X: RowsLike,
        Y: ArrayLike,
        ids: ArrayLike | None = None,
        *,
        n_epochs: int = 5,
        batch_size: int = 256,
        learning_rate: float = 0.1,
    ) -> Self:
        """Train a new network, and add the items of all columns.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        Y : sparse matrix or array_like of shape (n, n_columns)
            A number above 0 where an item belongs to a row, and 0 elsewhere. Rows without items are not used.
        ids : array_like of n_columns integers, optional
            Distinct ids of the items of the columns; by default they are numbered from 0.
        n_epochs : int, default 5
            How often each row is used.
        batch_size : int, default 256
            The number of rows of a step.
        learning_rate : float, default 0.1
            The size of the steps.

        Returns
        -------
        The index itself. Other items stay, but the new network does not know them.

        Raises
        ------
        TypeError, ValueError
            If the arguments are not as described, or no row has an item. Nothing changes then.
        """
        return self._train(X, Y, ids, n_epochs, batch_size, learning_rate, anew=True)

    def partial_fit(
        self,
        X: RowsLike,
        Y: ArrayLike,
        ids: ArrayLike | None = None,
        *,
        n_epochs: int = 1,
        batch_size: int = 256,
        learning_rate: float = 0.1,
    ) -> Self:
        """Train the network further, for example with rows of new items, and add the items of all columns.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        Y : sparse matrix or array_like of shape (n, n_columns)
        ids : array_like of n_columns integers, optional
        n_epochs : int, default 1
        batch_size : int, default 256
        learning_rate : float, default 0.1
            As for `fit`.

        Returns
        -------
        The index itself.

        Raises
        ------
        TypeError, ValueError
            As `fit` does. Nothing changes then.

        Notes
        -----
        Steps begin as large as those of `fit`. A network that is trained with rows of new items only forgets
        others: pass some older rows, too.
        """
        return self._train(X, Y, ids, n_epochs, batch_size, learning_rate, anew=False)

    def _train(
        self, X: Any, Y: Any, ids: Any, n_epochs: Any, batch_size: Any, learning_rate: Any, *, anew: bool
    ) -> Self:
        n_epochs = check_int("n_epochs", n_epochs, 1, 1 << 20)
        batch_size = check_int("batch_size", batch_size, 1, 1 << 24)
        rate = check_real("learning_rate", learning_rate, 0.0, 1e3)
        refuse_gpu("X", X)
        refuse_gpu("Y", Y)
        rows, columns = read_rows(X, self.n_features), read_rows(Y, None, "Y")
        refuse_numbers_of_items(Y, columns)
        relevant = read_relevant(columns, rows.n, columns.width)
        names = np.arange(columns.width) if ids is None else read_ids(ids)
        if names.size != columns.width:
            raise ValueError(f"ids must be {columns.width}, one for each column of Y, got {names.size}")
        if np.unique(names).size < names.size:
            raise ValueError("ids must be distinct, got some twice")
        used = relevant.without_empty_rows()
        if not used.numbers.size:
            raise ValueError("Y must have an item of at least one row, got none")
        unit = unit_rows(rows).take(used.numbers)
        with self._lock, changing(self, beside_queries=True):
            union = self._with_ids(names)
            before = 0 if anew else self.n_trained
            if before:
                network = BucketNetwork(*(array.copy() for array in self._network))
            else:
                network = draw_network(self.n_features, self.n_hidden, self._n_outputs, self.seed)
            how = {"n_epochs": n_epochs, "batch_size": batch_size, "rate": rate, "seed": self.seed}
            losses = train(network, unit, used.relevant, self._codes(names), self.n_buckets, **how)
            arrays: Arrays = dict(zip(UNITS, network, strict=True))
            arrays |= {"ids": union, "n_trained": np.array([before + used.numbers.size])}
            self._check_state(arrays)
            with changing(self), uninterrupted():
                self._set_arrays(arrays)
                self._losses = tuple(losses)
        return self

    # -- merging ----------------------------------------------------------------------------------

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Add the items of other indexes with an equal network, or none, in place.

        Parameters
        ----------
        *others : SparseCodeIndex, or iterables of them
            They are not changed.

        Returns
        -------
        The index itself, with the network that one of them has.

        Raises
        ------
        IncompatibleSketchError
            If parameters or networks differ. Nothing changes then. See `average` for different networks.
        """
        parts: tuple[Self, ...] = parts_of(others)
        for part in parts:
            self._check_compatible(part)
        with locked(self, *parts), changing(self):
            arrays = self._arrays
            for part in parts:
                theirs = part._arrays
                if not theirs["n_trained"][0]:
                    continue
                if not arrays["n_trained"][0]:
                    arrays = {**arrays, **{name: theirs[name].copy() for name in (*UNITS, "n_trained")}}
                elif not all(np.array_equal(arrays[name], theirs[name]) for name in (*UNITS, "n_trained")):
                    raise IncompatibleSketchError(
                        "SparseCodeIndex have different networks: train one and make the parts by "
                        "empty_like(), or take their mean by average"
                    )
            self._set_arrays_of(arrays, parts)
        return self

    @classmethod
    def average(cls, parts: Sequence[Self], weights: ArrayLike | None = None) -> Self:
        """Return an index with the weighted mean of the networks of several, and the items of all.

        Parameters
        ----------
        parts : sequence of SparseCodeIndex
            At least one. Their parameters are equal.
        weights : array of a number of at least 0 for each part, optional
            They need not add up to 1. By default the numbers of rows that the parts were trained with.

        Returns
        -------
        SparseCodeIndex
            Its `n_trained` is the sum of those of all parts.

        Raises
        ------
        TypeError, ValueError
            If there is no part, weights are negative or all 0, or that of a part without a network is not 0.
        IncompatibleSketchError
            If parameters differ.

        Notes
        -----
        This is a round of federated averaging (McMahan, Moore, Ramage, Hampson and Aguera y Arcas 2017). The
        mean of networks is useful only where they began from the same weights, as those of one seed do, and
        were trained for a short time: then each part goes on from ``mean.copy()`` by `partial_fit`. A mean of
        means is that of all parts up to rounding, if the weights are the numbers of rows.
        """
        given, parts = parts, list(parts) if isinstance(parts, Iterable) else []
        if not parts or not all(isinstance(part, cls) for part in parts):
            raise TypeError(f"parts must be a sequence of at least one {cls.__name__}, got {given!r}")
        for part in parts[1:]:
            parts[0]._check_compatible(part)
        with locked(*parts):
            counts = [part.n_trained for part in parts]
            if weights is None and not any(counts):
                return parts[0].copy().merge(parts[1:])
            shares = check_real_weights("weights", counts if weights is None else weights, len(parts))
            if not bool((shares >= 0).all()) or not shares.any():
                raise ValueError(f"weights must be at least 0, and not all 0, got {shares.tolist()}")
            if any(share > 0 and not count for share, count in zip(shares, counts, strict=True)):
                raise ValueError(f"weights must be 0 for parts without a network, got {shares.tolist()}")
            if sum(counts) >= 2**63:
                raise OverflowError("n_trained cannot count beyond 2**63 - 1")
            shares = shares / shares.max()
            shares, used = shares / shares.sum(), [part for part in parts if part.n_trained]
            mean = parts[0].copy()
            arrays: Arrays = {**mean._arrays, "n_trained": np.array([sum(counts)])}
            for name in UNITS:
                total = np.zeros(used[0]._arrays[name].shape)
                for part, share in zip(parts, shares.tolist(), strict=True):
                    if share:
                        total += share * part._arrays[name].astype(np.float64)
                arrays[name] = total.astype(np.float32)
            mean._set_arrays_of(arrays, tuple(parts))
        return mean

    def _set_arrays_of(self, arrays: Arrays, parts: tuple[Self, ...]) -> None:
        """Take over arrays with the union of the ids of parts."""
        union = self._with_ids(*(part._arrays["ids"] for part in parts))
        with uninterrupted():
            self._set_arrays({**arrays, "ids": union})

    def empty_like(self) -> Self:
        """Return an index of the same parameters and network without items.

        Returns
        -------
        SparseCodeIndex
        """
        new = self.copy()
        new._replace_ids(np.zeros(0, np.int64))
        return new
