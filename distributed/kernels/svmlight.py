"""Parse svmlight text: ``label index:value index:value ... # comment``, one row a line."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel
from .decimals import EXACT, HARD, NEAR, NONE, ends_token, read_number

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
#: Factors for a lower and an upper bound of a number that `read_number` returns as NEAR.
_BELOW, _ABOVE = 1.0 - 2.0**-50, 1.0 + 2.0**-50


@kernel
def count_svmlight(data):
    """Return the numbers of newlines and colons of a text, which bound its rows and entries."""
    newlines = colons = 0
    for i in range(data.size):
        newlines += data[i] == _NEWLINE
        colons += data[i] == _COLON
    return newlines, colons


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
        value, at, state = read_number(data, at)
        if state == NONE:
            return rows, entries, n_hard, BAD_LABEL, start
        if state != EXACT:
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
                while at < n and not ends_token(data[at]):
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
            if at >= n or ends_token(data[at]):
                return rows, entries, n_hard, BAD_VALUE, start
            value, at, state = read_number(data, at)
            if state == NONE:
                return rows, entries, n_hard, BAD_VALUE, start
            # The number lies between two bounds. In rare cases, one in many millions, they round to different
            # values of float32, and then the number is hard.
            if state == HARD or (state == NEAR and np.float32(value * _BELOW) != np.float32(value * _ABOVE)):
                if n_hard < hard.shape[0]:
                    hard[n_hard, 0], hard[n_hard, 1] = start, entries
                n_hard += 1
            indices[entries] = index
            values[entries] = value
            entries += 1
        rows += 1
        offsets[rows] = entries
    return rows, entries, n_hard, NO_ERROR, 0
