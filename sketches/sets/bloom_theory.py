"""The error of a blocked Bloom filter, the size for an error, and the number of keys by the set bits.

The results are exact for random hashes: the block of a key and its bits in the block are independent and
uniform, and bits of a key may coincide.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...errors import SaturationWarning
from ...lsh.hashing.keys import HASH_COLLISION
from ...lsh.support.callers import stacklevel_of_caller
from ..kernels import bloom
from ..kernels.bloom import BLOCK_BITS

__all__ = [
    "MAX_BLOCKS",
    "MAX_HASHES",
    "MOST_ERROR",
    "cardinality_error",
    "cardinality_of_zeros",
    "counting_error",
    "error_rate",
    "size_for",
    "unset_bits_error",
    "warn_of_saturation",
]

#: The most blocks of a filter: 256 GiB.
MAX_BLOCKS = 1 << 32
MAX_HASHES = 63
#: Number t of random bits after which a block is full, except with probability 512 exp(-t / 512) = 1e-13.
_FULL = 18_500
#: The largest relative standard error of a number of unset bits from which overlaps are estimated. It is that
#: of about nine bits. With fewer bits, the error of an estimate does not follow from first-order formulas.
MOST_ERROR = 1.0 / 3.0


@lru_cache(maxsize=MAX_HASHES)
def _block_errors(n_hashes: int) -> NDArray[np.float64]:
    """Return the probability that a block of n keys passes an absent key, for n from 0 to a full block."""
    errors = np.empty(_FULL // n_hashes + 2)
    bloom.bloom_errors(n_hashes, errors)
    errors.flags.writeable = False
    return errors


def error_rate(n_keys: int, n_blocks: int, n_hashes: int) -> float:
    """Return the expected share of absent keys that pass a filter of `n_keys` distinct keys.

    The number of a block's keys is Binomial(n_keys, 1 / n_blocks), and the block's error is averaged over it.
    Absent keys with the 64-bit hash of a key are counted in addition.
    """
    from scipy.special import gammaln, xlog1py

    errors = _block_errors(n_hashes)
    mean = n_keys / n_blocks
    spread = 12.0 * math.sqrt(mean) + 40.0
    low, high = max(0, math.floor(mean - spread)), min(n_keys, math.ceil(mean + spread))
    if low >= errors.size:
        return 1.0
    load = np.arange(low, high + 1, dtype=np.float64)
    ways = gammaln(n_keys + 1.0) - gammaln(load + 1.0) - gammaln(n_keys - load + 1.0)
    chances = np.exp(ways - load * math.log(n_blocks) + xlog1py(n_keys - load, -1.0 / n_blocks))
    # The sum is normalised, for the logarithms of large factorials lose digits.
    passed = np.dot(chances, errors[np.minimum(load, errors.size - 1).astype(np.int64)])
    return min(1.0, float(passed / chances.sum()) + n_keys * HASH_COLLISION)


def size_for(capacity: int, wanted: float) -> tuple[int, int]:
    """Return the fewest blocks whose error at `capacity` keys is at most `wanted`, and the fewest hashes."""
    plain = -math.log2(wanted)  # bits for each key in the best filter without blocks
    sizes = []
    for n_hashes in range(max(1, math.floor(plain / 2)), min(MAX_HASHES, math.ceil(plain) + 1) + 1):
        sizes.append((_fewest_blocks(capacity, wanted, n_hashes), n_hashes))
    return min(sizes)


def _fewest_blocks(capacity: int, wanted: float, n_hashes: int) -> int:
    enough = max(1, capacity * n_hashes // BLOCK_BITS)
    while error_rate(capacity, enough, n_hashes) > wanted:
        enough *= 2
    fewer = range(1, enough)
    return 1 + bisect_left(fewer, True, key=lambda n: error_rate(capacity, n, n_hashes) <= wanted)


def _share_hit(n_bits: int, n_hashes: int) -> float:
    """Return the probability that a key of a block sets at least one of `n_bits` given bits."""
    return -math.expm1(n_hashes * math.log1p(-n_bits / BLOCK_BITS))


def cardinality_of_zeros(zeros: int, n_blocks: int, n_hashes: int) -> float:
    """Return the number of distinct keys after which `zeros` bits are expected to be unset; 0 counts as 1.

    A key leaves a bit unset with probability 1 - a / n_blocks, a = 1 - (1 - 1/512)**n_hashes. So the expected
    share of unset bits after n keys is the n-th power of that.
    """
    if zeros == BLOCK_BITS * n_blocks:
        return 0.0
    hit = _share_hit(1, n_hashes) / n_blocks
    return math.log(max(1, zeros) / (BLOCK_BITS * n_blocks)) / math.log1p(-hit)


def unset_bits_error(n_keys: float, n_blocks: int, n_hashes: int) -> float:
    """Return the standard error of the number of unset bits after `n_keys` distinct keys, as a share of it.

    A key leaves two bits unset with probability 1 - b / n_blocks if they share a block, where
    b = 1 - (1 - 2/512)**n_hashes, and with 1 - 2 a / n_blocks if not.
    """
    a, b = _share_hit(1, n_hashes), _share_hit(2, n_hashes)
    alone = n_keys * math.log1p(-a / n_blocks)
    together = n_keys * math.log1p(-b / n_blocks)
    # Squared expectations are subtracted within the logarithms, for their difference is tiny. Those of nearly
    # full filters exceed all floating-point numbers.
    if together - 2.0 * alone > 700.0 or -alone > 700.0:
        return math.inf
    variance = math.expm1(-alone) / (BLOCK_BITS * n_blocks)
    variance += (BLOCK_BITS - 1) / (BLOCK_BITS * n_blocks) * math.expm1(together - 2.0 * alone)
    if n_blocks > 1:
        apart = n_keys * math.log1p(-2.0 * a / n_blocks)
        variance += (1.0 - 1.0 / n_blocks) * math.expm1(apart - 2.0 * alone)
    return math.sqrt(max(0.0, variance))


def cardinality_error(n_keys: float, n_blocks: int, n_hashes: int) -> float:
    """Return the standard error of `cardinality_of_zeros` at `n_keys` distinct keys, to first order."""
    slope = -math.log1p(-_share_hit(1, n_hashes) / n_blocks)
    return unset_bits_error(n_keys, n_blocks, n_hashes) / slope


def warn_of_saturation(message: str) -> None:
    """Warn, at the call of the public method, of bits that are too full."""
    warnings.warn(message, SaturationWarning, stacklevel=stacklevel_of_caller())


def counting_error(n: int, n_bits: int) -> float:
    """Return the mean square error of linear counting of n keys; infinity if all bits would be set."""
    t = n / n_bits
    if t >= 300.0:
        return math.inf
    # For small t the difference would lose all digits, so the series is used.
    bias = (t * t / 2.0 + t**3 / 6.0 if t < 1e-4 else math.expm1(t) - t) / 2.0
    return 2.0 * n_bits * bias + bias**2
