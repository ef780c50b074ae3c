"""Hyperplanes that are trained so that neurons share buckets with the rows for which they are active."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.learned_projection import METRICS, LearnedProjection
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.configured import Configured
from ...lsh.support.public import publish
from ...lsh.support.random import normal, random_uint64
from ...lsh.support.threads import cut_range, map_blocks
from ...lsh.support.types import RowsLike
from ..kernels import learned_hash
from .relevant_items import Relevant, read_relevant

__all__ = ["HashRound", "LearnedHash"]

#: Pairs that are worth a thread of their own.
_PAIRS = 128
#: Rows, and hyperplanes, that are worth a thread of their own.
_ROWS, _PLANES = 256, 16
#: The decay of means and of squares of gradients, and the least root of a square (Kingma and Ba 2015).
_MEAN, _SQUARE, _LEAST_ROOT = np.float32(0.9), np.float32(0.999), np.float32(1e-8)


class HashRound(NamedTuple):
    """Describe the tables before a round of the training, and the pairs that it used."""

    #: The share of labels that were in a bucket of their row.
    recall: float
    #: The mean number of neurons in the buckets of a row.
    candidates: float
    #: The numbers of pairs that should share a bucket, and that should not.
    n_positive: int
    n_negative: int
    #: The mean loss of the pairs in the round.
    loss: float


class LearnedHash(Configured):
    """Train hyperplanes so that rows find the neurons of a wide output layer that they need (LSS).

    Parameters
    ----------
    n_hashes : int, default 16
        The number of tables.
    power : int, default 6
        The number of bits of a table's code, at most 16: a table has ``2**power`` buckets.
    loss : {"tables", "codes"}
        "tables" follows the probability that a pair shares a bucket, and "codes" is the loss of the paper;
        see Notes.
    n_rounds : int, default 8
        How often the tables are filled anew and pairs are collected from them.
    n_negatives : int, default 4
        The most wrong neurons that a row gets as pairs in a round.
    negative_weight : float, default 4.0
        The weight of wrong neurons, for the loss "tables". A larger weight gives fewer candidates, and finds
        fewer labels.
    batch_size : int, default 1024
        The number of pairs of a step.
    learning_rate : float, default 0.02
        The size of a step, for vectors of normal entries.
    metric : {"inner_product", "angle", "euclidean", "cityblock"}
        The measure by which an index over the family ranks candidates; see `LearnedProjection`.
    seed : int, default 0
        Seed of the first vectors and of the order of pairs, in [0, 2**64).

    Attributes
    ----------
    family : LearnedProjection
        The family of the trained vectors, after `fit`.
    rounds : tuple of HashRound
        How the tables improved, after `fit`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    An inner product need not be large for a neuron to be the right answer. So Liu and others train the
    hyperplanes of SimHash with the labels instead of searching for large products. In every round all
    neurons are put into tables by their weights, and each training row reads its buckets. *Positive* pairs
    are a row and one of its labels, *negative* pairs a row and a neuron in its buckets that is no label. The
    bits of a code are relaxed to ``tanh(<w, x>)``, which are differentiable, and steps of Adam make the loss
    smaller.

    - "codes": with relaxed codes a and b of a pair, and n bits, the loss is ``-log(sigmoid(<a, b> /
      sqrt(n)))`` of positive and ``-log(sigmoid(-<a, b> / sqrt(n)))`` of negative pairs, where only labels
      that the tables missed are positive pairs (the paper's index update loss, IUL, but for the root).
    - "tables": a relaxed bit a is taken as 1 with probability (1 + a) / 2. Then bits agree with probability
      (1 + a b) / 2, the codes of a table with the product p of these, and some table's with ``q = 1 -
      prod(1 - p)``. The loss is ``-log(q)`` of all positive and ``-negative_weight log(1 - q)`` of negative
      pairs. It is about the event that an index sees, and in our measurements it is much better.

    The result depends on the seed and the data, and not on the number of threads. Rows and neurons are used
    by their directions only. Nothing is known about the neurons that no row has as a label, but that they are
    negative pairs.

    Learned buckets are not balanced: neurons that are needed by the same rows come together. `loads` counts
    them, and an index whose capacity is too small warns. There is no theory of how often a pair collides: see
    `LearnedProjection`.

    **Cost** of a round: hashing all rows and neurons, and O(n_hashes power n_features) a pair, four times.
    Memory is about ``n_hashes (4 n_neurons + 8 2**power)`` bytes, beside a copy of the rows in float32.

    References
    ----------
    - Liu, Xu, Ji, Li, Chen, Shrivastava. Climbing the WOL: training for cheaper inference. arXiv:2007.01230,
      2020.
    - Kingma, Ba. Adam: a method for stochastic optimization. ICLR 2015.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> rng = np.random.default_rng(0)
    >>> neurons = rng.standard_normal((500, 16))
    >>> labels = rng.integers(0, 500, 2000)
    >>> X = neurons[labels] + rng.standard_normal((2000, 16))
    >>> Y = np.zeros((2000, 500), bool)
    >>> Y[np.arange(2000), labels] = True
    >>> learned = mergesketch.LearnedHash(n_hashes=8, power=5, seed=1).fit(neurons, X, Y)
    >>> learned.rounds[-1].recall > learned.rounds[0].recall
    True
    >>> index = mergesketch.LSHIndex(learned.family, capacity=128).update(neurons)
    >>> index.query(X[:1], k=3).ids.shape
    (1, 3)
    """

    _parameters = (
        "n_hashes",
        "power",
        "loss",
        "n_rounds",
        "n_negatives",
        "negative_weight",
        "batch_size",
        "learning_rate",
        "metric",
        "seed",
    )

    def __init__(
        self,
        n_hashes: int = 16,
        power: int = 6,
        *,
        loss: str = "tables",
        n_rounds: int = 8,
        n_negatives: int = 4,
        negative_weight: float = 4.0,
        batch_size: int = 1024,
        learning_rate: float = 0.02,
        metric: str = "inner_product",
        seed: int = 0,
    ) -> None:
        self.n_hashes = check_int("n_hashes", n_hashes, 1, 1 << 16)
        self.power = check_int("power", power, 1, 16)
        self.loss: str = check_choice("loss", loss, ("tables", "codes"))
        self.n_rounds = check_int("n_rounds", n_rounds, 1, 1 << 16)
        self.n_negatives = check_int("n_negatives", n_negatives, 1, 1 << 16)
        self.negative_weight = check_real("negative_weight", negative_weight, 0.0, 1e6)
        self.batch_size = check_int("batch_size", batch_size, 1, 1 << 24)
        self.metric: str = check_choice("metric", metric, METRICS)
        self.learning_rate = check_real("learning_rate", learning_rate, 0.0, 1e3)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self._family: LearnedProjection | None = None
        self.rounds: tuple[HashRound, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Return True for objects of equal parameters that have learned the same."""
        return (
            isinstance(other, LearnedHash)
            and self.config() == other.config()
            and self._family == other._family
            and self.rounds == other.rounds
        )

    # Fits change what is compared.
    __hash__ = None  # type: ignore[assignment]

    @property
    def family(self) -> LearnedProjection:
        """The family of the trained vectors; ValueError before `fit`."""
        if self._family is None:
            raise ValueError("this LearnedHash has no family yet: call fit")
        return self._family

    def fit(
        self, neurons: RowsLike, X: RowsLike, Y: ArrayLike, *, start: LearnedProjection | None = None
    ) -> Self:
        """Train the vectors.

        Parameters
        ----------
        neurons : array_like or sparse matrix of shape (n_neurons, n_features)
            The weights of each output neuron, or the vector of each item. Append the bias as a column, and a
            column of ones to `X`, if the layer has biases.
        X : array_like or sparse matrix of shape (n, n_features)
            Inputs of the layer.
        Y : sparse matrix or array_like of shape (n, n_neurons)
            A number above 0 where the neuron is a label of the row, and 0 elsewhere.
        start : LearnedProjection, optional
            Where training begins, for example the family of an earlier state of the layer. By default the
            vectors are drawn.

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            If the arrays are not as described, no row has a label, or there are more vectors than a
            `LearnedProjection` may have. Nothing changes then.
        """
        refuse_gpu("LearnedHash.fit", neurons)
        refuse_gpu("LearnedHash.fit", X)
        rows = read_rows(X, None, "X")
        items = read_rows(neurons, rows.width, "neurons")
        if not items.n:
            raise ValueError("neurons must have at least one row, got 0")
        relevant = read_relevant(Y, rows.n, items.n)
        if not relevant.items.size:
            raise ValueError("Y must have a label of at least one row, got none")
        if start is None:
            start = self._drawn(rows.width)
        elif not isinstance(start, LearnedProjection):
            raise TypeError(f"start must be a LearnedProjection, got {type(start).__name__}")
        elif (start.n_hashes, start.power, start.n_features) != (self.n_hashes, self.power, rows.width):
            raise ValueError(
                f"start must have {self.n_hashes} hashes of power {self.power} for {rows.width} features, "
                f"got {start!r}"
            )
        training = _Training(self, _directions(items.dense), _directions(rows.dense), relevant, start)
        rounds = tuple(training.round(number) for number in range(self.n_rounds))
        self._family, self.rounds = training.family(), rounds
        return self

    def _drawn(self, width: int) -> LearnedProjection:
        n_vectors = self.n_hashes * self.power
        LearnedProjection.check_size(n_vectors, width)
        vectors = normal(self.seed, "LearnedHash vectors", n_vectors * width)
        return LearnedProjection(vectors.reshape(n_vectors, width), power=self.power)

    def loads(self, neurons: RowsLike) -> NDArray[np.int64]:
        """Count the neurons in each bucket of the trained tables.

        Parameters
        ----------
        neurons : array_like or sparse matrix of shape (n_neurons, n_features)

        Returns
        -------
        ndarray of shape (n_hashes, 2**power), int64
            Each row sums to the number of neurons.

        Raises
        ------
        TypeError, ValueError
            If there is no family yet, or it refuses the rows.
        """
        family = self.family
        codes = family.hash(family.read_rows(neurons, "neurons"))
        counts = [np.bincount(column, minlength=family.n_buckets) for column in codes.T]
        return np.stack(counts).astype(np.int64)


class _Training:
    """Vectors in training, with the moments of their gradients."""

    def __init__(
        self,
        asked: LearnedHash,
        neurons: NDArray[np.float32],
        X: NDArray[np.float32],
        relevant: Relevant,
        start: LearnedProjection,
    ) -> None:
        self.asked, self.neurons, self.X, self.relevant = asked, neurons, X, relevant
        # Products with rows of length 1 then have a variance of 1, where tanh is neither linear nor flat.
        self.vectors = start.vectors * np.float32(np.sqrt(X.shape[1]))
        self.mean, self.square = np.zeros_like(self.vectors), np.zeros_like(self.vectors)
        self.n_steps = 0

    def family(self) -> LearnedProjection:
        return LearnedProjection(self.vectors, power=self.asked.power, metric=self.asked.metric)

    def round(self, number: int) -> HashRound:
        """Fill the tables, collect pairs, and take a step for each batch of them."""
        is_found, wrong, sizes = self._pairs(number)
        used = is_found == 0 if self.asked.loss == "codes" else np.ones(is_found.size, np.bool_)
        positive = np.flatnonzero(used)
        of_row, place = np.nonzero(wrong >= 0)
        rows = np.concatenate([self.relevant.rows[positive], of_row.astype(np.int32)])
        neurons = np.concatenate([self.relevant.items[positive], wrong[of_row, place]])
        signs = np.repeat(np.array([1, -1], np.int8), [positive.size, of_row.size])
        order = np.argsort(random_uint64(self.asked.seed, f"LearnedHash order {number}", rows.size))
        batches = (order[a:b] for a, b in cut_range(0, order.size, self.asked.batch_size))
        losses = [self._step(rows[batch], neurons[batch], signs[batch]) for batch in batches]
        loss = sum(losses) / max(1, rows.size)
        recall, mean = float(is_found.mean()), float(sizes.mean())
        return HashRound(recall, mean, int(positive.size), int(of_row.size), loss)

    def _pairs(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int64]]:
        """Return which labels share a bucket with their row, wrong neurons that do, and how many do."""
        family, n = self.family(), len(self.X)
        codes, tables = family.hash(self.X), family.hash(self.neurons).T
        members = np.argsort(tables, axis=1, kind="stable").astype(np.int32)
        places = np.zeros((family.n_hashes, family.n_buckets + 1), np.int64)
        for h, column in enumerate(tables):
            np.cumsum(np.bincount(column, minlength=family.n_buckets), out=places[h, 1:])
        is_found = np.empty(self.relevant.items.size, np.uint8)
        wrong, sizes = np.empty((n, self.asked.n_negatives), np.int32), np.empty(n, np.int64)
        key = random_uint64(self.asked.seed, f"LearnedHash negatives {number}", 1)[0]
        of_rows = (codes, members, places, self.relevant.indptr, self.relevant.items, key)

        def find(start: int, stop: int) -> None:
            seen = np.full(len(self.neurons), -1, np.int64)
            learned_hash.find_pairs(*of_rows, start, stop, seen, is_found, wrong, sizes)

        map_blocks(find, n, _ROWS)
        return is_found, wrong, sizes

    def _step(self, rows: NDArray[np.int32], neurons: NDArray[np.int32], signs: NDArray[np.int8]) -> float:
        """Take a step of Adam with a batch of pairs, and return the sum of their losses."""
        asked, m, n_vectors = self.asked, rows.size, len(self.vectors)
        left, right, slopes = (np.empty((m, n_vectors), np.float32) for _ in range(3))
        losses, gradients = np.empty(m), np.zeros_like(self.vectors)
        planes = np.ascontiguousarray(self.vectors.T)

        def relax(start: int, stop: int) -> None:
            learned_hash.relaxed_codes(self.X, rows, planes, start, stop, left)
            learned_hash.relaxed_codes(self.neurons, neurons, planes, start, stop, right)
            if asked.loss == "codes":
                gain = 1.0 / np.sqrt(n_vectors)
                learned_hash.slopes_of_codes(left, right, signs, gain, start, stop, slopes, losses)
            else:
                how = asked.power, asked.negative_weight
                learned_hash.slopes_of_tables(left, right, signs, *how, start, stop, slopes, losses)

        map_blocks(relax, m, _PAIRS)
        pairs = (self.X, rows, self.neurons, neurons, left, right, slopes)
        map_blocks(lambda a, b: learned_hash.add_pair_gradients(*pairs, a, b, gradients), n_vectors, _PLANES)
        gradients /= np.float32(m)
        self.n_steps += 1
        self.mean += (np.float32(1) - _MEAN) * (gradients - self.mean)
        self.square += (np.float32(1) - _SQUARE) * (gradients * gradients - self.square)
        size = np.float32(asked.learning_rate / (1.0 - float(_MEAN) ** self.n_steps))
        root = np.sqrt(self.square / np.float32(1.0 - float(_SQUARE) ** self.n_steps))
        self.vectors -= size * self.mean / (root + _LEAST_ROOT)
        return float(losses.sum())


def _directions(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows of length 1; rows of zeros stay."""
    scaled = rows.astype(np.float64)
    scaled /= np.maximum(np.abs(scaled).max(axis=1, initial=0.0, keepdims=True), 1e-300)
    lengths = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return read_only((scaled / np.maximum(lengths, 1e-300)).astype(np.float32))


publish("mergesketch", ["LearnedHash"], globals())
