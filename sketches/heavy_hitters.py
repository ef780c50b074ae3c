"""The most frequent keys of a stream, with their counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..lsh.backend import to_host
from ..lsh.hashing import hash_keys
from ..lsh.validation import check_int, check_real, check_weights
from .base import MergeableSketch, StateSpec
from .counting import count_min_error
from .guard import uninterrupted
from .key_records import check_records, key_list, longest_key, pack_keys, unpack_key
from .key_table import KEYS_BLOCK, KeyTable

__all__ = ["HeavyHitters"]

_CANDIDATES = ("candidate_hashes", "candidate_kinds", "candidate_lengths", "candidate_keys")


class HeavyHitters(KeyTable):
    """All keys that make up more than a given share of a stream.

    Parameters
    ----------
    frequency : float
        In (0, 1): the share of all counts above which a key is reported, 0.001 for one in a thousand.
    n_rows : int
        Rows of the Count-Min table that counts the keys.
    n_buckets : int, optional
        Counters in a row; ``ceil(2 e / frequency)`` by default.
    max_key_bytes : int
        The longest key that can be given back, from 8 to 65,535 bytes (an integer takes 8). Longer keys
        are refused.
    seed : int
        In [0, 2**64). Only sketches of one seed merge.

    Attributes
    ----------
    total : int
        The sum of all counts taken in, N below.
    n_candidates : int
        Keys kept at most: ``ceil(2 / frequency)``.

    Notes
    -----
    A Count-Min table counts every key; beside it the sketch keeps, by name, the keys whose estimate
    exceeds *half* of ``frequency * N``. It reports those whose estimate exceeds ``frequency * N``.

    - Every key with a true share above `frequency` is reported, whatever the order of the stream and
      however it was cut into batches and merged: a key above half that share of the whole is above it
      in at least one part (or at its last batch), is kept there, and is found in the merge.
    - A key with under half that share is reported with probability at most exp(-n_rows) (at the
      default `n_buckets`; Cormode and Muthukrishnan 2005, theorem 1 and section 5.2).
    - Counts are upper bounds, and the same for any order, split and number of threads or ranks.

    Both statements hold save for the chance, negligible beside exp(-n_rows), that estimates of more
    than `n_candidates` keys are too high at once; the largest estimates are then kept.

    Cells that hold one candidate and a majority counter (Topkapi: Mandal, Jiang, Shrivastava and Sarkar
    2018) and SpaceSaving or Misra-Gries summaries (Agarwal et al. 2012) are smaller, but which keys and
    what counts they hold depends on the order of updates and merges, so that the answer would change
    with the number of threads or ranks. Here the table is a plain sum, and the kept names are only an
    index into it. Two sketches compare equal (``==``) if their tables are equal and they report the
    same keys: names kept between half of `frequency` and all of it may differ.

    Keys come back as they were given, integers as int, strings as str, bytes as bytes. A str and its
    UTF-8 bytes are one key, and so are an integer and its eight little-endian bytes.

    Time is O(n_rows) a key; memory ``4 n_rows n_buckets + n_candidates (max_key_bytes + 11)`` bytes.

    References
    ----------
    - Cormode, Muthukrishnan. An improved data stream summary: the count-min sketch and its applications.
      Journal of Algorithms 55(1), 2005.
    - Mandal, Jiang, Shrivastava, Sarkar. Topkapi: parallel and fast sketches for finding top-k frequent
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
    _gpu = True

    def __init__(
        self,
        frequency: float,
        *,
        n_rows: int = 5,
        n_buckets: int | None = None,
        max_key_bytes: int = 64,
        seed: int = 0,
    ) -> None:
        self.frequency = check_real("frequency", frequency, 0.0, 1.0)
        if self.frequency < 1e-7:
            raise ValueError(f"frequency must be at least 1e-07, got {frequency!r}")
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
        """The sketch that finds keys above `frequency` and overestimates by a bounded share of all counts.

        Parameters
        ----------
        frequency : float
            Share of all counts above which a key is reported.
        relative_error : float, optional
            Estimates exceed the truth by under ``relative_error * total``; half of `frequency` by
            default, and at most that.
        confidence : float
            Probability with which that holds, for any one key.
        max_key_bytes : int, default 64
        seed : int, default 0
            As the class takes them.

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
        frequency = check_real("frequency", frequency, 0.0, 1.0)
        if relative_error is None:
            relative_error = frequency / 2.0
        relative_error = check_real("relative_error", relative_error, 0.0, frequency / 2.0, closed=True)
        if relative_error == 0.0:
            raise ValueError("relative_error must be above 0, got 0.0")
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        n_rows = max(1, math.ceil(-math.log1p(-confidence)))
        n_buckets = math.ceil(math.e / relative_error)
        return cls(frequency, n_rows=n_rows, n_buckets=n_buckets, max_key_bytes=max_key_bytes, seed=seed)

    @property
    def n_candidates(self) -> int:
        """Keys that are kept beside the counters: ``ceil(2 / frequency)``."""
        return math.ceil(2.0 / self.frequency)

    def _layout(self) -> dict[str, StateSpec]:
        n = self.n_candidates
        return {
            **super()._layout(),
            "candidate_hashes": StateSpec((n,), "uint64", "candidates"),
            "candidate_kinds": StateSpec((n,), "uint8", "candidates"),
            "candidate_lengths": StateSpec((n,), "uint16", "candidates"),
            "candidate_keys": StateSpec((n, self.max_key_bytes), "uint8", "candidates"),
        }

    # -- updates ----------------------------------------------------------------------------------

    def update(self, keys: Any, counts: Any = None) -> Self:
        """Count a batch of keys.

        Parameters
        ----------
        keys : array or list of n keys
            May repeat. Of any type that `mergesketch.lsh.hash_keys` takes.
        counts : array of n integers, optional
            How often each key occurred, 0 or more; 1 by default.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the keys are of no known or of mixed type or too long, or the counts negative or of
            another length.
        OverflowError
            If a 64-bit counter could wrap. Nothing is changed when an exception is raised.
        """
        hashes = self._hashes(keys)
        self._settle("counts", counts)
        weights, magnitude = check_weights("counts", counts, hashes.size, minimum=0)
        keys = key_list(keys)
        longest = longest_key(keys)
        if longest > self.max_key_bytes:
            raise ValueError(
                f"keys must have at most max_key_bytes={self.max_key_bytes} bytes, got one of {longest}"
            )
        kernel, xp = self._kernels.count_min_add, self._kernels.xp
        undo = -weights if weights.size else xp.full(hashes.size, -1, np.int64)
        with uninterrupted():
            self._take_in(hashes, weights, magnitude, kernel)
            try:
                places = self._frequent_places(hashes)
                self._keep(hashes[places], *pack_keys(keys, places, self.max_key_bytes))
            except BaseException:
                self._take_in(hashes, undo, 0, kernel)
                self._arrays["n_updates"] -= 2 * hashes.size
                raise
        return self

    def _frequent_places(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Where in the batch each frequent key that is not yet a candidate stands first."""
        kernel, xp = self._kernels.find_frequent, self._kernels.xp
        found = xp.empty(hashes.size, dtype=np.int64)
        table, words, least = self._arrays["counts"], self._words, self._threshold(0.5)

        def search(start: int, stop: int) -> NDArray[np.int64]:
            n = kernel(table, words, hashes, least, found, start, stop)
            return found[start : start + n]

        pieces = self._kernels.map_blocks(search, hashes.size, KEYS_BLOCK)
        places = xp.concatenate(pieces) if pieces else found
        _, first = xp.unique(hashes[places], return_index=True)
        places = places[first]
        return places[~xp.isin(hashes[places], self._used(self._arrays)[0])]

    def _threshold(self, share: float) -> int:
        """An estimate is kept (share 0.5) or reported (share 1) if it exceeds this."""
        return math.floor(share * self.frequency * self.total)

    @staticmethod
    def _used(arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        used = int((arrays["candidate_kinds"] != 0).sum())
        return [arrays[name][:used] for name in _CANDIDATES]

    def _keep(self, *records: NDArray[Any]) -> None:
        """Add records to the candidates, drop those that are no longer frequent, order by hash."""
        xp = self._kernels.xp
        joined = [xp.concatenate(pair) for pair in zip(self._used(self._arrays), records, strict=True)]
        # Of two names with one hash (a str and its bytes) the one of the smaller kind stays.
        order = xp.lexsort(xp.stack([joined[1].astype(np.uint64), joined[0]]))
        hashes = joined[0][order]
        is_first = xp.ones(hashes.size, np.bool_)
        is_first[1:] = hashes[1:] != hashes[:-1]
        order = order[is_first]
        estimates = self._estimate(joined[0][order])
        frequent = estimates > self._threshold(0.5)
        order, estimates = order[frequent], estimates[frequent]
        if order.size > self.n_candidates:
            # Estimates are at least 0: their complements rise as they fall.
            falling = ~estimates.astype(np.uint64)
            largest = xp.lexsort(xp.stack([joined[0][order], falling]))[: self.n_candidates]
            order = order[xp.sort(largest)]
        kept = [values[order] for values in joined]
        for name, values in zip(_CANDIDATES, kept, strict=True):
            array = self._arrays[name]
            array[: order.size] = values
            array[order.size :] = 0

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        # The sums are merged before: names are kept by the merged counts.
        self._keep(*self._used(theirs))

    # -- answers ----------------------------------------------------------------------------------

    def _estimate(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        return self._ask(hashes, self._kernels.count_min_query, np.int64)

    def top(self, k: int | None = None) -> list[tuple[int | str | bytes, int]]:
        """The frequent keys and their estimated counts, the most frequent first.

        Parameters
        ----------
        k : int, optional
            At most so many; all by default. Only keys whose estimate exceeds ``frequency * total`` are
            reported, so there may be fewer than `k`.

        Returns
        -------
        list of (key, count)
            Counts are never below the truth. Ties are in the order of the keys' hashes.

        Raises
        ------
        TypeError, ValueError
            If `k` is no positive integer.
        """
        k = self.n_candidates if k is None else check_int("k", k, 0)
        used = self._used(self._arrays)
        estimates = to_host(self._estimate(used[0]))
        kinds, lengths, contents = map(to_host, used[1:])
        order = np.argsort(-estimates, kind="stable")
        order = order[estimates[order] > self._threshold(1.0)][:k]
        return [
            (unpack_key(int(kinds[i]), int(lengths[i]), contents[i]), int(estimates[i]))
            for i in order.tolist()
        ]

    def query(self, keys: Any) -> NDArray[np.int64]:
        """Estimated count of any key, frequent or not: never below the truth.

        Parameters
        ----------
        keys : array or list of n keys
            Of any type that `mergesketch.lsh.hash_keys` takes.

        Returns
        -------
        ndarray of shape (n,), int64

        Raises
        ------
        TypeError, ValueError
            If the keys are of no known or of mixed type.
        """
        return self._estimate(self._hashes(keys))

    def upper_bound(self, keys: Any) -> NDArray[np.int64]:
        """Upper bound of each key's count; certain, and equal to the estimate.

        Parameters
        ----------
        keys : array or list of n keys
            Of any type that `mergesketch.lsh.hash_keys` takes.

        Returns
        -------
        ndarray of shape (n,), int64

        Raises
        ------
        TypeError, ValueError
            As `query` does.
        """
        return self.query(keys)

    def lower_bound(self, keys: Any, confidence: float = 0.99) -> NDArray[np.int64]:
        """Lower bound of each key's count, which holds with probability `confidence` for any one key.

        Parameters
        ----------
        keys : array or list of n keys
            Of any type that `mergesketch.lsh.hash_keys` takes.
        confidence : float, default 0.99
            In (0, 1).

        Returns
        -------
        ndarray of shape (n,), int64

        Raises
        ------
        TypeError, ValueError
            As `query` does, or if `confidence` lies outside its range.
        """
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        error = math.floor(count_min_error(self.n_rows, self.n_buckets, confidence) * self.total)
        return self._kernels.xp.maximum(self.query(keys) - error, 0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MergeableSketch):
            return NotImplemented
        if not isinstance(other, HeavyHitters) or self.config() != other.config():
            return False
        sums, theirs = ("counts", "total", "n_updates"), self._beside(other)._arrays
        if not all(bool((self._arrays[name] == theirs[name]).all()) for name in sums):
            return False
        return self.top() == other.top()

    __hash__ = None  # type: ignore[assignment]

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if arrays["total"][0] < 0:
            raise ValueError(f"total must be at least 0, got {arrays['total'][0]}")
        hashes, kinds, lengths, contents = (to_host(arrays[name]) for name in _CANDIDATES)
        raw = check_records(kinds, lengths, contents)
        expected = hash_keys(raw, self.seed) if raw else np.empty(0, dtype=np.uint64)
        if not np.array_equal(hashes[: len(raw)], expected):
            raise ValueError("candidate_hashes must be the hashes of candidate_keys")
        if bool((expected[1:] <= expected[:-1]).any()):
            raise ValueError("candidate_hashes must rise")
