"""Bloom filter: a set of keys in a few bits each, without false negatives."""

from __future__ import annotations

import math
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from ...lsh.hashing.keys import HASH_COLLISION, Nulls, is_key
from ...lsh.inputs.answers import like
from ...lsh.support.aliases import alias
from ...lsh.support.backend import to_host
from ...lsh.support.checks import NO_INTEGERS, check_int, check_real, renamed
from ...lsh.support.public import publish
from ...lsh.support.types import KeyLike, KeysLike
from ..core.key_kinds import ANY, BYTES, INTEGERS, KIND_ARRAYS, STRINGS
from ..core.notebook import Share
from ..kernels import bloom
from ..kernels.bloom import BLOCK_BITS
from .bloom_capacity import MOST_KEYS, BloomCapacity
from .bloom_theory import (
    MAX_BLOCKS,
    MAX_HASHES,
    MOST_ERROR,
    cardinality_of_zeros,
    error_rate,
    size_for,
    unset_bits_error,
    warn_of_saturation,
)

__all__ = ["BloomFilter"]

#: The kinds of keys that a filter may hold which is asked for an integer, or for a string or bytes.
_INTEGER_KINDS, _TEXT_KINDS = (0, INTEGERS, ANY), (0, STRINGS | BYTES, ANY)


class BloomFilter(BloomCapacity):
    """Test whether a key was seen (membership filter), in about 10 bits a key and without false negatives.

    Parameters
    ----------
    capacity : int
        Number of distinct keys to be added. A filter that clearly has more warns once, by
        `mergesketch.errors.SaturationWarning`.
    error_rate : float, default 0.01
        False positive rate: the largest share of absent keys that pass as present after `capacity` keys were
        added; in (0, 1).
    n_blocks, n_hashes : int
        Instead of both: the number of blocks of 512 bits, and of the bits that a key sets in its block, at
        most 63.
    seed : int, default 0
        In [0, 2**64). Only filters with the same seed merge.

    Notes
    -----
    **Layout**. The blocks of Putze, Sanders and Singler (2007): a key sets all its bits in one block of 512
    bits, a cache line, so that adding or testing it reads memory once. But some blocks get more keys than
    others. The size accounts for that exactly: the number of keys of a block is binomial, and the
    distribution of the bits that they set is computed key by key. So `expected_error_rate` is the exact rate
    for random hashes. The constructor chooses the smallest number of blocks that has the rate `error_rate` at
    `capacity` keys. At 1 % that is 9.92 bits a key, where bits that are spread over the whole filter take
    9.59; at 0.1 % 15.5 and 14.4, at 1e-6 38.8 and 28.8. Filters of a few hundred keys or less have a lower
    rate, because the number of blocks is rounded up.

    **Keys** have any type that `mergesketch.lsh.hash_keys` accepts; 7 is the same key in every integer dtype.
    Filters merge by OR: `a | b` has the bits that adding the keys of both to one filter sets, also over
    ranks. Keys cannot be removed.

    **Cardinality**. A key leaves a bit unset with probability ``1 - a / n_blocks``,
    ``a = 1 - (1 - 1/512)**n_hashes``. The estimate is the n for which the n-th power of it equals the unset
    share of the m bits, as in linear counting (Whang, Vander-Zanden and Taylor 1990). With
    t = n_hashes n / m, its variance is about ``m (exp(t) - t - 1) / n_hashes**2``, and ``m t**2 / 1024`` more
    because blocks get unequal numbers of keys: the standard error is 0.026 % of n at 10**6 keys in a filter
    for 10**6.

    **Full filters**. The number of keys is estimated until all bits are set. Overlaps are estimated from the
    unset bits of the union. If the standard error of their number is more than a third of it, as with fewer
    than about ten unset bits, the overlaps are NaN: disjoint sets and equal ones would look alike.

    **Cost**. Memory is 64 n_blocks bytes. For batches of integer arrays, adding and testing take about 7 ns a
    key on one thread, and 13 to 16 ns if the filter is larger than the caches and the batch is not small. Its
    keys are then ordered by block first, in up to 150 MiB of temporary memory. Threads share a batch; each
    adds to blocks of its own.

    References
    ----------
    - Putze, Sanders, Singler. Cache-, hash- and space-efficient Bloom filters. WEA 2007.
    - Whang, Vander-Zanden, Taylor. A linear-time probabilistic counting algorithm for database
      applications. ACM TODS 15(2), 1990.

    Examples
    --------
    >>> import mergesketch
    >>> seen = mergesketch.BloomFilter(capacity=1_000_000, error_rate=0.01)
    >>> seen
    <BloomFilter(n_blocks=19372, n_hashes=6, seed=0) for capacity=1_000_000, error_rate=0.01:
    0 updates, 1,239,833 bytes>
    >>> seen.update(["tea", "cake"]).contains(["cake", "jam"])
    array([ True, False])
    >>> "tea" in seen, seen.contains("jam")
    (True, False)
    >>> round(seen.cardinality(), 1)
    2.0
    """

    _parameters = ("n_blocks", "n_hashes", "seed")

    def __init__(
        self,
        capacity: int | None = None,
        error_rate: float | None = None,
        *,
        n_blocks: int | None = None,
        n_hashes: int | None = None,
        seed: int = 0,
    ) -> None:
        if n_blocks is None and n_hashes is None:
            if capacity is None:
                raise TypeError("BloomFilter needs capacity, or n_blocks and n_hashes")
            error_rate = 0.01 if error_rate is None else error_rate
            self.n_blocks, self.n_hashes = _size(capacity, error_rate)
            self._asked_for(capacity=int(capacity), error_rate=float(error_rate))
        else:
            if capacity is not None or error_rate is not None or n_blocks is None or n_hashes is None:
                raise TypeError("BloomFilter takes capacity and error_rate, or both n_blocks and n_hashes")
            self.n_blocks = check_int("n_blocks", n_blocks, 1, MAX_BLOCKS)
            self.n_hashes = check_int("n_hashes", n_hashes, 1, MAX_HASHES)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    @classmethod
    def for_error(cls, n_keys: int, error_rate: float = 0.01, *, seed: int = 0) -> Self:
        """Return the smallest filter for `n_keys` distinct keys at an error rate, as the constructor does.

        Parameters
        ----------
        n_keys : int
        error_rate : float, default 0.01
            Largest share of absent keys that pass as present after all keys were added; in (0, 1).
        seed : int, default 0

        Returns
        -------
        BloomFilter

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Examples
        --------
        >>> import mergesketch
        >>> seen = mergesketch.BloomFilter.for_error(1_000_000, 0.01)
        >>> seen == mergesketch.BloomFilter(1_000_000, 0.01), seen.expected_error_rate(1_000_000) < 0.01
        (True, True)
        """
        with renamed("capacity", "n_keys"):
            return cls(
                check_int("n_keys", n_keys, 1), check_real("error_rate", error_rate, 0.0, 1.0), seed=seed
            )

    # -- adding and testing -----------------------------------------------------------------------

    def update(self, keys: KeysLike, *, nulls: Nulls = "raise") -> Self:
        """Add a batch of keys.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Keys may repeat and have any type that `mergesketch.lsh.hash_keys` accepts. Integer arrays are the
            fastest.
        nulls : {"raise", "skip"}, default "raise"
            What to do with keys that are null: to refuse the batch, or to leave these keys out.

        Returns
        -------
        The filter itself.

        Raises
        ------
        TypeError, ValueError
            If the keys have mixed types, a type that is not accepted, or another kind than the keys before
            (17 and "17" are two keys). Nothing changes then.

        Warns
        -----
        SaturationWarning
            Once, if the filter clearly has more distinct keys than its capacity.
        """
        self._take_in({"keys": keys}, nulls)
        self._warn_past_capacity()
        return self

    @overload
    def contains(self, keys: KeyLike) -> bool: ...  # type: ignore[overload-overlap]
    @overload
    def contains(self, keys: KeysLike) -> NDArray[np.bool_]: ...
    def contains(self, keys: KeysLike) -> Any:
        """Test for each key if it may have been added; the answer is never False for a key that was.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            As in `update`.

        Returns
        -------
        ndarray of shape (n,), bool
            A bool if `keys` is one key.

        Raises
        ------
        TypeError, ValueError
            If the keys have mixed types, a type that is not accepted, or another kind than the keys that were
            added; or if one is null.
        """
        if is_key(keys):
            return keys in self
        self._claim_device("keys", keys)
        read = self._read_keys(keys)
        return like(keys, read.answer(self._test(self._values(read))))

    query = alias(contains)

    def __contains__(self, key: KeyLike) -> bool:
        """Test if one key may have been added, as `contains` does, in 2 to 3 microseconds."""
        if isinstance(key, np.integer) and not isinstance(key, NO_INTEGERS):
            key = int(key)
        elif type(key) is str and key.isascii():
            key = key.encode()
        # The library gives the hash of `hash_keys`, and a call for one key is faster.
        kinds = self._arrays["key_forms"].item()
        if type(key) is int and -(2**63) <= key < 2**64 and kinds in _INTEGER_KINDS:
            hashed = xxh3_64_intdigest((key % 2**64).to_bytes(8, "little"), self.seed)
        elif type(key) is bytes and kinds in _TEXT_KINDS:
            hashed = xxh3_64_intdigest(key, self.seed)
        else:
            hashed = int(self._read_keys([key]).hashes(self.seed)[0])
        backend = self._backend
        values, out = np.array([hashed], np.uint64), backend.xp.empty(1, np.bool_)
        values.flags.writeable = False
        backend.kernels(bloom).bloom_contains(
            self._words, backend.xp.asarray(values), np.uint64(0), True, self.n_hashes, 0, 1, out
        )
        return bool(out[0])

    # -- estimates from the set bits --------------------------------------------------------------

    def expected_error_rate(self, n_keys: int) -> float:
        """Return the expected share of absent keys that pass after `n_keys` distinct keys were added.

        Parameters
        ----------
        n_keys : int
            From 0 to 2**53.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If `n_keys` is no integer or out of range.
        """
        return error_rate(check_int("n_keys", n_keys, 0, 2**53), self.n_blocks, self.n_hashes)

    def error_rate(self) -> float:
        """Return the share of random absent keys that pass now, which is exact for these bits.

        It includes absent keys whose 64-bit hash equals that of a key, by the estimated number of keys. They
        matter if the bits pass less than about one key in 10**12.

        Returns
        -------
        float
        """
        fills = to_host(self._fills(self))
        passes = (np.arange(BLOCK_BITS + 1) / BLOCK_BITS) ** self.n_hashes
        zeros = int(np.dot(fills, np.arange(BLOCK_BITS, -1, -1)))
        n_keys = cardinality_of_zeros(zeros, self.n_blocks, self.n_hashes)
        return min(1.0, float(np.dot(fills, passes) / self.n_blocks) + n_keys * HASH_COLLISION)

    def _fullness(self) -> list[str]:
        blocks = self._shown("blocks")
        if blocks is None:
            return []
        # NumPy does not have to compile a kernel first, as `error_rate` does.
        fills = np.bitwise_count(blocks).sum(axis=1, dtype=np.int64) / BLOCK_BITS
        rate = np.mean(fills**self.n_hashes)
        return [Share(float(fills.mean()), "bits set"), f"false positive rate {rate:.2g}"]

    def cardinality(self) -> float:
        """Estimate the number of distinct keys added; the notes of the class give its variance.

        Returns
        -------
        float

        Warns
        -----
        SaturationWarning
            If all bits are set. The estimate is then a lower bound: that of a filter with one unset bit.
        """
        return self._cardinality(self)

    def union_cardinality(self, other: Self) -> float:
        """Estimate the number of distinct keys in either filter: the cardinality of ``self | other``.

        The call takes no memory for a third filter. It warns as `cardinality` does.

        Parameters
        ----------
        other : BloomFilter
            A filter of the same configuration; it does not change.

        Returns
        -------
        float

        Raises
        ------
        IncompatibleSketchError
            If the configurations differ; the message names the first field.
        """
        self._check_compatible(other)
        return self._cardinality(other)

    def intersection_cardinality(self, other: Self) -> float:
        """Estimate the number of distinct keys that are in both filters.

        The estimate is ``|A| + |B| - |A or B|`` of the three cardinalities, and never exceeds either set. Its
        error is about that of the cardinality of the union, for any size of the intersection. If few keys are
        shared, it is therefore negative in about half of all cases. It is not clipped at 0, because then it
        would be too large on average, by 0.4 of the error for disjoint sets. Use ``max(0, ...)`` if you need
        that.

        Parameters
        ----------
        other : BloomFilter
            A filter of the same configuration; it does not change.

        Returns
        -------
        float
            NaN if the filters are too full; the notes of the class say when.

        Raises
        ------
        IncompatibleSketchError
            If the configurations differ; the message names the first field.

        Warns
        -----
        SaturationWarning
            If the filters are too full.
        """
        self._check_compatible(other)
        return self._overlap(other)[0]

    def jaccard(self, other: Self) -> float:
        """Estimate the number of keys in both filters as a share of those in either; 0 if both are empty.

        It can be negative if few keys are shared: see `intersection_cardinality`.

        Parameters
        ----------
        other : BloomFilter
            A filter of the same configuration; it does not change.

        Returns
        -------
        float
            NaN if the filters are too full; the notes of the class say when.

        Raises
        ------
        IncompatibleSketchError
            If the configurations differ; the message names the first field.

        Warns
        -----
        SaturationWarning
            If the filters are too full.
        """
        self._check_compatible(other)
        both, either = self._overlap(other)
        return 0.0 if either == 0.0 else both / either

    def intersection(self, other: Self) -> Self:
        """Return a filter of the bits that both have set; also ``self & other``.

        Every key that is in both passes. An absent key passes if it passes both filters. That happens more
        frequently than in a filter with only the common keys, because bits that different keys have set in
        each filter stay set. So the cardinality of the result is too large: use `intersection_cardinality`.
        Its `n_updates` is the smaller of the two.

        Parameters
        ----------
        other : BloomFilter
            A filter of the same configuration; it does not change.

        Returns
        -------
        BloomFilter

        Raises
        ------
        IncompatibleSketchError
            If the configurations differ; the message names the first field.
        """
        self._check_compatible(other)
        ours, theirs = self._arrays, self._on_our_device(other)._arrays
        both = {
            "blocks": ours["blocks"] & theirs["blocks"],
            "capacity": np.maximum(ours["capacity"], theirs["capacity"]),
            **{name: ours[name] | theirs[name] for name in KIND_ARRAYS},
            "n_updates": np.minimum(ours["n_updates"], theirs["n_updates"]),
        }
        return self.empty_like()._set_arrays(both, self.device)

    def __and__(self, other: Self) -> Self:
        if not isinstance(other, BloomFilter):
            return NotImplemented
        return self.intersection(other)

    def _overlap(self, other: Self) -> tuple[float, float]:
        """Return the numbers of keys in both filters and in either; NaN if too few bits are unset."""
        zeros = self._unset_bits(other)
        ours, theirs, either = (
            cardinality_of_zeros(z, self.n_blocks, self.n_hashes)
            for z in (self._unset_bits(self), other._unset_bits(other), zeros)
        )
        if zeros and unset_bits_error(either, self.n_blocks, self.n_hashes) <= MOST_ERROR:
            return ours + theirs - either, either
        warn_of_saturation(
            f"the filters are too full to estimate what they share, which is NaN: {zeros:,} of "
            f"{self.n_blocks * BLOCK_BITS:,} bits are unset in their union; give them a larger capacity"
        )
        return math.nan, either


def _size(capacity: int, wanted: float) -> tuple[int, int]:
    capacity = check_int("capacity", capacity, 1, MOST_KEYS)
    wanted = check_real("error_rate", wanted, 0.0, 1.0)
    floor = 2 * capacity * HASH_COLLISION
    if wanted < max(floor, 1e-15):
        raise ValueError(
            f"error_rate must be at least {max(floor, 1e-15):.3g} for {capacity:,} keys of 64-bit hashes, "
            f"got {wanted!r}"
        )
    n_blocks, n_hashes = size_for(capacity, wanted)
    if n_blocks > MAX_BLOCKS:
        raise ValueError(
            f"capacity {capacity:,} at error_rate {wanted!r} needs {n_blocks:,} blocks of 64 bytes, "
            f"more than {MAX_BLOCKS:,}"
        )
    return n_blocks, n_hashes


publish("mergesketch", __all__, globals())
