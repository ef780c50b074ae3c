"""XXH3-64, the hash function of every key, string and shingle.

XXH3 (Y. Collet, xxHash 0.8) mixes by folded 64x64 -> 128 bit products up to 240 bytes and by eight
parallel accumulators beyond. The device functions here give, bit for bit, what the reference gives for
the same bytes and seed, on little-endian machines (all that NumPy wheels exist for on Linux).

Functions of whole arrays release the GIL and take a range [start, stop) of rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .compiled import helper, kernel
from .registers import first_element_of, intrinsic

# The default secret of the XXH3 specification: 192 bytes, which keep zeros from the mixing.
_SECRET_BYTES = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def _secret(offset: int) -> int:
    return int.from_bytes(_SECRET_BYTES[offset : offset + 8], "little")


_P32_1, _P32_2, _P32_3 = np.uint64(0x9E3779B1), np.uint64(0x85EBCA77), np.uint64(0xC2B2AE3D)
_P64_1, _P64_2 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F)
_P64_3, _P64_4 = np.uint64(0x165667B19E3779F9), np.uint64(0x85EBCA77C2B2AE63)
_P64_5 = np.uint64(0x27D4EB2F165667C5)
_MX_1, MX_2 = np.uint64(0x165667919E3779F9), np.uint64(0x9FB21C651E98DF25)

# Words of the secret that short inputs are xored with, folded to one word for each length.
_FLIP_0 = np.uint64(_secret(56) ^ _secret(64))
_FLIP_3 = np.uint64((_secret(0) & 0xFFFFFFFF) ^ (_secret(0) >> 32))
FLIP_8 = np.uint64(_secret(8) ^ _secret(16))
_FLIP_16_LOW = np.uint64(_secret(24) ^ _secret(32))
_FLIP_16_HIGH = np.uint64(_secret(40) ^ _secret(48))

# The secret's words, and the two at which the mixing of 129 to 240 bytes ends.
_K0, _K1, _K2, _K3, _K4, _K5, _K6, _K7 = (np.uint64(_secret(8 * i)) for i in range(8))
_K8, _K9, _K10, _K11, _K12, _K13, _K14, _K15 = (np.uint64(_secret(8 * i)) for i in range(8, 16))
_K_LAST_LOW, _K_LAST_HIGH = np.uint64(_secret(119)), np.uint64(_secret(127))

_LOW32 = np.uint64(0xFFFFFFFF)
_STRIPE, _STRIPES_A_BLOCK = 64, 16  # a block has a stripe for each spare word of the secret
_LAST_KEY = 121


def _load(bits: int) -> Any:
    """Return the code of an unaligned load of `bits` bits from an address, widened to uint64."""

    def load(typing_context, address):
        def codegen(context, builder, signature, args):
            word = builder.load(builder.inttoptr(args[0], ir.IntType(bits).as_pointer()), align=1)
            return word if bits == 64 else builder.zext(word, ir.IntType(64))

        return types.uint64(types.intp), codegen

    return load


@intrinsic
def _load_secret(typing_context, offset):
    """Return the word of the secret at a byte offset."""

    def codegen(context, builder, signature, args):
        secret = context.insert_const_bytes(builder.module, _SECRET_BYTES)
        at = builder.bitcast(builder.gep(secret, [args[0]]), ir.IntType(64).as_pointer())
        return builder.load(at, align=1)

    return types.uint64(types.intp), codegen


# Addresses, not arrays: Numba would compile all that follows for arrays that can be written to, and once
# more for others. The caller keeps the array alive.
@intrinsic
def address_of(typing_context, data):
    """Return the address of the first byte of an array."""

    def codegen(context, builder, signature, args):
        first = first_element_of(context, builder, signature, args, 0)
        return builder.ptrtoint(first, ir.IntType(64))

    return types.intp(data), codegen


@intrinsic
def fold_multiply(typing_context, a, b):
    """Return the low half xor the high half of the 128-bit product of two uint64."""

    def codegen(context, builder, signature, args):
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return builder.xor(builder.trunc(product, word), high)

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def _swap_bytes(typing_context, value):
    """Reverse the bytes of a word."""

    def codegen(context, builder, signature, args):
        return builder.bswap(args[0])

    return types.uint64(types.uint64), codegen


load_u64, _load_u32, _load_u8 = (intrinsic(_load(bits)) for bits in (64, 32, 8))


@helper(forceinline=True)
def _rotate(x, n):
    return (x << n) | (x >> (np.uint64(64) - n))


@helper(forceinline=True)
def _avalanche(h):
    h ^= h >> np.uint64(37)
    h *= _MX_1
    return h ^ (h >> np.uint64(32))


@helper(forceinline=True)
def _avalanche_short(h):
    h ^= h >> np.uint64(33)
    h *= _P64_2
    h ^= h >> np.uint64(29)
    h *= _P64_3
    return h ^ (h >> np.uint64(32))


@helper(forceinline=True)
def _hash_4_to_8(swapped, length, seed):
    # `swapped` has the first four bytes in the high half and the last four in the low half.
    seed ^= _swap_bytes(seed & _LOW32)
    h = swapped ^ (FLIP_8 - seed)
    h ^= _rotate(h, np.uint64(49)) ^ _rotate(h, np.uint64(24))
    h *= MX_2
    h ^= (h >> np.uint64(35)) + length
    h *= MX_2
    return h ^ (h >> np.uint64(28))


@helper(forceinline=True)
def xxh3_64_u64(value, seed):
    """Return XXH3-64 of the eight little-endian bytes of `value` (uint64)."""
    return _hash_4_to_8(_rotate(value, np.uint64(32)), np.uint64(8), seed)


@helper(forceinline=True)
def _mix(at, low_key, high_key, seed):
    low = load_u64(at) ^ (low_key + seed)
    high = load_u64(at + 8) ^ (high_key - seed)
    return fold_multiply(low, high)


@helper(forceinline=True)
def _hash_17_to_128(start, length, seed):
    end = start + length
    h = np.uint64(length) * _P64_1
    if length > 32:
        if length > 64:
            if length > 96:
                h += _mix(start + 48, _K12, _K13, seed) + _mix(end - 64, _K14, _K15, seed)
            h += _mix(start + 32, _K8, _K9, seed) + _mix(end - 48, _K10, _K11, seed)
        h += _mix(start + 16, _K4, _K5, seed) + _mix(end - 32, _K6, _K7, seed)
    h += _mix(start, _K0, _K1, seed) + _mix(end - 16, _K2, _K3, seed)
    return _avalanche(h)


@helper
def _hash_129_to_240(start, length, seed):
    h = np.uint64(length) * _P64_1
    for i in range(8):
        low, high = _load_secret(16 * i), _load_secret(16 * i + 8)
        h += _mix(start + 16 * i, low, high, seed)
    h = _avalanche(h)
    for i in range(8, length // 16):
        low, high = _load_secret(16 * i - 125), _load_secret(16 * i - 117)
        h += _mix(start + 16 * i, low, high, seed)
    h += _mix(start + length - 16, _K_LAST_LOW, _K_LAST_HIGH, seed)
    return _avalanche(h)


@helper(forceinline=True)
def _secret_word(offset, seed):
    # The secret of a seed is the default one with the seed added to even words and subtracted from odd ones.
    # A word at an odd offset is combined from two words, so the secret of a seed is never stored.
    j = offset >> 3
    even = _load_secret(8 * j) + (np.uint64(0) - seed if j & 1 else seed)
    shift = np.uint64(8 * (offset & 7))
    if shift == np.uint64(0):
        return even
    odd = _load_secret(8 * j + 8) + (seed if j & 1 else np.uint64(0) - seed)
    return (even >> shift) | (odd << (np.uint64(64) - shift))


@helper(forceinline=True)
def _product(word):
    return (word & _LOW32) * (word >> np.uint64(32))


@helper(forceinline=True)
def _accumulate(at, key, seed, a):
    # One stripe of 64 bytes: lane i gets its own product and its neighbour's plain word.
    w0 = load_u64(at)
    w1 = load_u64(at + 8)
    w2 = load_u64(at + 16)
    w3 = load_u64(at + 24)
    w4 = load_u64(at + 32)
    w5 = load_u64(at + 40)
    w6 = load_u64(at + 48)
    w7 = load_u64(at + 56)
    return (
        a[0] + w1 + _product(w0 ^ _secret_word(key, seed)),
        a[1] + w0 + _product(w1 ^ _secret_word(key + 8, seed)),
        a[2] + w3 + _product(w2 ^ _secret_word(key + 16, seed)),
        a[3] + w2 + _product(w3 ^ _secret_word(key + 24, seed)),
        a[4] + w5 + _product(w4 ^ _secret_word(key + 32, seed)),
        a[5] + w4 + _product(w5 ^ _secret_word(key + 40, seed)),
        a[6] + w7 + _product(w6 ^ _secret_word(key + 48, seed)),
        a[7] + w6 + _product(w7 ^ _secret_word(key + 56, seed)),
    )


@helper(forceinline=True)
def _scramble_lane(a, offset, seed):
    return (a ^ (a >> np.uint64(47)) ^ _secret_word(offset, seed)) * _P32_1


@helper(forceinline=True)
def _scramble(key, seed, a):
    return (
        _scramble_lane(a[0], key, seed),
        _scramble_lane(a[1], key + 8, seed),
        _scramble_lane(a[2], key + 16, seed),
        _scramble_lane(a[3], key + 24, seed),
        _scramble_lane(a[4], key + 32, seed),
        _scramble_lane(a[5], key + 40, seed),
        _scramble_lane(a[6], key + 48, seed),
        _scramble_lane(a[7], key + 56, seed),
    )


@helper
def _hash_long(start, length, seed):
    a = (_P32_3, _P64_1, _P64_2, _P64_3, _P64_4, _P32_2, _P64_5, _P32_1)
    last = (length - 1) // _STRIPE  # the last stripe ends with the data
    for stripe in range(last):
        key = 8 * (stripe % _STRIPES_A_BLOCK)
        a = _accumulate(start + _STRIPE * stripe, key, seed, a)
        if key == 8 * (_STRIPES_A_BLOCK - 1):
            a = _scramble(key + 8, seed, a)
    a = _accumulate(start + length - _STRIPE, _LAST_KEY, seed, a)
    h = np.uint64(length) * _P64_1
    for i in range(4):
        low = a[2 * i] ^ _secret_word(16 * i + 11, seed)
        h += fold_multiply(low, a[2 * i + 1] ^ _secret_word(16 * i + 19, seed))
    return _avalanche(h)


@helper
def _hash_0_to_3(start, length, seed):
    if length == 0:
        return _avalanche_short(seed ^ _FLIP_0)
    first, middle, last = _load_u8(start), _load_u8(start + (length >> 1)), _load_u8(start + length - 1)
    word = (first << np.uint64(16)) | (middle << np.uint64(24)) | last | (np.uint64(length) << np.uint64(8))
    return _avalanche_short(word ^ (_FLIP_3 + seed))


@helper(forceinline=True)
def xxh3_64(start, length, seed):
    """Return XXH3-64 of the `length` bytes from the address `start` on."""
    if length > 16:
        if length <= 128:
            return _hash_17_to_128(start, length, seed)
        if length <= 240:
            return _hash_129_to_240(start, length, seed)
        return _hash_long(start, length, seed)
    if length > 8:
        low = load_u64(start) ^ (_FLIP_16_LOW + seed)
        high = load_u64(start + length - 8) ^ (_FLIP_16_HIGH - seed)
        return _avalanche(np.uint64(length) + _swap_bytes(low) + high + fold_multiply(low, high))
    if length >= 4:
        swapped = (_load_u32(start) << np.uint64(32)) + _load_u32(start + length - 4)
        return _hash_4_to_8(swapped, np.uint64(length), seed)
    return _hash_0_to_3(start, length, seed)


@helper
def xxh3_64_rarely(start, length, seed):
    """Return what `xxh3_64` returns, where speed does not count: by a call, without a copy of its code."""
    return xxh3_64(start, length, seed)


@kernel
def hash_u64(values, seed, start, stop, out):
    """Set ``out[i]`` to XXH3-64 of the little-endian bytes of the uint64 ``values[i]``."""
    for i in range(start, stop):
        out[i] = xxh3_64_u64(values[i], seed)


@kernel
def hash_slices(data, offsets, seed, start, stop, out):
    """Set ``out[i]`` to XXH3-64 of ``data[offsets[i]:offsets[i + 1]]``."""
    first = address_of(data)
    for i in range(start, stop):
        out[i] = xxh3_64(first + offsets[i], offsets[i + 1] - offsets[i], seed)


@kernel
def hash_fixed(data, width, seed, start, stop, out):
    """Set ``out[i]`` to XXH3-64 of the i-th field of `width` bytes, without its trailing NUL bytes."""
    first = address_of(data)
    for i in range(start, stop):
        length = width
        while length > 0 and data[i * width + length - 1] == 0:
            length -= 1
        out[i] = xxh3_64(first + i * width, length, seed)
