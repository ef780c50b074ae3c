"""The most frequent keys of a stream and their counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.hashing.keys import Keys, hash_keys
from ...lsh.support.backend import add_at, to_host
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.threads import get_num_threads
from ...lsh.support.types import KeysLike
from ..core.records import Records
from ..core.state import StateSpec
from ..kernels import counting
from .key_records import (
    BYTES,
    INTEGERS,
    KINDS,
    STRINGS,
    check_kinds,
    check_records,
    form_of,
    kind_of,
    kind_of_forms,
    longest_key,
    merge_records,
    pack_keys,
    unpack_key,
)
from .key_table import KEYS_BLOCK, CountMinTable, KeyBatch, count_min_size

__all__ = ["HeavyHitters"]

#: The table of the names that are kept, by rising hashes.
_CANDIDATES = Records(
    ("candidate_hashes", "candidate_counts", "candidate_lengths", "candidate_keys"), "candidate_counts"
)


class HeavyHitters(CountMinTable):
    """Find the most frequent keys (heavy hitters, top-k): all keys above a given share of a stream.

    Parameters
    ----------
    frequency : float
        In (0, 1): the share of all counts above which a key is reported, 0.001 for one in a thousand.
    n_rows : int
        Number of rows of the Count-Min table that counts the keys.
    n_buckets : int, optional
        Number of counters in a row, ``ceil(2 e / frequency)`` by default.
    max_key_bytes : int
        Length of the longest key, from 8 to 65,535 bytes (an integer takes 8). Longer keys are refused.
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
    Names whose estimate falls to half of ``frequency * N`` are dropped too. The sketch reports the names
    whose estimate exceeds ``frequency * N``.

    - Every key with a true share above `frequency` is reported with certainty, for any order of the stream
      and any batches and merges. The Count-Min estimate is never too low, so that at most ``frequency / 2 *
      N`` occurrences of a key were not counted with its name. The subtracted counts add up to at most ``N /
      (n_candidates + 1)`` over any tree of merges [2]_, which is less than ``frequency / 2 * N``. So the
      count of such a key is above 0.
    - A key with less than half that share is reported with probability at most exp(-n_rows) (at the default
      `n_buckets`; [3]_, theorem 1 and section 5.2).
    - Counts are upper bounds, and the same for any order, split and number of threads or ranks.

    So keys with a true share above `frequency` are reported for any order, split and merge. Other keys, whose
    estimate is too high by chance, may be reported for one order of the stream and not for another. Two
    sketches compare equal (``==``) if their tables are equal and they report the same keys.

    SpaceSaving or Misra-Gries summaries alone, or cells with a majority candidate (Topkapi [4]_), are
    smaller, but the counts that they report depend on the order of updates and merges.

    Keys are equal as for `mergesketch.lsh.hash_keys`: a str and its UTF-8 bytes are one key, and so are -1
    and 2**64 - 1. A sketch takes either integers, or strings and bytes. Integers are returned as int. If any
    key was negative, integers of 2**63 or more are returned as negative ones. Other keys are returned as
    bytes if all keys were bytes. Otherwise keys that are valid UTF-8 are returned as str. The form depends on
    all keys, not on their order.

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
    """

    _parameters = ("frequency", "n_rows", "n_buckets", "max_key_bytes", "seed")

    def __init__(
        self,
        frequency: float,
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
        n = self.n_candidates
        return {
            **super()._layout(),
            "key_forms": StateSpec((1,), "uint8", "or"),
            "candidate_hashes": StateSpec((n,), "uint64", "candidates"),
            "candidate_counts": StateSpec((n,), "int64", "candidates"),
            "candidate_lengths": StateSpec((n,), "uint16", "candidates"),
            "candidate_keys": StateSpec((n, self.max_key_bytes), "uint8", "candidates"),
        }

    # -- updates ----------------------------------------------------------------------------------

    def update(self, keys: KeysLike, counts: ArrayLike | None = None) -> Self:
        """Count a batch of keys.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Keys of any type that `mergesketch.lsh.hash_keys` takes. They may repeat. All batches have
            integers, or all have strings and bytes.
        counts : array of n integers, optional
            The number of occurrences of each key, 0 or more, an integer for one key; 1 by default.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the keys are of no known or of mixed type, of another kind than those of earlier batches, or
            too long; or if counts are negative or of another length.
        OverflowError
            If a 64-bit counter could wrap. Nothing changes if an exception is raised.
        """
        return self._take_in({"keys": keys, "counts": counts})

    def _read(self, keys: Any, counts: Any) -> KeyBatch:
        batch: KeyBatch = super()._read(keys, counts)
        self._check_kind(batch.keys)
        longest = longest_key(batch.keys)
        if longest > self.max_key_bytes:
            raise ValueError(
                f"keys must have at most max_key_bytes={self.max_key_bytes} bytes, got one of {longest}"
            )
        return batch

    def _add(self, batch: KeyBatch) -> None:
        keys, hashes, weights, _ = batch
        with self._counted(hashes, weights, "key_forms", "total"):
            self._add_to_total(hashes.size, weights)
            self._arrays["key_forms"] |= np.uint8(form_of(keys))
            self._note(keys, hashes, weights)

    def _check_kind(self, keys: Keys) -> None:
        """Raise TypeError for keys of another kind than those before."""
        before, here = self._kind, kind_of(keys)
        if before and here and before != here:
            raise TypeError(f"keys must be {KINDS[before]} as before, got {KINDS[here]}")

    def _read_query(self, keys: Any) -> Keys:
        read = super()._read_query(keys)
        self._check_kind(read)
        return read

    @property
    def _kind(self) -> int:
        """The kind of all keys: `INTEGERS`, ``STRINGS | BYTES``, or 0 as long as there is no key."""
        return kind_of_forms(int(self._arrays["key_forms"][0])) if self._state.is_allocated else 0

    def _note(self, keys: Keys, hashes: NDArray[np.uint64], weights: NDArray[np.int64]) -> None:
        """Keep the names of a batch's frequent keys, and count their occurrences."""
        xp = self._backend.xp
        places, sums = self._find_frequent(hashes, weights)
        found, first, inverse = xp.unique(hashes[places], return_index=True, return_inverse=True)
        came = xp.zeros(found.size, np.int64)
        add_at(came, inverse, sums)
        known, counts, *names = _CANDIDATES.used(self._arrays)
        counts = counts.copy()
        is_new = came > 0
        if known.size:
            at = xp.minimum(xp.searchsorted(known, found), known.size - 1)
            is_known = known[at] == found
            counts[at[is_known]] += came[is_known]
            is_new &= ~is_known
        records = pack_keys(keys, places[first[is_new]], self.max_key_bytes)
        self._keep([known, counts, *names], [found[is_new], came[is_new], *records])

    def _find_frequent(
        self, hashes: NDArray[np.uint64], weights: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places and counts of a batch's frequent keys; a key may be found twice."""
        kernel, xp = self._backend.kernels(counting).find_frequent, self._backend.xp
        found, sums = xp.empty(hashes.size, np.int64), xp.empty(hashes.size, np.int64)
        table, words, least = self._arrays["counts"], self._words, self._threshold(0.5)

        def search(start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            n = kernel(table, hashes, weights, words, least, start, stop, found, sums)
            return found[start : start + n], sums[start : start + n]

        block = max(KEYS_BLOCK, -(-hashes.size // get_num_threads()))
        pieces = self._backend.map_blocks(search, hashes.size, block)
        if not pieces:
            return found, sums
        return xp.concatenate([piece[0] for piece in pieces]), xp.concatenate([piece[1] for piece in pieces])

    def _threshold(self, share: float) -> int:
        """Return the count above which a key is kept (share 0.5) or reported (share 1)."""
        # In integers, for floats beyond 2**53 may be rounded up, past a key just above the frequency.
        numerator, denominator = (share * self.frequency).as_integer_ratio()
        return numerator * self.total // denominator

    def _keep(self, one: list[NDArray[Any]], other: list[NDArray[Any]]) -> None:
        """Take the records of two parts as candidates, if they are frequent and there are places."""
        least = self._threshold(0.5)
        kept = merge_records(one, other, self.n_candidates, lambda hashes: self._estimate(hashes) > least)
        _CANDIDATES.put(self._arrays, kept)

    def part_numbers(self) -> tuple[int, ...]:
        return (self._kind,)

    @classmethod
    def check_parts(cls, parts: Sequence[tuple[int, ...]]) -> None:
        kinds = [kind for (kind,) in parts if kind]
        for kind in kinds[1:]:
            check_kinds(kinds[0], kind)

    def _fullness(self) -> list[str]:
        return [
            *super()._fullness(),
            f"{_CANDIDATES.n_used(self._arrays):,} of {self.n_candidates:,} names kept",
        ]

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        # The table has been merged already, so that the merged counts decide which names are kept.
        forms = int(self._arrays["key_forms"][0])
        check_kinds(forms & INTEGERS, kind_of_forms(forms & (STRINGS | BYTES)))
        self._keep(_CANDIDATES.used(self._arrays), _CANDIDATES.used(theirs))

    # -- answers ----------------------------------------------------------------------------------

    def top(self, k: int | None = None) -> list[tuple[int | str | bytes, int]]:
        """Return the frequent keys and their estimated counts, the most frequent first.

        Parameters
        ----------
        k : int, optional
            The most keys to return; all by default. Only keys whose estimate exceeds ``frequency * total``
            are reported, so there may be fewer.

        Returns
        -------
        list of (key, count)
            Counts are never below the truth. Keys with equal counts are in the order of their hashes.

        Raises
        ------
        TypeError, ValueError
            If `k` is no positive integer.
        """
        k = self.n_candidates if k is None else check_int("k", k, 0)
        used = _CANDIDATES.used(self._arrays)
        estimates = to_host(self._estimate(used[0]))
        lengths, contents = map(to_host, used[2:])
        forms = int(self._arrays["key_forms"][0])
        order = np.argsort(-estimates, kind="stable")
        order = order[estimates[order] > self._threshold(1.0)][:k]
        return [(unpack_key(forms, int(lengths[i]), contents[i]), int(estimates[i])) for i in order.tolist()]

    def _has_state_of(self, other: Self) -> bool:
        sums = ("counts", "total", "n_updates")
        alike = all(np.array_equal(self._arrays[name], other._arrays[name]) for name in sums)
        return alike and self.top() == other.top()

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        hashes, counts, lengths, contents = (to_host(arrays[name]) for name in _CANDIDATES.names)
        if counts.size and not counts.astype(np.float64).sum() <= 1.000001 * float(arrays["total"][0]):
            raise ValueError("candidate_counts must be at most total in all")
        raw = check_records(int(arrays["key_forms"][0]), counts, lengths, contents)
        expected = hash_keys(raw, self.seed) if raw else np.empty(0, dtype=np.uint64)
        if not np.array_equal(hashes[: len(raw)], expected):
            raise ValueError("candidate_hashes must be the hashes of candidate_keys")
        if bool((expected[1:] <= expected[:-1]).any()):
            raise ValueError("candidate_hashes must rise")


def _check_frequency(frequency: float) -> float:
    value = check_real("frequency", frequency, 0.0, 1.0)
    if value < 1e-7:
        raise ValueError(f"frequency must be at least 1e-07, got {frequency!r}")
    return value
