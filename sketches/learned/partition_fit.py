"""The learning of a partition: networks are trained and items go to other buckets, in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.rows import VectorRows, read_rows
from ...lsh.kernels.multiply import make_panels
from ...lsh.support.backend import read_only
from ...lsh.support.random import random_uint64
from ...lsh.support.threads import cut_range, map_blocks, run_tasks
from ..kernels import bucket_model, learned_partition
from .partition_models import (
    BucketModel,
    FittedModel,
    RightItems,
    ScaledRows,
    column_centre,
    draw_order,
    mean_probabilities,
    new_model,
    predict,
    train,
)

__all__ = ["METRICS", "Settings", "assign", "item_scores", "learn_partition", "nearest_of_sample"]

#: Scores of items that are kept at a time, and queries whose neighbours are worth a thread of their own.
_SCORES, _QUERIES = 1 << 24, 48
#: The metrics that neighbours are near by.
METRICS = ("sqeuclidean", "cosine", "inner_product")


class Settings(NamedTuple):
    """The parameters of a `LearnedPartition` that decide on what is learned."""

    n_features: int
    n_buckets: int
    n_choices: int
    n_hidden: int
    n_rounds: int
    n_epochs: int
    learning_rate: float
    seed: int


#: Returns the scores of buckets for the items of some numbers, from the network of a repetition.
ItemScores = Callable[[FittedModel, NDArray[np.int64]], NDArray[np.float32]]


def item_scores(rows: ScaledRows, right: RightItems | None) -> ItemScores:
    """Return the function that scores buckets for items.

    Parameters
    ----------
    rows : ScaledRows
    right : RightItems or None
        The right items of each row; None if rows are the items.

    Returns
    -------
    callable
        Takes a network and numbers of items, and returns a row of scores for each: the sums of probabilities
        over the rows that the item is right for, divided by the mean probabilities of the buckets.
    """

    def sums(model: BucketModel, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        if right is None:
            return predict(model, rows, numbers)
        position = np.full(right.n_items, -1, np.int32)
        position[numbers] = np.arange(numbers.size, dtype=np.int32)
        items, arrays = read_only(position[right.items]), [read_only(array) for array in model]
        scores = np.zeros((numbers.size, model.bucket_bias.size), np.float32)
        bucket_model.add_item_scores(
            *rows, right.offsets, items, *arrays, 0, numbers.size, 0, rows.indptr.size - 1, scores
        )
        return scores

    def relative(model: FittedModel, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        scores = sums(model.network, numbers)
        scores /= model.mean_probabilities
        return scores

    return relative


def assign(
    model: FittedModel,
    scores_of: ItemScores,
    order: NDArray[np.int64],
    n_choices: int,
    loads: NDArray[np.int64],
    places: NDArray[np.int32],
    substitutes: NDArray[np.uint64] | None = None,
) -> None:
    """Put items, one after the other, into the least loaded of their best buckets.

    Parameters
    ----------
    model : FittedModel
    scores_of : callable
        As `item_scores` returns it.
    order : int64 array
        The numbers of items, in their order.
    n_choices : int
    loads : int64 array
        The loads of buckets, which grow.
    places : int32 array
        Takes the bucket of each item.
    substitutes : uint64 array of shape (n_items, n_choices), optional
        Random words, from which items without any score draw their buckets.
    """
    n_buckets = loads.size
    for start, stop in cut_range(0, order.size, max(1, _SCORES // n_buckets)):
        numbers = order[start:stop]
        scores = scores_of(model, numbers)
        if substitutes is not None:
            unknown = np.flatnonzero(~scores.any(axis=1))
            drawn = (substitutes[numbers[unknown]] % np.uint64(n_buckets)).astype(np.int64)
            scores[unknown[:, None], drawn] = 1.0
        chosen = np.empty(numbers.size, np.int32)
        learned_partition.assign_items(
            read_only(scores), np.arange(numbers.size), n_choices, 0, numbers.size, loads, chosen
        )
        places[numbers] = chosen


def learn_partition(
    rows: ScaledRows, right: RightItems, own_rows: ScaledRows | None, n_repetitions: int, settings: Settings
) -> list[tuple[FittedModel, NDArray[np.int32]]]:
    """Return the network and the buckets of items of each repetition.

    Parameters
    ----------
    rows : ScaledRows
        The queries to learn from.
    right : RightItems
        The right items of each query.
    own_rows : ScaledRows or None
        The rows that items are, from which the networks score buckets for them. None if their scores are the
        sums over the queries that they are right for.
    n_repetitions : int
    settings : Settings

    Returns
    -------
    list of tuple
        Of FittedModel and an int32 array of shape (n_items,).
    """
    scores_of = item_scores(rows, right) if own_rows is None else item_scores(own_rows, None)
    n_rows = rows.indptr.size - 1

    def learn(repetition: int) -> tuple[FittedModel, NDArray[np.int32]]:
        own, seed, n_items = f"LearnedPartition {repetition}", settings.seed, right.n_items
        network = new_model(
            seed, f"{own} weights", settings.n_features, settings.n_hidden, settings.n_buckets
        )
        words = random_uint64(seed, f"{own} buckets", n_items * settings.n_choices)
        words = words.reshape(n_items, settings.n_choices)
        # The first partition is random.
        places = (words[:, 0] % np.uint64(settings.n_buckets)).astype(np.int32)

        def train_for(turn: int) -> FittedModel:
            purposes = [f"{own} order {turn} {epoch}" for epoch in range(settings.n_epochs)]
            orders = [draw_order(seed, purpose, n_rows) for purpose in purposes]
            train(network, rows, right, places, orders, settings.learning_rate)
            return FittedModel(network, mean_probabilities(network, rows))

        for turn in range(settings.n_rounds):
            model = train_for(turn)
            loads = np.zeros(settings.n_buckets, np.int64)
            order = draw_order(seed, f"{own} items {turn}", n_items)
            assign(model, scores_of, order, settings.n_choices, loads, places, words)
        return train_for(settings.n_rounds), places

    return run_tasks(learn, n_repetitions)


def nearest_of_sample(
    rows: VectorRows, metric: str, n_neighbors: int, sample: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the exact nearest rows of some of the rows.

    Parameters
    ----------
    rows : VectorRows
    metric : str
        One of METRICS.
    n_neighbors : int
        At most the number of rows.
    sample : int64 array of shape (m,)
        Numbers of the rows whose neighbours are asked for.

    Returns
    -------
    ndarray of shape (m, n_neighbors), int64
        The nearest first. A row is among its own neighbours, unless others are nearer by the inner product,
        or as near in float32.
    """
    values = rows.dense
    # Products in float32 must neither overflow nor vanish, and do not depend on a common factor.
    largest = float(np.abs(values).max(initial=0.0))
    scaled_rows = values / np.float64(largest) if largest else values.astype(np.float64)
    if metric == "cosine":
        lengths = np.sqrt((scaled_rows**2).sum(axis=1))
        scaled_rows /= np.where(lengths > 0, lengths, 1.0)[:, None]
    # A common offset makes all products large and nearly equal, so it is left out of them:
    # (q + c) (x + c) = q x + c x + a number that is the same for all x.
    centre = column_centre(read_rows(scaled_rows))
    scaled_rows -= centre
    if metric == "sqeuclidean":
        halves = (scaled_rows**2).sum(axis=1) / 2
    else:
        halves = -(scaled_rows * centre).sum(axis=1)
    vectors, halves = scaled_rows.astype(np.float32), halves.astype(np.float32)
    panels, queries = make_panels(vectors), np.ascontiguousarray(vectors[sample])
    numbers = np.empty((sample.size, n_neighbors), np.int64)
    given: tuple[Any, ...] = (read_only(queries), read_only(panels), read_only(halves), n_neighbors)
    map_blocks(
        lambda start, stop: learned_partition.nearest_rows(*given, start, stop, numbers),
        sample.size,
        _QUERIES,
    )
    return numbers
