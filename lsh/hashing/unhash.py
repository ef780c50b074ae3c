"""The inverse of XXH3-64 of eight bytes. It is a bijection, so a hash gives the integer key back."""

from __future__ import annotations

from ..kernels.xxh3 import FLIP_8, MX_2

__all__ = ["unhash_u64"]

_MASK = (1 << 64) - 1
_INVERSE = pow(int(MX_2), -1, 1 << 64)


def unhash_u64(hash_: int, seed: int = 0) -> int:
    """Return the integer in [0, 2**64) that has this hash: the inverse of `hash_keys` for integers.

    Examples
    --------
    >>> from mergesketch.lsh import hash_keys
    >>> unhash_u64(int(hash_keys([12345], seed=6)[0]), seed=6)
    12345
    """
    h = hash_ ^ (hash_ >> 28) ^ (hash_ >> 56)
    h = h * _INVERSE & _MASK
    # The shifted number is below 2**29, so adding 8 to it does not change the bits that it was taken from.
    h ^= (h >> 35) + 8
    h = h * _INVERSE & _MASK
    # h ^ rotate(h, 24) ^ rotate(h, 49) is a linear map whose 64th power is the identity.
    for i in range(6):
        h ^= _rotate(h, 24 << i) ^ _rotate(h, 49 << i)
    swapped = int.from_bytes((seed & 0xFFFFFFFF).to_bytes(4, "little"), "big") << 32
    return _rotate(h ^ ((int(FLIP_8) - (seed ^ swapped)) & _MASK), 32)


def _rotate(word: int, bits: int) -> int:
    bits %= 64
    return ((word << bits) | (word >> (64 - bits))) & _MASK
