"""The state of a learned partition: the networks, and the buckets of each item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ...lsh.support.backend import read_only
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ..core.state import Arrays, ArraySpec, State
from ..neighbours.appended_rows import AppendedRows
from .partition_fit import Settings
from .partition_models import BucketModel, FittedModel, RowScale

__all__ = ["MODEL_ARRAYS", "BucketLists", "LoadDeviation", "PartitionState"]

#: The most features, buckets, repetitions, buckets of all repetitions, hidden units, and turns of the fit.
_MOST_FEATURES, _MOST_BUCKETS, _MOST_REPETITIONS, _MOST_LOADS = 1 << 26, 1 << 20, 1 << 10, 1 << 24
_MOST_HIDDEN, _MOST_TURNS = 1 << 14, 10_000
#: The arrays of the networks, whose first dimension is that of repetitions.
MODEL_ARRAYS = ("hidden_weights", "hidden_bias", "bucket_weights", "bucket_bias", "mean_probabilities")
#: The arrays that only a fit changes.
_OF_FIT = (*MODEL_ARRAYS, "row_centre", "row_length")


class LoadDeviation(NamedTuple):
    """Contain how unequal the loads of buckets are, both relative to the mean load of a repetition."""

    #: float64, shape (n_repetitions,): the standard deviation of the loads.
    std: NDArray[np.float64]
    #: float64, shape (n_repetitions,): the largest load.
    largest: NDArray[np.float64]


class BucketLists(NamedTuple):
    """The inverted lists: bucket c of repetition r has ``members[r, offsets[r, c]:offsets[r, c + 1]]``."""

    offsets: NDArray[np.int64]
    members: NDArray[np.int64]


class PartitionState(AppendedRows):
    """Keep networks and buckets; `LearnedPartition` adds fits and queries, and documents the parameters."""

    _internal = True
    _parameters = (
        "n_features", "n_buckets", "n_repetitions", "n_choices", "n_hidden", "n_rounds", "n_epochs",
        "learning_rate", "seed",
    )  # fmt: skip
    _row_arrays = ("buckets", "ids")

    def __init__(
        self,
        n_features: int,
        n_buckets: int,
        *,
        n_repetitions: int = 4,
        n_choices: int = 2,
        n_hidden: int = 128,
        n_rounds: int = 8,
        n_epochs: int = 2,
        learning_rate: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1, _MOST_FEATURES)
        self.n_buckets = check_int("n_buckets", n_buckets, 1, _MOST_BUCKETS)
        self.n_repetitions = check_int("n_repetitions", n_repetitions, 1, _MOST_REPETITIONS)
        if self.n_repetitions * self.n_buckets > _MOST_LOADS:
            raise ValueError(
                f"n_repetitions must be at most {_MOST_LOADS // self.n_buckets} for {self.n_buckets} "
                f"buckets, got {n_repetitions}"
            )
        self.n_choices = check_int("n_choices", n_choices, 1, self.n_buckets)
        self.n_hidden = check_int("n_hidden", n_hidden, 1, _MOST_HIDDEN)
        self.n_rounds = check_int("n_rounds", n_rounds, 1, _MOST_TURNS)
        self.n_epochs = check_int("n_epochs", n_epochs, 1, _MOST_TURNS)
        self.learning_rate = check_real("learning_rate", learning_rate, 0.0, 1e3)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    # -- state ------------------------------------------------------------------------------------

    @lazy
    def _state(self) -> State[ArraySpec]:
        specs = {
            "hidden_weights": ArraySpec("float32", 3),
            "hidden_bias": ArraySpec("float32", 2),
            "bucket_weights": ArraySpec("float32", 3),
            "bucket_bias": ArraySpec("float32", 2),
            # Over the queries of the fit.
            "mean_probabilities": ArraySpec("float32", 2),
            # The offset of each column in the fit, which is subtracted from rows.
            "row_centre": ArraySpec("float64"),
            # The usual length of the rows of the fit that are left, by which rows are divided.
            "row_length": ArraySpec("float64"),
            # Row i has the buckets of item i, one of each repetition.
            "buckets": ArraySpec("int32", 2),
            # Without ids, items have the numbers from 0 on.
            "ids": ArraySpec("int64"),
        }
        arrays: Arrays = {
            name: np.zeros((0,) * spec.n_dimensions, spec.dtype) for name, spec in specs.items()
        }
        arrays["buckets"] = np.zeros((0, self.n_repetitions), np.int32)
        return State(type(self).__name__, specs, arrays)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        buckets = arrays["buckets"]
        n, fitted = len(buckets), arrays["row_length"].size > 0
        shapes = self._model_shapes if fitted else {name: (0,) * arrays[name].ndim for name in MODEL_ARRAYS}
        for name, shape in shapes.items():
            if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} must be finite numbers of shape {shape}")
        if fitted and arrays["mean_probabilities"].min() <= 0.0:
            raise ValueError("mean_probabilities must be above 0")
        centre, length = arrays["row_centre"], arrays["row_length"]
        if centre.shape != (self.n_features if fitted else 0,) or not np.isfinite(centre).all():
            raise ValueError("row_centre must be finite numbers, one for each feature")
        if fitted and (length.size != 1 or not np.isfinite(length[0]) or length[0] <= 0.0):
            raise ValueError("row_length must be one number above 0")
        if buckets.shape[1] != self.n_repetitions or (n and not fitted):
            raise ValueError(f"buckets must have {self.n_repetitions} columns, and no rows without networks")
        if n and (buckets.min() < 0 or buckets.max() >= self.n_buckets):
            raise ValueError(f"buckets must be from 0 to {self.n_buckets - 1}")
        self._check_stored_ids(arrays["ids"], n)

    @property
    def _model_shapes(self) -> dict[str, tuple[int, ...]]:
        repetitions, hidden, buckets = self.n_repetitions, self.n_hidden, self.n_buckets
        return {
            "hidden_weights": (repetitions, self.n_features, hidden),
            "hidden_bias": (repetitions, hidden),
            "bucket_weights": (repetitions, hidden, buckets),
            "bucket_bias": (repetitions, buckets),
            "mean_probabilities": (repetitions, buckets),
        }

    def _check_device(self, device: str) -> None:
        if device == "gpu":
            raise NotImplementedError(f"{type(self).__name__} has no GPU kernels")

    @property
    def _settings(self) -> Settings:
        return Settings(*(getattr(self, name) for name in Settings._fields))

    @property
    def is_fitted(self) -> bool:
        """True if there are networks."""
        return self._arrays["row_length"].size > 0

    def _check_fitted(self) -> None:
        if not self.is_fitted:
            raise ValueError(f"this {type(self).__name__} has learned nothing yet: call fit")

    def _model(self, repetition: int) -> FittedModel:
        *network, means = (read_only(self._arrays[name][repetition]) for name in MODEL_ARRAYS)
        return FittedModel(BucketModel(*network), means)

    @property
    def _row_scale(self) -> RowScale:
        return RowScale(self._arrays["row_centre"], float(self._arrays["row_length"][0]))

    # -- buckets ----------------------------------------------------------------------------------

    @property
    def buckets(self) -> NDArray[np.int32]:
        """The bucket of each item in each repetition, in the order of ids."""
        return self._arrays["buckets"].copy()

    @property
    def loads(self) -> NDArray[np.int64]:
        """The number of items in each bucket of each repetition."""
        return self._loads.copy()

    @property
    def _loads(self) -> NDArray[np.int64]:
        return self._state.cached("loads", self._count_loads)

    def _count_loads(self) -> NDArray[np.int64]:
        columns = self._arrays["buckets"].T
        return np.stack([np.bincount(column, minlength=self.n_buckets) for column in columns])

    def load_deviation(self) -> LoadDeviation:
        """Return how unequal the loads of buckets are.

        Returns
        -------
        LoadDeviation
            ``(std, largest)``, each of shape (n_repetitions,): the standard deviation and the maximum of the
            loads, divided by their mean. NaN where there are no items.
        """
        loads, mean = self._loads, len(self) / self.n_buckets
        if not mean:
            return LoadDeviation(np.full(len(loads), np.nan), np.full(len(loads), np.nan))
        return LoadDeviation(loads.std(axis=1) / mean, loads.max(axis=1) / mean)

    @property
    def _lists(self) -> BucketLists:
        return self._state.cached("lists", self._list_buckets)

    def _list_buckets(self) -> BucketLists:
        buckets = self._arrays["buckets"]
        members = np.argsort(buckets.T, axis=1, kind="stable")
        offsets = np.zeros((self.n_repetitions, self.n_buckets + 1), np.int64)
        np.cumsum(self._loads, axis=1, out=offsets[:, 1:])
        return BucketLists(read_only(offsets), read_only(np.ascontiguousarray(members, np.int64)))

    # -- merging ----------------------------------------------------------------------------------

    def _check_compatible(self, other: object) -> None:
        super()._check_compatible(other)
        assert isinstance(other, PartitionState)
        for name in _OF_FIT:
            if not np.array_equal(self._arrays[name], other._arrays[name]):
                raise IncompatibleSketchError(
                    f"{type(self).__name__} differ in {name}: parts merge that have the networks of one "
                    "fit, and begin with its empty_like()"
                )

    def empty_like(self) -> Self:
        """Return a partition with the same networks, and without items.

        Returns
        -------
        LearnedPartition
        """
        new = super().empty_like()
        with self._lock:
            kept = {name: self._arrays[name].copy() for name in _OF_FIT}
        new._set_arrays({**new._arrays, **kept})
        return new

    def _facts(self) -> list[tuple[str, str]]:
        return [("fitted", str(self.is_fitted)), *super()._facts()]


publish("mergesketch", ["LoadDeviation"], globals())
