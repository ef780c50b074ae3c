"""The standard error of the number of keys that two sets share, from the model of their registers."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from .hyperloglog_theory import JOINED, moments, probabilities

__all__ = ["overlap_error", "overlap_variance"]

#: Each step brings the answer nearer, from above.
_MOST_STEPS = 12


def overlap_variance(ours: float, theirs: float, shared: float, n_registers: int) -> float:
    """Return the variance of the estimated number of keys in both of two sets.

    The estimate is moved by a(r) + b(s) - u(r or s) for a register r of one set and s of the other, where a,
    b and u are the influences for the three numbers of keys. The influence a is the derivative of the log
    likelihood over the Fisher information I(a), and the mean of u(r or s) rises by 1 with the mean number of
    keys. So the covariance of a and u is 1 / I(a), and that of b and u is 1 / I(b). The variance for a
    register is therefore 1 / I(u) - 1 / I(a) - 1 / I(b), and twice the covariance of a and b. Given the
    register of the shared keys, r and s are independent.

    Parameters
    ----------
    ours, theirs : float
        The keys of both sets, above 0.
    shared : float
        The keys of both, at most the least of them.
    n_registers : int
    """
    m, precision = float(n_registers), (n_registers - 1).bit_length()
    one, other, either = (moments(n / m, precision) for n in (ours, theirs, ours + theirs - shared))
    given = [
        np.einsum("sl,l->s", found.influence[JOINED], probabilities(max(n - shared, 0.0) / m, precision))
        for found, n in ((one, ours), (other, theirs))
    ]
    covariance = float((probabilities(shared / m, precision) * given[0] * given[1]).sum())
    rest = 1.0 / either.information - 1.0 / one.information - 1.0 / other.information
    # The number of shared keys varies in the model, but it is given: see `relative_error`.
    return max(m * (rest + 2.0 * covariance) - shared, 0.0)


def overlap_error(ours: float, theirs: float, shared: float, n_registers: int) -> float:
    """Return the standard error of an estimated number of shared keys, in keys.

    It may depend on the true number strongly: if ten keys have changed none of the registers of a large set,
    then all of them may be in that set, without any error, or none. So this is the largest of the standard
    errors of numbers of shared keys that lie within their own standard error of the estimate.

    Parameters
    ----------
    ours, theirs : float
        The estimated keys of both sets.
    shared : float
        The estimated number of shared keys, which may be negative.
    n_registers : int
    """
    most = min(ours, theirs)
    if most <= 0.0:
        return 0.0

    @cache
    def error(number: float) -> float:
        return math.sqrt(overlap_variance(ours, theirs, number, n_registers))

    answer = math.inf
    for _ in range(_MOST_STEPS):
        near = (min(max(shared + step, 0.0), most) for step in (-answer, 0.0, answer))
        before, answer = answer, max(map(error, near))
        if answer > 0.9 * before:
            break
    return answer
