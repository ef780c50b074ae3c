"""A sampler of ids from the buckets of queries, with the exact probability of every id."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.random import random_uint64
from ...lsh.support.threads import map_blocks
from ...lsh.support.types import RowsLike
from ..core.reading import reading
from ..kernels import lsh_sampler
from .bucket_contents import bucket_contents
from .id_rows import read_id_rows
from .index import LSHIndex
from .indexed_ids import AllIds, IndexedIds

__all__ = ["LSHSampler", "Sample"]

#: Number of queries that are worth a thread of their own.
_QUERIES = 16
#: The most draws of a query.
_MOST_DRAWS = 1 << 20
#: The increment of SplitMix64, and the number of 64-bit words.
_GOLDEN, _WORDS = 0x9E3779B97F4A7C15, 1 << 64


class Sample(NamedTuple):
    """Contain the ids drawn for n queries."""

    #: int64, shape (n, k): distinct ids, -1 where there are fewer.
    ids: NDArray[np.int64]
    #: float64, shape (n, k): the probability with which each id is in the row, 1 where there is no id.
    probabilities: NDArray[np.float64]


class LSHSampler(IndexedIds):
    """Draw ids near queries at random, with the exact probability of each (adaptive negative sampling).

    Parameters
    ----------
    index : LSHIndex
        In main memory. Its rows are those of the ids, for example the weights of labels. It is not copied:
        the sampler draws from what it contains at the time.
    uniform : float, default 0.5
        In [0, 1]: the share of the draws that are from all ids, and not from buckets. If it is above 0, every
        id has a positive probability, and sums that are weighted by the probabilities are unbiased. These
        draws are uniform unless there are `weights`.
    n_probes : int, default 1
        Number of buckets that a query has in each table, from ``family.probe``.
    ids : array_like of integers, optional
        All ids, for an index whose full buckets have dropped some from all tables. By default these are the
        ids in the tables. Pass it also if ids are to be drawn whose rows are not in the index.
    weights : array_like of numbers above 0, one for each of `ids`, optional
        The draws from all ids are in proportion to them, for example to the frequencies of labels.
    seed : int, default 0
        In [0, 2**64).

    Attributes
    ----------
    step : int
        The number of the next call of `sample`. Set it to repeat calls.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.
    NotImplementedError
        If the index lies on a GPU.

    Notes
    -----
    **A draw** is from all ids with the probability `uniform`. Otherwise it takes a random one of the
    query's buckets that are not empty, and in it a random id. If all its buckets are empty, it is from all
    ids. So a draw is id i with the probability

        q(i) = uniform w(i) + (1 - uniform) / M sum_t [i in bucket t] / size of bucket t,

    where w(i) is 1 / N for N ids, or the share of its weight, and M the number of buckets that are not empty.
    `sample` draws n times and
    returns the distinct ids. Id i is among them with the probability ``1 - (1 - q(i))**n``. These are
    probabilities over the draws, **given the tables**. They need no rows, and they are exact whatever the
    hash functions have done, and whatever full buckets have dropped.

    `retrieve` returns all ids of the buckets instead. Its probabilities are **over the hash functions and
    priorities** of the index, and follow from the rows.

    **Weights.** With the probabilities p(i), the sum of ``f(i) / p(i)`` over the ids returned is an unbiased
    estimate of the sum of f over all ids (Horvitz and Thompson 1952). `sampled_softmax` uses that for the
    normalisation of a softmax.

    **Draws depend on** the seed, the step, the number of the row, and the contents of the index. They do not
    depend on threads, on the order in which rows were added, or on merges: a sampler over the merged index of
    parts draws what one over the index of all rows draws.

    **Cost** of a query: its hashes, and two passes over the ids in its buckets, at most ``2 L B`` reads of
    memory that lies in caches after the first. The first call after the index has changed passes over all
    buckets and brings them into order.

    References
    ----------
    - Chen, Medini, Farwell, Gobriel, Tai, Shrivastava. SLIDE: in defense of smart algorithms over hardware
      acceleration for large-scale deep learning systems. MLSys 2020.
    - Horvitz, Thompson. A generalization of sampling without replacement from a finite universe. Journal of
      the American Statistical Association, 1952.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> from mergesketch.lsh import SignedRandomProjection
    >>> W = np.random.default_rng(0).standard_normal((1000, 16))
    >>> index = mergesketch.LSHIndex(SignedRandomProjection(16, 20, power=5, seed=1)).update(W)
    >>> sampler = mergesketch.LSHSampler(index, uniform=0.5, seed=1)
    >>> ids, probabilities = sampler.sample(W[:2], 50, exclude=[0, 1])
    >>> ids.shape, bool((probabilities > 0).all())
    ((2, 50), True)

    The number of ids is the sum of 1 over all ids; one call estimates it, and the mean of many is exact:

    >>> calls = [sampler.sample(W[:1], 50) for _ in range(2000)]
    >>> estimates = [(1 / p[ids >= 0]).sum() for ids, p in calls]
    >>> bool(abs(np.mean(estimates) - 1000) < 6 * np.std(estimates) / 2000**0.5)
    True
    """

    def __init__(
        self,
        index: LSHIndex,
        *,
        uniform: float = 0.5,
        n_probes: int = 1,
        ids: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        seed: int = 0,
    ) -> None:
        self._uniform = check_real("uniform", uniform, 0.0, 1.0, closed=True)
        self._n_probes = check_int("n_probes", n_probes, 1, 1 << 31)
        self._seed = check_int("seed", seed, 0, _WORDS - 1)
        self._step = 0
        super().__init__(index, ids, weights)

    @property
    def uniform(self) -> float:
        """The share of the draws that are from all ids."""
        return self._uniform

    @property
    def n_probes(self) -> int:
        """The number of buckets that a query has in each table."""
        return self._n_probes

    @property
    def seed(self) -> int:
        """The seed of the draws."""
        return self._seed

    @property
    def step(self) -> int:
        """The number of the next call of `sample`."""
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._step = check_int("step", step, 0, _WORDS - 1)

    def __repr__(self) -> str:
        return (
            f"LSHSampler({self._index!r}, uniform={self._uniform:g}, n_probes={self._n_probes}, "
            f"seed={self._seed}): step {self._step}"
        )

    # -- sampling ---------------------------------------------------------------------------------

    def sample(
        self,
        Q: RowsLike,
        n: int,
        *,
        exclude: ArrayLike | None = None,
        step: int | None = None,
        first_row: int = 0,
    ) -> Sample:
        """Draw n ids for each query, and return those that are distinct, with their probabilities.

        Parameters
        ----------
        Q : rows
            Queries as ``family.hash_query`` accepts them: inputs of the layer (LSH-embedding), or rows of
            labels (LSH-label).
        n : int
            Number of draws of a query, from 1 to 2**20.
        exclude : array_like of integers, one for each query or of shape (n_queries, m), optional
            Ids that must not be drawn, such as the targets of the row; -1 fills rows. The draws are then
            those from tables without these ids, and the probabilities are exact for that.
        step : int, optional
            The number of the call. By default it is the attribute `step`, which rises by 1.
        first_row : int, default 0
            The number of the first query. Parts of a batch, with one step and the numbers of their first
            rows, get what the whole batch gets.

        Returns
        -------
        Sample
            ``(ids, probabilities)``, both of shape (n_queries, n): distinct ids in the order of the draws,
            and then -1. A probability is that of the id being in its row. It is 1 where there is no id.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the queries, or an argument has the wrong type or shape or lies outside its
            range; or if full buckets have dropped ids from all tables, and no `ids` were given. The step does
            not change then.
        NotImplementedError
            If the index or the queries lie on a GPU.
        """
        n = check_int("n", n, 1, _MOST_DRAWS)
        first_row = check_int("first_row", first_row, 0, _WORDS - 1)
        number = None if step is None else check_int("step", step, 0, _WORDS - 1)
        codes = self._codes(Q)
        excluded = self._excluded(exclude, len(codes))
        self._all_ids()
        ids, drawn = np.empty((len(codes), n), np.int64), np.empty((len(codes), n))
        if number is None:
            with self._lock:
                number, self._step = self._step, (self._step + 1) % _WORDS
        self._draw(codes, excluded, self._key(number, first_row), n, ids, drawn)
        return Sample(ids, _among(drawn, n))

    def sample_shared(self, Q: RowsLike, n: int, *, step: int | None = None, first_row: int = 0) -> Sample:
        """Draw n ids for each query, and return the distinct ids of all queries together.

        All rows of a batch may use them, so that their logits are one product of matrices.

        Parameters
        ----------
        Q : rows
            Queries as in `sample`.
        n : int
            Number of draws of each query.
        step : int, optional
        first_row : int, default 0
            As in `sample`.

        Returns
        -------
        Sample
            ``(ids, probabilities)``, both of shape (m,): the ids that `sample` draws for any of the queries,
            rising. A probability is that of the id being among them.

        Raises
        ------
        TypeError, ValueError, NotImplementedError
            As in `sample`.

        Notes
        -----
        Queries draw independently, so an id is there with the probability ``1 - prod(1 - q)**n`` over the
        queries, where q is its probability in a draw of a query. That takes ``n_queries m`` probabilities.

        `sampled_softmax` leaves out ids that are targets of a row. Its sums stay unbiased for each row,
        though the rows' errors are dependent.
        """
        drawn = self.sample(Q, n, step=step, first_row=first_row).ids
        ids = np.unique(drawn[drawn >= 0])
        q = self.probabilities(Q, ids)
        with np.errstate(divide="ignore"):
            np.log1p(np.negative(q, out=q), out=q)
        return Sample(ids, -np.expm1(n * q.sum(axis=0)))

    def probabilities(
        self, Q: RowsLike, ids: ArrayLike, n: int = 1, *, exclude: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities of ids to be among n draws of queries.

        Parameters
        ----------
        Q : rows
            Queries as in `sample`.
        ids : array_like of integers of shape (m,) or (n_queries, m)
            The ids of all queries, or each query's own; -1 fills rows.
        n : int, default 1
            Number of draws. 1 gives the probability q of a draw.
        exclude : array_like of integers, optional
            As in `sample`.

        Returns
        -------
        ndarray of shape (n_queries, m), float64
            0 for ids that are excluded or that the sampler does not have, and 1 for -1.

        Raises
        ------
        TypeError, ValueError, NotImplementedError
            As in `sample`.

        """
        n = check_int("n", n, 1, _MOST_DRAWS)
        refuse_gpu("LSHSampler", ids)
        codes = self._codes(Q)
        wanted = read_id_rows("ids", ids, len(codes), shared=True)
        out = np.array(np.broadcast_to(wanted, (len(codes), wanted.shape[1])))
        excluded = self._excluded(exclude, len(codes))
        drawn = np.empty(out.shape)
        self._draw(codes, excluded, np.uint64(0), 0, out, drawn)
        return _among(drawn, n)

    def retrieve(self, Q: RowsLike, rows: RowsLike) -> Sample:
        """Return all ids of the queries' buckets, with probabilities over hash functions and priorities.

        Parameters
        ----------
        Q : n rows
            Queries as ``family.hash_query`` accepts them.
        rows : rows
            Row i is the row of id i in the index, so all ids must be less than their number.

        Returns
        -------
        Sample
            ``(ids, probabilities)``: ids that share the most buckets with the query first, at equal numbers
            by rising id. The width is the largest number of ids of a query.

        Raises
        ------
        TypeError, ValueError
            If the family refuses the rows, or `rows` lack the row of an id; if the sampler has more than one
            probe, for which the probabilities have no closed form; if tables of the family copy hashes of
            one another (its `design_effect` is not 1), so that they are not independent; or if the hash
            functions are given and not random, as those of `LearnedProjection`.

        Notes
        -----
        A query and a row have one bucket of a table with the probability ``P = p + (1 - p) c``, where p is
        ``family.kernel`` and c the chance collision. The L tables are independent, so the row is in one of
        the query's buckets with the probability ``1 - (1 - P)**L``, over the hash functions.

        A bucket that has overflowed keeps B of its n ids, each with the probability B / n, over the
        priorities. Full buckets of several tables drop ids independently. So the row is kept in one of the
        buckets that it is hashed to with the probability ``1 - prod(1 - B_t / n_t)`` over these tables, which
        is 1 if one of them has not overflowed. This is a probability given the hash functions: how full the
        buckets are depends on all rows and has no closed form. The product of both is returned. It is the
        first factor where nothing overflows. The sum of ``f(i) / p(i)`` is unbiased in any case, as it is for
        samples in two phases.

        Tables are independent for projections that are "gaussian" or "sparse", for `PStable`, for
        `BitSampling`, and for `MinHash` with ``scheme="permutations"``. Tables of "hadamard", of
        `CrossPolytope` and of other schemes share random numbers, and the probability is an approximation.

        **Cost** for a query: the kernel with each row that is found; where buckets have overflowed, their
        hashes, too.

        Examples
        --------
        >>> import numpy as np, mergesketch
        >>> from mergesketch.lsh import SignedRandomProjection
        >>> W = np.eye(3)
        >>> index = mergesketch.LSHIndex(SignedRandomProjection(3, 2, power=1, seed=1)).update(W)
        >>> mergesketch.LSHSampler(index).retrieve(W[:1], W)
        Sample(ids=array([[0, 2, 1]]), probabilities=array([[1.  , 0.75, 0.75]]))
        """
        self._check_place(Q)
        if self._n_probes > 1:
            raise ValueError(
                f"n_probes must be 1 for probabilities over hash functions, got {self._n_probes}"
            )
        return Sample(*bucket_contents(self._index, Q, rows))

    # -- parts ------------------------------------------------------------------------------------

    def _codes(self, Q: Any) -> NDArray[np.uint32]:
        self._check_place(Q)
        family = self._index.family
        codes = family.hash_query(Q)[:, :, None] if self._n_probes == 1 else family.probe(Q, self._n_probes)
        return read_only(np.ascontiguousarray(codes))

    @staticmethod
    def _excluded(exclude: Any, n: int) -> NDArray[np.int64]:
        if exclude is None:
            return read_only(np.empty((n, 0), np.int64))
        refuse_gpu("LSHSampler", exclude)
        return read_only(np.sort(read_id_rows("exclude", exclude, n), axis=1))

    def _draw(
        self,
        codes: NDArray[np.uint32],
        excluded: NDArray[np.int64],
        key: np.uint64,
        n: int,
        ids: NDArray[np.int64],
        probabilities: NDArray[np.float64],
    ) -> None:
        """Draw ids for all queries, or find the probabilities of given ones."""
        arguments = (codes, excluded, key, self._uniform, n, ids, probabilities)
        if not _draw_from(self._index, self._all_ids(), *arguments):
            # Another thread has changed the index since all ids were listed.
            with self._lock, self._index._lock:
                _draw_from(self._index, self._all_ids(), *arguments)

    def _key(self, step: int, first_row: int) -> np.uint64:
        """Return the word from which the draws of the first row follow."""
        word = (int(random_uint64(self._seed, "LSHSampler draws", 1)[0]) + step * _GOLDEN) % _WORDS
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % _WORDS
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % _WORDS
        return np.uint64(((word ^ (word >> 31)) + first_row * _GOLDEN) % _WORDS)


@reading
def _draw_from(
    index: LSHIndex,
    all_ids: AllIds,
    codes: NDArray[np.uint32],
    excluded: NDArray[np.int64],
    key: np.uint64,
    share: float,
    n: int,
    ids: NDArray[np.int64],
    probabilities: NDArray[np.float64],
) -> bool:
    """Draw ids while the index does not change; return False if it has changed since `all_ids`."""
    if index.known_ids is not all_ids.there:
        return False
    slots, (every, weight_ends, _) = read_only(index.buckets()[0]), all_ids
    map_blocks(
        lambda a, b: lsh_sampler.draw_ids(
            slots, codes, every, weight_ends, excluded, key, share, n, a, b, ids, probabilities
        ),
        len(codes),
        _QUERIES,
    )
    return True


def _among(drawn: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the probabilities to be among n draws of ids whose probabilities in one draw are given."""
    if n == 1:
        return drawn
    with np.errstate(divide="ignore"):
        np.log1p(np.negative(drawn, out=drawn), out=drawn)
    drawn *= n
    np.expm1(drawn, out=drawn)
    return np.negative(drawn, out=drawn)


publish("mergesketch", __all__, globals())
