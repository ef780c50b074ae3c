"""Herding: samples, chosen one after the other, whose mean approaches a given mean."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_range
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_flag, check_int
from ...lsh.support.public import publish
from ..neighbours.index import LSHIndex
from .atoms import ProductOverflowError, inner_product, read_vector
from .inner_product_oracle import InnerProductOracle
from .oracle_run import OracleRun

__all__ = ["HerdingResult", "herding"]

#: Numbers of atoms that are averaged at a time.
_NUMBERS = 1 << 20


class HerdingResult(NamedTuple):
    """Contain the samples that `herding` has chosen, in their order."""

    #: int64, shape (n_samples,): the atoms.
    ids: NDArray[np.int64]
    #: float64, shape (n_samples,): the distance of the mean of the first 1, 2, ... samples from the target.
    errors: NDArray[np.float64]
    #: float64, shape (n_features,): the mean of all samples.
    mean: NDArray[np.float64]
    #: float64, shape (n_features,): the target.
    target: NDArray[np.float64]
    #: Number of products of atoms and directions, without those of checks.
    inner_products: int
    #: Number of samples for which all atoms were compared.
    exact_scans: int
    #: float64, shape (n checks,): the product of a checked sample, less that of the target, over that of the
    #: best atom.
    ratios: NDArray[np.float64]


def herding(
    atoms: ArrayLike,
    mean: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    n_samples: int = 10,
    index: InnerProductOracle | LSHIndex | None = None,
    *,
    replace: bool = True,
    check_every: int | None = None,
) -> HerdingResult:
    """Choose samples whose mean approaches the mean of all atoms, faster than random ones (kernel herding).

    Parameters
    ----------
    atoms : array_like of shape (n, n_features)
        The features of the rows to choose from, finite. float32 and float64 in C order are not copied.
    mean : array_like of shape (n_features,), optional
        The target. By default it is the mean of the atoms.
    weights : array_like of n numbers, optional
        At least 0, with a sum above 0: the target is the mean with these weights.
    n_samples : int, default 10
        At most n without `replace`.
    index : InnerProductOracle or LSHIndex, optional
        What finds the samples. An `LSHIndex` must have an `InnerProduct` family, and row i of `atoms` under
        id i. By default all atoms are compared for every sample.
    replace : bool, default True
        True if an atom may be chosen several times.
    check_every : int, optional
        Compare every such sample with the best one, and return the ratios. This does not change the samples.

    Returns
    -------
    HerdingResult

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range, if both `mean` and `weights` are given, or if
        distances of atoms and target, or their products, are too large for float64.

    Notes
    -----
    With the target m and w = 0 at the start, each sample is the atom x of the largest ``w . x``, and w
    becomes ``w + m - x``. For features of a kernel this is kernel herding; random Fourier features stand for
    a Gaussian kernel. After T samples the error is ``|w| / T``.

    Authors start with w = m. Then the choice depends on the origin: if the mean is far from it, the error
    stays above that of random samples until T exceeds ``|m|**2 / R**2``. With w = 0 the same vector added to
    all atoms and the target changes no choice, up to rounding. All atoms are equally good as the first
    sample, which is atom 0 without an index and some atom of a bucket with one.

    A sample x with ``w . x >= w . m`` makes ``|w|**2`` grow by at most ``|x - m|**2``. If all samples are so,
    and R is the largest distance of an atom from the target, then

        error <= R / sqrt(T).

    The best atom is so if the target lies in the convex hull of the atoms and `replace` is True. With an
    index, all atoms are compared where no candidate is. So the bound also holds with an index, whatever its
    tables contain. Exact samples often have errors that fall as 1 / T. If the target lies outside of the
    hull, errors approach its distance, and more and more samples need a comparison of all atoms.

    A sample costs a search and ``O(n_features)``.

    References
    ----------
    - Welling. Herding dynamical weights to learn. ICML 2009.
    - Chen, Welling, Smola. Super-samples from kernel herding. UAI 2010.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> X = np.random.default_rng(0).standard_normal((5000, 8))
    >>> chosen = mergesketch.herding(X, n_samples=100)
    >>> random = np.linalg.norm(X[:100].mean(axis=0) - X.mean(axis=0))
    >>> bool(chosen.errors[-1] < 0.2 * random)
    True
    """
    run = OracleRun(atoms, index, check_every=check_every)
    matrix = run.atoms
    n, width = matrix.shape
    replace = check_flag("replace", replace)
    n_samples = check_int("n_samples", n_samples, 1, None if replace else n)
    if mean is not None and weights is not None:
        raise ValueError("mean and weights cannot both be given")
    target = _mean(matrix, weights) if mean is None else read_vector("mean", mean, width)
    chosen = None if replace else np.zeros(n, np.bool_)
    ids, errors = np.empty(n_samples, np.int64), np.empty(n_samples)
    drift = np.zeros(width)
    for t in range(n_samples):
        own = inner_product(drift, target)
        try:
            if not math.isfinite(own):
                raise ProductOverflowError
            found = run.best(drift, above=_below(own), excluded=chosen)
        except ProductOverflowError:
            raise ValueError(
                "atoms must have finite products with their distance from the target, got numbers too large"
            ) from None
        ids[t] = found.id
        if chosen is not None:
            chosen[found.id] = True
        with np.errstate(over="ignore"):
            drift += target - matrix[found.id]
            errors[t] = _length(drift) / (t + 1)
        if not math.isfinite(errors[t]):
            raise ValueError(
                "atoms must have distances from the target that float64 can hold, got numbers too large"
            )
    return HerdingResult(
        ids,
        errors,
        target - drift / n_samples,
        target.copy(),
        run.inner_products,
        run.exact_scans,
        np.array(run.ratios),
    )


def _below(value: float) -> float:
    """Return the next number below, so that candidates of equal value are taken."""
    return float(np.nextafter(value, -math.inf))


def _length(vector: NDArray[np.float64]) -> float:
    """Return the length of a vector, whose squares may be too large or too small for float64."""
    largest = float(np.abs(vector).max())
    if not 0.0 < largest < math.inf:
        return largest
    return largest * math.sqrt(float(np.square(vector / largest).sum()))


def _mean(matrix: NDArray[Any], weights: ArrayLike | None) -> NDArray[np.float64]:
    """Return the mean of rows, with weights if there are some."""
    n, width = matrix.shape
    shares = np.full(n, 1.0 / n)
    if weights is not None:
        refuse_gpu("weights", weights)
        given = check_range("weights", weights, math.inf)
        if given.shape != (n,):
            raise ValueError(f"weights must have shape ({n},), one for each atom, got {given.shape}")
        largest = float(given.max())
        if not 0.0 < largest < math.inf:
            raise ValueError(f"weights must be finite and have a sum above 0, got a largest one of {largest}")
        shares = given / largest
        shares = shares / shares.sum()
    total, step = np.zeros(width), max(1, _NUMBERS // width)
    for a in range(0, n, step):
        total += (matrix[a : a + step] * shares[a : a + step, None]).sum(axis=0)
    return total


publish("mergesketch", __all__, globals())
