"""Networks that predict the buckets of right items, one for each repetition, and how they are trained."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from ...lsh.inputs.rows import VectorRows, read_rows
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.random import normal, random_uint64
from ...lsh.support.threads import cut_range, map_blocks
from ..kernels import bucket_model
from .relevant_items import refuse_numbers_of_items

__all__ = [
    "BucketModel",
    "FittedModel",
    "RightItems",
    "RowScale",
    "ScaledRows",
    "column_centre",
    "draw_order",
    "mean_probabilities",
    "new_model",
    "predict",
    "read_right_items",
    "row_scale",
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
#: The least length of rows less their centre, as a share of the length of the rows themselves.
_LEAST_SPREAD = 1e-12
#: The root mean square length of rows is at most that many median lengths, and scaled rows are not longer.
_LONG, _LONGEST = 2.0, 8.0


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
    """Rows as kernels of networks take them: sparse, of float32, moved and divided."""

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
        If the matrix has another shape, or numbers that are negative or not finite, or if it looks like
        numbers of items in place of a matrix with a column for each item.
    """
    refuse_gpu("Y", Y)
    rows = read_rows(Y, n_items, "Y")
    if rows.n != n_rows:
        raise ValueError(f"Y must have a row for each of the {n_rows} rows of X, got {rows.n}")
    if rows.width >= 1 << 31:
        raise ValueError(f"Y must have fewer than 2**31 columns, got {rows.width}")
    refuse_numbers_of_items(Y, rows)
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


class RowScale(NamedTuple):
    """The offset and the length by which rows are moved and divided before networks see them."""

    #: Shape (n_features,): the mean of each column in the fit, or 0 where it is small beside the spread.
    centre: NDArray[np.float64]
    #: The root mean square length of the rows of the fit after the centre was subtracted, but at most twice
    #: their median length.
    length: float


def column_centre(rows: VectorRows) -> NDArray[np.float64]:
    """Return the means of columns, and 0 for columns whose mean is at most their standard deviation.

    Columns with larger means have numbers other than 0 in more than half of the rows, so sparse rows stay
    sparse if the centre is subtracted.
    """
    indptr, indices, data = _without_zeros(rows)
    largest = float(np.abs(data).max(initial=0.0))
    if largest == 0.0:
        return np.zeros(rows.width)
    # A power of two divides without rounding, so constant columns have exactly their number as the mean.
    unit = _power_of_two(largest)
    values, width = data.astype(np.float64) / unit, rows.width
    first = np.zeros(width)
    first[indices[: indptr[1]]] = values[: indptr[1]]
    # Differences from the first row do not cancel where an offset is large. Absent numbers are zeros.
    differences = values - first[indices]
    absent = rows.n - np.bincount(indices, minlength=width)
    sums = np.bincount(indices, differences, width) - absent * first
    squares = np.bincount(indices, differences**2, width) + absent * first**2
    mean, variance = first + sums / rows.n, squares / rows.n - (sums / rows.n) ** 2
    centre: NDArray[np.float64] = np.where(mean**2 > variance, mean, 0.0) * unit
    return centre


def row_scale(rows: VectorRows) -> RowScale:
    """Return what the rows of a fit are moved and divided by; the length is 1 if all rows are 0."""
    centre = column_centre(rows)
    values = _without_zeros(rows)[2]
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return RowScale(centre, 1.0)
    # Numbers are divided first, because differences and squares of large ones overflow.
    unit = _power_of_two(largest)
    whole = unit * _root_mean_square(values.astype(np.float64) / unit, rows.n)
    indptr, _, moved = _moved(rows, centre, unit)
    lengths = _row_lengths(indptr, moved)
    if not lengths.any():
        # All rows are the centre.
        return RowScale(centre, max(whole, float(np.finfo(np.float64).tiny)))
    # A few rows that are far longer than others do not count.
    usual = min(_root_mean_square(moved, rows.n), _LONG * float(np.median(lengths[lengths > 0.0])))
    # Rows that are equal but for rounding would have no length to speak of.
    length = max(unit * usual, _LEAST_SPREAD * whole if centre.any() else 0.0)
    return RowScale(centre, max(length, float(np.finfo(np.float64).tiny)))


def _row_lengths(indptr: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    numbers = np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
    lengths: NDArray[np.float64] = np.sqrt(np.bincount(numbers, values**2, indptr.size - 1))
    return lengths


def _power_of_two(number: float) -> float:
    """Return the largest power of two that is not above a number."""
    return math.ldexp(1.0, math.frexp(number)[1] - 1)


def _root_mean_square(values: NDArray[np.float64], n: int) -> float:
    """Return the root of the mean square length of n rows that have these numbers."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return 0.0
    # Numbers are divided first, because squares of large ones overflow.
    squares = (values / largest) ** 2
    # One order of additions, whatever the memory order of the rows was.
    return largest * math.sqrt(float(squares.sum()) / n)


def _moved(
    rows: VectorRows, centre: NDArray[np.float64], unit: float
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float64]]:
    """Return the sparse arrays of rows less a centre, both divided by a number."""
    indptr, indices, data = _without_zeros(rows)
    columns = np.flatnonzero(centre)
    with np.errstate(over="ignore"):
        values, offsets = data.astype(np.float64) / unit, centre[columns] / unit
    if not columns.size:
        return indptr, indices, values
    shape = rows.n, rows.width
    of_rows = scipy.sparse.csr_array((values, indices, indptr), shape=shape)
    ends = np.arange(rows.n + 1) * columns.size
    moves = np.tile(offsets, rows.n)
    # The difference has no entries for numbers that are equal, and its columns rise.
    moved = of_rows - scipy.sparse.csr_array((moves, np.tile(columns, rows.n), ends), shape=shape)
    return moved.indptr.astype(np.int64), moved.indices, moved.data


def scaled(rows: VectorRows, scale: RowScale, name: str) -> ScaledRows:
    """Return rows as kernels take them: less the centre, divided by the length, and at most 8 long.

    Parameters
    ----------
    rows : VectorRows
    scale : RowScale
        As `row_scale` of the rows of the fit returns it.
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
    indptr, indices, values = _moved(rows, scale.centre, scale.length)
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= _LARGEST:
        less = " less the offsets of columns" if scale.centre.any() else ""
        raise ValueError(
            f"{name} must have numbers{less} of at most 1e12 times the usual length of rows in "
            f"`fit`, {scale.length:g}, got {largest:g} times"
        )
    lengths = _row_lengths(indptr, values)
    if (lengths > _LONGEST).any():
        values = values * np.repeat(_LONGEST / np.maximum(lengths, _LONGEST), np.diff(indptr))
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
