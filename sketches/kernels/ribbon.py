"""Kernels of ribbons: linear systems over GF(2) whose rows are windows of 128 coefficients.

A key is an equation: the parity of ``window & solution[start:start + 128]`` is its value's bit. Starts rise
with the key's hash, so elimination is local: a row goes into the first free slot that its lowest
coefficient meets. A slot holds the row whose lowest coefficient lies there.

Two kinds of ribbons share this. A *fixed* one gives every key `width` bits: one row, `width` right-hand
sides, and `width` solutions, interleaved by blocks of 64 slots. A *variable* one gives a key the bits of a
code word: bit j is the same window moved to start + j, so that the rows of one key never depend on each other
and a look-up reads one place.

There are fewer slots than equations. Keys that no longer fit are *bumped* into a second ribbon, and from
there into a third that is large enough for all. A bucket of 256 starts bumps the starts below one of four
thresholds: its first starts, because rows of the bucket before spill into them. (Dillinger,
Huebschle-Schneider, Sanders, Walzer: Fast Succinct Retrieval and Approximate Membership using Ribbon, SEA
2022.)
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.registers import first_element_of, intrinsic, register_at, spread
from ...lsh.kernels.words import lowest_bit, mix64, popcount, reduce_word

__all__ = [
    "BUCKET",
    "WINDOW",
    "back_substitute",
    "fixed_values",
    "insert_all",
    "insert_bumping",
    "locate",
    "next_places",
    "ribbon_windows",
    "shard_of",
    "variable_bits",
    "window_of",
]

#: Results of `_insert` for a row that contradicts the others, and for one that follows from them.
CONTRADICTION, REDUNDANT = -1, -2
#: Coefficients of a row.
WINDOW = 128
#: Columns of a fixed ribbon that are multiplied together; a solution has COLUMNS spare words at its end.
COLUMNS = 8
#: Starts that share a threshold.
BUCKET = 256
#: A bucket with threshold t bumps the starts whose place in it is below THRESHOLDS[t].
THRESHOLDS = np.array([0, 38, 89, BUCKET], dtype=np.int64)
_PACKED_THRESHOLDS = 0 | 38 << 16 | 89 << 32 | BUCKET << 48
_BUCKET_BITS = 8

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_U = np.uint64
_NONE = np.uint64(0)
_ONE = np.uint64(1)
_LOW_KEY = np.uint64(0x9E3779B97F4A7C15)
_HIGH_KEY = np.uint64(0xC2B2AE3D27D4EB4F)
_NEXT_KEY = np.uint64(0x165667B19E3779F9)


@intrinsic
def _parities(typingctx, solution, first, width, shift, low, high):
    """Return COLUMNS bits of a key: the parities of its window with columns that lie side by side."""
    signature = types.uint64(solution, types.int64, types.int64, types.uint64, types.uint64, types.uint64)

    def generate(context, builder, signature, arguments):
        words = first_element_of(context, builder, signature, arguments, 0)
        _, first, width, shift, low, high = arguments
        word = ir.IntType(64)
        lanes = ir.VectorType(word, COLUMNS)

        def block(number):
            place = builder.add(first, builder.mul(width, ir.Constant(word, number)))
            return builder.load(register_at(builder, builder.gep(words, [place]), lanes), align=8)

        a, b, c = block(0), block(1), block(2)
        right = spread(builder, shift, lanes)
        left = spread(builder, builder.sub(ir.Constant(word, 63), shift), lanes)
        one = ir.Constant(lanes, [1] * COLUMNS)
        below = builder.or_(builder.lshr(a, right), builder.shl(builder.shl(b, one), left))
        above = builder.or_(builder.lshr(b, right), builder.shl(builder.shl(c, one), left))
        low, high = spread(builder, low, lanes), spread(builder, high, lanes)
        both = builder.xor(builder.and_(below, low), builder.and_(above, high))
        count = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(lanes, [lanes]), f"llvm.ctpop.v{COLUMNS}i64"
        )
        odd = builder.trunc(builder.call(count, [both]), ir.VectorType(ir.IntType(1), COLUMNS))
        return builder.zext(builder.bitcast(odd, ir.IntType(COLUMNS)), word)

    return signature, generate


@helper
def start_of(place, n_slots):
    """Map a fraction of 2**64 to [0, n_slots), n_slots < 2**32: products of 32-bit words vectorise."""
    return np.int64(reduce_word(place, np.uint64(n_slots)))


@helper
def shard_of(key, n_shards):
    """Return the key's shard, and its place there as a fraction of 2**64: the two words of key * n_shards."""
    low = (key & _LOW) * n_shards
    high = (key >> _HALF) * n_shards + (low >> _HALF)
    return np.int64(high >> _HALF), (high << _HALF) | (low & _LOW)


@kernel
def window_of(key):
    """Return the 128 coefficients of a key as two words; the lowest coefficient is 1."""
    return mix64(key ^ _LOW_KEY) | _ONE, mix64(key + _HIGH_KEY)


@helper
def next_place(place):
    """Return the place of a bumped key, as a fraction of 2**64.

    It is independent of the key's last place, for bumped keys lie close together.
    """
    return mix64(place ^ _NEXT_KEY)


@helper(error_model="numpy")
def _insert(slot, low, high, side, low_rows, high_rows, sides):
    """Insert one row; return the slot that it got, or CONTRADICTION or REDUNDANT."""
    while True:
        if low_rows[slot] == _NONE:
            low_rows[slot] = low
            high_rows[slot] = high
            sides[slot] = side
            return slot
        low ^= low_rows[slot]
        high ^= high_rows[slot]
        side ^= sides[slot]
        if low == _NONE:
            if high == _NONE:
                return REDUNDANT if side == 0 else CONTRADICTION
            step = lowest_bit(high)
            slot += 64 + step
            low = high >> np.uint64(step)
            high = _NONE
        else:
            step = lowest_bit(low)  # at least 1: both rows had their lowest coefficient here
            slot += step
            low = (low >> np.uint64(step)) | (high << np.uint64(64 - step))
            high >>= np.uint64(step)


@kernel
def next_places(places):
    """Replace the places of bumped keys by their next ones."""
    for i in range(places.size):
        places[i] = next_place(places[i])


@kernel
def ribbon_windows(keys, lows, highs):
    """Write the windows of keys."""
    for i in range(keys.size):
        lows[i], highs[i] = window_of(keys[i])


@helper
def _insert_key(start, low, high, word, length, mask, n_undo, low_rows, high_rows, sides, undo):
    """Insert the `length` rows of a key; return the number n of slots noted in `undo`, -1 - n on failure."""
    for j in range(length):
        side = (word >> np.uint64(length - 1 - j)) & mask
        slot = _insert(start + j, low, high, side, low_rows, high_rows, sides)
        if slot == CONTRADICTION:
            return -1 - n_undo
        if slot != REDUNDANT:
            undo[n_undo] = slot
            n_undo += 1
    return n_undo


@kernel
def insert_bumping(
    places, lows, highs, words, lengths, mask, n_buckets, low_rows, high_rows, sides, thresholds, bumped
):
    """Insert keys in the order of their places into `n_buckets` buckets, and list those that are bumped.

    `places` rise and are fractions of 2**64; `lows`, `highs` the windows; the rows of key i are
    its window at start, start + 1, ..., start + lengths[i] - 1, and row j has the right-hand side
    ``words[i] >> (lengths[i] - 1 - j) & mask``: mask 1 for a code word, all ones for a fixed ribbon,
    whose one row has all columns. Fill the rows (low_rows zero at first), `thresholds` (0..3 a bucket) and
    `bumped` (numbers of keys, rising). Return how many were bumped: all of them if n_buckets is 0.
    """
    n_slots = np.uint64(n_buckets * BUCKET)
    undo = np.empty(4 * BUCKET, dtype=np.int64)
    n_bumped = 0
    first = 0
    for bucket in range(n_buckets):
        edge = (bucket + 1) * BUCKET
        last = first
        while last < places.size and start_of(places[last], n_slots) < edge:
            last += 1
        kept = last
        threshold = 0
        for group in range(2, -1, -1):
            low_edge = bucket * BUCKET + THRESHOLDS[group]
            n_undo = 0
            i = kept
            while i > first:
                start = start_of(places[i - 1], n_slots)
                if start < low_edge:
                    break
                length = np.int64(lengths[i - 1])
                if n_undo + length > undo.size:
                    n_undo = -1 - n_undo
                    break
                n_undo = _insert_key(
                    start, lows[i - 1], highs[i - 1], words[i - 1], length, mask, n_undo,
                    low_rows, high_rows, sides, undo,
                )  # fmt: skip
                if n_undo < 0:
                    break
                i -= 1
            if n_undo < 0:
                for k in range(-1 - n_undo):
                    low_rows[undo[k]] = _NONE
                threshold = group + 1
                break
            kept = i
        thresholds[bucket] = threshold
        for i in range(first, kept):
            bumped[n_bumped] = i
            n_bumped += 1
        first = last
    for i in range(first, places.size):
        bumped[n_bumped] = i
        n_bumped += 1
    return n_bumped


@kernel
def insert_all(places, lows, highs, words, lengths, mask, n_slots, low_rows, high_rows, sides):
    """Insert all keys, without bumping; return False as soon as one does not fit."""
    undo = np.empty(64, dtype=np.int64)
    for i in range(places.size):
        start = start_of(places[i], n_slots)
        length = np.int64(lengths[i])
        done = _insert_key(
            start, lows[i], highs[i], words[i], length, mask, 0, low_rows, high_rows, sides, undo
        )
        if done < 0:
            return False
    return True


@kernel
def back_substitute(low_rows, high_rows, sides, width, solution):
    """Solve `width` columns into `solution`: word ``block * width + column`` holds 64 slots of a column.

    The number of rows is a multiple of 64. A slot without a row gets zeros.
    """
    lows = np.zeros(width, dtype=np.uint64)
    highs = np.zeros(width, dtype=np.uint64)
    for block in range(low_rows.size // 64 - 1, -1, -1):
        for slot in range(block * 64 + 63, block * 64 - 1, -1):
            # The slot's own coefficient, the lowest, multiplies the unknown bit.
            low, high, side = low_rows[slot], high_rows[slot], sides[slot]
            used = low & _ONE
            for column in range(width):
                above = (highs[column] << _ONE) | (lows[column] >> np.uint64(63))
                below = lows[column] << _ONE
                bit = (popcount((below & low) ^ (above & high)) ^ (side >> np.uint64(column))) & used
                lows[column] = below | bit
                highs[column] = above
        for column in range(width):
            solution[block * width + column] = lows[column]


@helper
def _stays(thresholds, first_bucket, start):
    """Tell whether a start lies above its bucket's threshold (two bits of `thresholds`)."""
    bucket = first_bucket + (start >> _BUCKET_BITS)
    threshold = (np.int64(thresholds[_U(bucket >> 2)]) >> (2 * (bucket & 3))) & 3
    return (start & (BUCKET - 1)) >= (_PACKED_THRESHOLDS >> (16 * threshold)) & 0xFFFF


@helper
def locate(thresholds, shards, places, plan, ribbon, n_rows, words, starts, bumped):
    """Find the word and the slot where the window of the k-th key starts, for ``words[k], starts[k]``.

    `plan` is that of `sketches.static.ribbon.lay_out`; `bumped` is work space for n_rows numbers. Bumped keys
    are listed and located afterwards: a branch for each key would be predicted wrongly one time in ten.
    """
    n_bumped = 0
    for k in range(n_rows):
        row = plan[_U(ribbon), _U(shards[k])]
        n_buckets = np.int64(row[_U(1)])
        start = start_of(places[k], n_buckets * BUCKET)
        stays = _stays(thresholds, np.int64(row[_U(6)]), start) & (n_buckets > 0)
        words[k] = np.int64(row[_U(0)])
        starts[k] = start
        bumped[_U(n_bumped)] = k
        n_bumped += not stays
    for b in range(n_bumped):
        k = bumped[b]
        shard = shards[k]
        place = next_place(places[k])
        n_buckets = np.int64(plan[ribbon, shard, 3])
        word = np.int64(plan[ribbon, shard, 2])
        start = start_of(place, n_buckets * BUCKET)
        first_bucket = np.int64(plan[ribbon, shard, 6]) + np.int64(plan[ribbon, shard, 1])
        if n_buckets == 0 or not _stays(thresholds, first_bucket, start):
            word = np.int64(plan[ribbon, shard, 4])
            start = start_of(next_place(place), plan[ribbon, shard, 5])
        words[k] = word
        starts[k] = start


@helper
def fixed_values(solution, words, starts, lows, highs, width, n_rows, out):
    """Set ``out[k]`` to the `width` bits of the k-th key in a fixed ribbon, the first column lowest."""
    used = ~_NONE >> np.uint64(64 - width)
    for k in range(n_rows):
        start = starts[k]
        first = words[k] + (start >> 6) * width
        value = _NONE
        for column in range(0, width, COLUMNS):
            bits = _parities(solution, first + column, width, np.uint64(start & 63), lows[k], highs[k])
            value |= bits << np.uint64(column)
        out[k] = value & used


@helper
def variable_bits(solution, words, starts, lows, highs, first_slot, n_bits, first_bit, n_rows, room, out):
    """Put the bits of slots [first_slot, first_slot + n_bits) of each key's word into ``out[k]``.

    The first goes to bit 63 - first_bit, the next below it. `out` has zeros there, n_bits is at most 64, and
    `room` is three rows of words. The bits of all keys are computed together, with keys in SIMD lanes.
    """
    lowest, middle, highest = room[0], room[1], room[2]
    for k in range(n_rows):
        start = starts[k] + first_slot
        first = words[k] + (start >> 6)
        shift = np.uint64(start & 63)
        back = np.uint64(63) - shift
        b, c = solution[_U(first + 1)], solution[_U(first + 2)]
        lowest[k] = (solution[_U(first)] >> shift) | ((b << _ONE) << back)
        middle[k] = (b >> shift) | ((c << _ONE) << back)
        highest[k] = (c >> shift) | ((solution[_U(first + 3)] << _ONE) << back)
    for j in range(n_bits):
        move = np.uint64(j)
        rest = np.uint64(63 - j)
        place = np.uint64(63 - first_bit - j)
        for k in range(n_rows):
            below = (lowest[k] >> move) | ((middle[k] << _ONE) << rest)
            above = (middle[k] >> move) | ((highest[k] << _ONE) << rest)
            out[k] |= (popcount((below & lows[k]) ^ (above & highs[k])) & _ONE) << place
