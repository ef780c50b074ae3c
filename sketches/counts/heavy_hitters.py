"""The most frequent keys of a stream and their counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Keys
from ...lsh.support.backend import add_at, read_only, to_host
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.threads import get_num_threads
from ..core.key_kinds import KIND_ARRAYS, refuse_mixed
from ..core.state import StateSpec
from ..kernels import counting
from .counted_keys import CANDIDATES, KeyBatch, NamedKeys
from .key_records import merge_records, pack_keys
from .key_table import KEYS_BLOCK, CountMinTable, count_min_size

__all__ = ["HeavyHitters"]

#: The number of names that are kept of any stream, also if fewer keys are frequent.
_MOST_FILLED = 256
#: The number of keys in the first part of a batch whose keys become names. Each part is twice as large.
_FIRST_KEYS = 1024


class HeavyHitters(NamedKeys, CountMinTable):
    """Find the most frequent keys (heavy hitters, top-k): all keys above a given share of a stream.

    Parameters
    ----------
    frequency : float, default 0.001
        In (0, 1): the share of all counts above which a key is reported for certain, 0.001 for one in a
        thousand. The default takes 273 kB.
    n_rows : int
        Number of rows of the Count-Min table that counts the keys.
    n_buckets : int, optional
        Number of counters in a row, ``ceil(2 e / frequency)`` by default.
    max_key_bytes : int
        Number of bytes that are kept of a key, from 8 to 65,535. An integer takes 8, a date 9, a timestamp
        13, and a tuple the bytes of its parts and 2 more for each. A longer key is counted like the others,
        by its hash. Its name is its first bytes, an ellipsis and the hash.
    seed : int
        In [0, 2**64). Only sketches of one seed merge.

    Attributes
    ----------
    total : int
        The sum of all counts taken in, N below.
    n_candidates : int
        The largest number of keys that are kept: ``ceil(2 / frequency)``.

    Notes
    -----
    A Count-Min table counts every key. In addition, the sketch keeps the names of keys whose estimate exceeds
    *half* of ``frequency * N``, in a summary of Misra and Gries [1]_ with `n_candidates` counters. Each name
    has a count of its occurrences since the name was kept. If there are more names than places, the largest
    count without a place is subtracted from all counts. Then names whose count is not above 0 are dropped.
    Names whose estimate falls to half of ``frequency * N`` are dropped too, unless there are no more than 256
    names (or `n_candidates`, if that is less). So many are kept in any case, those of the largest estimates.

    `top` without `k` reports the names whose estimate exceeds ``frequency * N``. ``top(k)`` returns the k
    names of the largest estimates, also below that, where there is no guarantee.

    - Every key with a true share above `frequency` is reported with certainty, for any order of the stream
      and any batches and merges. The Count-Min estimate is never too low, so that at most ``frequency / 2 *
      N`` occurrences of a key were not counted with its name. The subtracted counts add up to at most ``N /
      (n_candidates + 1)`` over any tree of merges [2]_, which is less than ``frequency / 2 * N``. So the
      count of such a key is above 0.
    - A key with less than half that share is reported with probability at most exp(-n_rows) (at the default
      `n_buckets`; [3]_, theorem 1 and section 5.2).
    - Counts are upper bounds, and the same for any order, split and number of threads or ranks.

    So keys with a true share above `frequency` are reported for any order, split and merge. Other keys, whose
    estimate is too high by chance or which take places that are free, may be returned for one order of the
    stream and not for another. Two
    sketches compare equal (``==``) if their tables are equal and they report the same keys.

    SpaceSaving or Misra-Gries summaries alone (`TopK`), or cells with a majority candidate (Topkapi [4]_),
    are smaller, but the counts that they report depend on the order of updates and merges.

    Keys are equal as for `mergesketch.lsh.hash_keys`: a str and its UTF-8 bytes are one key, and so are -1
    and 2**64 - 1. A sketch takes keys of one kind: integers, or strings and bytes, or dates, and so on.
    Integers are returned as int. If any key was negative, integers of 2**63 or more are returned as negative
    ones. Strings are returned as bytes if all keys were bytes. Otherwise those that are valid UTF-8 are
    returned as str. Dates and timestamps are returned as those of `datetime`, or as `numpy.datetime64` if
    these cannot hold them. The form depends on all keys, not on their order.

    Time is O(n_rows) for each key. Memory is ``4 n_rows n_buckets + n_candidates (max_key_bytes + 18)``
    bytes; the first term doubles after a counter could pass 2**31.

    References
    ----------
    .. [1] Misra, Gries. Finding repeated elements. Science of Computer Programming 2(2), 1982.
    .. [2] Agarwal, Cormode, Huang, Phillips, Wei, Yi. Mergeable summaries. PODS 2012, theorem 2.
    .. [3] Cormode, Muthukrishnan. An improved data stream summary: the count-min sketch and its applications.
       Journal of Algorithms 55(1), 2005.
    .. [4] Mandal, Jiang, Shrivastava, Sarkar. Topkapi: parallel and fast sketches for finding top-k frequent
       elements. NeurIPS 2018.

    Examples
    --------
    >>> import mergesketch
    >>> monday = mergesketch.HeavyHitters(0.1).update(["tea"] * 8 + ["cake"] * 4 + ["milk"])
    >>> tuesday = monday.empty_like().update(["jam", "jam"], counts=[3, 4])
    >>> (monday | tuesday).top(2)
    [('tea', 8), ('jam', 7)]
    >>> visits = mergesketch.HeavyHitters().update([("/help", 200), ("/", 200), ("/", 404), ("/", 200)])
    >>> visits.top(1)
    [(('/', 200), 2)]
    """

    _parameters = ("frequency", "n_rows", "n_buckets", "max_key_bytes", "seed")

    def __init__(
        self,
        frequency: float = 0.001,
        *,
        n_rows: int = 5,
        n_buckets: int | None = None,
        max_key_bytes: int = 64,
        seed: int = 0,
    ) -> None:
        self.frequency = _check_frequency(frequency)
        default = math.ceil(2.0 * math.e / self.frequency)
        super().__init__(n_rows, default if n_buckets is None else n_buckets, seed)
        self.max_key_bytes = check_int("max_key_bytes", max_key_bytes, 8, 65535)

    @classmethod
    def for_error(
        cls,
        frequency: float,
        relative_error: float | None = None,
        confidence: float = 0.99,
        *,
        max_key_bytes: int = 64,
        seed: int = 0,
    ) -> Self:
        """Return a sketch that finds keys above `frequency` and bounds its error by a share of the total.

        Parameters
        ----------
        frequency : float
            The share of all counts above which a key is reported.
        relative_error : float, optional
            Estimates exceed the truth by less than ``relative_error * total``. The default, and the largest
            value, is half of `frequency`.
        confidence : float
            The probability with which that holds for each key by itself.
        max_key_bytes : int, default 64
        seed : int, default 0
            As for the class.

        Returns
        -------
        HeavyHitters

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Examples
        --------
        >>> import mergesketch
        >>> mergesketch.HeavyHitters.for_error(0.01, relative_error=0.001).n_buckets
        2719
        """
        frequency = _check_frequency(frequency)
        if relative_error is None:
            relative_error = frequency / 2.0
        relative_error = check_real("relative_error", relative_error, 0.0, frequency / 2.0, closed=True)
        if relative_error == 0.0:
            raise ValueError("relative_error must be above 0, got 0.0")
        n_rows, n_buckets = count_min_size(relative_error, confidence)
        new = cls(frequency, n_rows=n_rows, n_buckets=n_buckets, max_key_bytes=max_key_bytes, seed=seed)
        return new._asked_for(relative_error=relative_error, confidence=confidence)

    @property
    def n_candidates(self) -> int:
        """Number of keys that are kept in addition to the counters: ``ceil(2 / frequency)``."""
        return math.ceil(2.0 / self.frequency)

    def _layout(self) -> dict[str, StateSpec]:
        return {**super()._layout(), **self._candidate_specs(self.n_candidates)}

    # -- updates ----------------------------------------------------------------------------------

    def _add(self, batch: KeyBatch) -> None:
        try:
            with self._counted(batch.hashes, batch.weights, "total", *KIND_ARRAYS):
                self._add_to_total(batch.hashes.size, batch.weights)
                self._note_forms(batch.forms)
                self._note(batch.keys, batch.hashes, batch.weights)
        except BaseException:
            self._state.caches.clear()
            raise

    def _note(self, keys: Keys, hashes: NDArray[np.uint64], weights: NDArray[np.int64]) -> None:
        """Keep the names of a batch's most frequent keys, and count their occurrences."""
        # While there are few frequent keys, others become names. The estimate that these need rises with
        # each part of a batch, so that only some hundred keys of a part are looked at.
        start, size = 0, _FIRST_KEYS
        while start < hashes.size:
            frequent, is_filled = self._threshold(0.5), CANDIDATES.n_used(self._arrays) >= self._n_filled
            least = min(frequent, self._least_estimate() - 1) if is_filled else 0
            size = max(size, KEYS_BLOCK) if is_filled else size
            stop = hashes.size if least == frequent else min(hashes.size, start + size)
            self._note_range(keys, hashes, weights, start, stop, least)
            start, size = stop, 2 * size

    @property
    def _n_filled(self) -> int:
        """The number of names that are kept of any stream with as many keys."""
        return min(self.n_candidates, _MOST_FILLED)

    def _least_estimate(self) -> int:
        """Return the estimate that a key needs to be among the `_n_filled` first, or an earlier one.

        It never falls.
        """

        def find() -> int:
            estimates = self._estimate(CANDIDATES.used(self._arrays)[0])
            return int(self._backend.xp.sort(estimates)[-self._n_filled])

        return self._state.cached("least estimate", find)

    def _note_range(
        self,
        keys: Keys,
        hashes: NDArray[np.uint64],
        weights: NDArray[np.int64],
        start: int,
        stop: int,
        least: int,
    ) -> None:
        """Keep the names of keys from `start` to `stop` that are estimated above `least`."""
        xp = self._backend.xp
        places, sums = self._find_frequent(hashes, weights, start, stop, least)
        found, first, inverse = xp.unique(hashes[places], return_index=True, return_inverse=True)
        came = xp.zeros(found.size, np.int64)
        add_at(came, inverse, sums)
        known, counts, *names = CANDIDATES.used(self._arrays)
        counts = counts.copy()
        is_new = came > 0
        if known.size:
            at = xp.minimum(xp.searchsorted(known, found), known.size - 1)
            is_known = known[at] == found
            counts[at[is_known]] += came[is_known]
            is_new &= ~is_known
        if not is_new.any() and known.size <= self._n_filled:
            self._arrays["candidate_counts"][: counts.size] = counts
            return
        records = pack_keys(keys, places[first[is_new]], self.max_key_bytes)
        self._keep([known, counts, *names], [found[is_new], came[is_new], *records])

    def _find_frequent(
        self, hashes: NDArray[np.uint64], weights: NDArray[np.int64], begin: int, end: int, least: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places and counts of keys that are estimated above `least`; a key may be found twice."""
        kernel, xp = self._backend.kernels(counting).find_frequent, self._backend.xp
        n = end - begin
        found, sums = xp.empty(n, np.int64), xp.empty(n, np.int64)
        table, words = self._arrays["counts"], self._words
        hashes, weights = hashes[begin:end], read_only(weights[begin:end])

        def search(start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            n = kernel(table, hashes, weights, words, least, start, stop, found, sums)
            return found[start : start + n], sums[start : start + n]

        pieces = self._backend.map_blocks(search, n, max(KEYS_BLOCK, -(-n // get_num_threads())))
        places = xp.concatenate([piece[0] for piece in pieces])
        return places + begin, xp.concatenate([piece[1] for piece in pieces])

    def _threshold(self, share: float) -> int:
        """Return the count above which a key is kept (share 0.5) or reported (share 1)."""
        # In integers, for floats beyond 2**53 may be rounded up, past a key just above the frequency.
        numerator, denominator = (share * self.frequency).as_integer_ratio()
        return numerator * self.total // denominator

    def _keep(self, one: list[NDArray[Any]], other: list[NDArray[Any]]) -> None:
        """Take the records of two parts as candidates, as far as there are places."""
        places = self.n_candidates, self._n_filled
        kept = merge_records(one, other, *places, self._estimate, self._threshold(0.5))
        self._state.caches.clear()
        CANDIDATES.put(self._arrays, kept)

    def _fullness(self) -> list[str]:
        return [
            *super()._fullness(),
            f"{CANDIDATES.n_used(self._arrays):,} of {self.n_candidates:,} names kept",
        ]

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        # The table has been merged already, so that the merged counts decide which names are kept.
        refuse_mixed(type(self).__name__, int(self._arrays["key_forms"][0]))
        self._keep(CANDIDATES.used(self._arrays), CANDIDATES.used(theirs))

    # -- answers ----------------------------------------------------------------------------------

    def top(self, k: int | None = None) -> list[tuple[Any, int]]:
        """Return the frequent keys and their estimated counts, the most frequent first.

        Parameters
        ----------
        k : int, optional
            The number of keys: the k that are estimated most frequent, also if their estimates are below
            ``frequency * total``. By default, all keys whose estimate exceeds ``frequency * total``.

        Returns
        -------
        list of (key, count)
            Counts are never below the truth. Keys with equal counts are in the order of their hashes. There
            are fewer than k if the sketch has fewer names: it keeps 256 at least, if so many keys came and
            `n_candidates` is not less.

        Raises
        ------
        TypeError, ValueError
            If `k` is no positive integer.

        Notes
        -----
        The guarantee is for keys with a share above `frequency`, none of which is missing among the first.
        Keys below it are usually the next most frequent ones. But such a key may be missing, and which ones
        are kept may depend on the order of the stream.
        """
        estimates = to_host(self._estimate(CANDIDATES.used(self._arrays)[0]))
        order = np.argsort(-estimates, kind="stable")
        n = np.count_nonzero(estimates > self._threshold(1.0)) if k is None else check_int("k", k, 0)
        return list(zip(self._names_at(order[:n]), estimates[order[:n]].tolist(), strict=True))

    def _has_state_of(self, other: Self) -> bool:
        sums = ("counts", "total", "n_updates")
        alike = all(np.array_equal(self._arrays[name], other._arrays[name]) for name in sums)
        return alike and self.top() == other.top()

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        counts = to_host(arrays["candidate_counts"])
        if counts.size and not counts.astype(np.float64).sum() <= 1.000001 * float(arrays["total"][0]):
            raise ValueError("candidate_counts must be at most total in all")
        self._check_names(arrays)


def _check_frequency(frequency: float) -> float:
    value = check_real("frequency", frequency, 0.0, 1.0)
    if value < 1e-7:
        raise ValueError(f"frequency must be at least 1e-07, got {frequency!r}")
    return value


publish("mergesketch", __all__, globals())
