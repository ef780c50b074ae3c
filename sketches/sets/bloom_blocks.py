"""The blocks of bits of a Bloom filter: how keys set, test and fill them."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Keys, Nulls
from ...lsh.support.backend import read_only
from ...lsh.support.threads import get_num_threads, run_tasks
from ..core.key_kinds import KeysOfOneKind, kind_specs
from ..core.state import StateSpec
from ..kernels import bloom
from ..kernels.bloom import BLOCK_BITS, BLOCK_WORDS
from .bloom_theory import cardinality_of_zeros, warn_of_saturation
from .key_groups import KEYS_BLOCK, KeyGroups, group_keys, is_worth_grouping, keys_together, over_groups

__all__ = ["BloomBlocks"]

#: Number of blocks that are worth a thread of their own when their bits are counted.
_COUNTED_BLOCK = 1 << 14
#: The most threads that each read all keys of a batch, to add those of their own blocks.
_MAX_READERS = 8
#: The unset bits of a block that has 0, 1, ..., 512 set.
_UNSET = np.arange(BLOCK_BITS, -1, -1)


class _Values(NamedTuple):
    """Keys as 64-bit integers that the kernels hash, or as hashes."""

    values: NDArray[np.uint64]
    hashed: bool
    #: The bits of the kind of the keys.
    forms: tuple[int, ...]


class BloomBlocks(KeysOfOneKind):
    """`n_blocks` blocks of 512 bits; a key sets `n_hashes` bits of one block."""

    _gpu = True
    n_blocks: int
    n_hashes: int
    seed: int

    def _layout(self) -> dict[str, StateSpec]:
        return {"blocks": StateSpec((self.n_blocks, BLOCK_WORDS), "uint64", "or"), **kind_specs()}

    def _read(self, keys: Any, nulls: Nulls) -> _Values:
        return self._values(self._read_keys(keys, nulls))

    def _values(self, keys: Keys) -> _Values:
        if keys.words is None:
            return _Values(read_only(keys.hashes(self.seed)), True, self._forms(keys))
        return _Values(read_only(keys.words), False, self._forms(keys))

    @property
    def _words(self) -> NDArray[np.uint64]:
        return self._arrays["blocks"].reshape(-1)

    def _first_hash(self, block: int) -> int:
        """Return the smallest hash h with ``h * n_blocks >> 64 == block``."""
        return -(-(block << 64) // self.n_blocks)

    def _amounts(self, keys: _Values) -> dict[str, int]:
        return {"n_updates": keys.values.size}

    def _add(self, keys: _Values) -> None:
        values, hashed, forms = keys
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
            # Every thread reads all keys and adds those of its own blocks, so that no two write to one block.
            n_tasks = min(n_threads, self.n_blocks)
            lows = [self._first_hash(self.n_blocks * i // n_tasks) for i in range(n_tasks + 1)]

            def add(i: int) -> None:
                low, width = np.uint64(lows[i]), np.uint64(lows[i + 1] - lows[i] - 1)
                backend.kernels(bloom).bloom_add(values, seed, hashed, self.n_hashes, low, width, words)

            run_tasks(add, n_tasks)
        self._note_forms(forms)

    def _test(self, keys: _Values) -> NDArray[np.bool_]:
        """Return for each key if all of its bits are set."""
        values, hashed, _ = keys
        words, backend, seed = self._words, self._backend, np.uint64(self.seed)
        out = backend.xp.empty(values.size, dtype=np.bool_)
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

    def _cardinality(self, other: Self) -> float:
        """Estimate the number of keys of which either filter has the bits."""
        zeros = self._unset_bits(other)
        if zeros == 0:
            warn_of_saturation("the filter is full: all bits are set, so its number of keys is a lower bound")
        return cardinality_of_zeros(zeros, self.n_blocks, self.n_hashes)

    def _unset_bits(self, other: Self) -> int:
        """Return the number of bits that are unset in both filters."""
        return int((self._fills(other) * self._backend.constant(_UNSET)).sum())

    def _fills(self, other: Self) -> NDArray[np.int64]:
        """Return the numbers of blocks that have 0, 1, ..., 512 bits set in either filter, on its device."""
        ours, theirs, backend = self._words, self._on_our_device(other)._words, self._backend

        def count(start: int, stop: int) -> NDArray[np.int64]:
            fills: NDArray[np.int64] = backend.xp.zeros(BLOCK_BITS + 1, dtype=np.int64)
            backend.kernels(bloom).bloom_fills(ours, theirs, start, stop, fills)
            return fills

        first, *others = backend.map_blocks(count, self.n_blocks, _COUNTED_BLOCK)
        return sum(others, start=first)
