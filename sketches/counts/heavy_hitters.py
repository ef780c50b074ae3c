"""The most frequent keys of a stream, with their counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import IncompatibleSketchError
from ...lsh.hashing.keys import Keys, hash_keys, read_keys
from ...lsh.inputs.weights import check_weights
from ...lsh.support.backend import add_at, to_host
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.threads import get_num_threads
from ...lsh.support.types import KeysLike
from ..core.base import MergeableSketch, StateSpec
from ..core.guard import uninterrupted
from ..kernels import counting
from .counting import count_min_error
from .key_records import (
    BYTES,
    INTEGERS,
    STRINGS,
    check_records,
    form_of,
    longest_key,
    merge_records,
    pack_keys,
    unpack_key,
)
from .key_table import KEYS_BLOCK, KeyTable, buckets_for

__all__ = ["HeavyHitters"]

_CANDIDATES = ("candidate_hashes", "candidate_counts", "candidate_lengths", "candidate_keys")
_KINDS = {INTEGERS: "integers", STRINGS | BYTES: "strings or bytes"}


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
    A Count-Min table counts every key. Beside it the sketch keeps names: those of keys whose estimate
    exceeds *half* of ``frequency * N``, each with a count of what came since the name was kept, as a
    summary of Misra and Gries [1]_ with `n_candidates` counters; when there are more names, the largest
    count that has no place is taken off all, and names without any count left are forgotten. Names whose
    estimate falls to half of ``frequency * N`` are forgotten too. It reports the names whose estimate
    exceeds ``frequency * N``.

    - Every key with a true share above `frequency` is reported: with certainty, in every stream, whatever
      its order and however it was cut into batches and merged. The Count-Min estimate is never too low, so
      that at most ``frequency / 2 * N`` of a key came while its name was not kept; and what is taken off
      adds up to at most ``N / (n_candidates + 1)``, which is less than ``frequency / 2 * N``, over any tree
      of merges [2]_. What is left of such a key is above 0.
    - A key with under half that share is reported with probability at most exp(-n_rows) (at the
      default `n_buckets`; [3]_, theorem 1 and section 5.2).
    - Counts are upper bounds, and the same for any order, split and number of threads or ranks.

    Hence the report is the same for any order, split and merge as far as keys are truly above
    `frequency`. Of other keys, those whose estimate is too high by chance, the name may be reported after
    one order and not after another. Two sketches compare equal (``==``) if their tables are equal and they
    report the same keys.

    SpaceSaving or Misra-Gries summaries alone, or cells with a majority candidate (Topkapi [4]_) are
    smaller, but what counts they report depends on the order of updates and merges.

    What one key is, `mergesketch.lsh.hash_keys` says: a str and its UTF-8 bytes are one key, and so are -1
    and 2**64 - 1. One sketch takes integers, or strings and bytes. Integers come back as int, below 0 where
    they are 2**63 or more and any key was negative; the others as bytes if all came so, and else as str
    where they are UTF-8. What comes back depends on all keys, and not on their order.

    Time is O(n_rows) a key; memory ``4 n_rows n_buckets + n_candidates (max_key_bytes + 18)`` bytes, twice
    the first once a counter could pass 2**31.

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
        frequency = _check_frequency(frequency)
        if relative_error is None:
            relative_error = frequency / 2.0
        relative_error = check_real("relative_error", relative_error, 0.0, frequency / 2.0, closed=True)
        if relative_error == 0.0:
            raise ValueError("relative_error must be above 0, got 0.0")
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        n_rows = max(1, math.ceil(-math.log1p(-confidence)))
        n_buckets = buckets_for(relative_error, math.e / relative_error)
        return cls(frequency, n_rows=n_rows, n_buckets=n_buckets, max_key_bytes=max_key_bytes, seed=seed)

    @property
    def n_candidates(self) -> int:
        """Keys that are kept beside the counters: ``ceil(2 / frequency)``."""
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
        keys : array or list of n keys
            May repeat. Of any type that `mergesketch.lsh.hash_keys` takes; integers in all batches, or
            strings and bytes in all.
        counts : array of n integers, optional
            How often each key occurred, 0 or more; 1 by default.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the keys are of no known or of mixed type, integers where strings or bytes came before or
            the other way round, or too long; or the counts negative or of another length.
        OverflowError
            If a 64-bit counter could wrap. Nothing is changed when an exception is raised.
        """
        read = self._read(keys)
        hashes = read.hashes(self.seed)
        self._settle("counts", counts)
        weights, magnitude = check_weights("counts", counts, hashes.size, minimum=0)
        longest = longest_key(read)
        if longest > self.max_key_bytes:
            raise ValueError(
                f"keys must have at most max_key_bytes={self.max_key_bytes} bytes, got one of {longest}"
            )
        kernel, xp = self._backend.kernels(counting).count_min_add, self._backend.xp
        undo = -weights if weights.size else xp.full(hashes.size, -1, np.int64)
        with uninterrupted():
            self._take_in(hashes, weights, magnitude, kernel)
            forms = self._arrays["key_forms"]
            before = forms.copy()
            try:
                forms |= np.uint8(form_of(read))
                self._note(read, hashes, weights)
            except BaseException:
                forms[...] = before
                self._take_in(hashes, undo, 0, kernel)
                self._arrays["n_updates"] -= 2 * hashes.size
                raise
        return self

    def _read(self, keys: Any) -> Keys:
        """A batch of keys; TypeError if they are of the other kind than those before."""
        self._settle("keys", keys)
        read = read_keys(keys)
        before, here = self._kind, _kind_of_forms(form_of(read))
        if before and here and before != here:
            raise TypeError(f"keys must be {_KINDS[before]} as before, got {_KINDS[here]}")
        return read

    def _hashes(self, keys: Any) -> NDArray[np.uint64]:
        return self._read(keys).hashes(self.seed)

    @property
    def _kind(self) -> int:
        """`INTEGERS`, ``STRINGS | BYTES``, or 0 as long as there was no key."""
        return _kind_of_forms(int(self._arrays["key_forms"][0])) if "_arrays" in self.__dict__ else 0

    def _note(self, keys: Keys, hashes: NDArray[np.uint64], weights: NDArray[np.int64]) -> None:
        """Keep the names of a batch's frequent keys, and count what came of them."""
        xp = self._backend.xp
        places, sums = self._find_frequent(hashes, weights)
        found, first, inverse = xp.unique(hashes[places], return_index=True, return_inverse=True)
        came = xp.zeros(found.size, np.int64)
        add_at(came, inverse, sums)
        known, counts, *names = self._used(self._arrays)
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
        """Find frequent keys in a batch: their places and counts; the same key may be found twice."""
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
        """An estimate is kept (share 0.5) or reported (share 1) if it exceeds this."""
        # In integers: floats beyond 2**53 may round up, past a key that is just above the frequency.
        numerator, denominator = (share * self.frequency).as_integer_ratio()
        return numerator * self.total // denominator

    @staticmethod
    def _used(arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        used = int((arrays["candidate_counts"] != 0).sum())
        return [arrays[name][:used] for name in _CANDIDATES]

    def _keep(self, one: list[NDArray[Any]], other: list[NDArray[Any]]) -> None:
        """Make candidates of the records of two parts, as far as they are frequent and there are places."""
        least = self._threshold(0.5)
        kept = merge_records(one, other, self.n_candidates, lambda hashes: self._estimate(hashes) > least)
        for name, values in zip(_CANDIDATES, kept, strict=True):
            array = self._arrays[name]
            array[: len(values)] = values
            array[len(values) :] = 0

    def merge(self, *others: Self) -> Self:
        """Take in other sketches of the same configuration, in place; see `MergeableSketch.merge`.

        Parameters
        ----------
        *others : HeavyHitters
            Of the same configuration, and with keys of the same kind: integers, or strings and bytes.
            Unchanged.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        IncompatibleSketchError
            If configurations or kinds of keys differ; nothing is changed.
        OverflowError
            If a 64-bit counter could wrap; nothing is changed.
        """
        kind = self._kind
        for other in others:
            self._check_compatible(other)
            _check_kinds(kind, other._kind)
            kind |= other._kind
        return super().merge(*others)

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        # The sums are merged before: names are kept by the merged counts.
        forms = int(self._arrays["key_forms"][0])
        _check_kinds(forms & INTEGERS, _kind_of_forms(forms & (STRINGS | BYTES)))
        self._keep(self._used(self._arrays), self._used(theirs))

    # -- answers ----------------------------------------------------------------------------------

    def _estimate(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        return self._ask(hashes, self._backend.kernels(counting).count_min_query, np.int64)

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
        lengths, contents = map(to_host, used[2:])
        forms = int(self._arrays["key_forms"][0])
        order = np.argsort(-estimates, kind="stable")
        order = order[estimates[order] > self._threshold(1.0)][:k]
        return [(unpack_key(forms, int(lengths[i]), contents[i]), int(estimates[i])) for i in order.tolist()]

    def query(self, keys: KeysLike) -> NDArray[np.int64]:
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

    def upper_bound(self, keys: KeysLike) -> NDArray[np.int64]:
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

    def lower_bound(self, keys: KeysLike, confidence: float = 0.99) -> NDArray[np.int64]:
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
        return self._backend.xp.maximum(self.query(keys) - error, 0)

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
        hashes, counts, lengths, contents = (to_host(arrays[name]) for name in _CANDIDATES)
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


def _kind_of_forms(forms: int) -> int:
    return INTEGERS if forms & INTEGERS else STRINGS | BYTES if forms else 0


def _check_kinds(one: int, other: int) -> None:
    if one and other and one != other:
        raise IncompatibleSketchError(
            f"HeavyHitters sketches hold {_KINDS[one]} in one and {_KINDS[other]} in another"
        )
