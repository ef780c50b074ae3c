"""Centres, scales and a hash family that suit rows, for estimators whose user names no family."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy
import scipy.spatial
from numpy.typing import NDArray

from ...lsh.families.pstable import PStable
from ...lsh.family import HashFamily
from ...lsh.support.moments import means_and_deviations
from ...lsh.support.random import random_uint64

__all__ = [
    "DistinctRows",
    "choose_family",
    "choose_regression_family",
    "choose_scaling",
    "distinct_rows",
    "leave_one_out_error",
    "read_scaling",
    "scaled",
    "typical_distance",
]

#: The most rows, and the most values, that a choice is made from; and the fewest rows, however wide.
_MOST_ROWS, _MOST_VALUES, _FEWEST_ROWS = 512, 1 << 22, 32
#: Rows whose keys are sorted at first, for each that is wanted.
_FEW_REPEATS = 8
#: The number of values of a block of rows that are hashed together.
_BLOCK_VALUES = 1 << 16
#: The distance between the quartiles of a normal distribution, in standard deviations.
_QUARTILES = 1.349
#: Spread below this share of the largest magnitude is the rounding error of a constant column.
_ROUNDING = 1e-12
#: Number of buckets of each hash of a chosen family.
_BUCKETS = 1024
#: The width of steps, in typical distances of rows, and their number in a hash.
_WIDTH, _POWER = 0.5, 2
#: The widths that are tried for regression, the widest first, in typical distances; and the number of steps.
_WIDTHS, _REGRESSION_POWER = 2.0 ** np.arange(1.5, -4.1, -0.5), 8
#: Collisions with other rows, over all hashes, from which a row's target is predicted: 1.96 standard errors.
_FEWEST_COLLISIONS = 4.0
#: Narrower widths that are worse than the best one, after which none is tried.
_MOST_WORSE = 3


class DistinctRows(NamedTuple):
    """Rows that differ, and how often each occurs, or another weight of it."""

    rows: NDArray[np.float64]
    weights: NDArray[np.float64]
    #: The weighted mean of the targets of each of them, shape (n, outputs); no outputs without targets.
    targets: NDArray[np.float64]


def distinct_rows(X: Any, weights: NDArray[Any] | None, y: NDArray[Any] | None = None) -> DistinctRows:
    """Return the distinct rows of a batch whose hashes are smallest, as dense rows, with their total weights.

    They depend on the rows and weights alone, and not on their order: a row of weight 2 is a row that occurs
    twice. Rows of weight 0 do not occur.
    """
    n, d = X.shape
    most = min(_MOST_ROWS, max(_FEWEST_ROWS, _MOST_VALUES // max(d, 1)))
    keys = _row_keys(X)
    counts = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    there = np.flatnonzero(counts > 0)
    if there.size > _FEW_REPEATS * most:
        # All rows need not be sorted, unless they repeat so often that the smallest keys are those of few.
        small = there[keys[there] <= np.partition(keys[there], _FEW_REPEATS * most)[_FEW_REPEATS * most]]
        there = small if np.unique(keys[small]).size >= most else there
    unique, first, which = np.unique(keys[there], return_index=True, return_inverse=True)
    totals = np.bincount(which, counts[there], unique.size)[:most]
    rows: Any = X[there[first[:most]]]
    dense = rows.toarray() if hasattr(rows, "toarray") else rows
    columns = np.empty((n, 0)) if y is None else np.asarray(y, np.float64).reshape(n, -1)
    targets = np.empty((totals.size, columns.shape[1]))
    for column, mean in zip(columns.T, targets.T, strict=True):
        mean[...] = np.bincount(which, (counts * column)[there], unique.size)[:most] / totals
    return DistinctRows(np.asarray(dense, np.float64), totals.astype(np.float64), targets)


def _row_keys(X: Any) -> NDArray[np.uint64]:
    """Return a hash of each row, a sum over the values that are not 0: sparse rows have the same."""
    n, d = X.shape
    seeds = random_uint64(0, "keys of distinct rows", d)
    zeros = _mixed(seeds)
    keys = np.zeros(n, np.uint64)
    if scipy.sparse.issparse(X):
        matrix: Any = X
        parts = matrix.tocoo()
        parts.sum_duplicates()
        np.add.at(keys, parts.row, _mixed(_bits(parts.data) ^ seeds[parts.col]) - zeros[parts.col])
        return keys
    step = max(1, _BLOCK_VALUES // max(d, 1))
    for start in range(0, n, step):
        mixed = _mixed(_bits(X[start : start + step]) ^ seeds) - zeros
        keys[start : start + step] = mixed.sum(axis=1, dtype=np.uint64)
    return keys


def _bits(values: Any) -> NDArray[np.uint64]:
    """Return the bits of numbers as float64, the same ones for 0.0 and -0.0."""
    return (np.ascontiguousarray(values, np.float64) + 0.0).view(np.uint64)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return hashes of words: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    words = words ^ (words >> np.uint64(30))
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def choose_scaling(found: DistinctRows, *, centred: bool) -> dict[str, NDArray[np.float64]]:
    """Return the medians and robust spreads of columns; centres of 0 where sparse rows must stay sparse."""
    rows, weights = found.rows, found.weights
    order = np.argsort(rows, axis=0, kind="stable")
    ends = np.cumsum(weights[order], axis=0)
    low, center, high = (
        np.take_along_axis(rows, np.take_along_axis(order, _place(ends, share), 0), 0)[0]
        for share in (0.25, 0.5, 0.75)
    )
    # In units of the largest magnitudes, so that squares neither overflow nor vanish.
    largest = np.abs(rows).max(axis=0)
    units = rows / np.where(largest > 0, largest, 1.0)
    shares = weights / weights.sum()
    spread = largest * np.sqrt(shares @ (units - shares @ units) ** 2)
    quartiles = (high - low) / _QUARTILES
    # Quartiles ignore the outliers, and a standard deviation shows that there are any. Detectors over their
    # geometric mean separate best, and it withstands outliers far away.
    scale = np.where(quartiles > 0, np.sqrt(quartiles) * np.sqrt(spread), spread)
    constant = scale <= _ROUNDING * largest
    return {
        "center": center if centred else np.zeros(center.size),
        "scale": np.where(constant, 1.0, scale),
    }


def _place(ends: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """Return where each column of cumulated weights reaches a share of the last, shape (1, columns)."""
    return (ends < share * ends[-1]).sum(axis=0)[None]


def read_scaling(scaling: Any, n_features: int) -> dict[str, NDArray[np.float64]] | None:
    """Return a scaling that a user gave, as arrays of one number for each column."""
    if scaling is None:
        return None
    if not isinstance(scaling, dict) or set(scaling) != {"center", "scale"}:
        raise ValueError(
            f'scaling must be "auto", None or a dict with the keys center and scale, got {scaling!r}'
        )
    read = {}
    for name, values in scaling.items():
        array = np.asarray(values, np.float64)
        if array.shape not in ((), (n_features,)):
            raise ValueError(
                f"scaling[{name!r}] must be a number or of shape ({n_features},), got shape {array.shape}"
            )
        if not bool(np.isfinite(array).all()) or (name == "scale" and bool((array <= 0).any())):
            raise ValueError(
                f"scaling[{name!r}] must be finite{' and above 0' if name == 'scale' else ''}, got {values}"
            )
        read[name] = np.broadcast_to(array, (n_features,)).copy()
    return read


def scaled(X: Any, scaling: dict[str, NDArray[np.float64]] | None) -> Any:
    """Return rows, dense or CSR, less the centres and over the scales; sparse rows need centres of 0."""
    if scaling is None:
        return X
    center, scale = scaling["center"], scaling["scale"]
    if not scipy.sparse.issparse(X):
        out = np.subtract(X, center, dtype=np.float64)
        out /= scale
        return out
    if center.any():
        raise ValueError(
            "X must be dense, because the centres in scaling_ are not 0, got a sparse matrix; fit to a "
            "sparse matrix first, or pass a scaling with centres of 0"
        )
    matrix: Any = X
    return matrix.multiply(1.0 / scale).tocsr()


def choose_family(found: DistinctRows, n_hashes: int, seed: int) -> PStable:
    """Return a family for the densities of scaled rows like these."""
    width = _WIDTH * typical_distance(found)
    return PStable(
        found.rows.shape[1], n_hashes, p=1, width=width, power=_POWER, n_buckets=_BUCKETS, seed=seed
    )


def typical_distance(found: DistinctRows, metric: Literal["cityblock", "euclidean"] = "cityblock") -> float:
    """Return the median distance of two rows that differ; 1 if none differ."""
    rows, weights = found.rows, found.weights
    if len(rows) < 2:
        return 1.0
    pairs = np.triu_indices(len(rows), 1)
    distances = scipy.spatial.distance.pdist(rows, metric)
    order = np.argsort(distances, kind="stable")
    ends = np.cumsum((weights[pairs[0]] * weights[pairs[1]])[order])
    return float(distances[order[np.searchsorted(ends, ends[-1] / 2)]]) or 1.0


def choose_regression_family(found: DistinctRows, n_hashes: int, seed: int) -> PStable:
    """Return a family whose collisions predict the targets of scaled rows from those of other rows.

    Of several widths, it is that of the least squared error of the rows' predictions without themselves. The
    predictions are made with the family's own hashes, whose noise narrow widths suffer from.
    """
    rows, weights = found.rows, found.weights
    if bool((weights != np.floor(weights)).any()):
        weights = weights / weights.mean()
    means, spread = means_and_deviations(found.targets)
    targets = (found.targets - means) / np.where(spread > 0, spread, 1.0)
    typical = typical_distance(found, "euclidean")
    best, least, n_worse = None, math.inf, 0
    for factor in _WIDTHS:
        family = PStable(
            rows.shape[1],
            n_hashes,
            width=factor * typical,
            power=_REGRESSION_POWER,
            n_buckets=_BUCKETS,
            seed=seed,
        )
        error = leave_one_out_error(family, rows, weights, targets)
        if best is None or error < least:
            best, least, n_worse = family, error, 0
        else:
            n_worse += 1
            if n_worse == _MOST_WORSE:
                break
    assert best is not None
    return best


def leave_one_out_error(
    family: HashFamily, rows: NDArray[Any], weights: NDArray[np.float64], targets: NDArray[np.float64]
) -> float:
    """Return the squared error of the targets of distinct rows, each predicted from the other rows.

    Parameters
    ----------
    family : HashFamily
        It has at most 2**16 buckets.
    rows : ndarray of shape (n, d)
    weights : ndarray of shape (n,)
        A row of weight w stands for w equal rows, so w - 1 of them predict the one that is left out.
    targets : ndarray of shape (n, outputs)
        Their mean is 0, which is the prediction for a row with few collisions.
    """
    codes = family.hash(rows).astype(np.uint16)  # small codes are compared faster
    collisions = np.array([(codes == code).sum(axis=1) for code in codes], np.float64)
    np.fill_diagonal(collisions, family.n_hashes * np.maximum(1.0 - 1.0 / weights, 0.0))
    collisions -= family.n_hashes * family.chance_collision
    mass = collisions @ weights
    known = mass > _FEWEST_COLLISIONS
    sums = collisions @ (weights[:, None] * targets)
    predictions = np.where(known, sums.T / np.where(known, mass, 1.0), 0.0).T
    return float(weights @ ((predictions - targets) ** 2).sum(axis=1))
