"""A sampler of ids from the buckets of queries, with the exact probability of every id."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.random import random_uint64
from ...lsh.support.threads import map_blocks
from ...lsh.support.types import RowsLike
from ..core.guard import Guarded, uninterrupted
from ..core.reading import reading
from ..kernels import lsh_sampler
from .bucket_contents import bucket_contents
from .id_rows import read_id_rows
from .index import LSHIndex
from .row_changes import refuse_missing_ids, refuse_repeated_ids

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


class LSHSampler(Guarded):
    """Draw ids near queries at random, with the exact probability of each (adaptive negative sampling).

    Parameters
    ----------
    index : LSHIndex
        In main memory. Its rows are those of the ids, for example the weights of labels. It is not copied:
        the sampler draws from what it contains at the time.
    uniform : float, default 0.5
        In [0, 1]: the share of the draws that are from all ids, and not from buckets. If it is above 0, every
        id has a positive probability, and sums that are weighted by the probabilities are unbiased.
    n_probes : int, default 1
        Number of buckets that a query has in each table, from ``family.probe``.
    ids : array_like of integers, optional
        All ids, for an index whose full buckets have dropped some from all tables. By default these are the
        ids in the tables. Pass it also if ids are to be drawn whose rows are not in the index.
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
    **A draw** is uniform over all ids with the probability `uniform`. Otherwise it takes a random one of the
    query's buckets that are not empty, and in it a random id. If all its buckets are empty, it is uniform
    over all ids. So a draw is id i with the probability

        q(i) = uniform / N + (1 - uniform) / M sum_t [i in bucket t] / size of bucket t,

    where N is the number of ids and M the number of buckets that are not empty. `sample` draws n times and
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
        seed: int = 0,
    ) -> None:
        if not isinstance(index, LSHIndex):
            raise TypeError(f"index must be an LSHIndex, got {type(index).__name__}")
        self._index = index
        self._uniform = check_real("uniform", uniform, 0.0, 1.0, closed=True)
        self._n_probes = check_int("n_probes", n_probes, 1, 1 << 31)
        self._seed = check_int("seed", seed, 0, _WORDS - 1)
        self._step = 0
        #: All ids, rising, if they were given.
        self._given: NDArray[Any] | None = None
        #: The ids of the index for which it is known that there are no others.
        self._checked: NDArray[Any] | None = None
        self._check_place()
        if ids is not None:
            self._given = self._all_given(ids)

    @property
    def index(self) -> LSHIndex:
        """The index that the sampler draws from."""
        return self._index

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

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids that may be drawn, rising: int64, a copy."""
        return self._all_ids().astype(np.int64)

    def __len__(self) -> int:
        return self._all_ids().size

    def __repr__(self) -> str:
        return (
            f"LSHSampler({self._index!r}, uniform={self._uniform:g}, n_probes={self._n_probes}, "
            f"seed={self._seed}): step {self._step}"
        )

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in dict(vars(self)).items() if name != "_guard"}
        return {**own, "_checked": None}

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
        all_ids = self._all_ids()
        ids, drawn = np.empty((len(codes), n), np.int64), np.empty((len(codes), n))
        if number is None:
            with self._lock:
                number, self._step = self._step, (self._step + 1) % _WORDS
        key = self._key(number, first_row)
        _draw(self._index, codes, all_ids, excluded, key, self._uniform, n, ids, drawn)
        return Sample(ids, _among(drawn, n))

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

        Notes
        -----
        For a sample that all rows of a batch share, draw for each row and unite the ids. An id is in the
        union with the probability ``1 - prod(1 - p)`` over the column of its probabilities.
        """
        n = check_int("n", n, 1, _MOST_DRAWS)
        codes = self._codes(Q)
        wanted = read_id_rows("ids", ids, len(codes), shared=True)
        out = np.array(np.broadcast_to(wanted, (len(codes), wanted.shape[1])))
        excluded = self._excluded(exclude, len(codes))
        drawn = np.empty(out.shape)
        _draw(self._index, codes, self._all_ids(), excluded, np.uint64(0), self._uniform, 0, out, drawn)
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
            probe, for which the probabilities have no closed form; or if tables of the family copy hashes of
            one another (its `design_effect` is not 1), so that they are not independent.

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
        `BitSampling`, and for `MinHash` with ``scheme="permutations"``. Rows with equal hashes by the
        structure of "hadamard" or `CrossPolytope` make the probability an approximation.

        **Cost** for a query: the kernel with each row that is found; where buckets have overflowed, their
        hashes, too.

        Examples
        --------
        >>> import numpy as np, mergesketch
        >>> from mergesketch.lsh import SignedRandomProjection
        >>> W = np.eye(3)
        >>> index = mergesketch.LSHIndex(SignedRandomProjection(3, 2, power=1, seed=1)).update(W)
        >>> mergesketch.LSHSampler(index).retrieve(W[:1], W)
        Sample(ids=array([[0, 1, 2]]), probabilities=array([[1.  , 0.75, 0.75]]))
        """
        self._check_place(Q)
        if self._n_probes > 1:
            raise ValueError(
                f"n_probes must be 1 for probabilities over hash functions, got {self._n_probes}"
            )
        return Sample(*bucket_contents(self._index, Q, rows))

    # -- changes of the index ---------------------------------------------------------------------

    def update(self, X: RowsLike, ids: ArrayLike | None = None) -> Self:
        """Add rows to the index.

        Parameters
        ----------
        X : n rows
        ids : array_like of n integers, optional
            As for `LSHIndex.update`. They must be given if the sampler was made with `ids`.

        Returns
        -------
        The sampler itself.

        Raises
        ------
        TypeError, ValueError, OverflowError
            As `LSHIndex.update` does. Nothing changes then.
        """
        with self._lock:
            if self._given is None:
                self._index.update(X, ids)
                return self
            if ids is None:
                raise ValueError("ids must be given for a sampler that was made with ids")
            # Reading the rows, and hashing them, may fail.
            added = self._index.check_ids(ids, None)
            self._index.update(X, ids)
            self._given = read_only(np.union1d(self._given, added))
        return self

    def remove(self, ids: ArrayLike, X: RowsLike | None = None, *, missing: str = "raise") -> Self:
        """Remove rows from the index by their ids.

        Parameters
        ----------
        ids : array_like of n integers
        X : n rows, optional
        missing : {"raise", "ignore"}
            As for `LSHIndex.remove`.

        Returns
        -------
        The sampler itself. If all ids are removed, samples have no ids.

        Raises
        ------
        TypeError, ValueError, NotImplementedError
            As `LSHIndex.remove` does. Nothing changes then.
        """
        with self._lock:
            if self._given is None:
                self._index.remove(ids, X, missing=missing)
                return self
            removed = self._known(ids, missing)
            with uninterrupted():
                self._index.remove(ids, X, missing="ignore")
                self._given = read_only(np.setdiff1d(self._given, removed))
        return self

    def replace(self, ids: ArrayLike, X: RowsLike, *, old: RowsLike | None = None) -> Self:
        """Replace the rows of some ids in the index, after a step of training has changed them.

        Parameters
        ----------
        ids : array_like of n integers
        X : n rows
        old : n rows, optional
            As for `LSHIndex.replace`.

        Returns
        -------
        The sampler itself.

        Raises
        ------
        TypeError, ValueError, NotImplementedError
            As `LSHIndex.replace` does. Nothing changes then.

        Notes
        -----
        The probabilities of `sample` are those of the tables, and stay exact if rows in the index are out of
        date. So rows may be replaced every few steps, and not after each. Those of `retrieve` need the rows
        that the index has.
        """
        with self._lock:
            if self._given is None:
                self._index.replace(ids, X, old=old)
                return self
            self._known(ids, "raise")
            self._index.replace(ids, X, old=old, missing="add")
        return self

    # -- parts ------------------------------------------------------------------------------------

    def _check_place(self, *arrays: Any) -> None:
        refuse_gpu("LSHSampler", *arrays)
        if self._index.device == "gpu":
            raise NotImplementedError(
                'LSHSampler has no GPU kernels; move the index by .to("cpu"), and make a sampler over that'
            )

    def _all_given(self, ids: Any) -> NDArray[Any]:
        array = self._index.check_ids(ids, None)
        refuse_repeated_ids(array)
        self._refuse_unknown(array, self._index.ordered_ids())
        return read_only(np.sort(array))

    def _known(self, ids: Any, missing: str) -> NDArray[Any]:
        """Return ids of rows of the index; ValueError if there are others, unless they are ignored."""
        array, given = self._index.check_ids(ids, None), self._given
        if missing == "raise" and given is not None:
            refuse_missing_ids(np.setdiff1d(array, given), "ids of the sampler")
        return array

    @staticmethod
    def _refuse_unknown(given: NDArray[Any], there: NDArray[Any]) -> None:
        if not np.isin(there, given).all():
            raise ValueError(
                f"ids must contain all ids of the index, got {given.size} ids, and {there.size} are there; "
                "change the rows by the methods of the sampler"
            )

    def _all_ids(self) -> NDArray[Any]:
        """Return all ids that may be drawn, rising; bring the buckets into order."""
        self._check_place()
        index = self._index
        with self._lock:
            there = index.ordered_ids()
            if there is not self._checked:
                if self._given is not None:
                    self._refuse_unknown(self._given, there)
                elif there.size < index.n_updates and index.overflow > 0.0:
                    raise ValueError(
                        f"ids must be given, because full buckets have dropped rows from all tables: the "
                        f"index has {index.n_updates} rows, and {there.size} ids are in its tables"
                    )
                self._checked = there
            return there if self._given is None else self._given

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

    def _key(self, step: int, first_row: int) -> np.uint64:
        """Return the word from which the draws of the first row follow."""
        word = (int(random_uint64(self._seed, "LSHSampler draws", 1)[0]) + step * _GOLDEN) % _WORDS
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % _WORDS
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % _WORDS
        return np.uint64(((word ^ (word >> 31)) + first_row * _GOLDEN) % _WORDS)


@reading
def _draw(
    index: LSHIndex,
    codes: NDArray[np.uint32],
    all_ids: NDArray[Any],
    excluded: NDArray[np.int64],
    key: np.uint64,
    share: float,
    n: int,
    ids: NDArray[np.int64],
    probabilities: NDArray[np.float64],
) -> None:
    """Draw ids for all queries, or find the probabilities of given ones, while the index does not change."""
    slots = read_only(index.buckets()[0])
    map_blocks(
        lambda a, b: lsh_sampler.draw_ids(
            slots, codes, all_ids, excluded, key, share, n, a, b, ids, probabilities
        ),
        len(codes),
        _QUERIES,
    )


def _among(drawn: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the probabilities to be among n draws of ids whose probabilities in one draw are given."""
    if n == 1:
        return drawn
    with np.errstate(divide="ignore"):
        np.log1p(np.negative(drawn, out=drawn), out=drawn)
    drawn *= n
    np.expm1(drawn, out=drawn)
    return np.negative(drawn, out=drawn)
