"""The base of scikit-learn estimators over kernel sums, which scale the columns and choose a hash family."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np
import scipy
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ...errors import IncompatibleSketchError
from ...lsh.family import HashFamily
from ...lsh.inputs.columns import refuse_masked
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.checks import check_int
from ..core.base import MergeableSketch
from ..core.estimator import SketchEstimator, seed_of, validated
from .collisions import crowding_advice, different_rows_collide, mean_density
from .kernel_choice import DistinctRows, choose_family, choose_scaling, distinct_rows, read_scaling, scaled

__all__ = ["KernelEstimator"]

#: The least number of rows for a choice if more batches may follow.
_LEAST_ROWS = 10
_SHARDS = (
    "estimators that begin apart choose a family and a scaling of their own: fit one to a sample of rows, "
    "and pass family=fitted.sketch_.family and scaling=fitted.scaling_ to the others"
)


class KernelEstimator(SketchEstimator):
    """An estimator over a sketch of scaled rows, whose family it is given or chooses by the first rows."""

    _must_agree = ("scaling_",)
    _sketch_class: ClassVar[type[MergeableSketch]]

    sketch_: Any
    family: Any
    n_hashes: int
    scaling: Any
    random_state: Any
    #: The centres and scales of the columns; None if rows are hashed as they are.
    scaling_: dict[str, NDArray[np.float64]] | None
    _has_warned: bool

    @classmethod
    def from_sketch(cls, sketch: Any, *, scaling: Any = None) -> Self:
        """Return a fitted estimator over a copy of a sketch, such as one loaded, or merged over ranks.

        Parameters
        ----------
        sketch : sketch of the class of `sketch_`
            It has seen rows.
        scaling : dict, optional
            The centres and scales by which its rows were scaled: the `scaling_` of an estimator. None if they
            were not.

        Returns
        -------
        The estimator.

        Raises
        ------
        TypeError, ValueError
            If the sketch is of another class, or has seen no row, or `scaling` does not fit it.
        """
        if not isinstance(sketch, cls._sketch_class):
            raise TypeError(f"sketch must be of {cls._sketch_class.__name__}, got {type(sketch).__name__}")
        if sketch.n_updates == 0:
            raise ValueError("sketch must have seen rows, got an empty one")
        family: Any = vars(sketch)["family"]
        n_features = getattr(family, "n_features", None)
        if scaling is not None and n_features is None:
            raise ValueError(f"scaling must be None, for rows of {type(family).__name__} have no columns")
        new = cls(family, scaling=scaling, **cls._arguments_of(sketch))
        new.scaling_ = read_scaling(scaling, n_features or 0)
        if n_features is not None:
            new.n_features_in_ = int(n_features)
        new.sketch_, new._has_warned = sketch.copy(), False
        new._after_merge()
        return new

    @staticmethod
    def _arguments_of(sketch: Any) -> dict[str, Any]:
        """Return the parameters of an estimator that follow from its sketch."""
        raise NotImplementedError

    # -- learning ---------------------------------------------------------------------------------

    def _make_sketch(self, family: HashFamily, y: Any) -> MergeableSketch:
        """Return an empty sketch over a family, for targets like `y`."""
        raise NotImplementedError

    def _choose_family(self, found: DistinctRows, n_hashes: int, seed: int) -> HashFamily:
        """Return a family that suits the distinct rows of a first batch, which are scaled."""
        return choose_family(found, n_hashes, seed)

    def _counts(self) -> tuple[NDArray[Any], float]:
        """Return the counters of rows, of shape (R, W), and the total weight of the rows."""
        raise NotImplementedError

    def _weights(self, sample_weight: Any, X: Any) -> Any:
        """Return the weights that the sketch takes; None if there are none."""
        if sample_weight is None:
            return None
        refuse_masked(sample_weight, "sample_weight")
        return _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)

    def _check_rows(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        """Return the rows and targets after scikit-learn's checks."""
        return validated(self, X, reset=reset, accept_sparse="csr"), None

    def _learn(self, X: Any, y: Any, sample_weight: Any, *, afresh: bool) -> None:
        """Learn from a batch; if it is refused, nothing has changed."""
        with self._restored_if_it_raises():
            if afresh:
                self._forget()
            first = not hasattr(self, "sketch_")
            X, y = self._check_rows(X, y, reset=first)
            weights = self._weights(sample_weight, X)
            if first:
                self._begin(X, y, weights, more=not afresh)
            Z = scaled(X, self.scaling_)
            self._add(Z, y, weights)
            if afresh:
                self._after_fit(Z, weights)
            else:
                self._after_merge()
        self._warn(Z)

    def _add(self, Z: Any, y: Any, weights: Any) -> None:
        """Add scaled rows to the sketch."""
        self.sketch_.update(Z, weights)

    def _after_fit(self, Z: Any, weights: Any) -> None:
        """Compute the attributes that depend on the sketch and on the rows, which are scaled."""

    def _begin(self, X: Any, y: Any, weights: Any, *, more: bool) -> None:
        """Choose the scaling and the family, and make the sketch.

        `more` is true if other batches may follow, which the choice must suit too.
        """
        seed = seed_of(self.random_state)
        own = isinstance(self.family, HashFamily)
        if not own and not (isinstance(self.family, str) and self.family == "auto"):
            raise ValueError(
                f'family must be "auto" or a hash family of mergesketch.lsh, got {self.family!r}'
            )
        learnt = isinstance(self.scaling, str) and self.scaling == "auto"
        self.scaling_ = None if learnt else read_scaling(self.scaling, X.shape[1])
        if own:
            family = self.family
        else:
            n_hashes = check_int("n_hashes", self.n_hashes, 2, 1 << 16)
            if more and X.shape[0] < _LEAST_ROWS:
                raise ValueError(
                    f"X must have at least {_LEAST_ROWS} rows in the first batch, for the scaling and the "
                    f"family of all rows to come are chosen by it, got {X.shape[0]}; or pass the "
                    f"sketch_.family and the scaling_ of a {type(self).__name__} fitted to a sample of rows"
                )
            found = distinct_rows(X, weights, y)
            if learnt:
                self.scaling_ = choose_scaling(found, centred=not scipy.sparse.issparse(X))
            rows = found._replace(rows=scaled(found.rows, self.scaling_))
            family = self._choose_family(rows, n_hashes, seed)
        self.sketch_ = self._make_sketch(family, y)
        self._has_warned = False

    def _warn(self, Z: Any) -> None:
        """Warn once if no rows that were seen collide, or if different ones nearly always do."""
        if self._has_warned:
            return
        counts, total = self._counts()
        family = self.sketch_.family
        text, is_wide = crowding_advice(mean_density(family, counts, total), total)
        if text and not (is_wide and not different_rows_collide(family, Z)):
            self._has_warned = True
            warnings.warn(f"{type(self).__name__}: {text}", UserWarning, stacklevel=stacklevel_of_caller())

    # -- rows that are asked ----------------------------------------------------------------------

    def _asked(self, X: Any) -> Any:
        """Return rows that are asked, scaled."""
        check_is_fitted(self, "sketch_")
        X = validated(self, X, reset=False, accept_sparse="csr")
        return scaled(X, self.scaling_)

    # -- merging ----------------------------------------------------------------------------------

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        try:
            return super().merge(*others)
        except IncompatibleSketchError as error:
            raise IncompatibleSketchError(f"{error}; {_SHARDS}") from None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
