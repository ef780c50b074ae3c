"""Parse svmlight text: ``label index:value index:value ... # comment``, one row a line."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["BAD_LABEL", "BAD_VALUE", "ERRORS", "NO_ERROR", "count_svmlight", "parse_svmlight"]

#: The errors of a line, as `parse_svmlight` returns them.
NO_ERROR, BAD_LABEL, BAD_FEATURE, BAD_INDEX, BAD_VALUE = range(5)
#: The message of each error.
ERRORS = (
    "",
    "a label that is not a number",
    "a feature that is not index:value",
    "an index that is not a whole number below 2**63",
    "a value that is not a number",
)
_NEWLINE, _RETURN, _SPACE, _TAB, _COLON, _HASH = 10, 13, 32, 9, 58, 35
_POWERS = 10.0 ** np.arange(23)
#: Factors for a lower and an upper bound of a number that `_number` returns as _NEAR.
_BELOW, _ABOVE = 1.0 - 2.0**-50, 1.0 + 2.0**-50
#: The quality of a number that `_number` returns.
_EXACT, _HARD, _NONE, _NEAR = 0, 1, 2, 3


@kernel
def count_svmlight(data):
    """Return the numbers of newlines and colons of a text, which bound its rows and entries."""
    newlines = colons = 0
    for i in range(data.size):
        newlines += data[i] == _NEWLINE
        colons += data[i] == _COLON
    return newlines, colons


@helper
def _ends_token(byte):
    return byte in (_SPACE, _NEWLINE, _RETURN, _TAB, _HASH)


@helper
def _number(data, at):
    """Read a decimal number at `at`; return (value, the place after it, the quality of the value).

    Notes
    -----
    _EXACT: Clinger's fast path. A mantissa below 2**53 and a power of ten up to 22 are both floats, so one
    correctly rounded operation gives the nearest float. _NEAR: up to 19 digits of a longer mantissa, and up
    to two powers of ten, give a value that differs by less than 2**-51 of it, from three roundings and the
    digits left out. _HARD: the caller must read the number. _NONE: there is no number.
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
        while at < n and not _ends_token(data[at]):
            at += 1
        return 0.0, at, _HARD
    if at < n and (data[at] == 101 or data[at] == 69):
        after = at + 1
        minus = False
        if after < n and (data[after] == 43 or data[after] == 45):
            minus = data[after] == 45
            after += 1
        if after >= n or not 48 <= data[after] <= 57:
            return 0.0, at, _NONE
        exponent = 0
        while after < n and 48 <= data[after] <= 57:
            if exponent < 100000:
                exponent = exponent * 10 + int(data[after] - 48)
            after += 1
        scale += -exponent if minus else exponent
        at = after
    if at < n and not _ends_token(data[at]):
        return 0.0, at, _NONE
    value = np.float64(mantissa)
    state = _EXACT if significant <= 19 and mantissa <= np.uint64(1 << 53) else _NEAR
    if mantissa == np.uint64(0):
        scale = 0
    if scale > 22 or scale < -22:
        if scale > 44 or scale < -44:
            return 0.0, at, _HARD
        state = _NEAR
        value = value * 1e22 if scale > 0 else value / 1e22
        scale += -22 if scale > 0 else 22
    value = value * _POWERS[scale] if scale >= 0 else value / _POWERS[-scale]
    return (-value if negative else value), at, state


@kernel
def parse_svmlight(data, labels, offsets, indices, values, hard):
    """Parse the rows of whole lines.

    Parameters
    ----------
    data : ndarray of uint8
    labels, offsets, indices, values : arrays to fill
        Arrays that are long enough by `count_svmlight`; offsets[0] is 0.
    hard : ndarray of shape (m, 2), int64
        The numbers that need more than the fast path: the place in `data`, and the entry, or ``-1 - row``
        for a label.

    Returns
    -------
    (rows, entries, hard numbers, error, place of the error)
        If there are more than m hard numbers, the text must be parsed again with more room for them.
    """
    n = data.size
    rows = entries = n_hard = 0
    at = 0
    while at < n:
        while at < n and (data[at] == _SPACE or data[at] == _TAB or data[at] == _RETURN):
            at += 1
        if at >= n:
            break
        if data[at] == _NEWLINE:
            at += 1
            continue
        if data[at] == _HASH:
            while at < n and data[at] != _NEWLINE:
                at += 1
            continue
        start = at
        value, at, state = _number(data, at)
        if state == _NONE:
            return rows, entries, n_hard, BAD_LABEL, start
        if state != _EXACT:
            if n_hard < hard.shape[0]:
                hard[n_hard, 0], hard[n_hard, 1] = start, -1 - rows
            n_hard += 1
        labels[rows] = value
        while True:
            while at < n and (data[at] == _SPACE or data[at] == _TAB or data[at] == _RETURN):
                at += 1
            if at >= n or data[at] == _NEWLINE:
                break
            if data[at] == _HASH:
                while at < n and data[at] != _NEWLINE:
                    at += 1
                break
            start = at
            if (
                at + 4 <= n
                and data[at] == 113
                and data[at + 1] == 105
                and data[at + 2] == 100
                and data[at + 3] == _COLON
            ):
                # An entry qid:number belongs to ranking and is not a feature.
                while at < n and not _ends_token(data[at]):
                    at += 1
                continue
            index = np.int64(0)
            while at < n and 48 <= data[at] <= 57:
                if index > (9223372036854775807 - np.int64(data[at] - 48)) // 10:
                    return rows, entries, n_hard, BAD_INDEX, start
                index = index * 10 + np.int64(data[at] - 48)
                at += 1
            if at >= n or data[at] != _COLON:
                return rows, entries, n_hard, BAD_FEATURE, start
            if at == start:
                return rows, entries, n_hard, BAD_INDEX, start
            at += 1
            start = at
            if at >= n or _ends_token(data[at]):
                return rows, entries, n_hard, BAD_VALUE, start
            value, at, state = _number(data, at)
            if state == _NONE:
                return rows, entries, n_hard, BAD_VALUE, start
            # The number lies between two bounds. In rare cases, one in many millions, they round to different
            # values of float32, and then the number is hard.
            if state == _HARD or (
                state == _NEAR and np.float32(value * _BELOW) != np.float32(value * _ABOVE)
            ):
                if n_hard < hard.shape[0]:
                    hard[n_hard, 0], hard[n_hard, 1] = start, entries
                n_hard += 1
            indices[entries] = index
            values[entries] = value
            entries += 1
        rows += 1
        offsets[rows] = entries
    return rows, entries, n_hard, NO_ERROR, 0
