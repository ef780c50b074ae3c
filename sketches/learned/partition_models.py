"""Networks that predict the buckets of right items, one for each repetition, and how they are trained."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.rows import VectorRows, read_rows
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.random import normal, random_uint64
from ...lsh.support.threads import cut_range, map_blocks
from ..kernels import bucket_model

__all__ = [
    "BucketModel",
    "FittedModel",
    "RightItems",
    "ScaledRows",
    "draw_order",
    "mean_probabilities",
    "new_model",
    "predict",
    "read_right_items",
    "root_mean_square",
    "scaled",
    "train",
]

#: Rows that are worth a thread of their own.
_ROWS = 64
#: Probabilities that are kept at a time.
_PROBABILITIES = 1 << 22
#: The least mean probability that scores are divided by.
_LEAST = 1e-9
#: The largest number of a scaled row, for which sums of a network stay within float32.
_LARGEST = 1e12


class BucketModel(NamedTuple):
    """The arrays of one network with one hidden layer, in the order in which kernels take them."""

    #: Shape (n_features, n_hidden).
    hidden_weights: NDArray[np.float32]
    #: Shape (n_hidden,).
    hidden_bias: NDArray[np.float32]
    #: Shape (n_hidden, n_buckets).
    bucket_weights: NDArray[np.float32]
    #: Shape (n_buckets,).
    bucket_bias: NDArray[np.float32]


class FittedModel(NamedTuple):
    """A network, and the mean probability of each bucket over the queries that it was trained with."""

    network: BucketModel
    #: Shape (n_buckets,), above 0.
    mean_probabilities: NDArray[np.float32]


class ScaledRows(NamedTuple):
    """Rows as kernels of networks take them: sparse, of float32, and divided by one length."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: NDArray[np.float32]


class RightItems(NamedTuple):
    """The right items of each row: those of row i are ``items[offsets[i]:offsets[i + 1]]``."""

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    n_items: int


# -- arguments --------------------------------------------------------------------------------------


def read_right_items(Y: Any, n_rows: int, n_items: int | None = None) -> RightItems:
    """Return the places of the entries of an indicator matrix that are not 0.

    Parameters
    ----------
    Y : array_like or sparse matrix of shape (n_rows, n_items)
    n_rows : int
    n_items : int, optional

    Returns
    -------
    RightItems

    Raises
    ------
    TypeError, ValueError
        If the matrix has another shape, or numbers that are negative or not finite.
    """
    refuse_gpu("Y", Y)
    rows = read_rows(Y, n_items, "Y")
    if rows.n != n_rows:
        raise ValueError(f"Y must have a row for each of the {n_rows} rows of X, got {rows.n}")
    if rows.width >= 1 << 31:
        raise ValueError(f"Y must have fewer than 2**31 columns, got {rows.width}")
    indptr, indices, data = _without_zeros(rows)
    if data.size and data.min() < 0:
        raise ValueError(f"Y must have numbers of at least 0, got {data.min()}")
    items = np.ascontiguousarray(indices, np.int32)
    return RightItems(read_only(indptr), read_only(items), rows.width)


def _without_zeros(rows: VectorRows) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Return sparse rows without stored zeros, so that sums have the same order as those of dense rows."""
    indptr, indices, data = rows.csr
    there = data != 0
    if there.all():
        return indptr, indices, data
    kept = np.concatenate([[0], np.cumsum(there)])
    return kept[indptr].astype(np.int64), indices[there], data[there]


def root_mean_square(rows: VectorRows) -> float:
    """Return the root of the mean square of the lengths of rows; 1 if all rows are 0."""
    values = _without_zeros(rows)[2]
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return 1.0
    # Numbers are divided first, because squares of large ones overflow.
    squares = (values.astype(np.float64) / largest) ** 2
    # One order of additions, whatever the memory order of the rows was.
    return max(largest * math.sqrt(float(squares.sum()) / rows.n), float(np.finfo(np.float64).tiny))


def scaled(rows: VectorRows, length: float, name: str) -> ScaledRows:
    """Return rows divided by a length, as kernels take them.

    Parameters
    ----------
    rows : VectorRows
    length : float
        As `root_mean_square` of the rows of the fit returns it.
    name : str
        Name of the argument in messages.

    Returns
    -------
    ScaledRows

    Raises
    ------
    ValueError
        If a number is too large beside the length.
    """
    indptr, indices, data = _without_zeros(rows)
    with np.errstate(over="ignore"):
        values = data.astype(np.float64) / length
    largest = float(np.abs(values).max(initial=0.0))
    if largest > _LARGEST:
        raise ValueError(
            f"{name} must have numbers of at most 1e12 times the rows' root mean square length in `fit`, "
            f"{length:g}, got {float(np.abs(data).max()):g}"
        )
    return ScaledRows(
        read_only(np.ascontiguousarray(indptr, np.int64)),
        read_only(np.ascontiguousarray(indices, np.int32)),
        read_only(values.astype(np.float32)),
    )


# -- networks ---------------------------------------------------------------------------------------


def draw_order(seed: int, purpose: str, n: int) -> NDArray[np.int64]:
    """Return the numbers below n in an order that is drawn from a seed."""
    return np.argsort(random_uint64(seed, purpose, n), kind="stable")


def new_model(seed: int, purpose: str, n_features: int, n_hidden: int, n_buckets: int) -> BucketModel:
    """Return a network whose hidden units are random, and which gives all buckets the same probability."""
    weights = normal(seed, purpose, n_features * n_hidden).reshape(n_features, n_hidden)
    return BucketModel(
        weights,
        np.zeros(n_hidden, np.float32),
        np.zeros((n_hidden, n_buckets), np.float32),
        np.zeros(n_buckets, np.float32),
    )


def train(
    model: BucketModel,
    rows: ScaledRows,
    right: RightItems,
    places: NDArray[np.int32],
    orders: list[NDArray[np.int64]],
    rate: float,
) -> None:
    """Train a network, in place, to predict the buckets of the right items of rows.

    Parameters
    ----------
    model : BucketModel
    rows : ScaledRows
    right : RightItems
    places : int32 array
        The bucket of each item.
    orders : list of arrays
        The order of the rows in each pass over them.
    rate : float
        The step of gradient descent.
    """
    squares = [np.zeros(len(model.hidden_weights), np.float32), *map(np.zeros_like, model[1:])]
    for order in orders:
        bucket_model.train_rows(
            *rows, right.offsets, right.items, read_only(places), read_only(order), np.float32(rate), 0,
            order.size, *model, *squares,
        )  # fmt: skip


def predict(model: BucketModel, rows: ScaledRows, order: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the probabilities of buckets for the rows of some numbers.

    Parameters
    ----------
    model : BucketModel
    rows : ScaledRows
    order : int64 array of shape (n,)

    Returns
    -------
    ndarray of shape (n, n_buckets), float32
    """
    scores = np.empty((order.size, model.bucket_bias.size), np.float32)
    given, arrays = read_only(order), [read_only(array) for array in model]
    map_blocks(
        lambda start, stop: bucket_model.score_buckets(*rows, given, *arrays, start, stop, scores),
        order.size,
        _ROWS,
    )
    return scores


def mean_probabilities(model: BucketModel, rows: ScaledRows) -> NDArray[np.float32]:
    """Return the mean probability of each bucket over rows, and 1e-9 where it is less."""
    n, n_buckets = rows.indptr.size - 1, model.bucket_bias.size
    total = np.zeros(n_buckets)
    for start, stop in cut_range(0, n, max(1, _PROBABILITIES // n_buckets)):
        total += predict(model, rows, np.arange(start, stop)).sum(axis=0, dtype=np.float64)
    means: NDArray[np.float32] = np.maximum(total / max(n, 1), _LEAST).astype(np.float32)
    return means
