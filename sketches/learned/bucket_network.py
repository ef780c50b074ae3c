"""A network with one hidden layer that scores the buckets of several chunks, and its training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.rows import VectorRows
from ...lsh.kernels.multiply import PANEL, ROWS, make_panels, multiply_panels
from ...lsh.support.backend import read_only
from ...lsh.support.random import normal, random_uint64
from ...lsh.support.threads import cut_range, map_blocks
from ..kernels import bucket_network
from .relevant_items import Relevant

__all__ = ["UNITS", "BucketNetwork", "UnitRows", "draw_network", "train", "unit_rows"]

#: Names of the arrays of a network, and their numbers of dimensions.
UNITS = {"hidden": 2, "hidden_bias": 1, "output": 2, "output_bias": 1}
#: Rows, blocks of rows of products, and features that are worth a thread of their own.
_ROWS, _BLOCKS, _FEATURES = 16, 8, 64
_LEAST_ROOT = np.float32(1e-8)


class BucketNetwork(NamedTuple):
    """The weights of a network; all arrays are float32."""

    #: Shape (n_features, n_hidden).
    hidden: NDArray[np.float32]
    #: Shape (n_hidden,).
    hidden_bias: NDArray[np.float32]
    #: Shape (n_chunks * n_buckets, n_hidden).
    output: NDArray[np.float32]
    #: Shape (n_chunks * n_buckets,).
    output_bias: NDArray[np.float32]

    def log_probabilities(self, rows: UnitRows, n_buckets: int) -> NDArray[np.float32]:
        """Return the logarithms of the probabilities of buckets, shape (n, n_chunks * n_buckets or more)."""
        numbers = np.arange(len(rows.indptr) - 1)
        scores = product(self.hidden_units(rows, numbers), make_panels(self.output))[: numbers.size]
        map_blocks(
            lambda a, b: bucket_network.log_probabilities(scores, self.output_bias, n_buckets, a, b),
            numbers.size,
            _ROWS,
        )
        return scores

    def hidden_units(self, rows: UnitRows, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the hidden units of some rows, below which zeros fill a multiple of `ROWS`."""
        units = np.zeros((_rounded(numbers.size, ROWS), self.hidden_bias.size), np.float32)
        arguments = (*rows, numbers, self.hidden, self.hidden_bias)
        map_blocks(lambda a, b: bucket_network.hidden_units(*arguments, a, b, units), numbers.size, _ROWS)
        return units


class UnitRows(NamedTuple):
    """Sparse rows of length 1, or of zeros."""

    #: int64
    indptr: NDArray[np.int64]
    #: int32
    indices: NDArray[np.int32]
    #: float32
    data: NDArray[np.float32]

    def cut(self, start: int, stop: int) -> UnitRows:
        """Return the rows [start, stop)."""
        part = slice(int(self.indptr[start]), int(self.indptr[stop]))
        indptr = self.indptr[start : stop + 1] - part.start
        return UnitRows(read_only(indptr), read_only(self.indices[part]), read_only(self.data[part]))

    def take(self, numbers: NDArray[np.int64]) -> UnitRows:
        """Return some rows, in the order of their numbers."""
        sizes = self.indptr[numbers + 1] - self.indptr[numbers]
        indptr = np.append(0, np.cumsum(sizes))
        entries = np.repeat(self.indptr[numbers] - indptr[:-1], sizes) + np.arange(indptr[-1])
        return UnitRows(read_only(indptr), read_only(self.indices[entries]), read_only(self.data[entries]))


def unit_rows(rows: VectorRows) -> UnitRows:
    """Return rows scaled to length 1, as sparse ones."""
    indptr, indices, data = rows.csr
    row = np.repeat(np.arange(rows.n), np.diff(indptr))
    largest = np.zeros(rows.n)
    np.maximum.at(largest, row, np.abs(data))
    scaled = data.astype(np.float64) / np.maximum(largest, 1e-300)[row]
    lengths = np.sqrt(np.bincount(row, scaled * scaled, rows.n))
    unit = (scaled / np.maximum(lengths, 1e-300)[row]).astype(np.float32)
    return UnitRows(read_only(indptr), read_only(indices.astype(np.int32)), read_only(unit))


def _rounded(n: int, to: int) -> int:
    return -(-n // to) * to


def product(X: NDArray[np.float32], panels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the products of rows with vectors in panels; the sums do not depend on threads.

    The number of rows is a multiple of `ROWS`. The result has a column for each vector, and for those that
    fill the last panel.
    """
    out = np.empty((len(X), len(panels) * PANEL), np.float32)

    def multiply(start: int, stop: int) -> None:
        part = slice(start * ROWS, stop * ROWS)
        multiply_panels(X[part], panels, (stop - start) * ROWS, 0, len(panels), out[part])

    map_blocks(multiply, len(X) // ROWS, _BLOCKS)
    return out


def draw_network(n_features: int, n_hidden: int, n_outputs: int, seed: int) -> BucketNetwork:
    """Return a network before its training. Hidden units of rows of length 1 have a variance of about 1."""
    hidden = normal(seed, "bucket network hidden", n_features * n_hidden).reshape(n_features, n_hidden)
    output = normal(seed, "bucket network output", n_outputs * n_hidden).reshape(n_outputs, n_hidden)
    return BucketNetwork(
        hidden,
        np.zeros(n_hidden, np.float32),
        output * np.float32(0.5 / np.sqrt(n_hidden)),
        np.zeros(n_outputs, np.float32),
    )


def train(
    network: BucketNetwork,
    rows: UnitRows,
    relevant: Relevant,
    codes: NDArray[np.uint16],
    n_buckets: int,
    *,
    n_epochs: int,
    batch_size: int,
    rate: float,
    seed: int,
) -> list[float]:
    """Train a network in place by Adagrad, and return the mean loss of each epoch.

    Every row has at least one item in `relevant`, and `codes` has the bucket of each item in each chunk.
    """
    squares = BucketNetwork(*(np.zeros_like(array) for array in network))
    losses, n = [], len(rows.indptr) - 1
    for epoch in range(n_epochs):
        order = np.argsort(random_uint64(seed, f"bucket network order {epoch}", n), kind="stable")
        batches = (order[a:b] for a, b in cut_range(0, n, batch_size))
        step = (rows, relevant, codes, n_buckets, np.float32(rate))
        losses.append(sum(_step(network, squares, batch, *step) for batch in batches) / n)
    return losses


def _step(
    network: BucketNetwork,
    squares: BucketNetwork,
    batch: NDArray[np.int64],
    rows: UnitRows,
    relevant: Relevant,
    codes: NDArray[np.uint16],
    n_buckets: int,
    rate: np.float32,
) -> float:
    """Take a step of Adagrad with a batch of rows, and return the sum of their losses."""
    n, (n_outputs, n_hidden) = batch.size, network.output.shape
    units = network.hidden_units(rows, batch)
    slopes, losses = product(units, make_panels(network.output)), np.empty(n)
    goal = (network.output_bias, batch, relevant.indptr, relevant.items, codes, n_buckets)
    map_blocks(lambda a, b: bucket_network.bucket_slopes(slopes, *goal, a, b, losses), n, _ROWS)
    slopes[n:] = 0
    slopes *= np.float32(1.0 / n)
    # The slopes of the hidden units come from the weights before the step.
    turned = np.zeros((n_hidden, slopes.shape[1]), np.float32)
    turned[:, :n_outputs] = network.output.T
    of_units = product(slopes, make_panels(turned))[:n, :n_hidden]
    of_units = np.ascontiguousarray(np.where(units[:n] > 0, of_units, np.float32(0)))
    of_outputs = np.zeros((_rounded(n_outputs, ROWS), n), np.float32)
    of_outputs[:n_outputs] = slopes[:n, :n_outputs].T
    gradient = product(of_outputs, make_panels(np.ascontiguousarray(units[:n].T)))[:n_outputs, :n_hidden]
    _adagrad(network.output, squares.output, gradient, rate)
    _adagrad(network.output_bias, squares.output_bias, slopes[:n, :n_outputs].sum(axis=0), rate)
    _adagrad(network.hidden_bias, squares.hidden_bias, of_units.sum(axis=0), rate)
    _step_hidden(network, squares, batch, rows, of_units, rate)
    return float(losses.sum())


def _step_hidden(
    network: BucketNetwork,
    squares: BucketNetwork,
    batch: NDArray[np.int64],
    rows: UnitRows,
    slopes: NDArray[np.float32],
    rate: np.float32,
) -> None:
    """Change the weights of the features that a batch has; those of others have a gradient of 0."""
    sizes = rows.indptr[batch + 1] - rows.indptr[batch]
    starts = np.cumsum(sizes) - sizes
    entries = np.repeat(rows.indptr[batch] - starts, sizes) + np.arange(sizes.sum())
    of_entries = rows.indices[entries]
    order = np.argsort(of_entries, kind="stable")
    features, first = np.unique(of_entries[order], return_index=True)
    places = np.append(first, order.size)
    of_rows, values = np.repeat(np.arange(batch.size), sizes)[order], rows.data[entries[order]]
    arguments = (places, of_rows, values, features.astype(np.int64), slopes, rate)
    weights = (network.hidden, squares.hidden)
    map_blocks(
        lambda a, b: bucket_network.step_of_features(*arguments, a, b, *weights), features.size, _FEATURES
    )


def _adagrad(
    weights: NDArray[np.float32],
    squares: NDArray[np.float32],
    gradient: NDArray[np.float32],
    rate: np.float32,
) -> None:
    squares += gradient * gradient
    weights -= rate * gradient / (np.sqrt(squares) + _LEAST_ROOT)
