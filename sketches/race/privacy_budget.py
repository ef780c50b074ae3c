"""The budget of all private releases about the same people, which is spent release by release."""

from __future__ import annotations

import math
import threading
from fractions import Fraction
from typing import Any, NoReturn, Self

from ...errors import PrivacyBudgetError
from ...lsh.support.checks import check_real
from ...lsh.support.public import publish

__all__ = ["PrivacyBudget", "check_budget"]

#: The share of the total by which the sum may exceed it: ten times the float 0.1 is a little more than 1.
_ROUNDING = Fraction(1, 2**40)


class PrivacyBudget:
    """Add up the budgets of private releases, and refuse a release that would exceed the total.

    Pass it to every release about the same people: ``race.release(epsilon, budget=budget)``,
    `private_classifier`, `private_regressor`, `PrivateClassifier` and `PrivateRegressor`.

    Parameters
    ----------
    epsilon : float
        The total budget, above 0.
    spent : float, default 0
        What earlier releases have spent, for example those of another process.

    Attributes
    ----------
    epsilon, spent, remaining : float
        The total, what is spent, and what is left.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    **Basic composition**. Releases R_1, ..., R_m with budgets e_1, ..., e_m about the same rows, each with
    its own noise, are together (e_1 + ... + e_m)-differentially private, also if later releases are chosen by
    the results of earlier ones (Dwork, McSherry, Nissim and Smith 2006; McSherry 2009, theorem 3). The
    probability of a sequence of results is the product of the probabilities of each result given the ones
    before, and adding or removing a record changes each factor by at most exp(e_i).

    **Parallel composition** is not applied: releases about disjoint groups of people cost only the largest of
    their budgets (McSherry 2009, theorem 4), so use a budget for each group. Whether groups are disjoint is
    for you to know.

    The object does not know which rows a sketch holds. Releases of copies of a sketch, of merged sketches and
    of other sketches of the same people spend the same budget, if you pass it. A release without `budget` is
    not counted.

    Threads may share a budget. Copies are the budget itself, so `sklearn.base.clone` and cross-validation
    spend one budget. It cannot be pickled, because two processes would then spend it twice: note `spent`, and
    begin the next process with ``PrivacyBudget(epsilon, spent=...)``.

    References
    ----------
    - Dwork, McSherry, Nissim, Smith. Calibrating noise to sensitivity in private data analysis. TCC 2006.
    - McSherry. Privacy integrated queries. SIGMOD 2009.

    Examples
    --------
    >>> from mergesketch import PrivacyBudget, Race
    >>> from mergesketch.lsh import PStable
    >>> budget = PrivacyBudget(1.0)
    >>> race = Race(PStable(2, 16, width=1.0, n_buckets=64)).update([[0.0, 1.0], [2.0, 3.0]])
    >>> release = race.release(0.75, budget=budget)
    >>> budget.spent, budget.remaining
    (0.75, 0.25)
    >>> race.release(0.5, budget=budget)
    Traceback (most recent call last):
    ...
    mergesketch.errors.PrivacyBudgetError: epsilon must be at most 0.25, the rest of the budget, got 0.5
    """

    def __init__(self, epsilon: float, *, spent: float = 0.0) -> None:
        epsilon = check_real("epsilon", epsilon, 0.0, math.inf)
        # Sums of fractions are exact, however many and small the parts are.
        self._total = Fraction(epsilon)
        self._spent = Fraction(check_real("spent", spent, 0.0, epsilon, closed=True))
        self._lock = threading.Lock()

    @property
    def epsilon(self) -> float:
        """The total budget."""
        return float(self._total)

    @property
    def spent(self) -> float:
        """The sum of the budgets that were spent."""
        return float(min(self._spent, self._total))

    @property
    def remaining(self) -> float:
        """The budget that is left."""
        return max(0.0, float(self._total - self._spent))

    def spend(self, epsilon: float) -> None:
        """Spend a part of the budget, for a release that this library does not make.

        Parameters
        ----------
        epsilon : float
            Above 0. It counts in full. A release of this library costs less than its `epsilon` by up to
            2**-24, to which its noise is rounded.

        Raises
        ------
        TypeError, ValueError
            If `epsilon` is not a number above 0.
        PrivacyBudgetError
            If less than `epsilon` remains. Nothing is spent then.
        """
        amount = Fraction(check_real("epsilon", epsilon, 0.0, math.inf))
        with self._lock:
            if self._spent + amount > self._total * (1 + _ROUNDING):
                raise PrivacyBudgetError(
                    f"epsilon must be at most {self.remaining:.6g}, the rest of the budget, got {epsilon:.6g}"
                )
            self._spent += amount

    def __repr__(self) -> str:
        return f"<PrivacyBudget: epsilon {self.epsilon:.6g}, {self.spent:.6g} spent>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a PrivacyBudget cannot be pickled, because two processes would spend it twice; pass "
            "PrivacyBudget(epsilon, spent=...) to the other process, or save the sketch_ of an estimator"
        )


def check_budget(budget: Any) -> PrivacyBudget | None:
    """Return a budget or None; TypeError if it is neither."""
    if budget is not None and not isinstance(budget, PrivacyBudget):
        raise TypeError(f"budget must be a PrivacyBudget or None, got {type(budget).__name__}")
    return budget


publish("mergesketch", __all__, globals())
