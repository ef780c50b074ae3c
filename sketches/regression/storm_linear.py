"""The base of linear regression and classification from a STORM sketch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ...errors import IncompatibleSketchError
from ...lsh.support.checks import check_int
from ..core.merging import parts_of
from .storm import StormSketch

__all__ = ["StormLinear", "ridge_inverse"]

#: The quantile of the first batch's norms that is the bound. Longer rows are counted as several. A tight
#: bound spreads rows over the sphere, which lowers the error of the directions and costs only time.
_QUANTILE = 0.25
#: The least number of rows for a scaling if more batches may follow: it gives deviations within a quarter.
_LEAST_ROWS = 10
#: The root mean square distance of a column from its centre, in deviations, that gives no warning.
_FAR = 10.0


class StormLinear(BaseEstimator):  # type: ignore[misc]
    """An estimator with a sketch of scaled rows, a constant and scaled targets."""

    sketch_: StormSketch
    scaling_: dict[str, Any]
    n_features_in_: int
    _coefficients: NDArray[np.float64]
    _intercepts: NDArray[np.float64]

    def __init__(
        self, *, n_bytes: int = 1 << 16, scaling: dict[str, Any] | None = None, random_state: Any = 0
    ) -> None:
        self.n_bytes = n_bytes
        self.scaling = scaling
        self.random_state = random_state

    def _begin(self, X: NDArray[np.float64], targets: NDArray[np.float64], *, more: bool) -> None:
        """Choose the scaling and the size of the sketch; nothing has been learnt yet.

        `more` is true if other batches may follow, which the scaling must suit too.
        """
        n_bytes = check_int("n_bytes", self.n_bytes, 1)
        state = self.random_state
        seed = int(state) if isinstance(state, Integral) else int(check_random_state(state).randint(2**31))
        if self.scaling is None:
            if more and len(X) < _LEAST_ROWS:
                raise ValueError(
                    f"X must have at least {_LEAST_ROWS} rows in the first batch, for centres, scales and a "
                    f"bound of all rows to come are learnt from it, got {len(X)}; or pass scaling: public "
                    f"ones, or the scaling_ of a {type(self).__name__} fitted to a sample of rows"
                )
            scaling = {"center": X.mean(axis=0), "scale": _spread(X), **self._scale_targets(targets)}
            norms = np.linalg.norm(self._rows(X, targets, scaling), axis=1)
            scaling["max_norm"] = float(np.quantile(norms, _QUANTILE))
        else:
            scaling = _check_scaling(self.scaling, X.shape[1], targets.shape[1])
        n_features = X.shape[1] + 1 + targets.shape[1]
        frame = StormSketch(n_features, 1).state["products"].array.nbytes
        self.scaling_ = scaling
        self.sketch_ = StormSketch(
            n_features,
            max(2, n_bytes // frame),
            max_norm=scaling["max_norm"],
            oversize="split",
            seed=seed,
        )

    @staticmethod
    def _rows(X: NDArray[Any], targets: NDArray[Any], scaling: dict[str, Any]) -> NDArray[np.float64]:
        return np.column_stack(
            [
                (X - scaling["center"]) / scaling["scale"],
                np.ones(len(X)),
                (targets - scaling["target_center"]) / scaling["target_scale"],
            ]
        )

    def _scale_targets(self, targets: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"target_center": targets.mean(axis=0), "target_scale": _spread(targets)}

    def _learn(self, X: NDArray[np.float64], targets: NDArray[np.float64]) -> None:
        self.sketch_.update(self._rows(X, targets, self.scaling_))
        self._solve()

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
                "mean square: the first batch was unlike the rows after it, or the scaling given does not "
                "fit, and columns of less spread are lost in noise. Pass as scaling the scaling_ of an "
                "estimator fitted to a random sample of rows",
                stacklevel=6,
            )
        # The largest eigenvalue of a symmetric matrix of such errors, over the mean eigenvalue of the
        # features.
        ratio = 2.0 * noise * len(moments) ** 0.5 / max(float(squares[:d].mean()), noise, 1e-300)
        if ratio > 1.0:
            warnings.warn(
                f"the counters err by {ratio:.2g} times what the features vary: what is learnt is mostly "
                f"noise. n_bytes={int(self.n_bytes * (2.0 * ratio) ** 2)} brings that to a half, got "
                f"n_bytes={self.n_bytes}",
                stacklevel=6,
            )
        return moments, noise

    def _solve(self) -> None:
        """Set the coefficients and intercepts, in the units of the data, from the sketch."""
        raise NotImplementedError

    def _values(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self, "sketch_")
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return np.asarray(X @ self._coefficients + self._intercepts)

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Merge other estimators into this one, in place.

        Parameters
        ----------
        *others : fitted estimators, or iterables of them
            Their class, `n_bytes`, `random_state` and scaling are those of this estimator. To fit parts
            apart, pass the ``scaling_`` of one estimator as `scaling` to the others.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        IncompatibleSketchError
            If sketches, scalings or classes differ. Nothing changes then.
        """
        check_is_fitted(self, "sketch_")
        parts: tuple[Self, ...] = parts_of(others)
        for other in parts:
            check_is_fitted(other, "sketch_")
            for name, value in self.scaling_.items():
                if not np.array_equal(value, other.scaling_[name]):
                    raise IncompatibleSketchError(f"estimators differ in scaling_[{name!r}]")
            if not np.array_equal(getattr(self, "classes_", ()), getattr(other, "classes_", ())):
                raise IncompatibleSketchError("estimators differ in classes_")
        self.sketch_.merge(other.sketch_ for other in parts)
        self._solve()
        return self

    def _forget(self) -> None:
        """Forget what was learnt before."""
        if hasattr(self, "sketch_"):
            del self.sketch_


def ridge_inverse(matrix: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """Return the inverse of a matrix whose eigenvalues are raised by `noise`, to at least `noise`."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors / np.maximum(values + noise, noise)) @ vectors.T)


def _spread(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = columns.std(axis=0)
    return np.where(spread > 1e-12 * np.maximum(np.abs(columns).max(axis=0), 1e-300), spread, 1.0)


def _check_scaling(given: Any, n_features: int, n_targets: int) -> dict[str, Any]:
    shapes = {
        "center": (n_features,),
        "scale": (n_features,),
        "target_center": (n_targets,),
        "target_scale": (n_targets,),
        "max_norm": (),
    }
    if not isinstance(given, dict) or set(given) != set(shapes):
        raise ValueError(f"scaling must be a dict with the keys {', '.join(shapes)}, got {given!r}")
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
