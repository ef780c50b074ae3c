"""An index of items with random sparse codes, whose buckets a small network predicts from the query."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int
from ...lsh.support.public import publish
from ...lsh.support.threads import cut_range, map_blocks
from ...lsh.support.types import RowsLike
from ..kernels import sparse_code_index
from .bucket_network import unit_rows
from .code_network import CodeNetwork

__all__ = ["ItemCandidates", "ScoredItems", "SparseCodeIndex"]

#: Queries whose scores are kept at a time, and those that are worth a thread of their own.
_AT_ONCE, _QUERIES = 512, 32
#: The most weights of a network.
_MOST_WEIGHTS = 1 << 30


class ScoredItems(NamedTuple):
    """Contain the answers to n queries for k items."""

    #: int64, shape (n, k): ids by falling score, at equal scores by rising id; -1 if there are fewer.
    ids: NDArray[np.int64]
    #: float64, shape (n, k): the sums of the logarithms of probabilities of an item's buckets, minus infinity
    #: where there is no id.
    scores: NDArray[np.float64]


class ItemCandidates(NamedTuple):
    """Contain the candidates of n queries, those of query i from ``ids[offsets[i]]`` to the next offset."""

    #: int64: rising within a query.
    ids: NDArray[np.int64]
    #: int64, shape (n + 1,).
    offsets: NDArray[np.int64]


class SparseCodeIndex(CodeNetwork):
    """Find the items that belong to a query by random sparse codes, which a network predicts (SOLAR).

    Parameters
    ----------
    n_features : int
        Width of the rows of queries.
    n_chunks : int, default 16
        The number of chunks of a code, at least 2.
    n_buckets : int, default 256
        The number of buckets of a chunk, at most 65,536. A code has a one in one bucket of each chunk.
    n_hidden : int, default 128
        Units of the hidden layer of the network.
    seed : int, default 0
        Seed of the codes, of the first weights and of the order of rows, in [0, 2**64).

    Attributes
    ----------
    ids : ndarray of shape (n_items,), int64
        The ids of items, rising. `len` returns their number.
    loads : ndarray of shape (n_chunks, n_buckets), int64
        The number of items in each bucket.
    n_trained : int
        The number of rows that the network was trained with, 0 before.
    losses : tuple of float
        The mean loss of the rows in each epoch of the last training. Files do not contain it.
    nbytes : int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    An item has a random bucket in each chunk, which is a hash of its id. So codes need no training and no
    memory, two codes have about ``n_chunks / n_buckets`` ones in common, and buckets are as even as random
    ones can be: with n items the loads have the standard deviation ``sqrt(n / n_buckets)``. The query's side
    is learned: a network of one hidden layer (ReLU) gives each bucket of a chunk a probability, with a
    softmax over the chunk. It is trained to give high probabilities to the buckets of the items of a row. A
    query reads the items of the `n_probes` likeliest buckets of each chunk. Those that are in at least
    `min_chunks` of these are candidates, and are ranked by the sum of the logarithms of probabilities over
    all chunks.

    The paper trains a network for each chunk, with a loss for each bucket apart, reads the likeliest buckets,
    and adds up probabilities. Here chunks share the hidden layer, and probabilities are multiplied. Adding
    them up was worse in our measurements.

    Rows are scaled to length 1. Training is Adagrad. Its result depends on the seed and the data, and not on
    the number of threads, but another processor may round differently.

    **What can change without training**: items can be removed, and items that the network was trained with
    can be added again. A new item gets its code, but a query finds it only by chance.

    **Merging** unites the sets of ids: it is associative, commutative and idempotent, bit for bit. The parts
    have equal networks, or none: train once, then make the parts by ``index.empty_like()``. `average` takes
    the mean of different networks, weighted by the number of rows, which is not what training on all rows
    gives.

    **Memory**: 8 bytes an item in a file. In use, ``6 n_chunks`` bytes more for the lists. The network takes
    ``4 n_hidden (n_features + n_chunks n_buckets)`` bytes, and as much again in training. **Cost**: a query
    takes ``n_hidden n_chunks n_buckets`` multiplications, the items of ``n_probes n_chunks`` buckets, and
    `n_chunks` additions a candidate. It is O(n_items) only by the buckets that it reads.

    References
    ----------
    - Medini, Chen, Shrivastava. SOLAR: sparse orthogonal learned and random embeddings. ICLR 2021.
    - Duchi, Hazan, Singer. Adaptive subgradient methods for online learning and stochastic optimization.
      Journal of Machine Learning Research 12, 2011.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> rng = np.random.default_rng(0)
    >>> centers, items = rng.standard_normal((50, 8)), rng.integers(0, 50, 3000)
    >>> X = centers[items] + 0.1 * rng.standard_normal((3000, 8))
    >>> Y = np.zeros((3000, 50), bool)
    >>> Y[np.arange(3000), items] = True
    >>> index = mergesketch.SparseCodeIndex(n_features=8, n_chunks=4, n_buckets=16, n_hidden=32)
    >>> found = index.fit(X, Y).query(X[:200], k=1)
    >>> bool((found.ids[:, 0] == items[:200]).mean() > 0.95)
    True
    >>> len(index.remove([7])), 7 in index.query(X, k=1).ids
    (49, False)
    """

    _parameters = ("n_features", "n_chunks", "n_buckets", "n_hidden", "seed")

    def __init__(
        self,
        n_features: int,
        n_chunks: int = 16,
        n_buckets: int = 256,
        *,
        n_hidden: int = 128,
        seed: int = 0,
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1, 1 << 30)
        self.n_chunks = check_int("n_chunks", n_chunks, 2, 1 << 12)
        self.n_buckets = check_int("n_buckets", n_buckets, 2, 1 << 16)
        self.n_hidden = check_int("n_hidden", n_hidden, 1, 1 << 14)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        if self._n_drawn > _MOST_WEIGHTS:
            raise ValueError(
                f"n_hidden * (n_features + n_chunks * n_buckets) must be at most {_MOST_WEIGHTS:,}, got "
                f"{self._n_drawn:,}"
            )
        self._losses: tuple[float, ...] = ()

    # -- queries ----------------------------------------------------------------------------------

    def query(self, Q: RowsLike, k: int = 10, *, n_probes: int = 8, min_chunks: int = 2) -> ScoredItems:
        """Return the k items with the best scores for each query.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n, n_features)
        k : int
            At least 1.
        n_probes : int, default 8
            The number of buckets that are read in each chunk, the likeliest first; all if there are fewer.
        min_chunks : int, default 2
            In how many chunks an item must be in these buckets. An item that does not belong to the query is
            in a chunk's with a probability of ``n_probes / n_buckets``, so that each further chunk removes
            most of these.

        Returns
        -------
        ScoredItems
            ``(ids, scores)``, both of shape (n, k).

        Raises
        ------
        TypeError, ValueError
            If there is no network yet, the rows have another width or are not finite, or a number is out of
            range.
        """
        k = check_int("k", k, 1, 1 << 31)
        rows, n_probes, least = self._read_queries(Q, n_probes, min_chunks)
        lists, names, n = self._lists, self._arrays["ids"], len(rows.indptr) - 1
        ids, scores = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf)
        for first, last in cut_range(0, n, _AT_ONCE):
            logs = self._network.log_probabilities(rows.cut(first, last), self.n_buckets)
            buckets = self._likeliest(logs, n_probes)
            shape = (last - first, min(k, len(names)))
            numbers, keys = np.empty(shape, np.int64), np.empty(shape)

            def find(
                a: int, b: int, logs: Any = logs, buckets: Any = buckets, out: Any = (numbers, keys)
            ) -> None:
                scratch = np.zeros(len(names), np.int32), np.empty(len(names), np.int32)
                asked = (logs, buckets, lists.members, lists.places, lists.codes, self.n_buckets, least)
                sparse_code_index.best_items(*asked, a, b, *scratch, *out)

            map_blocks(find, last - first, _QUERIES)
            is_there = numbers >= 0
            ids[first:last, : shape[1]][is_there] = names[numbers[is_there]]
            scores[first:last, : shape[1]] = -keys
        return ScoredItems(ids, scores)

    def candidates(self, Q: RowsLike, *, n_probes: int = 8, min_chunks: int = 2) -> ItemCandidates:
        """Return all candidates of queries, which a caller may score himself.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n, n_features)
        n_probes : int, default 8
        min_chunks : int, default 2
            As for `query`.

        Returns
        -------
        ItemCandidates
            ``(ids, offsets)``.

        Raises
        ------
        TypeError, ValueError
            As `query` does.
        """
        rows, n_probes, least = self._read_queries(Q, n_probes, min_chunks)
        (_, members, places), names, n = self._lists, self._arrays["ids"], len(rows.indptr) - 1
        found, offsets = [np.zeros(0, np.int64)], np.zeros(n + 1, np.int64)
        for first, last in cut_range(0, n, _AT_ONCE):
            logs = self._network.log_probabilities(rows.cut(first, last), self.n_buckets)
            asked = (self._likeliest(logs, n_probes), members, places, least)
            sizes = np.empty(last - first, np.int64)

            def count(a: int, b: int, asked: Any = asked, sizes: Any = sizes) -> None:
                scratch = np.zeros(len(names), np.int32), np.empty(len(names), np.int32)
                sparse_code_index.count_candidates(*asked, a, b, *scratch, sizes)

            map_blocks(count, last - first, _QUERIES)
            bounds = np.concatenate([[0], np.cumsum(sizes)])
            numbers = np.empty(bounds[-1], np.int64)

            def write(a: int, b: int, asked: Any = asked, bounds: Any = bounds, out: Any = numbers) -> None:
                scratch = np.zeros(len(names), np.int32), np.empty(len(names), np.int32)
                sparse_code_index.list_candidates(*asked, bounds, a, b, *scratch, out)

            map_blocks(write, last - first, _QUERIES)
            found.append(names[numbers])
            offsets[first + 1 : last + 1] = offsets[first] + bounds[1:]
        return ItemCandidates(np.concatenate(found), offsets)

    def _read_queries(self, Q: Any, n_probes: Any, min_chunks: Any) -> tuple[Any, int, int]:
        n_probes = min(check_int("n_probes", n_probes, 1, 1 << 31), self.n_buckets)
        min_chunks = check_int("min_chunks", min_chunks, 1, self.n_chunks)
        refuse_gpu("Q", Q)
        rows = unit_rows(read_rows(Q, self.n_features, "Q"))
        if not self.n_trained:
            raise ValueError("this SparseCodeIndex has no network yet: call fit")
        return rows, n_probes, min_chunks

    def _likeliest(self, logs: NDArray[np.float32], n_probes: int) -> NDArray[np.int64]:
        buckets = np.empty((len(logs), self.n_chunks, n_probes), np.int64)
        map_blocks(
            lambda a, b: sparse_code_index.best_buckets(logs, self.n_buckets, a, b, buckets),
            len(logs),
            _QUERIES,
        )
        return buckets


publish("mergesketch", ["SparseCodeIndex"], globals())
