"""Sorted integers in about two bits each beside the logarithm of their mean distance, read in place.

Elias-Fano: of each of n values up to `largest`, the `low_bits` lowest bits lie side by side; the rest, the
high parts, lie in unary: the i-th value sets bit ``high part + i``. Select samples, the places of every
128th of these bits, lead to the i-th without a scan from the front. All is a function of (n, largest) but
the words themselves, so nothing describes them::

    | low bits: n * low_bits | high parts: n + (largest >> low_bits) | samples: 32 bits per 128 values |

References: P. Elias, "Efficient storage and retrieval by content and address of static files", JACM 21
(1974); R. Fano, "On the number of bits required to implement an associative memory", MIT (1971).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from .backend import read_only
from .bits import lowest_bit, popcount
from .validation import check_int

__all__ = ["Layout", "address_of", "check", "encode", "layout", "load_word", "select", "take"]

#: Values per select sample.
SAMPLE = 128
_BLOCK_SHIFT = np.uint64(7)
#: More would not fit the 32 bits of a sample.
LARGEST_N = 2**30

_U = np.uint64
_ONE, _SIX, _SIXTY_THREE, _ALL = _U(1), _U(6), _U(63), _U(2**64 - 1)
_EACH_BYTE, _EACH_HIGH_BIT = _U(0x0101010101010101), _U(0x8080808080808080)


class Layout(NamedTuple):
    """Where the parts of a sequence lie, counted in words from its first."""

    low_bits: int
    high_at: int
    samples_at: int
    n_words: int


def layout(n: int, largest: int) -> Layout:
    """The layout of n values of at most `largest`, with the number of low bits that takes the fewest bits."""
    n, largest = check_int("n", n, 0, LARGEST_N), check_int("largest", largest, 0, 2**64 - 1)
    if n == 0:
        return Layout(0, 0, 0, 0)
    low_bits = min(range(64), key=lambda bits: n * bits + (largest >> bits))
    high_at = -(-n * low_bits // 64)
    samples_at = high_at - (-(n + (largest >> low_bits)) // 64)
    n_samples = (n - 1) // SAMPLE
    return Layout(low_bits, high_at, samples_at, samples_at + (n_samples + 1) // 2)


def _load_code(typingctx, address, index):  # type: ignore[no-untyped-def]
    """The `index`-th word from an address.

    An array among a tuple's fields would be counted as in use, and as no longer, at every call: 50 ns on
    one thread, and more where threads share the counter.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        word = ir.IntType(64)
        start = builder.inttoptr(arguments[0], word.as_pointer())
        return builder.load(builder.gep(start, [arguments[1]]), align=8)

    return types.uint64(types.uint64, types.uint64), generate


load_word: Any = intrinsic(_load_code)


@njit(cache=True, nogil=True)
def _select_bit(word, rank):  # type: ignore[no-untyped-def]
    """Place of the bit that `rank` others lie below; without branches, which could not be predicted."""
    # In each byte, the number of bits in it and those below it.
    sums = word - ((word >> _ONE) & _U(0x5555555555555555))
    sums = (sums & _U(0x3333333333333333)) + ((sums >> _U(2)) & _U(0x3333333333333333))
    sums = ((sums + (sums >> _U(4))) & _U(0x0F0F0F0F0F0F0F0F)) * _EACH_BYTE
    passed = (((rank * _EACH_BYTE) | _EACH_HIGH_BIT) - sums) & _EACH_HIGH_BIT
    place = popcount(passed) << _U(3)
    rank -= ((sums << _U(8)) >> place) & _U(255)
    word >>= place
    # Then by halves.
    low = popcount(word & _U(15))
    beyond = _U(rank >= low)
    rank -= low * beyond
    word >>= beyond << _U(2)
    place += beyond << _U(2)
    low = popcount(word & _U(3))
    beyond = _U(rank >= low)
    rank -= low * beyond
    word >>= beyond << _U(1)
    place += beyond << _U(1)
    return place + _U(rank >= (word & _ONE))


@njit(cache=True, nogil=True)
def select(words, low_at, low_bits, high_at, samples_at, i):  # type: ignore[no-untyped-def]
    """The i-th value of the sequence at the address `words`; all arguments are uint64.

    `low_at`, `high_at` and `samples_at` say at which word from there its parts begin.

    Constant time where values spread evenly; at worst, in a gap, a scan over its length in high parts.
    In bounds for every i < n of words that `check` has passed.
    """
    block = i >> _BLOCK_SHIFT
    rest = i & _U(SAMPLE - 1)
    start = _U(0)
    if block > _U(0):
        s = block - _ONE
        start = (load_word(words, samples_at + (s >> _ONE)) >> ((s & _ONE) << _U(5))) & _U(0xFFFFFFFF)
    k = high_at + (start >> _SIX)
    word = load_word(words, k) & (_ALL << (start & _SIXTY_THREE))
    count = popcount(word)
    while rest >= count:
        rest -= count
        k += _ONE
        word = load_word(words, k)
        count = popcount(word)
    high = ((k - high_at) << _SIX) + _select_bit(word, rest) - i
    if low_bits == _U(0):
        return high
    bit = i * low_bits
    k = low_at + (bit >> _SIX)
    shift = bit & _SIXTY_THREE
    # The next word exists: the high parts follow the low bits. Two shifts, for one by 64 is undefined.
    low = (load_word(words, k) >> shift) | ((load_word(words, k + _ONE) << _ONE) << (_SIXTY_THREE - shift))
    return (high << low_bits) | (low & ((_ONE << low_bits) - _ONE))


@njit(cache=True, nogil=True)
def _encode(values, low_bits, high_at, samples_at, words):  # type: ignore[no-untyped-def]
    """Write `values` into zeroed words; the index of the first that is less than the one before, or n."""
    mask = (_ONE << low_bits) - _ONE
    before = _U(0)
    for k in range(values.size):
        i, value = _U(k), values[k]
        if value < before:
            return k
        before = value
        if low_bits > _U(0):
            low, bit = value & mask, i * low_bits
            at, shift = bit >> _SIX, bit & _SIXTY_THREE
            words[at] |= low << shift
            if shift + low_bits > _U(64):
                words[at + _ONE] |= low >> (_U(64) - shift)
        place = (value >> low_bits) + i
        words[high_at + (place >> _SIX)] |= _ONE << (place & _SIXTY_THREE)
        if k > 0 and k % SAMPLE == 0:
            s = (i >> _BLOCK_SHIFT) - _ONE
            words[samples_at + (s >> _ONE)] |= place << ((s & _ONE) << _U(5))
    return values.size


@njit(cache=True, nogil=True)
def _take(address, low_bits, high_at, samples_at, indices, out):  # type: ignore[no-untyped-def]
    for k in range(indices.size):
        out[k] = select(address, _U(0), low_bits, high_at, samples_at, _U(indices[k]))


@njit(cache=True, nogil=True)
def _check(words, address, n, largest, low_bits, high_at, samples_at):  # type: ignore[no-untyped-def]
    """0, or which promise of the words is broken: 1 number of bits, 2 their range, 3 samples, 4 size."""
    found = _U(0)
    for k in range(high_at, samples_at):
        word = words[k]
        count = popcount(word)
        # At most one sampled bit in a word: there are 128 from one to the next.
        block = (found + count - _ONE) >> _BLOCK_SHIFT
        if (
            count > _U(0)
            and block > _U(0)
            and (block << _BLOCK_SHIFT) >= found
            and (block << _BLOCK_SHIFT) < n
        ):
            for _ in range((block << _BLOCK_SHIFT) - found):
                word &= word - _ONE
            s = block - _ONE
            sample = (words[samples_at + (s >> _ONE)] >> ((s & _ONE) << _U(5))) & _U(0xFFFFFFFF)
            if sample != ((k - high_at) << _SIX) + _U(lowest_bit(word)):
                return 3
        found += count
    if found != n:
        return 1
    top = largest >> low_bits
    # With all n bits among the first n + top, no high part is over top.
    end = n + top
    if end & _SIXTY_THREE > _U(0) and words[high_at + (end >> _SIX)] >> (end & _SIXTY_THREE) != _U(0):
        return 2
    i = n
    while i > _U(0):
        value = select(address, _U(0), low_bits, high_at, samples_at, i - _ONE)
        if value > largest:
            return 4
        if value >> low_bits < top:
            break
        i -= _ONE
    return 0


_FAULTS = {
    1: "the high parts do not hold one bit a value",
    2: "a high part is over the largest allowed",
    3: "a select sample is wrong",
    4: "a value is over the largest allowed",
}


def encode(values: NDArray[np.uint64], largest: int | None = None) -> NDArray[np.uint64]:
    """The words of a non-decreasing sequence; O(n).

    Parameters
    ----------
    values : (n,) uint64 array, non-decreasing
    largest : int, default the last value
        At least every value; needed again to read the words.

    Returns
    -------
    (layout(n, largest).n_words,) uint64 array

    Raises
    ------
    ValueError
        If the values decrease somewhere or one is over `largest`.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh.elias_fano import encode, take
    >>> words = encode(np.array([3, 3, 8, 1000], dtype=np.uint64))
    >>> take(words, 4, 1000, np.array([0, 2, 3])).tolist()
    [3, 8, 1000]
    """
    values = np.ascontiguousarray(values, dtype=np.uint64)
    if values.ndim != 1:
        raise ValueError(f"values must be one-dimensional, got {values.ndim} dimensions")
    last = int(values[-1]) if values.size else 0
    plan = layout(values.size, last if largest is None else largest)
    if largest is not None and last > largest:
        raise ValueError(f"values must be at most largest={largest}, got {last}")
    words = np.zeros(plan.n_words, dtype=np.uint64)
    # Against `last`: with it, no value of a non-decreasing sequence is written out of bounds.
    if values.size and int(values.max()) > last:
        at = int(np.flatnonzero(values[1:] < values[:-1])[0]) + 1
        raise ValueError(f"values must not decrease, but values[{at}] < values[{at - 1}]")
    at = _encode(values, _U(plan.low_bits), _U(plan.high_at), _U(plan.samples_at), words)
    if at < values.size:
        raise ValueError(f"values must not decrease, but values[{at}] < values[{at - 1}]")
    return words


def check(words: NDArray[np.uint64], n: int, largest: int) -> None:
    """Refuse words in which a select would leave their bounds or find a value over `largest`.

    Reads the high parts and the samples (about two bits a value), not the low bits; whether values whose
    high parts are equal ascend is not looked at.

    Raises
    ------
    ValueError
        With what is wrong.
    """
    plan = layout(n, largest)
    if words.dtype != np.uint64 or words.shape != (plan.n_words,):
        raise ValueError(
            f"words must be uint64 of shape ({plan.n_words},) for n={n} and largest={largest}, "
            f"got {words.dtype} of shape {words.shape}"
        )
    if n == 0:
        return
    places = [_U(place) for place in plan[:3]]
    words = read_only(np.ascontiguousarray(words))
    fault = _check(words, address_of(words), _U(n), _U(largest), places[0], places[1], places[2])
    if fault:
        raise ValueError(f"words are damaged: {_FAULTS[fault]}")


def take(
    words: NDArray[np.uint64], n: int, largest: int, indices: NDArray[np.integer[Any]]
) -> NDArray[np.uint64]:
    """The values at `indices` of words that `encode` made or `check` has passed; about 15 ns each."""
    plan = layout(n, largest)
    if words.dtype != np.uint64 or words.shape != (plan.n_words,) or not words.flags.c_contiguous:
        raise ValueError(f"words must be those of n={n} and largest={largest}, got {words!r}")
    where = np.ascontiguousarray(indices, dtype=np.int64)
    if where.size and (int(where.min()) < 0 or int(where.max()) >= n):
        raise ValueError(f"indices must be from 0 to {n - 1}, got {where.min()} to {where.max()}")
    out = np.empty(where.size, dtype=np.uint64)
    places = [_U(place) for place in plan[:3]]
    _take(address_of(words), places[0], places[1], places[2], where.ravel(), out)
    return out.reshape(where.shape)


def address_of(array: NDArray[np.uint64]) -> np.uint64:
    """Where an array lies, for `load_word`; good as long as the array lives."""
    return _U(array.ctypes.data)
