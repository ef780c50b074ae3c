"""Bloom filter: a set of keys in a few bits each, which never denies a key that it holds."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from ...lsh.hashing.keys import HASH_COLLISION, hash_keys, read_keys
from ...lsh.support.backend import to_host
from ...lsh.support.checks import NO_INTEGERS, check_int, check_real, renamed
from ...lsh.support.threads import get_num_threads, run_tasks
from ..core.base import MergeableSketch
from ..core.state import StateSpec
from ..kernels import bloom
from ..kernels.bloom import BLOCK_BITS, BLOCK_WORDS
from .bloom_theory import (
    MAX_BLOCKS,
    MAX_HASHES,
    cardinality_of_zeros,
    error_rate,
    size_for,
    warn_of_saturation,
)
from .key_groups import KEYS_BLOCK, KeyGroups, group_keys, is_worth_grouping, keys_together, over_groups

__all__ = ["BloomFilter"]

#: Number of blocks that are worth a thread of their own when their bits are counted.
_COUNTED_BLOCK = 1 << 14
#: The most threads that each read all keys of a batch, to add those of their own blocks.
_MAX_READERS = 8


class _Values(NamedTuple):
    """Keys as 64-bit integers that the kernels hash, or as hashes."""

    values: NDArray[np.uint64]
    hashed: bool


class BloomFilter(MergeableSketch):
    """A set of keys in about 10 bits each, that answers "surely not" or "probably".

    Parameters
    ----------
    capacity : int
        Distinct keys that the filter is to hold.
    error_rate : float, default 0.01
        Share of absent keys that may pass as present once `capacity` keys are in; in (0, 1).
    n_blocks, n_hashes : int
        Instead of both: blocks of 512 bits, and bits that a key sets in its block, at most 63.
    seed : int, default 0
        In [0, 2**64). Only filters of one seed merge.

    Notes
    -----
    Blocked layout (Putze, Sanders and Singler 2007): a key has all its bits in one block of 512, a cache
    line, so that adding or testing it reads memory once. The price is that some blocks get more keys than
    others. The size counts that in exactly: the number of a block's keys is binomial and the distribution
    of the bits that they set is stepped key by key, so that `expected_error_rate` is what random hashes
    give, and `capacity` and `error_rate` become the fewest blocks that keep the rate. At 1 % that is 9.92
    bits a key, where bits spread over the whole filter take 9.59; at 0.1 % 15.5 for 14.4, at 1e-6 38.8 for
    28.8. Filters of a few hundred keys and less have room to spare, for they have whole blocks.

    Keys may be of any type that `mergesketch.lsh.hash_keys` takes; 7 is the same key in every integer
    dtype. Filters merge by OR: `a | b` holds the keys of both, bit for bit as if they had been added to
    one, over ranks too. Keys cannot be taken out.

    **Cardinality**. A key leaves a bit unset with chance ``1 - a / n_blocks``,
    ``a = 1 - (1 - 1/512)**n_hashes``, so the estimate is the n for which that to the n-th power is the
    unset share of the m bits, as in linear counting (Whang, Vander-Zanden and Taylor 1990). With
    t = n_hashes n / m bits set a bit, its variance is about ``m (exp(t) - t - 1) / n_hashes**2``, and
    ``m t**2 / 1024`` more for the blocks' uneven loads: 0.026 % of n at 10**6 keys in a filter for them.

    Memory is 64 n_blocks bytes. Batches of integer arrays take about 7 ns a key on one thread, to add and
    to test, and 13 to 16 ns where the filter is larger than the caches and the batch is not small: its
    keys are then ordered by block first, in up to 150 MiB of scratch space. Threads share a batch; each
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
    <BloomFilter(n_blocks=19372, n_hashes=6, seed=0): 0 updates, 1,239,816 bytes>
    >>> seen.update(["tea", "cake"]).contains(["cake", "jam"])
    array([ True, False])
    >>> "tea" in seen
    True
    >>> round(seen.cardinality(), 1)
    2.0
    """

    _gpu = True
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
            self.n_blocks, self.n_hashes = _size(capacity, 0.01 if error_rate is None else error_rate)
        else:
            if capacity is not None or error_rate is not None or n_blocks is None or n_hashes is None:
                raise TypeError("BloomFilter takes capacity and error_rate, or both n_blocks and n_hashes")
            self.n_blocks = check_int("n_blocks", n_blocks, 1, MAX_BLOCKS)
            self.n_hashes = check_int("n_hashes", n_hashes, 1, MAX_HASHES)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    @classmethod
    def for_error(cls, n_keys: int, error_rate: float = 0.01, *, seed: int = 0) -> Self:
        """Return the smallest filter for `n_keys` distinct keys at that error rate, as the class does.

        Parameters
        ----------
        n_keys : int
        error_rate : float, default 0.01
            Share of absent keys that may pass as present once all keys are in; in (0, 1).
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

    def _layout(self) -> dict[str, StateSpec]:
        return {"blocks": StateSpec((self.n_blocks, BLOCK_WORDS), "uint64", "or")}

    # -- adding and testing -----------------------------------------------------------------------

    def update(self, keys: Any) -> Self:
        """Add a batch of keys.

        Parameters
        ----------
        keys : array or list of n keys
            May repeat. Of any type that `mergesketch.lsh.hash_keys` takes; integer arrays are the fastest.

        Returns
        -------
        The filter itself.

        Raises
        ------
        TypeError, ValueError
            If the keys are of no known or of mixed type. Nothing is changed then.
        """
        return self._take_in({"keys": keys})

    def _amounts(self, keys: _Values) -> dict[str, int]:
        return {"n_updates": keys.values.size}

    def _add(self, keys: _Values) -> None:
        values, hashed = keys
        words, backend, seed = self._words, self._backend, np.uint64(self.seed)
        n_threads = get_num_threads() if values.size >= 2 * KEYS_BLOCK else 1
        if self.device == "gpu":
            backend.kernels(bloom).bloom_add(
                values, seed, hashed, self.n_hashes, np.uint64(0), np.uint64(2**64 - 1), words
            )
        elif is_worth_grouping(self.n_blocks, values.size) or n_threads > _MAX_READERS:
            kernel = backend.kernels(bloom).bloom_add_groups
            for batch in group_keys(values, hashed, self.seed, self.n_blocks):
                over_groups(kernel, self.n_hashes, (batch.hashes, batch.ends), words)
        else:
            # Every thread reads all keys and adds those of its own blocks: no two write to one block.
            n_tasks = min(n_threads, self.n_blocks)
            lows = [self._first_hash(self.n_blocks * i // n_tasks) for i in range(n_tasks + 1)]

            def add(i: int) -> None:
                low, width = np.uint64(lows[i]), np.uint64(lows[i + 1] - lows[i] - 1)
                backend.kernels(bloom).bloom_add(values, seed, hashed, self.n_hashes, low, width, words)

            run_tasks(add, n_tasks)

    def contains(self, keys: Any) -> NDArray[np.bool_]:
        """Whether each key may be among those added: never False for one that is.

        Parameters
        ----------
        keys : array or list of n keys
            As in `update`.

        Returns
        -------
        ndarray of shape (n,), bool

        Raises
        ------
        TypeError, ValueError
            If the keys are of no known or of mixed type.
        """
        self._claim_device("keys", keys)
        values, hashed = self._read(keys)
        words, backend, seed = self._words, self._backend, np.uint64(self.seed)
        out: NDArray[np.bool_] = backend.xp.empty(values.size, dtype=np.bool_)
        if self.device == "gpu" or not is_worth_grouping(self.n_blocks, values.size):
            backend.map_blocks(
                lambda a, b: backend.kernels(bloom).bloom_contains(
                    words, values, seed, hashed, self.n_hashes, a, b, out
                ),
                values.size,
                KEYS_BLOCK,
            )
            return out
        found = np.empty(min(values.size, keys_together(self.n_blocks)), dtype=np.bool_)
        kernels = backend.kernels(bloom)
        for batch in group_keys(values, hashed, self.seed, self.n_blocks):
            over_groups(
                kernels.bloom_contains_groups, self.n_hashes, (words, batch.hashes, batch.ends), found
            )
            part, answers = values[batch.start : batch.stop], out[batch.start : batch.stop]

            def put_back(p: int, batch: KeyGroups = batch, part: Any = part, answers: Any = answers) -> None:
                bounds = batch.bounds[p], batch.bounds[p + 1]
                sizes = seed, hashed, np.uint64(self.n_blocks), batch.shift
                kernels.bloom_regroup(part, batch.ends[p], found, *sizes, *bounds, answers)

            run_tasks(put_back, len(batch.ends))
        return out

    def __contains__(self, key: Any) -> bool:
        """Whether one key may be among those added: as `contains`, in 2 to 3 microseconds."""
        if isinstance(key, np.integer) and not isinstance(key, NO_INTEGERS):
            key = int(key)
        elif type(key) is str and key.isascii():
            key = key.encode()
        # The hash of `hash_keys`, from a library that is quick to call for one key.
        if type(key) is int and -(2**63) <= key < 2**64:
            hashed = xxh3_64_intdigest((key % 2**64).to_bytes(8, "little"), self.seed)
        elif type(key) is bytes:
            hashed = xxh3_64_intdigest(key, self.seed)
        else:
            hashed = int(hash_keys([key], self.seed)[0])
        backend = self._backend
        values, out = backend.xp.asarray(np.array([hashed], np.uint64)), backend.xp.empty(1, np.bool_)
        backend.kernels(bloom).bloom_contains(
            self._words, values, np.uint64(0), True, self.n_hashes, 0, 1, out
        )
        return bool(out[0])

    def _read(self, keys: Any) -> _Values:
        read = read_keys(keys)
        if read.words is None:
            return _Values(read.hashes(self.seed), True)
        return _Values(read.words, False)

    @property
    def _words(self) -> NDArray[np.uint64]:
        return self._arrays["blocks"].reshape(-1)

    def _first_hash(self, block: int) -> int:
        """Return the least hash h with ``h * n_blocks >> 64 == block``."""
        return -(-(block << 64) // self.n_blocks)

    # -- what the set bits tell -------------------------------------------------------------------

    def expected_error_rate(self, n_keys: int) -> float:
        """Share of absent keys that pass when the filter holds `n_keys` distinct keys; exact on average.

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
        """Share of absent keys that pass now: exact for these bits, over keys at random.

        Those whose 64-bit hash is that of a key are counted in, by the estimated number of keys. They matter
        where bits pass less than about one in 10**12.

        Returns
        -------
        float
        """
        fills = self._fills(self)
        passes = (np.arange(BLOCK_BITS + 1) / BLOCK_BITS) ** self.n_hashes
        n_keys = cardinality_of_zeros(_unset(fills), self.n_blocks, self.n_hashes)
        return min(1.0, float(np.dot(fills, passes) / self.n_blocks) + n_keys * HASH_COLLISION)

    def cardinality(self) -> float:
        """Estimate of the number of distinct keys added; see the notes of the class for its variance.

        Returns
        -------
        float

        Warns
        -----
        RuntimeWarning
            If all bits are set. The filter is then taken to have one unset: the estimate is a lower bound.
        """
        return self._cardinality(self)

    def union_cardinality(self, other: Self) -> float:
        """Estimate of the number of distinct keys in either filter: the cardinality of ``self | other``.

        The filters must have the same configuration; neither is changed, nor is memory taken for a third.

        Parameters
        ----------
        other : BloomFilter
            Of the same configuration. Unchanged.

        Returns
        -------
        float

        Raises
        ------
        IncompatibleSketchError
            Naming the first field in which the configurations differ.
        """
        self._check_compatible(other)
        return self._cardinality(other)

    def intersection_cardinality(self, other: Self) -> float:
        """Estimate of the number of distinct keys in both filters, of the same configuration.

        ``|A| + |B| - |A or B|`` of the three estimates, never more than either set. Its error is about that
        of the cardinality of the union, whatever the size of the intersection, so where little is shared it
        is below 0 about as often as above. It is not cut off there, for that would make it too large on
        average, by 0.4 of the error for sets that share nothing; ``max(0, ...)`` does it where it is wanted.

        Parameters
        ----------
        other : BloomFilter
            Of the same configuration. Unchanged.

        Returns
        -------
        float

        Raises
        ------
        IncompatibleSketchError
            Naming the first field in which the configurations differ.
        """
        self._check_compatible(other)
        return self._overlap(other)[0]

    def jaccard(self, other: Self) -> float:
        """Estimate of the keys in both filters as a share of those in either; 0 for two empty ones.

        Below 0 at times where little is shared: see `intersection_cardinality`.

        Parameters
        ----------
        other : BloomFilter
            Of the same configuration. Unchanged.

        Returns
        -------
        float

        Raises
        ------
        IncompatibleSketchError
            Naming the first field in which the configurations differ.
        """
        self._check_compatible(other)
        both, either = self._overlap(other)
        return both / either if either > 0.0 else 0.0

    def intersection(self, other: Self) -> Self:
        """Return a filter of the bits that both have set; also ``self & other``.

        It holds every key that is in both. An absent key passes only if it passes both filters, which is
        more often than in a filter that the common keys were added to: bits that different keys set in
        each stay set. So its cardinality is too large; ask `intersection_cardinality`. Its `n_updates` is
        the smaller of the two.

        Parameters
        ----------
        other : BloomFilter
            Of the same configuration. Unchanged.

        Returns
        -------
        BloomFilter

        Raises
        ------
        IncompatibleSketchError
            Naming the first field in which the configurations differ.
        """
        self._check_compatible(other)
        ours, theirs = self._arrays, self._on_our_device(other)._arrays
        both = {
            "blocks": ours["blocks"] & theirs["blocks"],
            "n_updates": np.minimum(ours["n_updates"], theirs["n_updates"]),
        }
        return self.empty_like()._set_arrays(both, self.device)

    def __and__(self, other: Self) -> Self:
        if not isinstance(other, BloomFilter):
            return NotImplemented
        return self.intersection(other)

    def _overlap(self, other: Self) -> tuple[float, float]:
        ours, theirs, either = self.cardinality(), other.cardinality(), self._cardinality(other)
        return ours + theirs - either, either

    def _cardinality(self, other: Self) -> float:
        zeros = _unset(self._fills(other))
        if zeros == 0:
            warn_of_saturation("the filter is full", "its number of keys is a lower bound")
        return cardinality_of_zeros(zeros, self.n_blocks, self.n_hashes)

    def _fills(self, other: Self) -> NDArray[np.int64]:
        """How many blocks have 0, 1, ..., 512 bits set in either filter."""
        ours, theirs, backend = self._words, self._on_our_device(other)._words, self._backend

        def count(start: int, stop: int) -> NDArray[np.int64]:
            fills = backend.xp.zeros(BLOCK_BITS + 1, dtype=np.int64)
            backend.kernels(bloom).bloom_fills(ours, theirs, start, stop, fills)
            return to_host(fills)

        fills: NDArray[np.int64] = np.sum(backend.map_blocks(count, self.n_blocks, _COUNTED_BLOCK), axis=0)
        return fills


def _unset(fills: NDArray[np.int64]) -> int:
    """Unset bits of blocks of which `fills` have 0, 1, ..., 512 bits set."""
    return int(np.dot(fills, np.arange(BLOCK_BITS, -1, -1)))


def _size(capacity: int, wanted: float) -> tuple[int, int]:
    capacity = check_int("capacity", capacity, 1, 2**40)
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
            f"capacity {capacity:,} at error_rate {wanted!r} asks for {n_blocks:,} blocks of 64 bytes, "
            f"more than {MAX_BLOCKS:,}"
        )
    return n_blocks, n_hashes
