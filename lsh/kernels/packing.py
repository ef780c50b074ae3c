"""Products to integers: signs packed into codes, floors of quotients, and both mixed into buckets.

Where the error bound of a product leaves the integer in doubt (about one value in a thousand), the product is
listed, and its exact value (`products`) decides afterwards. A tile of products has some rows, and a range of
the ``power * n_hashes`` products of each; the k-th of hash h has the place ``k * n_hashes + h``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .compiled import helper, kernel
from .registers import element_of, intrinsic, register_at, spread
from .words import mix64, reduce_word

__all__ = [
    "absorb_steps",
    "fix_signs",
    "fix_steps",
    "mix_codes",
    "pack_signs",
    "quantize",
    "reduce_words",
]

#: Values that are packed at a time.
LANES = 16
#: Largest step: a float64 product cannot tell neighbouring steps beyond it apart.
LARGEST_STEP = 2.0**62
#: Largest quotient whose own rounding is sure to err by less than SLACK, besides the error of the product.
LARGEST_SURE = 2.0**30
SLACK = 2.0**-18


@intrinsic
def _set_signs(typing_context, values, values_at, limit, bit, codes, codes_at):
    """Set `bit` in LANES codes whose values are at least 0; return a mask of the magnitudes below `limit`.

    It is written in the compiler's intermediate code, because the compiler does not know that values and
    codes do not overlap.
    """
    signature = types.uint32(values, types.intp, types.float32, types.uint32, codes, types.intp)
    floats, words = (ir.VectorType(element, LANES) for element in (ir.FloatType(), ir.IntType(32)))

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        value = element_of(context, builder, signature, arguments, 0)
        value = builder.load(register_at(builder, value, floats), align=4)
        target = register_at(builder, element_of(context, builder, signature, arguments, 4), words)
        set_bits = builder.select(
            builder.fcmp_ordered(">=", value, ir.Constant(floats, [0.0] * LANES)),
            spread(builder, arguments[3], words),
            ir.Constant(words, [0] * LANES),
        )
        builder.store(builder.or_(builder.load(target, align=4), set_bits), target, align=4)
        magnitude = builder.bitcast(
            builder.and_(builder.bitcast(value, words), ir.Constant(words, [0x7FFFFFFF] * LANES)), floats
        )
        small = builder.fcmp_ordered("<", magnitude, spread(builder, arguments[2], floats))
        return builder.zext(builder.bitcast(small, ir.IntType(LANES)), ir.IntType(32))

    return signature, generate


@helper
def _pack_plane(values, values_at, size, limit, bit, row, first, listed, codes, codes_at, rows, places):
    """Pack `size` values of one row and bit, and list those in doubt; return how many are listed in all."""
    done = 0
    while done < size:
        if size >= LANES:
            # The last register overlaps the one before it: setting a bit twice does no harm.
            at = min(done, size - LANES)
            small: Any = _set_signs(values, values_at + at, limit, bit, codes, codes_at + at)
            for lane in range(done - at, LANES if small else 0):
                if small >> lane & 1:
                    rows[listed] = row
                    places[listed] = first + at + lane
                    listed += 1
            done = at + LANES
        else:
            value = values[values_at + done]
            codes[codes_at + done] |= bit if value >= 0 else np.uint32(0)
            if abs(value) < limit:
                rows[listed] = row
                places[listed] = first + done
                listed += 1
            done += 1
    return listed


@helper
def pack_signs(values, errors, largest_norm, width, n_hashes, first, n, out, rows, places):
    """Set bits of the codes of the first n rows by the first `width` products of a tile.

    Bit k of code h is set unless the product at place ``k * n_hashes + h`` is below 0; the tile's first is
    at place `first`. Codes are cleared with the first tile, so tiles must come in order. Products that are
    not sure to be further from 0 than ``errors[i] * largest_norm`` are listed in `rows` and `places`;
    returns how many there are.
    """
    listed = 0
    flat_values, flat_codes = values.reshape(-1), out.reshape(-1)
    for i in range(n):
        if first == 0:
            out[i] = 0
        # The error bound allows for rounding to float32.
        limit = np.float32(errors[i] * largest_norm)
        left = 0
        while left < width:
            plane = (first + left) // n_hashes
            h = first + left - plane * n_hashes
            size = min(width - left, n_hashes - h)
            from_value, to_code = i * values.shape[1] + left, i * n_hashes + h
            bit, place = np.uint32(1 << plane), first + left
            listed = _pack_plane(
                flat_values, from_value, size, limit, bit, i, place, listed, flat_codes, to_code, rows, places
            )
            left += size
    return listed


@helper
def fix_signs(rows, places, dots, n_hashes, n, out):
    """Set the bits that `pack_signs` has listed, by the sign of the exact products."""
    for a in range(n):
        bit = np.uint32(1) << np.uint32(places[a] // n_hashes)
        h = places[a] % n_hashes
        if dots[a] >= 0:
            out[rows[a], h] |= bit
        else:
            out[rows[a], h] &= ~bit


@helper
def quantize(values, errors, vector_norms, scales, offsets, width, first, n, steps, rows, places):
    """Set ``steps[i, p] = floor((product + offsets[p]) / width)`` for the first n rows of a tile of products.

    The product is ``values[i, p] / scales[i]``, in error by at most ``errors[i] * vector_norms[p]`` before
    that division; norms and offsets are those of the tile, whose first product is at place `first`. Steps
    that this leaves in doubt are listed in `rows` and `places`; returns how many there are.
    """
    listed = 0
    unsure = np.empty(offsets.size, np.uint8)
    shifts = offsets / width
    for i in range(n):
        row, target = values[i, : offsets.size], steps[i, : offsets.size]
        by = 1.0 / scales[i] / width
        error = errors[i] * by
        any_unsure = np.uint8(0)
        for p in range(row.size):
            quotient = np.float64(row[p]) * by + shifts[p]
            step = np.floor(quotient)
            above, margin = quotient - step, error * vector_norms[p] + SLACK
            # No comparison holds for NaN, so the result of an overflow is in doubt.
            sure = (above > margin) & (above < 1.0 - margin) & (abs(quotient) < LARGEST_SURE)
            unsure[p] = not sure
            any_unsure |= unsure[p]
            target[p] = np.int64(step if sure else 0.0)
        if any_unsure:
            for p in range(row.size):
                if unsure[p]:
                    rows[listed] = i
                    places[listed] = first + p
                    listed += 1
    return listed


@helper
def fix_steps(rows, places, dots, scales, offsets, width, first, n, steps):
    """Set the steps that `quantize` has listed, by the exact products; `first` is the tile's first place."""
    for a in range(n):
        quotient = (dots[a] / scales[rows[a]] + offsets[places[a]]) / width
        # NumPy's floor is a float; that of math would be an integer, which cannot hold all of them.
        step = min(max(np.floor(quotient), -LARGEST_STEP), LARGEST_STEP)
        steps[rows[a], places[a] - first] = np.int64(step)


@helper
def absorb_steps(steps, width, first, n, words):
    """Set ``words[i, h] = mix64(words[i, h] ^ step)`` for the first `width` steps of a tile of n rows.

    The step at place ``k * n_hashes + h`` belongs to hash h; the tile's first is at place `first`.
    """
    n_hashes = words.shape[1]
    for i in range(n):
        left = 0
        while left < width:
            h = (first + left) % n_hashes
            right = min(width, left + n_hashes - h)
            part, word = steps[i, left:right], words[i, h : h + right - left]
            for j in range(right - left):
                word[j] = mix64(word[j] ^ np.uint64(part[j]))
            left = right


@helper
def reduce_words(words, n_buckets, n, out):
    """Reduce n rows of words to [0, n_buckets), each as `reduce_word` does."""
    for i in range(n):
        for h in range(words.shape[1]):
            out[i, h] = reduce_word(words[i, h], n_buckets)


@kernel
def mix_codes(keys, n_buckets, codes):
    """Replace every code by ``mix64(keys[h] ^ code)``, reduced to n_buckets."""
    for i in range(codes.shape[0]):
        for h in range(keys.size):
            codes[i, h] = reduce_word(mix64(keys[h] ^ np.uint64(codes[i, h])), n_buckets)
