"""A Bloom filter that grows with its keys, for sets of unknown size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import HASH_COLLISION, Keys, Nulls, read_keys
from ...lsh.inputs.answers import like
from ...lsh.support.aliases import alias
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.types import KeyLike, KeysLike
from ...lsh.support.wording import counted
from ..core.guard import changing, locked, uninterrupted
from ..core.key_kinds import (
    MAX_PARTS,
    check_forms,
    check_kinds,
    kind_arrays,
    kinds_in,
    kinds_of,
    refuse_other_kinds,
)
from ..core.merging import StoredMergeable, parts_of
from ..core.state import ArraySpec, State
from ..kernels import bloom, streaming_deduplicator
from ..kernels.bloom import BLOCK_BITS, BLOCK_WORDS
from .bloom_slices import (
    TIGHTENING,
    Slice,
    arrays_of,
    check_slices,
    open_slices_of,
    slice_capacity,
    slice_rate,
    slice_size,
    united,
    views_of,
)
from .bloom_theory import warn_of_saturation
from .key_groups import KEYS_BLOCK

__all__ = ["ScalableBloomFilter"]

#: The largest capacity of the first slice, which a file of a few bytes may ask for.
_MOST_AT_FIRST = 1 << 24


class ScalableBloomFilter(StoredMergeable):
    """Test whether a key was seen (membership filter), for a set whose size is not known before.

    Parameters
    ----------
    error_rate : float, default 0.01
        False positive rate: the largest share of absent keys that pass as present, however many keys are
        added; in (0, 1).
    initial_capacity : int, default 10_000
        Number of distinct keys after which the filter grows for the first time, at most 2**24.
    seed : int, default 0
        In [0, 2**64). Only filters with the same parameters merge.

    Attributes
    ----------
    n_updates : int
        Number of keys added so far, over all merged parts. Repeated keys count each time.
    n_slices : int
    nbytes : int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    **Method** (Almeida, Baquero, Preguica and Hutchison 2007). The filter consists of slices, each a
    `BloomFilter` with its own capacity. A key that no slice passes is added to the newest slice. When this
    has as many keys as its capacity, a slice of twice the capacity is added. The error rates of the slices
    are ``0.2 * 0.8**i * error_rate``, which sum to `error_rate`. So the filter keeps its rate at any size. If
    it has so many keys that hashes of 64 bits do not allow the rate, the rates of new slices are higher.

    **Memory** at 1 % and up to 10**8 keys is 14 to 21 bits a key if the newest slice is full, and 32 to 43 if
    it is empty. A `BloomFilter` that knows the number of keys takes 9.9. If you know it to within a factor of
    two, use a `BloomFilter` for the larger number.

    **Cost**. A test reads one cache line for each slice until one passes: some ten slices for 10**7 keys.
    Adding first tests.

    **Merging** joins the slices of both filters. Slices of one size become one if together they have no more
    keys than its capacity, and otherwise stay as they are. The filter has all keys, and so no false
    negatives. Its error rate is at most the sum of those of the parts, and often less. It warns once, by
    `mergesketch.errors.SaturationWarning`, if its false positive rate is above `error_rate`. So give the
    parts an error rate that is lower, by their number. Merging is commutative, but other groupings of the
    parts may join other slices; all pass every key of the parts. The bits depend on the order of keys, too,
    but not on how they are cut into batches. Over MPI ranks, gather the filters:
    ``seen.empty_like().merge(comm.allgather(seen))``.

    References
    ----------
    - Almeida, Baquero, Preguica, Hutchison. Scalable Bloom Filters. Information Processing Letters 101(6),
      2007.
    - Putze, Sanders, Singler. Cache-, hash- and space-efficient Bloom filters. WEA 2007.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> seen = mergesketch.ScalableBloomFilter(error_rate=0.01, initial_capacity=1000)
    >>> seen.update(["tea", "cake"]).contains(["cake", "jam"])
    array([ True, False])
    >>> numbers = mergesketch.ScalableBloomFilter(initial_capacity=1000).update(np.arange(100_000))
    >>> numbers.n_slices, bool(numbers.contains(np.arange(100_000)).all())
    (7, True)
    >>> numbers.false_positive_rate() < 0.01
    True
    """

    _parameters = ("error_rate", "initial_capacity", "seed")

    def __init__(self, error_rate: float = 0.01, initial_capacity: int = 10_000, *, seed: int = 0) -> None:
        self.error_rate = check_real("error_rate", error_rate, 0.0, 1.0)
        self.initial_capacity = check_int("initial_capacity", initial_capacity, 1, _MOST_AT_FIRST)
        self.seed = check_int("seed", seed, 0, (1 << 64) - 1)
        first = self.error_rate * (1.0 - TIGHTENING)
        least = slice_rate(self.initial_capacity, 0.0, 0)
        if first < least:
            raise ValueError(
                f"error_rate must be at least {least / (1.0 - TIGHTENING):.3g} for an initial_capacity of "
                f"{self.initial_capacity:,} keys of 64-bit hashes, got {error_rate!r}"
            )

    # -- state ------------------------------------------------------------------------------------

    @lazy
    def _state(self) -> State[ArraySpec]:
        specs = {
            "blocks": ArraySpec("uint64", 2),
            # The level, the number of blocks, the hashes and the number of keys of each slice.
            "slices": ArraySpec("int64", 2),
            "n_updates": ArraySpec("int64"),
            "key_forms": ArraySpec("uint8"),
            "part_forms": ArraySpec("uint8"),
        }
        arrays: dict[str, NDArray[Any]] = {
            "blocks": np.zeros((0, BLOCK_WORDS), np.uint64),
            "slices": np.zeros((0, 4), np.int64),
            "n_updates": np.zeros(1, np.int64),
            "key_forms": np.zeros(1, np.uint8),
            "part_forms": np.zeros(MAX_PARTS, np.uint8),
        }
        return State(type(self).__name__, specs, arrays)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        check_slices(arrays, self.initial_capacity, self.error_rate)
        if arrays["key_forms"].size != 1 or arrays["part_forms"].size != MAX_PARTS:
            raise ValueError(f"key_forms and part_forms must have 1 and {MAX_PARTS} numbers")
        check_forms(arrays["key_forms"].tolist(), arrays["part_forms"].tolist())

    def _check_device(self, device: str) -> None:
        if device == "gpu":
            raise NotImplementedError("ScalableBloomFilter has no GPU kernels")

    @property
    def n_updates(self) -> int:
        """The number of keys added so far, over all merged parts."""
        return int(self._arrays["n_updates"][0])

    @property
    def n_slices(self) -> int:
        """The number of slices, and so of cache lines that a test reads at most for a key."""
        return len(self._arrays["slices"])

    @property
    def _kinds(self) -> tuple[int, ...]:
        """The bits of the kind of all keys, and then of the places of tuples; () without keys."""
        return kinds_in(self._arrays)

    def _read_keys(self, keys: KeysLike, nulls: Nulls = "raise") -> Keys:
        refuse_gpu(type(self).__name__, keys)
        read = read_keys(keys, nulls=nulls)
        refuse_other_kinds(type(self).__name__, self._kinds, read)
        return read

    def _slices(self) -> list[Slice]:
        arrays = self._arrays
        return views_of(arrays["slices"], arrays["blocks"])

    def _canonicalise(self) -> None:
        slices = self._slices()
        ordered = united(slices, self.initial_capacity)
        if [id(part) for part in ordered] != [id(part) for part in slices]:
            self._set_arrays({**self._arrays, **arrays_of(ordered)})

    # -- adding and testing -----------------------------------------------------------------------

    def update(self, keys: KeysLike, *, nulls: Nulls = "raise") -> Self:
        """Add a batch of keys.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Keys may repeat and have any type that `mergesketch.lsh.hash_keys` accepts.
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
        OverflowError
            If the filter could get more than 2**40 keys. Nothing changes then.
        """
        with self._lock, changing(self):
            read = self._read_keys(keys, nulls)
            hashes, kinds = read.hashes(self.seed), self._kinds or kinds_of(read)
            fresh = hashes[~self._test(hashes)]
            slices, blocks = self._arrays["slices"], self._arrays["blocks"]
            room = open_slices_of(slices, self.initial_capacity)[:1]
            if fresh.size > sum(n for _, n in room):
                # Keys that are there for the first time are an upper bound of the room that is needed.
                _, first = np.unique(fresh, return_index=True)
                fresh = fresh[np.sort(first)]
                slices, blocks = self._with_room(fresh.size)
            else:
                slices = slices.copy()
            n_updates = np.array([self.n_updates + hashes.size])
            found = np.empty(fresh.size, np.bool_)
            with uninterrupted():
                n_slices = self._admit(fresh, found, slices, blocks)
                used = slices[:n_slices]
                arrays = {"blocks": blocks[: int(used[:, 1].sum())], "slices": used, "n_updates": n_updates}
                self._set_arrays({**arrays, **kind_arrays(kinds)})
        return self

    def _with_room(self, n_keys: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return copies of the slices and of their blocks, and so many empty slices that `n_keys` fit in."""
        rows, blocks = self._arrays["slices"].tolist(), self._arrays["blocks"]
        missing = n_keys - sum(
            room for _, room in open_slices_of(self._arrays["slices"], self.initial_capacity)
        )
        level = rows[-1][0] if rows else -1
        while missing > 0:
            level += 1
            missing -= slice_capacity(self.initial_capacity, level)
            rows.append([level, *slice_size(self.initial_capacity, self.error_rate, level), 0])
        wider = np.zeros((sum(row[1] for row in rows), BLOCK_WORDS), np.uint64)
        wider[: len(blocks)] = blocks
        return np.array(rows, dtype=np.int64).reshape(-1, 4), wider

    def _admit(
        self,
        fresh: NDArray[np.uint64],
        found: NDArray[np.bool_],
        slices: NDArray[np.int64],
        blocks: NDArray[np.uint64],
    ) -> int:
        """Add hashes that no slice passes to slices with room, in order; return the number of slices in use.

        The hashes go to one slice after the other. A hash that passes by the bits of those before it is not
        counted.
        """
        parts = views_of(slices, blocks)
        n_used = int(np.count_nonzero(slices[:, 3]))
        for i, room in open_slices_of(slices, self.initial_capacity, every=True):
            while fresh.size and room:
                part, rest = fresh[:room], fresh[room:]
                words, answers = parts[i].blocks.reshape(-1), found[: part.size]
                streaming_deduplicator.admit_keys(read_only(part), parts[i].n_hashes, words, answers)
                n_new = part.size - int(np.count_nonzero(answers))
                slices[i, 3] += n_new
                room -= n_new
                n_used = max(n_used, i + 1)
                fresh = rest[~self._passes(parts[i], rest)] if rest.size else rest
        return n_used

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
        read = self._read_keys(keys)
        return like(keys, read.answer(self._test(read.hashes(self.seed))))

    query = alias(contains)

    def __contains__(self, key: KeyLike) -> bool:
        """Test if one key may have been added."""
        return bool(self.contains([key])[0])

    def _test(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return for each hash if a slice passes it; the newest and largest slices are asked first."""
        found = np.zeros(hashes.size, np.bool_)
        left = np.arange(hashes.size)
        for part in reversed(self._slices()):
            passes = self._passes(part, hashes[left])
            found[left[passes]] = True
            left = left[~passes]
        return found

    def _passes(self, part: Slice, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        out, words, read = np.empty(hashes.size, np.bool_), part.blocks.reshape(-1), read_only(hashes)
        self._backend.map_blocks(
            lambda a, b: bloom.bloom_contains(words, read, np.uint64(0), True, part.n_hashes, a, b, out),
            hashes.size,
            KEYS_BLOCK,
        )
        return out

    # -- estimates --------------------------------------------------------------------------------

    def cardinality(self) -> float:
        """Return about how many distinct keys were added: those that no slice passed when they came.

        It is too small by the keys that passed by mistake: a share of `error_rate` at most. In a merged
        filter, keys that several parts have count more than once.

        Returns
        -------
        float
        """
        return float(self._arrays["slices"][:, 3].sum())

    def false_positive_rate(self) -> float:
        """Return the share of random absent keys that pass now. It takes a pass over the filter.

        Returns
        -------
        float
            ``1 - (1 - p_1) (1 - p_2) ...``, where p_i is the rate of slice i by its bits.
        """
        kept = 1.0 - self.cardinality() * HASH_COLLISION
        for part in self._slices():
            words, fills = part.blocks.reshape(-1), np.zeros(BLOCK_BITS + 1, np.int64)
            bloom.bloom_fills(words, words, 0, part.n_blocks, fills)
            passes = (np.arange(BLOCK_BITS + 1) / BLOCK_BITS) ** part.n_hashes
            kept *= 1.0 - min(1.0, float(np.dot(fills, passes) / part.n_blocks))
        return min(1.0, max(0.0, 1.0 - kept))

    # -- merging ----------------------------------------------------------------------------------

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Merge other filters of the same parameters into this one, in place.

        Parameters
        ----------
        *others : ScalableBloomFilter, or iterables of them
            They are not changed.

        Returns
        -------
        The filter itself.

        Raises
        ------
        IncompatibleSketchError
            If parameters differ, naming the first that does, or the kinds of keys. Nothing changes then.

        Warns
        -----
        SaturationWarning
            Once, if the false positive rate is now above `error_rate`.
        """
        parts: tuple[Self, ...] = parts_of(others)
        for part in parts:
            self._check_compatible(part)
        with locked(self, *parts), changing(self):
            every = [part for sketch in (self, *parts) for part in sketch._slices()]
            kinds = self._kinds
            for sketch in parts:
                check_kinds(type(self).__name__, kinds, sketch._kinds)
                kinds = kinds or sketch._kinds
            arrays = {
                **arrays_of(united(every, self.initial_capacity)),
                "n_updates": np.array([sum(sketch.n_updates for sketch in (self, *parts))]),
                **kind_arrays(kinds),
            }
            with uninterrupted():
                self._set_arrays(arrays)
        self._warn_of_rate()
        return self

    def _warn_of_rate(self) -> None:
        """Warn once if the false positive rate is above the error rate, which takes slices of one level."""
        levels = self._arrays["slices"][:, 0]
        if "_has_warned" in vars(self) or np.unique(levels).size == levels.size:
            return
        rate = self.false_positive_rate()
        if rate > self.error_rate:
            vars(self)["_has_warned"] = True
            warn_of_saturation(
                f"the merged ScalableBloomFilter of {counted(self.n_slices, 'slice')} passes an absent key "
                f"with probability {rate:.2g}, above its error_rate of {self.error_rate:g}; give the parts a "
                "lower error_rate"
            )

    def empty_like(self) -> Self:
        """Return a filter of the same parameters without keys.

        Returns
        -------
        ScalableBloomFilter
        """
        new = self._without_arrays()
        vars(new).pop("_has_warned", None)
        return new

    def _facts(self) -> list[tuple[str, str]]:
        slices, keys = counted(self.n_slices, "slice"), f"about {self.cardinality():,.0f}"
        return [("updates", f"{self.n_updates:,}"), *super()._facts(), ("state", slices), ("keys", keys)]

    def __repr__(self) -> str:
        facts = [
            counted(self.n_updates, "update"),
            counted(self.n_slices, "slice"),
            f"about {self.cardinality():,.0f} keys",
            f"{self.nbytes:,} bytes",
        ]
        return f"<{super().__repr__()}: {', '.join(facts)}>"


publish("mergesketch", __all__, globals())
