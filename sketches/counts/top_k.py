"""The k most frequent keys of a stream, with lower and upper bounds of their counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import read_only
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.types import KeyLike, KeysLike
from ..core.key_kinds import kind_specs, refuse_mixed
from ..core.records import find_keys
from ..core.state import StateSpec
from ..kernels import top_k
from .counted_keys import CANDIDATES, KeyBatch, KeysCountedAbove, NamedKeys
from .key_records import pack_keys
from .space_saving import Counters, counter_specs, extended

__all__ = ["TopK"]

_MAX_SEED = 2**64 - 1
_MAX_COUNTERS = 1 << 24
#: The least number of counters by default, and of counters for each of the k keys.
_LEAST_COUNTERS, _COUNTERS_PER_KEY = 1024, 16
#: The least number of new keys of a batch that are counted exactly before keys are dropped.
_NEW_KEYS = 1 << 13


class TopK(NamedKeys, KeysCountedAbove):
    """Find the k most frequent keys (top-k, heavy hitters) without a guess of their frequency.

    Parameters
    ----------
    k : int, default 10
        The number of keys that `top` returns by default.
    n_counters : int, optional
        Number of keys that are kept with counters, at least `k`; ``max(1024, 16 * k)`` by default. The
        default takes 92 kB.
    max_key_bytes : int, default 64
        Number of bytes that are kept of a key, from 8 to 65,535, as for `HeavyHitters`. A longer key is
        counted like the others, by its hash, and its name is shortened.
    seed : int
        In [0, 2**64). Only sketches of one seed merge.

    Attributes
    ----------
    total : int
        The sum of all counts taken in, N below.
    maximum_error : int
        The largest difference between the upper and the lower bound of any key. It is the upper bound of keys
        that are not kept.

    Notes
    -----
    Each counter has a key, its occurrences since the key was kept (a lower bound of its count), and an error:
    how often it may have occurred before. A batch is added up, its keys are merged into the counters, and the
    keys of the largest upper bounds stay. `maximum_error` is the largest upper bound of a key that was ever
    dropped. These are the summaries of Misra and Gries [1]_ and Space Saving [2]_, which are isomorphic,
    merged as in [3]_, with an error for each key.

    For any stream, any order and batches, and any tree of merges, with F_j as the sum of the counts of the j
    most frequent keys:

    - The count of every key lies between `lower_bound` and `upper_bound`, with certainty.
    - These bounds differ by at most `maximum_error`, which is at most ``(N - F_j) / (n_counters + 1 - j)``
      for each j from 0 to `n_counters` ([3]_ and [4]_). So the error depends on the rare keys only.
    - Every key that occurs more often than `maximum_error` is kept.
    - A frequent key that was kept before any key was dropped has equal bounds: its count is exact.

    The bounds themselves depend on the order of the stream, on its batches and on the order of merges:
    ``a | b`` equals ``b | a``, but ``(a | b) | c`` may differ from ``a | (b | c)``. They depend on none of
    these as long as there are no more distinct keys than counters. The number of threads changes nothing.
    The counts of `HeavyHitters` depend on no order; they have larger errors in the same memory.

    Keys are equal, of one kind and returned as for `HeavyHitters`.

    Time is O(1) for each key and O(n_counters) for each batch, so pass large batches. Memory is
    ``n_counters * (max_key_bytes + 26)`` bytes.

    References
    ----------
    .. [1] Misra, Gries. Finding repeated elements. Science of Computer Programming 2(2), 1982.
    .. [2] Metwally, Agrawal, El Abbadi. Efficient computation of frequent and top-k elements in data streams.
       ICDT 2005.
    .. [3] Agarwal, Cormode, Huang, Phillips, Wei, Yi. Mergeable summaries. PODS 2012, theorem 2.
    .. [4] Berinde, Indyk, Cormode, Strauss. Space-optimal heavy hitters with strong error bounds. ACM
       Transactions on Database Systems 35(4), 2010.

    Examples
    --------
    >>> import mergesketch
    >>> monday = mergesketch.TopK(2).update(["tea"] * 8 + ["cake"] * 4 + ["milk"])
    >>> tuesday = monday.empty_like().update(["jam", "jam"], counts=[3, 4])
    >>> (monday | tuesday).top()
    [('tea', 8), ('jam', 7)]
    >>> (monday | tuesday).lower_bound("tea")
    8
    """

    _parameters = ("k", "n_counters", "max_key_bytes", "seed")

    def __init__(
        self, k: int = 10, *, n_counters: int | None = None, max_key_bytes: int = 64, seed: int = 0
    ) -> None:
        self.k = check_int("k", k, 1, _MAX_COUNTERS)
        if n_counters is None:
            n_counters = min(max(_LEAST_COUNTERS, _COUNTERS_PER_KEY * self.k), _MAX_COUNTERS)
        self.n_counters = check_int("n_counters", n_counters, 1, _MAX_COUNTERS)
        if self.n_counters < self.k:
            raise ValueError(f"n_counters must be at least k = {self.k}, got {n_counters}")
        self.max_key_bytes = check_int("max_key_bytes", max_key_bytes, 8, 65535)
        self.seed = check_int("seed", seed, 0, _MAX_SEED)

    @classmethod
    def for_error(cls, k: int, relative_error: float, *, max_key_bytes: int = 64, seed: int = 0) -> Self:
        """Return a sketch whose bounds differ by at most a share of the total, for any stream.

        Parameters
        ----------
        k : int
            The number of keys that `top` returns by default.
        relative_error : float
            In (0, 1): `maximum_error` is at most ``relative_error * total``. It is much less if most of the
            total is that of frequent keys. Keys with a larger share than this are found with certainty.
        max_key_bytes : int, default 64
        seed : int, default 0
            As for the class.

        Returns
        -------
        TopK

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range, or if more than 2**24 counters are
            needed.

        Examples
        --------
        >>> import mergesketch
        >>> mergesketch.TopK.for_error(10, 0.001).n_counters
        1000
        """
        k = check_int("k", k, 1, _MAX_COUNTERS)
        relative_error = check_real("relative_error", relative_error, 0.0, 1.0)
        if not 1.0 / relative_error <= _MAX_COUNTERS:
            raise ValueError(
                f"relative_error must be reached by {_MAX_COUNTERS} counters, got {relative_error:g}"
            )
        n_counters = max(k, math.ceil(1.0 / relative_error))
        new = cls(k, n_counters=n_counters, max_key_bytes=max_key_bytes, seed=seed)
        return new._asked_for(relative_error=relative_error)

    def _layout(self) -> dict[str, StateSpec]:
        return {
            "total": StateSpec((1,), "int64", "sum"),
            **kind_specs(),
            **self._candidate_specs(self.n_counters),
            **counter_specs(self.n_counters),
        }

    @property
    def total(self) -> int:
        """The sum of all counts taken in."""
        return int(self._arrays["total"][0])

    @property
    def maximum_error(self) -> int:
        """The largest difference between the bounds of a key; a key that occurs more often is kept."""
        return int(self._arrays["maximum_error"][0])

    # -- updates ----------------------------------------------------------------------------------

    def _amounts(self, batch: KeyBatch) -> dict[str, int]:
        # No upper bound of a count exceeds the total.
        return {"total": batch.magnitude, "n_updates": batch.hashes.size}

    def _add(self, batch: KeyBatch) -> None:
        if not batch.hashes.size:
            return
        # Arrays that are replaced are put back if the update fails.
        columns = self._arrays_of(self._added_up(batch), batch)
        weight = int(batch.weights.sum()) if batch.weights.size else batch.hashes.size
        self._note_forms(batch.forms)
        self._arrays.update(columns)
        self._arrays["total"] += weight

    def _added_up(self, batch: KeyBatch) -> Counters:
        """Return the counters after a batch.

        The source of a new key is its place in the batch. Those of keys that were kept before are negative.
        """
        counters = Counters.of(self._arrays)
        counters = counters._replace(sources=-1 - counters.sources)
        start, n = 0, batch.hashes.size
        while start < n:
            n_known = counters.hashes.size
            size = n_known + min(max(_NEW_KEYS, self.n_counters), n - start)
            slots = np.full(1 << (2 * size - 1).bit_length(), -1, np.int32)
            hashes, counts, sources = (
                extended(column, size) for column in (counters.hashes, counters.counts, counters.sources)
            )
            start, used = top_k.add_up(
                batch.hashes, read_only(batch.weights), start, n_known, slots, hashes, counts, sources
            )
            if used == n_known:
                counters = counters._replace(counts=counts[:used].copy())
                continue
            errors = np.full(used, counters.offset)
            errors[:n_known] = counters.errors
            counters = Counters(hashes[:used], counts[:used], errors, sources[:used], counters.offset)
            counters = counters.largest(self.n_counters)
        return counters

    def _arrays_of(self, found: Counters, batch: KeyBatch) -> dict[str, NDArray[Any]]:
        """Return the arrays of the state that change to hold some counters."""
        is_new = found.sources >= 0
        if not is_new.any():  # The same keys are kept, though others may have come and been dropped.
            counts = extended(found.counts, self.n_counters)
            return {"candidate_counts": counts, "maximum_error": np.array([found.offset])}
        _, _, *names = CANDIDATES.used(self._arrays)
        places = found.sources[is_new]
        sources = -1 - found.sources
        sources[is_new] = np.arange(len(names[0]), len(names[0]) + places.size)
        packed = pack_keys(batch.keys, places, self.max_key_bytes)
        return found._replace(sources=sources).by_hashes().arrays(names, packed, self.n_counters)

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        refuse_mixed(type(self).__name__, int(self._arrays["key_forms"][0]))
        one, other = Counters.of(ours), Counters.of(theirs)
        other = other._replace(sources=other.sources + one.hashes.size)
        found = one.merged(other).largest(self.n_counters)
        our_names, their_names = (CANDIDATES.used(arrays)[2:] for arrays in (ours, theirs))
        for name, array in found.arrays(our_names, their_names, self.n_counters).items():
            ours[name][...] = array

    def _fullness(self) -> list[str]:
        return [f"{CANDIDATES.n_used(self._arrays):,} of {self.n_counters:,} counters used"]

    # -- answers ----------------------------------------------------------------------------------

    def top(self, k: int | None = None) -> list[tuple[Any, int]]:
        """Return the most frequent keys and their counts, the most frequent first.

        Parameters
        ----------
        k : int, optional
            The number of keys, up to `n_counters`; that of the sketch by default.

        Returns
        -------
        list of (key, count)
            Counts are upper bounds, as from `query`, and are exact for keys whose `lower_bound` is equal.
            Of keys with equal counts, the one with the larger `lower_bound` comes first, and then the one
            with the smaller hash. There are fewer than k if there are not so many distinct keys or counters.
            `n_guaranteed` tells how many of these keys are right for certain.

        Raises
        ------
        TypeError, ValueError
            If `k` is no integer of at least 0.
        """
        counters = Counters.of(self._arrays)
        order = counters.falling()[: self._checked(k)]
        return list(zip(self._names_at(order), counters.uppers[order].tolist(), strict=True))

    def n_guaranteed(self, k: int | None = None) -> int:
        """Return how many of the keys of ``top(k)`` are among the k most frequent ones for certain.

        Parameters
        ----------
        k : int, optional
            As for `top`.

        Returns
        -------
        int
            The number of keys of ``top(k)`` whose lower bound is at least the upper bound of every other
            key. If it is k, the set of keys is right.

        Raises
        ------
        TypeError, ValueError
            If `k` is no integer of at least 0.

        Examples
        --------
        >>> import mergesketch
        >>> sketch = mergesketch.TopK(2).update(["tea", "tea", "jam", "jam", "milk"])
        >>> sketch.n_guaranteed(), sketch.n_guaranteed(1)
        (2, 1)
        """
        counters, k = Counters.of(self._arrays), self._checked(k)
        order = counters.falling()
        others = int(counters.uppers[order[k]]) if k < order.size else counters.offset
        return int(np.count_nonzero(counters.counts[order[:k]] >= others))

    def _checked(self, k: int | None) -> int:
        return self.k if k is None else check_int("k", k, 0)

    def _estimate(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        counters = Counters.of(self._arrays)
        return self._found(hashes, counters, counters.uppers, counters.offset)

    @overload
    def lower_bound(self, keys: KeyLike) -> int: ...  # type: ignore[overload-overlap]
    @overload
    def lower_bound(self, keys: KeysLike) -> NDArray[np.int64]: ...
    def lower_bound(self, keys: KeysLike) -> Any:
        """Return a lower bound of each key's count, which holds for certain; 0 for a key that is not kept.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Of any type that `mergesketch.lsh.hash_keys` takes.

        Returns
        -------
        ndarray of shape (n,), int64
            An int if `keys` is one key.

        Raises
        ------
        TypeError, ValueError
            As `query` does.
        """
        counters = Counters.of(self._arrays)
        return self._answer(keys, lambda hashes: self._found(hashes, counters, counters.counts, 0))

    def _found(
        self, hashes: NDArray[np.uint64], counters: Counters, values: NDArray[np.int64], otherwise: int
    ) -> NDArray[np.int64]:
        """Return the value of each key that is kept, and another one for the others."""
        places = find_keys(self._backend, counters.hashes, hashes)
        return np.append(values, otherwise)[places]

    # -- files ------------------------------------------------------------------------------------

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        self._check_names(arrays)
        total, offset = int(arrays["total"][0]), int(arrays["maximum_error"][0])
        counts, errors = arrays["candidate_counts"].tolist(), arrays["candidate_errors"].tolist()
        used = sum(count != 0 for count in counts)
        if not 0 <= offset <= total or (offset and used < self.n_counters):
            raise ValueError("maximum_error must be from 0 to total, and 0 if counters are free")
        if any(not 0 <= error <= offset for error in errors) or any(errors[used:]):
            raise ValueError("candidate_errors must be from 0 to maximum_error, and 0 in free records")
        above = [count + error - offset for count, error in zip(counts[:used], errors, strict=False)]
        if any(excess < 0 for excess in above):
            raise ValueError("candidate_counts and candidate_errors must add up to maximum_error or more")
        # The sum of Misra and Gries, by which no upper bound exceeds the total, nor those of a merge.
        if sum(above) + (self.n_counters + 1) * offset > total:
            raise ValueError("candidate_counts and maximum_error must be at most total in all")


publish("mergesketch", __all__, globals())
