"""Read decimal numbers from text, as Python's `float` does."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["EXACT", "HARD", "NEAR", "NONE", "ends_token", "read_decimals", "read_number"]

_NEWLINE, _RETURN, _SPACE, _TAB, _HASH = 10, 13, 32, 9, 35
_POWERS = 10.0 ** np.arange(23)
#: The quality of a number that `read_number` returns.
EXACT, HARD, NONE, NEAR = 0, 1, 2, 3


@helper
def ends_token(byte):
    return byte in (_SPACE, _NEWLINE, _RETURN, _TAB, _HASH)


@helper
def read_number(data, at):
    """Read a decimal number at `at`; return (value, the place after it, the quality of the value).

    Notes
    -----
    EXACT: Clinger's fast path. A mantissa below 2**53 and a power of ten up to 22 are both floats, so one
    correctly rounded operation gives the nearest float. NEAR: up to 19 digits of a longer mantissa, and up
    to two powers of ten, give a value that differs by less than 2**-51 of it, from three roundings and the
    digits left out. HARD: the caller must read the number. NONE: there is no number.
    """
    n = data.size
    negative = False
    if at < n and (data[at] == 43 or data[at] == 45):
        negative = data[at] == 45
        at += 1
    mantissa = np.uint64(0)
    digits = significant = scale = 0
    point = False
    while at < n:
        byte = data[at]
        if 48 <= byte <= 57:
            digits += 1
            if significant or byte != 48:
                significant += 1
            if significant <= 19:
                mantissa = mantissa * np.uint64(10) + np.uint64(byte - 48)
            else:
                scale += 1
            if point:
                scale -= 1
        elif byte == 46 and not point:
            point = True
        else:
            break
        at += 1
    if digits == 0:
        # The token may be inf or nan, which Python decides.
        while at < n and not ends_token(data[at]):
            at += 1
        return 0.0, at, HARD
    if at < n and (data[at] == 101 or data[at] == 69):
        after = at + 1
        minus = False
        if after < n and (data[after] == 43 or data[after] == 45):
            minus = data[after] == 45
            after += 1
        if after >= n or not 48 <= data[after] <= 57:
            return 0.0, at, NONE
        exponent = 0
        while after < n and 48 <= data[after] <= 57:
            if exponent < 100000:
                exponent = exponent * 10 + int(data[after] - 48)
            after += 1
        scale += -exponent if minus else exponent
        at = after
    if at < n and not ends_token(data[at]):
        return 0.0, at, NONE
    value = np.float64(mantissa)
    state = EXACT if significant <= 19 and mantissa <= np.uint64(1 << 53) else NEAR
    if mantissa == np.uint64(0):
        scale = 0
    if scale > 22 or scale < -22:
        if scale > 44 or scale < -44:
            return 0.0, at, HARD
        state = NEAR
        value = value * 1e22 if scale > 0 else value / 1e22
        scale += -22 if scale > 0 else 22
    value = value * _POWERS[scale] if scale >= 0 else value / _POWERS[-scale]
    return (-value if negative else value), at, state


@kernel
def read_decimals(data, offsets, values, hard):
    """Read texts as numbers: text i has the bytes from ``offsets[i]`` to ``offsets[i + 1]``.

    Returns the number of the texts whose values the caller must read; `hard` gets their places.
    """
    n_hard = 0
    for i in range(offsets.size - 1):
        text = data[offsets[i] : offsets[i + 1]]
        values[i], end, state = read_number(text, 0)
        if state != EXACT or end != text.size:
            hard[n_hard] = i
            n_hard += 1
    return n_hard
