"""Kernels that read static functions: they pass blocks of keys through the ribbons of one column.

The keys of a block lie in a structure of arrays. Where a filter decides some keys, the others move together,
so that every step works on whole registers of keys.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import mix64
from .codes import decode, raw_value
from .elias_fano import address_of
from .ribbon import fixed_values, locate, shard_of, variable_bits, window_of

__all__ = ["address_of", "check_keys", "fill_fingerprints", "first_unequal", "look_up", "passes_filter"]

#: Keys that are looked up together: their arrays stay in the first-level cache.
LANES = 512
_U = np.uint64
_PURPOSE = _U(0xD6E8FEB86659FD93)


@kernel
def fingerprint(key, purpose, bits):
    """Return `bits` bits of a key (1 to 64), others for each purpose, independent of its place and window."""
    return mix64(key ^ (_U(purpose + 1) * _PURPOSE)) >> _U(64 - bits)


@kernel
def fill_fingerprints(keys, purpose, bits, out):
    """Write the fingerprints of keys."""
    for i in range(keys.size):
        out[i] = fingerprint(keys[i], purpose, bits)


@helper
def _fill_block(keys, start, n, n_shards, block, shards, index):
    """Write keys [start, start + n) to the rows of `block`: keys, places, windows (low, high)."""
    for k in range(n):
        key = keys[start + k]
        block[0, k] = key
        shards[k], block[1, k] = shard_of(key, n_shards)
        block[2, k], block[3, k] = window_of(key)
        index[k] = start + k


@helper
def _move(block, shards, index, k, to):
    """Move a key within its block."""
    block[0, to] = block[0, k]
    block[1, to] = block[1, k]
    block[2, to] = block[2, k]
    block[3, to] = block[3, k]
    shards[to] = shards[k]
    index[to] = index[k]


@kernel
def check_keys(keys, thresholds, solution, n_shards, plan, ribbon, purpose, bits, out):
    """Set ``out[i]`` to whether key i has its fingerprint in a fixed ribbon of `bits` columns."""
    block = np.empty((4, LANES), dtype=np.uint64)
    values = np.empty(LANES, dtype=np.uint64)
    shards = np.empty(LANES, dtype=np.int64)
    index = np.empty(LANES, dtype=np.int64)
    words = np.empty(LANES, dtype=np.int64)
    starts = np.empty(LANES, dtype=np.int64)
    bumped = np.empty(LANES, dtype=np.int64)
    for start in range(0, keys.size, LANES):
        n = min(LANES, keys.size - start)
        _fill_block(keys, start, n, n_shards, block, shards, index)
        locate(thresholds, shards, block[1], plan, ribbon, n, words, starts, bumped)
        fixed_values(solution, words, starts, block[2], block[3], bits, n, values)
        for k in range(n):
            out[start + k] = values[k] == fingerprint(block[0, k], purpose, bits)


@kernel
def passes_filter(keys, places, thresholds, solution, plan, purpose, bits, out):
    """Check keys of one shard, whose plan is the only one, at known places as `check_keys` does."""
    block = np.empty((4, LANES), dtype=np.uint64)
    values = np.empty(LANES, dtype=np.uint64)
    shards = np.zeros(LANES, dtype=np.int64)
    words = np.empty(LANES, dtype=np.int64)
    starts = np.empty(LANES, dtype=np.int64)
    bumped = np.empty(LANES, dtype=np.int64)
    for start in range(0, keys.size, LANES):
        n = min(LANES, keys.size - start)
        for k in range(n):
            block[0, k] = keys[start + k]
            block[1, k] = places[start + k]
            block[2, k], block[3, k] = window_of(keys[start + k])
        locate(thresholds, shards, block[1], plan, 0, n, words, starts, bumped)
        fixed_values(solution, words, starts, block[2], block[3], bits, n, values)
        for k in range(n):
            out[start + k] = values[k] == fingerprint(block[0, k], purpose, bits)


@kernel
def look_up(
    keys, thresholds, solution, n_shards, plan, first_ribbon,
    filter_bits, filter_values, prefix_bits, table_bits, code_bits, decoder, out,
):  # fmt: skip
    """Write the values of all keys in one column.

    The column's ribbons follow each other from `first_ribbon` on: one for each filter, one of the first
    `prefix_bits` of the codes (if any), one of their other bits, at most `code_bits` in all (if any), one of
    raw bits (if the decoder has any). A key that filter f refuses has the value ``filter_values[f]``. For a
    key that it passes, bit f of the code is 0 if the key has that value all the same. The decoder's word
    follows.
    """
    n_filters = filter_bits.size
    prefix_ribbon = first_ribbon + n_filters
    code_ribbon = prefix_ribbon + (prefix_bits > 0)
    raw_ribbon = code_ribbon + (n_filters + code_bits > prefix_bits)
    raw_bits = np.int64(decoder.raw_bits)
    block = np.empty((4, LANES), dtype=np.uint64)
    room = np.empty((3, LANES), dtype=np.uint64)
    windows = np.empty(LANES, dtype=np.uint64)
    shards = np.empty(LANES, dtype=np.int64)
    index = np.empty(LANES, dtype=np.int64)
    words = np.empty(LANES, dtype=np.int64)
    starts = np.empty(LANES, dtype=np.int64)
    bumped = np.empty(LANES, dtype=np.int64)
    escaped = np.empty(LANES, dtype=np.int64)
    for start in range(0, keys.size, LANES):
        n = min(LANES, keys.size - start)
        n_escaped = 0
        _fill_block(keys, start, n, n_shards, block, shards, index)
        for f in range(n_filters):
            value, bits = filter_values[f], filter_bits[f]
            locate(thresholds, shards, block[1], plan, first_ribbon + f, n, words, starts, bumped)
            fixed_values(solution, words, starts, block[2], block[3], bits, n, windows)
            kept = 0
            for k in range(n):
                if windows[k] == fingerprint(block[0, k], f, bits):
                    _move(block, shards, index, k, kept)
                    kept += 1
                else:
                    out[index[k]] = value
            n = kept
            locate(thresholds, shards, block[1], plan, code_ribbon, n, words, starts, bumped)
            for k in range(n):
                windows[k] = _U(0)
            variable_bits(solution, words, starts, block[2], block[3], f, 1, 0, n, room, windows)
            kept = 0
            for k in range(n):
                if windows[k] != _U(0):
                    _move(block, shards, index, k, kept)
                    kept += 1
                else:
                    out[index[k]] = value
            n = kept

        # Find the bits of the words, the first as the highest: first those that index the decoder's table,
        # and then, for the few longer words, the others.
        if prefix_bits > 0:
            locate(thresholds, shards, block[1], plan, prefix_ribbon, n, words, starts, bumped)
            fixed_values(solution, words, starts, block[2], block[3], prefix_bits, n, windows)
            for k in range(n):
                windows[k] <<= _U(64 - prefix_bits)
        else:
            for k in range(n):
                windows[k] = _U(0)
        done = max(prefix_bits, min(code_bits, table_bits))
        if code_bits > prefix_bits:
            locate(thresholds, shards, block[1], plan, code_ribbon, n, words, starts, bumped)
            variable_bits(
                solution, words, starts, block[2], block[3],
                n_filters, done - prefix_bits, prefix_bits, n, room, windows,
            )  # fmt: skip
        kept = 0
        for k in range(n):
            if windows[k] >> decoder.shift >= decoder.table_end and code_bits > done:
                _move(block, shards, index, k, kept)
                words[kept], starts[kept], windows[kept] = words[k], starts[k], windows[k]
                kept += 1
                continue
            value, is_escape = decode(decoder, windows[k])
            out[index[k]] = value
            if is_escape:
                escaped[n_escaped] = index[k]
                n_escaped += 1
        if kept > 0:
            variable_bits(
                solution, words, starts, block[2], block[3],
                n_filters + done - prefix_bits, code_bits - done, done, kept, room, windows,
            )  # fmt: skip
            for k in range(kept):
                value, is_escape = decode(decoder, windows[k])
                out[index[k]] = value
                if is_escape:
                    escaped[n_escaped] = index[k]
                    n_escaped += 1
        if n_escaped > 0 and raw_bits > 0:
            for k in range(n_escaped):
                key = keys[escaped[k]]
                block[0, k] = key
                shards[k], block[1, k] = shard_of(key, n_shards)
                block[2, k], block[3, k] = window_of(key)
            locate(thresholds, shards, block[1], plan, raw_ribbon, n_escaped, words, starts, bumped)
            fixed_values(solution, words, starts, block[2], block[3], raw_bits, n_escaped, windows)
            for k in range(n_escaped):
                out[escaped[k]] = raw_value(decoder, windows[k])


@kernel
def first_unequal(data, offsets, others):
    """Return the first i where the bytes of string i differ from those of string ``others[i]``, or -1."""
    for i in range(others.size):
        left, right = offsets[i], offsets[others[i]]
        length = offsets[i + 1] - left
        if offsets[others[i] + 1] - right != length:
            return i
        for j in range(length):
            if data[left + j] != data[right + j]:
                return i
    return -1
