"""Representer sketches: the outputs of a trained model from counters, without the model."""

from __future__ import annotations

import math
import warnings
from typing import Any, Self

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.answers import like
from ...lsh.inputs.arrays import check_numbers
from ...lsh.inputs.frames import column_names
from ...lsh.inputs.raw_rows import read_raw_rows
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.checks import check_choice, check_int, check_real, renamed
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.state import StateSpec
from .race import Race

__all__ = ["RepresenterSketch"]

_MAX_ITERATIONS = 300
#: Share of the outputs' norm that may remain after the iterations without a warning.
_LEFT_OVER = 0.3


class RepresenterSketch(Race):
    """Store the outputs of a trained model in counters, and estimate them for any row.

    Parameters
    ----------
    family : HashFamily
        The functions are sums of its kernel k, and the counters are R repetitions of W buckets.
    n_outputs : int
        Number of values of the function: classes, or targets.
    precision : {"float32", "float64"}
        Precision of the counters.

    Notes
    -----
    A kernel expansion ``f(q) = sum over j of a_j k(x_j, q)`` is a weighted kernel sum, so a RACE with the
    coefficients as weights estimates it. The estimate is unbiased if the coefficients do not depend on the
    hashes. A query takes R hashes and ``R n_outputs`` additions, for any number of rows in the fit, and the
    sketch ``4 R W n_outputs`` bytes (Liu, Coleman and Shrivastava 2021, "Efficient inference via universal
    LSH kernel", the Representer sketch). `fit` finds coefficients with which the sketch gives a model's
    outputs.

    Merging two sketches gives the sum of their functions, as for boosted or federated models.

    References
    ----------
    - Liu, Coleman, Shrivastava. Efficient inference via universal LSH kernel. arXiv, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> from mergesketch.lsh import PStable
    >>> X = np.random.default_rng(0).uniform(-2, 2, (2000, 2))
    >>> model = lambda X: np.column_stack([X[:, 0] * X[:, 1], X[:, 0] ** 2 + X[:, 1] ** 2])
    >>> family = PStable(n_features=2, n_hashes=100, width=2.0, power=2, n_buckets=512, seed=1)
    >>> sketch = mergesketch.RepresenterSketch.fit(model(X), X, family=family)
    >>> error = sketch.decision_function(X[:500]) - model(X[:500])
    >>> bool(np.abs(error).mean() < 0.1), sketch.nbytes < 500_000
    (True, True)
    """

    _parameters = ("family", "n_outputs", "precision")

    def __init__(self, family: HashFamily, n_outputs: int, *, precision: str = "float32") -> None:
        super().__init__(family, dtype="float", n_outputs=check_int("n_outputs", n_outputs, 1, 1 << 20))
        self.precision: str = check_choice("precision", precision, ("float32", "float64"))

    def _layout(self) -> dict[str, StateSpec]:
        counts, total = super()._layout()["counts"], super()._layout()["total"]
        return {"counts": StateSpec(counts.shape, self.precision, "sum"), "total": total}

    # -- fitting ----------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        model_outputs: ArrayLike,
        X: RowsLike,
        *,
        family: HashFamily,
        n_anchors: int | None = None,
        ridge: float = 1e-3,
        kernel: str = "sketched",
        precision: str = "float32",
        seed: int = 0,
    ) -> Self:
        """Fit a sketch whose function is close to the outputs of a model.

        Parameters
        ----------
        model_outputs : array_like of shape (n,) or (n, n_outputs)
            The model's outputs for the rows: scores, logits or regression targets; or one-hot labels.
        X : n rows
            As ``family.hash`` takes them.
        family : HashFamily
        n_anchors : int, optional
            Number of rows, drawn at random, that get a coefficient. By default all rows get one.
        ridge : float, default 1e-3
            The number above 0 that is added to the kernel's diagonal, where the kernel itself is 1.
        kernel : {"sketched", "exact"}
            "exact" solves for the coefficients with the family's exact kernel, as the paper does. The sketch
            then errs around that solution by the standard error of ``query(..., return_std=True)``.
            "sketched" solves with the collisions of the sketch's own hashes, so that the fit compensates for
            the error of the sketch. This is far more accurate if many rows share a bucket, and a little less
            accurate if few do. The coefficients then depend on the hashes, and the standard error does not
            apply.
        precision : {"float32", "float64"}
        seed : int, default 0
            Seed of the choice of anchors.

        Returns
        -------
        RepresenterSketch

        Raises
        ------
        TypeError, ValueError
            If outputs are not finite numbers or not n, the family refuses the rows, or an argument is out
            of its range.

        Warns
        -----
        UserWarning
            If more than three tenths of the outputs remain after the iterations of "sketched".

        Notes
        -----
        The fit is kernel ridge regression, ``(K + ridge I) a = outputs`` over the anchors. "sketched" uses
        the method of minimal residuals; an iteration takes O(n R n_outputs) time and memory. "exact" takes
        O(n_anchors**3) time and 8 n_anchors**2 bytes.
        """
        refuse_gpu("fitting a RepresenterSketch", X, model_outputs)
        rows, names = read_raw_rows(X, "X"), column_names(X)
        X, n = rows.cut(0, rows.n), rows.n
        outputs = check_numbers("model_outputs", model_outputs)
        if outputs.ndim == 1:
            outputs = outputs[:, None]
        if outputs.ndim != 2 or len(outputs) != n or n == 0:
            raise ValueError(
                f"model_outputs must have shape ({n},) or ({n}, n_outputs), for at least one row, got "
                f"{np.shape(model_outputs)}"
            )
        if not bool(np.isfinite(outputs).all()):
            raise ValueError("model_outputs must be finite, got NaN or infinity")
        ridge = check_real("ridge", ridge, 0.0, math.inf)
        check_choice("kernel", kernel, ("sketched", "exact"))
        sketch = cls(family, outputs.shape[1], precision=precision)
        if n_anchors is not None and check_int("n_anchors", n_anchors, 1) < n:
            chosen = np.sort(
                np.random.default_rng(check_int("seed", seed, 0)).choice(n, n_anchors, replace=False)
            )
            X, outputs = _take_rows(X, chosen), outputs[chosen]
        if kernel == "exact":
            gram = family.kernel(X, X)
            gram[np.diag_indices_from(gram)] += ridge
            coefficients = np.linalg.solve(gram, outputs)
        else:
            coefficients = _solve_sketched(family, X, outputs, ridge)
        sketch.update(X, coefficients)._columns = names
        return sketch

    # -- the function -----------------------------------------------------------------------------

    def decision_function(self, X: RowsLike, *, groups: int | None = None) -> NDArray[np.float64]:
        """Return the function's values.

        They are means over repetitions, which `fit` fits, or with `groups` medians of means, as in the paper.
        Medians are biased if counters are skewed, as they are for few large coefficients.

        Parameters
        ----------
        X : n rows
            As ``family.hash_query`` takes them.
        groups : int, optional
            As for `Race.query`.

        Returns
        -------
        ndarray of shape (n, n_outputs), float64

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, or `groups` is out of range.
        """
        with renamed("Q", "X"):
            return self.query(X, groups=groups)

    def predict(self, X: RowsLike) -> NDArray[np.int64]:
        """Return the output of largest value for each row: the class, if outputs are scores of classes.

        Parameters
        ----------
        X : n rows
            As ``family.hash_query`` takes them.

        Returns
        -------
        ndarray of shape (n,), int64

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows.
        """
        with renamed("Q", "X"):
            return like(X, self._sums(X, None, False).argmax(axis=1))

    @property
    def operations_per_query(self) -> int:
        """Number of additions of one query, without its hashing: ``n_hashes n_outputs``."""
        return self.family.n_hashes * int(self.n_outputs or 1)


def _take_rows(X: Any, chosen: NDArray[np.int64]) -> Any:
    if isinstance(X, tuple):
        tokens, offsets = X
        sets = [tokens[offsets[i] : offsets[i + 1]] for i in chosen]
        return np.concatenate([tokens[:0], *sets]), np.cumsum([0, *(len(s) for s in sets)])
    if isinstance(X, list):
        return [X[i] for i in chosen]
    return X[chosen]


def _solve_sketched(
    family: HashFamily, X: Any, outputs: NDArray[np.float64], ridge: float
) -> NDArray[np.float64]:
    """Return a with ``(K + ridge I) a = outputs``, for K as a RACE of these hashes estimates it."""
    from scipy.sparse.linalg import LinearOperator, minres

    n, repetitions, chance = len(outputs), family.n_hashes, family.chance_collision
    codes = family.hash(X)
    if not np.array_equal(codes, family.hash_query(X)):
        raise ValueError(
            'kernel="sketched" needs a family that hashes rows and queries alike, which '
            f'{type(family).__name__} does not; pass kernel="exact"'
        )
    columns = codes.astype(np.int64) + np.arange(repetitions) * family.n_buckets
    # Buckets in use only: there may be far more of them than rows.
    used, places = np.unique(columns.reshape(-1), return_inverse=True)
    features = scipy.sparse.csr_array(
        (np.ones(n * repetitions), places.reshape(-1), np.arange(n + 1) * repetitions), shape=(n, used.size)
    )
    transposed = scipy.sparse.csr_array(features.T)
    scale = 1.0 / repetitions / (1.0 - chance)

    def times(a: NDArray[np.float64]) -> NDArray[np.float64]:
        kernel = (features @ (transposed @ a)) * scale - a.sum() * (chance / (1.0 - chance))
        return np.asarray(kernel + ridge * a)

    system = LinearOperator((n, n), matvec=times, dtype=np.float64)
    found, worst = [], 0.0
    for column in outputs.T:
        a = minres(system, column, rtol=1e-6, maxiter=_MAX_ITERATIONS)[0]
        size = float(np.linalg.norm(column))
        worst = max(worst, float(np.linalg.norm(times(a) - column)) / size if size else 0.0)
        found.append(a)
    if worst > _LEFT_OVER:
        warnings.warn(
            f"fit leaves {worst:.2g} of the outputs after {_MAX_ITERATIONS} steps: the ridge is too small "
            f"for rows so alike with outputs so different; pass a larger one, got ridge={ridge:g}",
            stacklevel=stacklevel_of_caller(),
        )
    return np.column_stack(found)


publish("mergesketch", __all__, globals())
