"""MinHash signatures, which merge, of sets whose tokens arrive one after the other."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.minhash import MinHash
from ...lsh.hashing.keys import Nulls, read_keys
from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.kernels import minhash
from ...lsh.support.backend import backend_of, device_of, read_only
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.threads import get_num_threads, map_blocks
from ...lsh.support.types import KeysLike, RowsLike
from ..core.base import MergeableSketch
from ..core.state import StateSpec

__all__ = ["MinHashSketch"]

_EMPTY = 0xFFFFFFFF
_MAX_HASHES = 1 << 20
_TOKENS_BLOCK = 1 << 16
#: The most values of a table that every thread may have a copy of.
_OWN_TABLE = 1 << 20
_VALUES_BLOCK = 1 << 16


class _Batch(NamedTuple):
    """Tokens and the set of each, an empty array if all belong to set 0."""

    tokens: NDArray[np.uint64]
    sets: NDArray[np.int64]


class MinHashSketch(MergeableSketch):
    """Count distinct elements (unique users) of one or many sets, and estimate how similar two sets are.

    Parameters
    ----------
    n_sets : int, default 1
        Number of sets, which are numbered from 0.
    n_hashes : int, default 128
        Number of bins m of each set's signature, at most 2**20.
    seed : int, default 0
        In [0, 2**64).

    Attributes
    ----------
    family : MinHash
        The family of the signatures: one permutation, of the same seed.

    Notes
    -----
    The scheme is one permutation hashing (Li, Owen and Zhang 2012): a token falls into one of the m bins of
    its set, and the bin keeps the least value. So an update takes one hash and one random access for each
    token, for any m, and sketches of parts merge by the minimum. Empty bins stay empty in the sketch, because
    minima would otherwise not merge. `signatures` fills them by optimal densification (Shrivastava 2017), and
    gives bit for bit the signatures of the whole sets by ``MinHash(n_hashes, scheme="one-permutation",
    seed=seed)``.

    **Jaccard similarity** J is estimated by the number of equal bins over the number f of bins that are full
    in at least one of the two sets. The estimate is unbiased (Li, Owen and Zhang 2012, section 3), with a
    standard error of at most ``sqrt(J (1 - J) / f)``.

    **Cardinality**: the values of bins are exponential numbers of rate n / m, cut off at 1 for empty bins. So
    the maximum likelihood estimate of n is ``m f / total``, where total is the sum of all bins' values as
    shares of their range, 1 for an empty bin. A factor of ``1 - 1/m`` removes the bias. The standard error is
    about ``n / sqrt(f)``. Repeated tokens count once, in all answers.

    Values have 31 bits. In a bin of different tokens they agree with probability ``tanh(n / (m 2**32))``, for
    sets of n tokens. So similarities of large sets are too high by up to that: .0018 for a billion tokens in
    128 bins. Strings are taken by their 64-bit hashes: among n strings about ``n**2 / 2**65`` pairs have the
    same hash and count as one token, 0.03 pairs for 10**9 strings.

    Memory is ``4 n_sets m`` bytes.

    References
    ----------
    - Li, Owen, Zhang. One permutation hashing. NIPS 2012.
    - Shrivastava. Optimal densification for fast and accurate minwise hashing. ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> monday = mergesketch.MinHashSketch(n_sets=2, n_hashes=512, seed=1)
    >>> tuesday = monday.copy()
    >>> _ = monday.update(np.arange(0, 6000), sets=0).update(np.arange(2000, 5000), sets=1)
    >>> _ = tuesday.update(np.arange(4000, 9000), sets=0).update(np.arange(5000, 8000), sets=1)
    >>> week = monday | tuesday
    >>> bool(abs(week.jaccard(0, 1)[0] - 6 / 9) < 0.1), bool(abs(week.cardinality()[1] / 6000 - 1) < 0.2)
    (True, True)
    """

    _parameters = ("n_sets", "n_hashes", "seed")
    _gpu = True
    _filled = ("minima", "bins filled")

    def __init__(self, n_sets: int = 1, n_hashes: int = 128, *, seed: int = 0) -> None:
        self.n_sets = check_int("n_sets", n_sets, 1, 1 << 40)
        self.n_hashes = check_int("n_hashes", n_hashes, 1, _MAX_HASHES)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    @classmethod
    def for_error(cls, error: float, confidence: float = 0.95, *, n_sets: int = 1, seed: int = 0) -> Self:
        """Return the smallest sketch whose Jaccard similarities err by less than `error`.

        Parameters
        ----------
        error : float
            In (0, 1): the absolute error of the similarity.
        confidence : float, default 0.95
            The probability with which that holds for each pair of sets by itself.
        n_sets : int, default 1
        seed : int, default 0

        Returns
        -------
        MinHashSketch

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Notes
        -----
        The standard error is at most ``0.5 / sqrt(f)``, and f is `n_hashes` for pairs of sets with many more
        tokens than bins. So by Chebyshev's inequality ``n_hashes = 1 / (4 (1 - confidence) error**2)`` is
        enough. Smaller sets fill fewer bins, but these contain a larger part of their u tokens: a sample of f
        tokens has a standard error of at most ``0.5 sqrt(1 / f - 1 / u)``, which is smaller.

        Examples
        --------
        >>> import mergesketch
        >>> mergesketch.MinHashSketch.for_error(0.05, confidence=0.95, n_sets=10).n_hashes
        2000
        """
        error = check_real("error", error, 0.0, 1.0)
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        # A rounding error is subtracted, so that 2000.0000000000002 becomes 2000.
        wanted = 0.25 / (1.0 - confidence) / error / error * (1.0 - 1e-12)
        if not wanted <= _MAX_HASHES:
            raise ValueError(f"error must be reached by {_MAX_HASHES} bins, got {error:g}")
        return cls(n_sets, math.ceil(wanted), seed=seed)._asked_for(error=error, confidence=confidence)

    def _layout(self) -> dict[str, StateSpec]:
        return {"minima": StateSpec((self.n_sets, self.n_hashes), "uint32", "min", fill=_EMPTY)}

    @lazy
    def family(self) -> MinHash:
        """Return the family of the signatures."""
        return MinHash(self.n_hashes, scheme="one-permutation", seed=self.seed)

    # -- updates ----------------------------------------------------------------------------------

    def update(self, tokens: KeysLike, sets: RowsLike | None = None, *, nulls: Nulls = "raise") -> Self:
        """Add a batch of tokens.

        Parameters
        ----------
        tokens : array or list of n tokens, or one token
            Integers are taken as they are, as by `MinHash`. All other keys that `hash_keys` takes, such as
            strings, dates and tuples, are taken by their 64-bit hash.
        sets : int or array of n int, optional
            The set of all tokens, or of each token. It may be omitted if there is only one set.
        nulls : {"raise", "skip"}, default "raise"
            What to do with tokens that are null: to refuse the batch, or to leave out these tokens and their
            sets.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If tokens are no keys, or null, or the numbers of sets are no integers, not n, or out of range.
            Nothing changes then.
        """
        return self._take_in({"tokens": tokens}, sets, nulls)

    def _read(self, tokens: Any, sets: Any, nulls: Nulls) -> _Batch:
        read = read_keys(tokens, "tokens", self.device, nulls)
        words = read.hashes(0) if read.words is None else read.words
        numbers = self._check_sets(sets, words.size if read.kept is None else read.kept.size)
        return _Batch(words, numbers[read.kept] if read.kept is not None and numbers.size else numbers)

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return {"n_updates": batch.tokens.size}

    def _check_sets(self, sets: Any, n: int) -> NDArray[np.int64]:
        """Return the set of each token, or an empty array if all belong to set 0."""
        xp = self._backend.xp
        if sets is None:
            if self.n_sets > 1:
                raise ValueError(f"sets must be given, for there are {self.n_sets} sets, got None")
            return read_only(xp.empty(0, np.int64))
        numbers = check_array("sets", sets)
        if device_of(numbers) == "cpu" and numbers.ndim == 0:
            number = check_int("sets", sets, 0, self.n_sets - 1)
            return read_only(xp.empty(0, np.int64) if number == 0 else xp.full(n, number, np.int64))
        numbers = self._as_our_array("sets", sets)
        if numbers.shape != (n,):
            raise ValueError(f"sets must be an integer or of shape ({n},), got shape {numbers.shape}")
        numbers = _check_numbers("sets", numbers, self.n_sets)
        refuse_flags("sets", sets)
        return numbers

    def _add(self, batch: _Batch) -> None:
        tokens, numbers = read_only(batch.tokens), batch.sets
        minima, drawn = self._arrays["minima"], self.family.random_parameters
        parameters = (drawn["keys"][0], drawn["multipliers"][0])
        kernel, n = self._backend.kernels(minhash).throw_tokens, tokens.size
        if self.device == "gpu" or get_num_threads() == 1 or n < 2 * _TOKENS_BLOCK:
            kernel(tokens, numbers, *parameters, 0, self.n_sets, 0, n, minima)
        elif minima.size <= _OWN_TABLE:

            def fill(start: int, stop: int) -> NDArray[np.uint32]:
                own = np.full(minima.shape, _EMPTY, np.uint32)
                kernel(tokens, numbers, *parameters, 0, self.n_sets, start, stop, own)
                return own

            for own in map_blocks(fill, n, max(_TOKENS_BLOCK, -(-n // get_num_threads()))):
                np.minimum(minima, own, out=minima)
        else:
            # A thread owns a range of sets, so that no two threads write to one bin. Each reads all tokens.
            block = -(-self.n_sets // get_num_threads())
            map_blocks(
                lambda a, b: kernel(tokens, numbers, *parameters, a, b, 0, n, minima[a:b]), self.n_sets, block
            )

    # -- signatures -------------------------------------------------------------------------------

    def signatures(self) -> NDArray[np.uint32]:
        """Return the signatures of all sets with empty bins filled, as `family` gives for the whole sets.

        Returns
        -------
        ndarray of shape (n_sets, n_hashes), uint32
            Rows of sets without tokens are 0xFFFFFFFF in all columns. For an index use
            ``index.query_codes(family.codes(signatures, family=sketch.family), k)`` with a MinHash `family`
            of this seed, scheme "one-permutation", and ``n_hashes * power`` equal to the columns. Others are
            refused.
        """
        minima, keys = self._arrays["minima"], self.family.random_parameters["keys"][1:]
        backend = self._backend
        out, kernel = backend.xp.empty_like(minima), backend.kernels(minhash).densify_signatures
        block = max(1, _VALUES_BLOCK // self.n_hashes)
        backend.map_blocks(lambda a, b: kernel(minima, *keys, a, b, out), self.n_sets, block)
        return out

    # -- estimates --------------------------------------------------------------------------------

    def jaccard(self, left: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
        """Return the estimated Jaccard similarity of the sets ``left[p]`` and ``right[p]`` for each pair p.

        Parameters
        ----------
        left, right : int or array_like of n int
            The numbers of the sets.

        Returns
        -------
        ndarray of shape (n,), float64
            Two empty sets give 1; an empty set and another give 0.

        Raises
        ------
        TypeError, ValueError
            If the numbers are no integers, of different length, or out of range.
        """
        full, equal, _ = self._compare(left, right)
        xp = self._backend.xp
        return xp.where(full == 0, 1.0, equal / xp.maximum(full, 1))

    def union(self, left: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
        """Return the estimated number of different tokens in two sets together.

        Parameters
        ----------
        left, right : int or array_like of n int
            The numbers of the sets.

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        TypeError, ValueError
            As `jaccard` does.
        """
        full, _, total = self._compare(left, right)
        return self._count(full, total)

    def intersection(self, left: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
        """Return the estimated number of tokens that two sets share: similarity times `union`.

        Parameters
        ----------
        left, right : int or array_like of n int
            The numbers of the sets.

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        TypeError, ValueError
            As `jaccard` does.
        """
        full, equal, total = self._compare(left, right)
        share: NDArray[np.float64] = equal / self._backend.xp.maximum(full, 1)
        return self._count(full, total) * share

    def containment(self, left: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
        """Return the estimated share of each left set's tokens in its right set; NaN for empty left sets.

        Parameters
        ----------
        left, right : int or array_like of n int
            The numbers of the sets.

        Returns
        -------
        ndarray of shape (n,), float64
            `intersection` over the estimated size of the left set, which may be above 1. It is not limited to
            1, because it would then be too small on average. Use ``numpy.minimum(..., 1)`` if you need that.

        Raises
        ------
        TypeError, ValueError
            As `jaccard` does.
        """
        common, own = self.intersection(left, right), self.union(left, left)
        xp = self._backend.xp
        return xp.where(own > 0, common / xp.where(own > 0, own, 1.0), np.nan)

    def cardinality(self) -> NDArray[np.float64]:
        """Return the estimated number of different tokens of every set.

        Returns
        -------
        ndarray of shape (n_sets,), float64
        """
        every = self._backend.xp.arange(self.n_sets)
        return self.union(every, every)

    def _count(self, full: NDArray[np.int64], total: NDArray[np.float64]) -> NDArray[np.float64]:
        # With one bin the correction would give 0.
        return max(self.n_hashes - 1, 1) * full / total

    def _compare(
        self, left: ArrayLike, right: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        backend = self._backend
        pairs = []
        for name, given in (("left", left), ("right", right)):
            array = self._as_our_array(name, given)
            pairs.append(_check_numbers(name, array.reshape(-1) if array.ndim == 0 else array, self.n_sets))
        if pairs[0].shape != pairs[1].shape or pairs[0].ndim != 1:
            raise ValueError(
                f"left and right must be 1-D and of one length, got shapes {pairs[0].shape} and "
                f"{pairs[1].shape}"
            )
        n, minima = pairs[0].size, self._arrays["minima"]
        full, equal = backend.xp.empty(n, np.int64), backend.xp.empty(n, np.int64)
        total, kernel = backend.xp.empty(n), backend.kernels(minhash).compare_bins
        block = max(1, _VALUES_BLOCK // self.n_hashes)
        backend.map_blocks(lambda a, b: kernel(minima, *pairs, a, b, full, equal, total), n, block)
        return full, equal, total


def _check_numbers(name: str, numbers: NDArray[Any], n_sets: int) -> NDArray[np.int64]:
    """Return numbers of sets after checking that they are integers from 0 to n_sets - 1."""
    if numbers.size and numbers.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got dtype {numbers.dtype}")
    if numbers.size and (int(numbers.min()) < 0 or int(numbers.max()) >= n_sets):
        raise ValueError(
            f"{name} must lie from 0 to {n_sets - 1}, got {int(numbers.min())} to {int(numbers.max())}"
        )
    return read_only(backend_of(numbers).xp.ascontiguousarray(numbers, dtype=np.int64))


publish("mergesketch", __all__, globals())
