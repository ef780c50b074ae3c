"""MinHash of sets that come token by token: signatures that merge."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.minhash import MinHash
from ...lsh.hashing.keys import read_keys
from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.kernels import minhash
from ...lsh.support.backend import backend_named, backend_of, device_of
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.threads import get_num_threads, map_blocks
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch, StateSpec
from ..core.guard import uninterrupted

__all__ = ["MinHashSketch"]

_EMPTY = 0xFFFFFFFF
_MAX_HASHES = 1 << 20
_TOKENS_BLOCK = 1 << 16
#: Values of a table so small that every thread may fill one of its own.
_OWN_TABLE = 1 << 20
_VALUES_BLOCK = 1 << 16


class MinHashSketch(MergeableSketch):
    """Signatures of one or many sets whose tokens come in any order, in any number of batches.

    Parameters
    ----------
    n_sets : int, default 1
        Sets, numbered from 0.
    n_hashes : int, default 128
        Bins m of each set's signature, at most 2**20.
    seed : int, default 0
        In [0, 2**64).

    Attributes
    ----------
    family : MinHash
        The family of the signatures: one permutation, of the same seed.

    Notes
    -----
    One permutation hashing (Li, Owen and Zhang 2012): a token falls into one of the m bins of its set,
    which keeps the least value. So an update is one hash and one random access a token, whatever m, and
    sketches of parts merge by the minimum. Which bins are empty is kept, for only then do minima merge;
    empty bins are filled when signatures are asked for, by optimal densification (Shrivastava 2017):
    `signatures` are those that ``MinHash(n_hashes, scheme="one-permutation", seed=seed)`` gives for the
    whole sets, bit for bit.

    **Jaccard similarity** J is estimated by the equal bins over those that are full in one of the two
    sets or both, f: unbiased (Li, Owen and Zhang 2012, section 3), with a standard error of at most
    ``sqrt(J (1 - J) / f)``. **Cardinality**: values in a bin are exponential numbers of rate n / m, cut off
    at 1 by the bin's being empty, so the likeliest n is ``m f / total``, total being the sum of all bins'
    values as shares of their range, 1 for an empty one; times ``1 - 1/m`` against bias. Its standard error
    is about ``n / sqrt(f)``. Repeated tokens count once, here and everywhere.

    Values have 31 bits: in a bin of unlike tokens they agree with chance ``tanh(n / (m 2**32))``, n being the
    tokens of a set. So similarities of large sets are too high by up to that: .0018 for a billion tokens in
    128 bins. Strings are taken by their 64-bit hashes: of n strings about ``n**2 / 2**65`` pairs have one
    hash and count as one token, 0.03 pairs of 10**9 strings.

    Bytes: ``4 n_sets m``.

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

    def __init__(self, n_sets: int = 1, n_hashes: int = 128, *, seed: int = 0) -> None:
        self.n_sets = check_int("n_sets", n_sets, 1, 1 << 40)
        self.n_hashes = check_int("n_hashes", n_hashes, 1, _MAX_HASHES)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    @classmethod
    def for_error(cls, error: float, confidence: float = 0.95, *, n_sets: int = 1, seed: int = 0) -> Self:
        """The smallest sketch whose Jaccard similarities err by under `error`.

        Parameters
        ----------
        error : float
            In (0, 1): of the similarity itself, not a share of it.
        confidence : float, default 0.95
            Probability with which that holds, for any one pair of sets.
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
        The standard error is at most ``0.5 / sqrt(f)``, and f is `n_hashes` for pairs of sets of many more
        tokens than bins. So by Chebyshev's inequality ``n_hashes = 1 / (4 (1 - confidence) error**2)`` is
        enough. Smaller sets fill fewer bins, but those hold more of their u tokens: a sample of f out of u,
        whose standard error is at most ``0.5 sqrt(1 / f - 1 / u)``, and that is less still.

        Examples
        --------
        >>> import mergesketch
        >>> mergesketch.MinHashSketch.for_error(0.05, confidence=0.95, n_sets=10).n_hashes
        2000
        """
        error = check_real("error", error, 0.0, 1.0)
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        # Less a rounding error, so that 2000.0000000000002 is 2000.
        wanted = 0.25 / (1.0 - confidence) / error / error * (1.0 - 1e-12)
        if not wanted <= _MAX_HASHES:
            raise ValueError(f"error must be reached by {_MAX_HASHES} bins, got {error:g}")
        return cls(n_sets, math.ceil(wanted), seed=seed)

    def _layout(self) -> dict[str, StateSpec]:
        return {"minima": StateSpec((self.n_sets, self.n_hashes), "uint32", "min", fill=_EMPTY)}

    @lazy
    def family(self) -> MinHash:
        """The family whose signatures these are."""
        return MinHash(self.n_hashes, scheme="one-permutation", seed=self.seed)

    # -- updates ----------------------------------------------------------------------------------

    def update(self, tokens: ArrayLike, sets: RowsLike | None = None) -> Self:
        """Take in a batch of tokens.

        Parameters
        ----------
        tokens : array or list of n tokens
            Integers are taken as they are, as `MinHash` takes them; strings and bytes, in whatever form
            `hash_keys` takes them, by their 64-bit hash.
        sets : int or array of n int, optional
            The set of all tokens, or of each; may be left out where there is but one set.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If tokens are neither integers nor strings nor bytes, or set numbers are no integers, not n, or
            out of range. Nothing is changed then.
        """
        checked = self._check_tokens(tokens)
        n = checked.size
        numbers = self._check_sets(sets, n, device_of(checked))
        self._settle("tokens", checked)
        self._reserve("n_updates", n)
        with uninterrupted():
            self._throw(checked, numbers)
            self._arrays["n_updates"] += n
        return self

    @staticmethod
    def _check_tokens(tokens: Any) -> NDArray[np.uint64]:
        read = read_keys(tokens, "tokens")
        return read.hashes(0) if read.words is None else read.words

    def _check_sets(self, sets: Any, n: int, device: str) -> NDArray[np.int64]:
        """The set of each token; an empty array if all belong to set 0."""
        xp = backend_named(device).xp
        if sets is None:
            if self.n_sets > 1:
                raise ValueError(f"sets must be given, for there are {self.n_sets} sets, got None")
            return xp.empty(0, np.int64)
        numbers = check_array("sets", sets)
        if device_of(numbers) == "cpu" and numbers.ndim == 0:
            number = check_int("sets", sets, 0, self.n_sets - 1)
            return xp.empty(0, np.int64) if number == 0 else xp.full(n, number, np.int64)
        if device_of(numbers) != device:
            raise TypeError("sets must lie where the tokens do, got one in main memory and one on a GPU")
        if numbers.shape != (n,):
            raise ValueError(f"sets must be an integer or of shape ({n},), got shape {numbers.shape}")
        numbers = _check_numbers("sets", numbers, self.n_sets)
        refuse_flags("sets", sets)
        return numbers

    def _throw(self, tokens: NDArray[np.uint64], numbers: NDArray[np.int64]) -> None:
        minima, drawn = self._arrays["minima"], self.family._random()
        how = (drawn["keys"][0], drawn["multipliers"][0])
        kernel, n = self._backend.kernels(minhash).throw_tokens, tokens.size
        if self.device == "gpu" or get_num_threads() == 1 or n < 2 * _TOKENS_BLOCK:
            kernel(tokens, numbers, *how, 0, self.n_sets, 0, n, minima)
        elif minima.size <= _OWN_TABLE:

            def fill(start: int, stop: int) -> NDArray[np.uint32]:
                own = np.full(minima.shape, _EMPTY, np.uint32)
                kernel(tokens, numbers, *how, 0, self.n_sets, start, stop, own)
                return own

            for own in map_blocks(fill, n, max(_TOKENS_BLOCK, -(-n // get_num_threads()))):
                np.minimum(minima, own, out=minima)
        else:
            # A thread owns a range of sets, so that no two write to one bin; each reads all tokens.
            block = -(-self.n_sets // get_num_threads())
            map_blocks(
                lambda a, b: kernel(tokens, numbers, *how, a, b, 0, n, minima[a:b]), self.n_sets, block
            )

    # -- signatures -------------------------------------------------------------------------------

    def signatures(self) -> NDArray[np.uint32]:
        """Signatures of all sets, empty bins filled: what `family` gives for the whole sets.

        Returns
        -------
        ndarray of shape (n_sets, n_hashes), uint32
            Rows of sets without tokens are 0xFFFFFFFF throughout. For an index:
            ``index.query_codes(family.codes(signatures, family=sketch.family), k)``, with any MinHash
            `family` of this seed, scheme "one-permutation" and ``n_hashes * power`` as many values; others
            are refused.
        """
        minima, (_, walk_key, rank_key) = self._arrays["minima"], self.family._random()["keys"]
        backend = self._backend
        out, kernel = backend.xp.empty_like(minima), backend.kernels(minhash).densify_signatures
        block = max(1, _VALUES_BLOCK // self.n_hashes)
        backend.map_blocks(lambda a, b: kernel(minima, walk_key, rank_key, a, b, out), self.n_sets, block)
        return out

    # -- estimates --------------------------------------------------------------------------------

    def jaccard(self, left: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
        """Estimated Jaccard similarity of the sets ``left[p]`` and ``right[p]``, of each pair p.

        Parameters
        ----------
        left, right : int or array_like of n int
            Numbers of sets.

        Returns
        -------
        ndarray of shape (n,), float64
            Two empty sets give 1, an empty one and another 0.

        Raises
        ------
        TypeError, ValueError
            If the numbers are no integers, of different length or out of range.
        """
        full, equal, _ = self._compare(left, right)
        xp = self._backend.xp
        return xp.where(full == 0, 1.0, equal / xp.maximum(full, 1))

    def union(self, left: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
        """Estimated number of different tokens in two sets together; arguments as for `jaccard`.

        Parameters
        ----------
        left, right : int or array_like of n int
            Numbers of sets.

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
        """Estimated number of tokens that two sets share: similarity times `union`.

        Parameters
        ----------
        left, right : int or array_like of n int
            Numbers of sets.

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
        """Estimated share of each left set's tokens that its right set holds; NaN if the left one is empty.

        Parameters
        ----------
        left, right : int or array_like of n int
            Numbers of sets.

        Returns
        -------
        ndarray of shape (n,), float64
            `intersection` over the estimated size of the left set: above 1 at times. It is not cut off there,
            for that would make it too small on average; ``numpy.minimum(..., 1)`` does it where it is wanted.

        Raises
        ------
        TypeError, ValueError
            As `jaccard` does.
        """
        common, own = self.intersection(left, right), self.union(left, left)
        xp = self._backend.xp
        return xp.where(own > 0, common / xp.where(own > 0, own, 1.0), np.nan)

    def cardinality(self) -> NDArray[np.float64]:
        """Estimated number of different tokens of every set, shape (n_sets,).

        Returns
        -------
        ndarray of shape (n_sets,), float64
        """
        every = self._backend.xp.arange(self.n_sets)
        return self.union(every, every)

    def _count(self, full: NDArray[np.int64], total: NDArray[np.float64]) -> NDArray[np.float64]:
        # With one bin the correction would leave nothing.
        return max(self.n_hashes - 1, 1) * full / total

    def _compare(
        self, left: ArrayLike, right: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        backend = self._backend
        pairs = []
        for name, given in (("left", left), ("right", right)):
            array = self._bring(name, given)
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
    """Numbers of sets, which must be integers from 0 to n_sets - 1."""
    if numbers.size and numbers.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got dtype {numbers.dtype}")
    if numbers.size and (int(numbers.min()) < 0 or int(numbers.max()) >= n_sets):
        raise ValueError(
            f"{name} must lie from 0 to {n_sets - 1}, got {int(numbers.min())} to {int(numbers.max())}"
        )
    return backend_of(numbers).xp.ascontiguousarray(numbers, dtype=np.int64)
