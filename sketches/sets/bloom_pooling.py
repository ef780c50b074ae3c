"""Group testing by Bloom pools: finding the positive samples among many from tests of few pools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_array, check_numbers
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.random import uniform
from .bloom_theory import warn_of_saturation
from .pool_decoders import (
    INCONCLUSIVE,
    believe,
    candidates_of,
    cover,
    definite,
    errors_explain,
    read_outcomes,
    read_pools,
    unexplained_pools,
    with_pools,
)

__all__ = ["BloomPooling", "Decoded"]

_MAX_SAMPLES = 1 << 31
#: Default for the largest number of pools of a sample. In designs of fewer than `_SMALL` tests it is lower,
#: because there two pools share two samples more frequently.
_MOST_POOLS, _FEWER_POOLS = 6, 5
_SMALL = 1000


class Decoded(NamedTuple):
    """Contain the result of decoding the outcomes of all tests.

    Attributes
    ----------
    posterior : ndarray of shape (n_samples,), float64
        Probability that the sample is positive. Belief propagation approximates it, and is overconfident in
        small designs: see `BloomPooling.decode`. The other decoders return 0 or 1.
    infected : ndarray of shape (n_samples,), bool
        True for the samples that are reported positive: a posterior of 1/2 or more.
    converged : bool
        True if the iteration of belief propagation converged. That does not make it exact, and does not mean
        that the reported samples explain the outcomes: see `unexplained`. True for the other decoders.
    n_iterations : int
        Number of rounds of belief propagation; 0 for the other decoders.
    unexplained : ndarray of int64
        The positive pools without a sample that is reported positive, in ascending order. Pools of a second
        round have the numbers from `n_tests` on.
    """

    posterior: NDArray[np.float64]
    infected: NDArray[np.bool_]
    converged: bool
    n_iterations: int
    unexplained: NDArray[np.int64]


class BloomPooling:
    """Design pools for group testing, and decode the outcomes of the tests.

    Samples are distributed over pools as keys over the partitions of a Bloom filter. The tests have k
    partitions, and in each a random permutation of the samples is distributed round-robin. So every sample is
    in k pools, and the sizes of the pools of a partition differ by one at most.

    Parameters
    ----------
    n_samples : int
    n_tests : int
        Number of pools.
    prevalence : float or array of shape (n_samples,)
        Probability that a sample is positive before any test, in (0, 1).
    pools_per_sample : int, optional
        The number k. A test is most informative if a pool is positive with probability 1/2. The default is
        four fifths of the k that achieves this, limited to 2 to 6 (5 for fewer than 1,000 tests), to a third
        of the tests and to the limits below. This was best in simulations with 1 % errors. More pools for
        each sample only add loops.
    max_pool_size, max_pools_per_sample : int, optional
        The limits of the laboratory.
    false_positive_rate : float
        Share of the pools without a positive sample whose outcome is positive; in [0, 1).
    false_negative_rate : float
        Share of the pools with a positive sample whose outcome is negative; in [0, 1). The two rates sum to
        less than 1.
    seed : int
        Seed of the permutations.

    Attributes
    ----------
    pools_per_sample : int
    pools : list of ndarray
        The samples of each pool, in ascending order.
    design : scipy.sparse.csr_array of shape (n_tests, n_samples), bool

    Raises
    ------
    ValueError
        If an argument is out of range, or no design meets the limits: pools of `max_pool_size` must have
        room for every sample once.

    Notes
    -----
    The design takes ``4 k n_samples`` bytes. A round of belief propagation takes about 40 ns for each of its
    ``k n_samples`` edges.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> pooling = mergesketch.BloomPooling(n_samples=96, n_tests=24, prevalence=0.02, max_pool_size=12)
    >>> pooling.pools_per_sample, max(len(pool) for pool in pooling.pools)
    (3, 12)
    >>> truth = np.zeros(96, dtype=bool)
    >>> truth[[7, 70]] = True
    >>> outcomes = pooling.outcomes(truth)
    >>> np.flatnonzero(pooling.decode(outcomes).infected).tolist()
    [7, 70]
    """

    def __init__(
        self,
        n_samples: int,
        n_tests: int,
        *,
        prevalence: ArrayLike = 0.01,
        pools_per_sample: int | None = None,
        max_pool_size: int | None = None,
        max_pools_per_sample: int | None = None,
        false_positive_rate: float = 0.0,
        false_negative_rate: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.n_samples = check_int("n_samples", n_samples, 1, _MAX_SAMPLES)
        self.n_tests = check_int("n_tests", n_tests, 1, _MAX_SAMPLES)
        self.prevalence = _check_prevalence(prevalence, self.n_samples)
        self.false_positive_rate = _check_rate("false_positive_rate", false_positive_rate)
        self.false_negative_rate = _check_rate("false_negative_rate", false_negative_rate)
        if self.false_positive_rate + self.false_negative_rate >= 1.0:
            raise ValueError(
                "false_positive_rate and false_negative_rate must sum to less than 1, or tests are "
                f"uninformative, got {self.false_positive_rate} and {self.false_negative_rate}"
            )
        self.seed = check_int("seed", seed, 0, (1 << 64) - 1)
        most = self.n_tests
        if max_pools_per_sample is not None:
            most = min(most, check_int("max_pools_per_sample", max_pools_per_sample, 1))
        if max_pool_size is not None:
            needed = -(-self.n_samples // check_int("max_pool_size", max_pool_size, 1))
            if needed > self.n_tests:
                raise ValueError(
                    f"max_pool_size must be at least {-(-self.n_samples // self.n_tests)} for "
                    f"{self.n_tests} tests of {self.n_samples} samples, got {max_pool_size}"
                )
            most = min(most, self.n_tests // needed)
        self.max_pool_size = max_pool_size
        if pools_per_sample is None:
            self.pools_per_sample = min(most, self._best_pools_per_sample())
        else:
            self.pools_per_sample = check_int("pools_per_sample", pools_per_sample, 1, most)

    def _best_pools_per_sample(self) -> int:
        size = math.log(0.5) / float(np.log1p(-self.prevalence).mean())
        k = round(0.8 * size * self.n_tests / self.n_samples)
        most = _FEWER_POOLS if self.n_tests < _SMALL else _MOST_POOLS
        return max(1, min(max(k, 2), most, self.n_tests // 3))

    # -- the design -----------------------------------------------------------------------------------

    @lazy
    def design(self) -> scipy.sparse.csr_array:
        """Return the samples of each pool, as a sparse matrix with a row for each pool."""
        k = self.pools_per_sample
        edges = np.arange(k + 1) * self.n_tests // k
        pools, samples = [], []
        for number, (first, last) in enumerate(pairwise(edges.tolist())):
            pools.append(first + np.arange(self.n_samples) % (last - first))
            samples.append(np.argsort(uniform(self.seed, f"pools {number}", self.n_samples), kind="stable"))
        pool, sample = np.concatenate(pools), np.concatenate(samples)
        order = np.lexsort((sample, pool))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(pool, minlength=self.n_tests))])
        values = np.ones(pool.size, dtype=np.bool_)
        return scipy.sparse.csr_array((values, sample[order], indptr), shape=(self.n_tests, self.n_samples))

    @property
    def pools(self) -> list[NDArray[np.int64]]:
        """The samples of each pool, in ascending order."""
        return [part.astype(np.int64) for part in np.split(self.design.indices, self.design.indptr[1:-1])]

    def outcomes(self, infected: ArrayLike, seed: int = 0) -> NDArray[np.bool_]:
        """Simulate the outcomes of all tests for given positive samples, with random errors.

        Parameters
        ----------
        infected : array of shape (n_samples,), bool
        seed : int, default 0
            Seed of the errors. With one seed the same tests err, so use another seed for each simulation.

        Returns
        -------
        ndarray of shape (n_tests,), bool

        Raises
        ------
        TypeError, ValueError
            If `infected` has another shape or type, or `seed` is out of range.
        """
        truth = _check_flags("infected", infected, self.n_samples)
        positive = (self.design.astype(np.int64) @ truth.astype(np.int64)) > 0
        chance = uniform(check_int("seed", seed, 0, (1 << 64) - 1), "outcomes", self.n_tests)
        flipped = chance < np.where(positive, self.false_negative_rate, self.false_positive_rate)
        return positive ^ flipped

    # -- decoding -------------------------------------------------------------------------------------

    def decode(
        self,
        outcomes: ArrayLike,
        method: str = "belief_propagation",
        *,
        second_pools: Sequence[ArrayLike] = (),
        second_outcomes: ArrayLike = (),
    ) -> Decoded:
        """Find the positive samples from the outcomes of all tests.

        Parameters
        ----------
        outcomes : array of shape (n_tests,), bool
            NaN, or null in a column, for inconclusive tests, which are left out.
        method : str
            - "belief_propagation": posterior probabilities, by loopy belief propagation with damping 1/2,
              from priors and error rates. It is exact if the pools form a tree. Loops make it count evidence
              twice: in designs of some hundred samples, posteriors from .9 to .99 are too high, even after
              convergence. `docs/structures/bloom_pooling.md` has the measurement.
            - "comp": all samples that are in no negative pool. Without test errors there are no false
              negatives.
            - "dd": the samples of "comp" that are the only one of these in some positive pool. Without test
              errors there are no false positives.
            - "scomp": the samples of "dd", and then repeatedly the sample of "comp" that explains the most
              positive pools without a found sample, until all are explained.
        second_pools : sequence of m arrays of integers, optional
            The samples of each pool of a second round of tests, such as `suggest_pools` returns. Both rounds
            are decoded together: every outcome counts as much as every other. For a third round, pass the
            pools of both later rounds.
        second_outcomes : array of shape (m,), bool
            The outcomes of these pools, NaN for inconclusive tests.

        Returns
        -------
        Decoded

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or shape or a pool has a sample twice, or if both error rates
            are 0 and all samples of a positive pool are in negative pools.

        Warns
        -----
        SaturationWarning
            If more positive pools have no sample that is reported positive than false positive tests account
            for, with a probability below 0.001. Then positive samples are missed: there are too many for this
            number of tests, or more than `prevalence` says. The method "dd" does not warn, because it leaves
            pools unexplained on purpose.

        References
        ----------
        Aldridge, Johnson, Scarlett. Group Testing: An Information Theory Perspective. Foundations and
        Trends in Communications and Information Theory, 2019 (COMP, DD, SCOMP and belief propagation).

        Examples
        --------
        >>> import numpy as np, mergesketch
        >>> pooling = mergesketch.BloomPooling(n_samples=96, n_tests=20, prevalence=0.02)
        >>> first = pooling.decode(pooling.outcomes(np.isin(np.arange(96), [7, 30, 70])))
        >>> pools = pooling.suggest_pools(first.posterior, n_tests=8)
        >>> answers = [bool(np.isin(pool, [7, 30, 70]).any()) for pool in pools]
        >>> outcomes = pooling.outcomes(np.isin(np.arange(96), [7, 30, 70]))
        >>> both = pooling.decode(outcomes, second_pools=pools, second_outcomes=answers)
        >>> np.flatnonzero(both.infected).tolist()
        [7, 30, 70]
        """
        check_choice("method", method, ("belief_propagation", "comp", "dd", "scomp"))
        further = read_pools("second_pools", second_pools, self.n_samples)
        every = np.concatenate(
            [
                read_outcomes("outcomes", outcomes, self.n_tests),
                read_outcomes("second_outcomes", second_outcomes, len(further)),
            ]
        )
        known = np.flatnonzero(every != INCONCLUSIVE)
        design = with_pools(self.design, further)
        if known.size < every.size:
            design = design[known]
        read = every[known] == 1
        candidates = candidates_of(design, read)
        if self.false_positive_rate == 0.0 and self.false_negative_rate == 0.0:
            # No sample explains such a pool.
            empty = unexplained_pools(design, read, candidates)
            if empty.size:
                raise ValueError(
                    "outcomes must not contradict each other without test errors: all samples of pool "
                    f"{known[empty[0]]}, which is positive, are in negative pools"
                )
        posterior, rounds = None, 0
        if method == "belief_propagation":
            rates = self.false_positive_rate, self.false_negative_rate
            posterior, rounds = believe(design, read, self.prevalence, *rates)
            found = posterior >= 0.5
        elif method == "comp":
            found = candidates
        elif method == "dd":
            found = definite(design, read, candidates)
        else:
            found = cover(design, read, candidates)
        unexplained = unexplained_pools(design, read, found)
        n_without = int((~read).sum()) + unexplained.size
        explained = errors_explain(unexplained.size, n_without, self.false_positive_rate)
        if method != "dd" and not explained:
            warn_of_saturation(
                f"{unexplained.size:,} of {int(read.sum()):,} positive pools have no sample that is reported "
                "positive, more than false positive tests account for, so positive samples are missed: there "
                f"may be too many for {every.size:,} tests, or more than the prevalence says; test the pools "
                "of suggest_pools, too"
            )
        return Decoded(
            found.astype(np.float64) if posterior is None else posterior,
            found,
            rounds >= 0,
            abs(rounds),
            known[unexplained],
        )

    # -- the second round -----------------------------------------------------------------------------

    def suggest_pools(
        self, posterior: ArrayLike, n_tests: int, max_pool_size: int | None = None
    ) -> list[NDArray[np.int64]]:
        """Return pools for a second round, of the samples whose state is the most uncertain.

        Parameters
        ----------
        posterior : array of shape (n_samples,), float
            The posterior that `decode` returned.
        n_tests : int
            The largest number of pools.
        max_pool_size : int, optional
            The default is that of the design.

        Returns
        -------
        list of ndarray
            The samples of each pool. Samples are taken in the order of falling uncertainty. A sample that is
            positive with probability 1/2 is tested alone. Others are pooled until their pool is positive with
            probability 1/2, because its outcome is then most informative. There are fewer pools if all other
            samples are certain.

        Raises
        ------
        TypeError, ValueError
            If `posterior` is not `n_samples` numbers in [0, 1], or another argument is no positive integer.
        """
        refuse_gpu("BloomPooling", posterior)
        chance = check_numbers("posterior", posterior)
        if chance.shape != (self.n_samples,) or not ((chance >= 0.0) & (chance <= 1.0)).all():
            raise ValueError(
                f"posterior must be {self.n_samples} numbers in [0, 1], got shape {chance.shape}"
            )
        n_tests = check_int("n_tests", n_tests, 1)
        size = max_pool_size if max_pool_size is not None else self.max_pool_size
        size = self.n_samples if size is None else check_int("max_pool_size", size, 1)
        doubt = np.minimum(chance, 1.0 - chance)
        order = np.argsort(-doubt, kind="stable")
        pools: list[list[int]] = []
        negative = 0.0  # probability that the last pool is negative
        for i in order[doubt[order] > 1e-6].tolist():
            if not pools or negative * (1.0 - chance[i]) < 0.45 or len(pools[-1]) >= size:
                if len(pools) == n_tests:
                    break
                pools.append([])
                negative = 1.0
            pools[-1].append(i)
            negative *= 1.0 - chance[i]
        return [np.sort(np.array(pool, dtype=np.int64)) for pool in pools]

    def __repr__(self) -> str:
        return (
            f"<BloomPooling: {self.n_samples:,} samples in {self.n_tests:,} pools, "
            f"{self.pools_per_sample} for each sample>"
        )


def _check_prevalence(prevalence: Any, n: int) -> NDArray[np.float64]:
    refuse_gpu("BloomPooling", prevalence)
    chance = check_numbers("prevalence", prevalence)
    if chance.shape not in ((), (n,)):
        raise ValueError(f"prevalence must be a number or an array of shape ({n},), got shape {chance.shape}")
    if not ((chance > 0.0) & (chance < 1.0)).all():
        raise ValueError(f"prevalence must lie in (0, 1), got {prevalence!r}")
    return np.broadcast_to(chance, (n,)).copy()


def _check_rate(name: str, rate: Any) -> float:
    value = check_real(name, rate, 0.0, 1.0, closed=True)
    if value == 1.0:
        raise ValueError(f"{name} must be less than 1, got {rate!r}")
    return value


def _check_flags(name: str, flags: Any, n: int) -> NDArray[np.bool_]:
    refuse_gpu("BloomPooling", flags)
    array = check_array(name, flags)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be {n} booleans, got dtype {array.dtype}")
    if array.shape != (n,) or not (array.dtype == np.bool_ or np.isin(array, (0, 1)).all()):
        raise ValueError(f"{name} must be {n} booleans, got shape {array.shape} of {array.dtype}")
    return array.astype(np.bool_)


publish("mergesketch", __all__, globals())
