"""The base of linear regression and classification from a STORM sketch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ...errors import IncompatibleSketchError
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.checks import check_int
from ...lsh.support.moments import means_and_deviations
from ..core.estimator import SketchEstimator, seed_of, validated
from ..core.merging import parts_of
from .storm import StormSketch

__all__ = ["StormLinear", "center_and_scale", "check_scaling"]

#: The quantile of the first rows' norms that is the bound. Longer rows are counted as several. A tight
#: bound spreads rows over the sphere, which lowers the error of the directions and costs only time.
_QUANTILE = 0.25
#: The least bound, for rows that are mostly at the centre. The columns have a deviation of 1.
_LEAST_BOUND = 0.1
#: The number of rows that `partial_fit` keeps until it chooses the scaling.
_FIRST_ROWS = 1000
#: The least number of rows for a scaling to which more rows are added: their deviations err by a quarter.
_LEAST_ROWS = 10
#: The root mean square distance of a column from its centre, in deviations, that gives no warning.
_FAR = 10.0


class StormLinear(SketchEstimator):
    """An estimator with a sketch of scaled rows.

    Notes
    -----
    The rows of the first calls of `partial_fit` are kept in `_first_rows` until they are enough for a
    scaling. Whatever follows from them is computed when it is read, by `__getattr__`.
    """

    _must_agree = ("classes_",)
    #: The attributes that follow from the rows, beside the estimator's own.
    _learnt: ClassVar[tuple[str, ...]] = ("scaling_", "sketch_", "_coefficients", "_intercepts")

    sketch_: StormSketch
    scaling_: dict[str, Any]
    _coefficients: NDArray[np.float64]
    _intercepts: NDArray[np.float64]
    _first_rows: tuple[tuple[NDArray[np.float64], NDArray[Any]], ...] = ()
    #: The number of rows from which `fit` chose the scaling, or None if that was given.
    _n_scaled: int | None = None
    _seed: int

    def __init__(
        self, *, n_bytes: int = 1 << 16, scaling: dict[str, Any] | None = None, random_state: Any = 0
    ) -> None:
        self.n_bytes = n_bytes
        self.scaling = scaling
        self.random_state = random_state

    # -- what an estimator defines ------------------------------------------------------------------

    def _scaling_of(self, X: NDArray[np.float64], targets: NDArray[Any]) -> dict[str, Any]:
        """Return the centres and scales for these rows."""
        center, scale = center_and_scale(X)
        return {"center": center, "scale": scale}

    def _rows(self, X: NDArray[Any], targets: NDArray[Any], scaling: dict[str, Any]) -> NDArray[np.float64]:
        """Return the rows that the sketch counts."""
        return np.asarray((X - scaling["center"]) / scaling["scale"])

    def _check_scaling(self, scaling: Any, n_features: int) -> dict[str, Any]:
        """Return a copy of the scaling that a caller passed."""
        return check_scaling(scaling, {"center": (n_features,), "scale": (n_features,), "max_norm": ()})

    def _count(self, X: NDArray[np.float64], targets: NDArray[Any], rows: NDArray[np.float64]) -> None:
        """Count scaled rows; nothing changes if this raises."""
        self.sketch_.update(rows)

    def _solve(self) -> None:
        """Set the coefficients and intercepts, in the units of the data, from what was counted."""
        raise NotImplementedError

    # -- learning -----------------------------------------------------------------------------------

    @property
    def _is_new(self) -> bool:
        return not (self._first_rows or "sketch_" in vars(self))

    def _take_in(self, X: NDArray[np.float64], targets: NDArray[Any], *, more: bool) -> None:
        """Learn from rows; `more` is true if others may follow, which the scaling must suit too."""
        if self._is_new:
            check_int("n_bytes", self.n_bytes, 1)
            seed = seed_of(self.random_state)
            if self.scaling is not None:
                self._check_scaling(self.scaling, X.shape[1])
            self._seed = seed
        if self._first_rows or (more and self._is_new and self.scaling is None):
            first = (*self._first_rows, (X.copy(), targets.copy()))
            if sum(len(rows) for rows, _ in first) >= _FIRST_ROWS:
                self.__dict__.update(vars(self._scaled(first)))
            else:
                self._wait(first)
        elif self._is_new:
            self.__dict__.update(vars(self._scaled(((X, targets),), self.scaling)))
        elif more and self._n_scaled is not None and self._n_scaled < _LEAST_ROWS:
            raise ValueError(
                f"X must come after a fit of at least {_LEAST_ROWS} rows, which chose the scaling of all "
                f"rows to come, got one of {self._n_scaled}; call partial_fit alone, which waits for "
                f"{_FIRST_ROWS} rows, or pass scaling: the scaling_ of a {type(self).__name__} fitted to a "
                "sample of rows"
            )
        else:
            self._count(X, targets, self._rows(X, targets, self.scaling_))
            self._solve()

    def _wait(self, first: tuple[tuple[NDArray[np.float64], NDArray[Any]], ...]) -> None:
        """Keep these first rows until there are more."""
        for name in self._learnt:
            self.__dict__.pop(name, None)
        self._first_rows = first

    def __getattr__(self, name: str) -> Any:
        # A read of what follows from the first rows, which are kept because others may determine the scaling.
        if name in self._learnt and self._first_rows:
            scaled = vars(self._scaled(self._first_rows))
            self.__dict__.update({name: scaled[name] for name in self._learnt})
            return scaled[name]
        # This raises the usual error, or that of a property.
        return object.__getattribute__(self, name)

    def _scaled(
        self, first: tuple[tuple[NDArray[np.float64], NDArray[Any]], ...], given: dict[str, Any] | None = None
    ) -> Self:
        """Return an estimator that has learnt from these rows alone, with this scaling or one of theirs."""
        X, targets = (np.concatenate(arrays) for arrays in zip(*first, strict=True))
        new = copy.copy(self)
        new._wait(())
        if given is None:
            new._n_scaled = len(X)
            scaling = self._scaling_of(X, targets)
            norms = np.linalg.norm(self._rows(X, targets, scaling), axis=1)
            scaling["max_norm"] = max(_LEAST_BOUND, float(np.quantile(norms, _QUANTILE)))
        else:
            scaling = self._check_scaling(given, X.shape[1])
        rows = self._rows(X, targets, scaling)
        frame = StormSketch(rows.shape[1], 1).state["products"].array.nbytes
        new.scaling_ = scaling
        new.sketch_ = StormSketch(
            rows.shape[1],
            max(2, self.n_bytes // frame),
            max_norm=scaling["max_norm"],
            oversize="split",
            seed=self._seed,
        )
        new._count(X, targets, rows)
        new._solve()
        return new

    def _moments(self) -> tuple[NDArray[np.float64], float]:
        """Return the estimated second moments of scaled rows, and the standard error of an entry."""
        moments, error = self.sketch_.second_moments(return_std=True)
        noise = float(np.sqrt(np.mean(error**2)))
        squares = np.diag(moments)
        d, worst = self.n_features_in_, int(np.argmax(squares))
        if squares[worst] > _FAR**2:
            which = f"column {worst} of X" if worst < d else "the target"
            warnings.warn(
                f"{which} lies {squares[worst] ** 0.5:.3g} deviations from the centre of the scaling, root "
                "mean square: the first rows were unlike the rows after them, or the scaling given does not "
                "fit, and columns of less spread are lost in noise. Pass as scaling the scaling_ of an "
                "estimator fitted to a random sample of rows",
                stacklevel=stacklevel_of_caller(),
            )
        # The largest eigenvalue of a symmetric matrix of such errors, over the mean eigenvalue of the
        # features.
        ratio = 2.0 * noise * len(moments) ** 0.5 / max(float(squares[:d].mean()), noise, 1e-300)
        if ratio > 1.0:
            warnings.warn(
                f"the counters err by {ratio:.2g} times what the features vary: what is learnt is mostly "
                f"noise. n_bytes={int(self.n_bytes * (2.0 * ratio) ** 2)} brings that to a half, got "
                f"n_bytes={self.n_bytes}",
                stacklevel=stacklevel_of_caller(),
            )
        return moments, noise

    def _values(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self, "sketch_")
        X = validated(self, X, reset=False, dtype=np.float64)
        return np.asarray(X @ self._coefficients + self._intercepts)

    # -- merging ------------------------------------------------------------------------------------

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Merge other fitted estimators into this one, in place.

        Parameters
        ----------
        *others : fitted estimators of this class, or iterables of them
            They do not change. Their `n_bytes` and `random_state` are those of this estimator. So is their
            scaling: pass the ``scaling_`` of one estimator as `scaling` to the others. Estimators that still
            keep their first rows have no scaling yet, and take over that of the others.

        Returns
        -------
        The estimator itself, which is then as if it had been fitted to the rows of all.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If one of the estimators has not been fitted.
        IncompatibleSketchError
            If classes, features, scalings or the configurations of the sketches differ. Nothing changes then.
        """
        check_is_fitted(self, "sketch_")
        parts: tuple[Self, ...] = parts_of(others)
        for part in parts:
            self._check_mergeable(part)
        all_of_them = (self, *parts)
        scaling = next((each.scaling_ for each in all_of_them if not each._first_rows), self.scaling_)
        for each in all_of_them:
            for name, value in scaling.items():
                if not (each._first_rows or np.array_equal(value, each.scaling_[name])):
                    raise IncompatibleSketchError(f"estimators differ in scaling_[{name!r}]")
        if not any(each._first_rows for each in all_of_them):
            return super().merge(parts)
        alike = [each._scaled(each._first_rows, scaling) if each._first_rows else each for each in parts]
        if not self._first_rows:
            return super().merge(alike)
        ours = self._scaled(self._first_rows, scaling).merge(alike)
        if all(each._first_rows for each in parts):
            # The merge above has compared the estimators. They only share their rows.
            first = sum((part._first_rows for part in parts), self._first_rows)
            if sum(len(rows) for rows, _ in first) < _FIRST_ROWS:
                self._wait(first)
                return self
            ours = self._scaled(first)
        self.__dict__.update(vars(ours))
        return self

    def _after_merge(self) -> None:
        self._solve()

    def _forget(self) -> None:
        super()._forget()
        self._wait(())


def center_and_scale(columns: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means of columns, and their standard deviations, or 1 for those that are constant."""
    means, deviations = means_and_deviations(columns)
    # Coefficients are divided by deviations, so these must not be subnormal.
    least = np.maximum(1e-12 * np.abs(columns).max(axis=0), np.finfo(np.float64).tiny)
    return means, np.where(deviations > least, deviations, 1.0)


def check_scaling(given: Any, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return a scaling with copies of its arrays, which have these names and shapes."""
    if not isinstance(given, dict) or set(given) != set(shapes):
        got = list(given) if isinstance(given, dict) else given
        raise ValueError(f"scaling must be a dict with the keys {', '.join(shapes)}, got {got!r}")
    checked = {}
    for name, shape in shapes.items():
        values = np.broadcast_to(np.asarray(given[name], np.float64), shape)
        positive = name in ("scale", "target_scale", "max_norm")
        if not bool(np.isfinite(values).all()) or (positive and bool((values <= 0).any())):
            raise ValueError(
                f"scaling[{name!r}] must be finite{' and above 0' if positive else ''}, got {values}"
            )
        checked[name] = float(values) if shape == () else values.copy()
    return checked
