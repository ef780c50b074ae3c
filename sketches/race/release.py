"""The base of private releases of sketches: exact noise, budgets that add up, and no updates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.checks import check_int, check_real
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..core.state import StateSpec
from .noise import EPSILON_UNIT, LARGEST_SCALE, discrete_laplace, laplace_variance, round_epsilon
from .privacy_budget import PrivacyBudget, check_budget

__all__ = ["UNKNOWN_WEIGHT", "Release", "check_record_weight"]

#: The largest weight of a row if it is not known, or beyond 63 bits: above all weights that noise can hide.
UNKNOWN_WEIGHT = np.iinfo(np.int64).max
#: The least budget, in units, that is left after noise of a large scale was rounded up; see `_rounded_up`.
_LEAST_UNITS = 64


class Release(MergeableSketch):
    """Noisy sums of a sketch, which reveal almost nothing about a single record."""

    #: The sketch that is released, and what its sums are called in texts.
    _released: str
    _number = "counter"

    @staticmethod
    def _budgets() -> dict[str, StateSpec]:
        """Return the specifications of the budgets and of the variance of the noise."""
        return {
            # Budgets in units of EPSILON_UNIT, so that they add exactly.
            "spent": StateSpec((1,), "int64", "sum"),
            "spent_if_disjoint": StateSpec((1,), "int64", "max"),
            "variance": StateSpec((1,), "float64", "sum"),
        }

    def _take_noisy(
        self,
        sketch: MergeableSketch,
        sums: Mapping[str, NDArray[Any]],
        sensitivity: int,
        epsilon: float,
        budget: PrivacyBudget | None,
    ) -> Self:
        """Take over integer sums of `sketch`, with noise; a record changes them by `sensitivity` in all."""
        check_budget(budget)
        units = round_epsilon(check_real("epsilon", epsilon, 0.0, math.inf))
        scale = _rounded_up(sensitivity, units)
        arrays: dict[str, NDArray[Any]] = {}
        for name, exact in sums.items():
            noisy = arrays[name] = discrete_laplace(exact.shape, *scale)
            largest = max(int(np.abs(part).max()) if part.size else 0 for part in (exact, noisy))
            if largest > 1 << 62:
                raise OverflowError(f"{self._number}s and noise together go beyond 63 bits")
            noisy += exact
        variance = laplace_variance(scale[0], scale[1] * EPSILON_UNIT)
        arrays.update(
            {
                "spent": np.array([units]),
                "spent_if_disjoint": np.array([units]),
                "variance": np.array([variance]),
                "n_updates": np.array([1]),
            }
        )
        self._columns = sketch.column_names
        # The budget is spent last: what fails before has released nothing.
        if budget is not None:
            budget.spend(units * EPSILON_UNIT)
        return self._set_arrays(arrays)

    def _facts(self) -> list[tuple[str, str]]:
        noise = f"{self.noise_std:.4g} a {self._number}"
        return [*super()._facts(), ("epsilon", f"{self.epsilon:.6g}"), ("noise", noise)]

    def __repr__(self) -> str:
        # Nothing that was counted is shown: the updates are those of the merged releases.
        disjoint = f" ({self.epsilon_if_disjoint:.6g} if disjoint)" if self.n_updates > 1 else ""
        noise = f"noise of {self.noise_std:.4g} a {self._number}"
        return f"{super().__repr__()[:-1]}, epsilon {self.epsilon:.6g}{disjoint}, {noise}>"

    def update(self, X: RowsLike, *args: Any, **kwargs: Any) -> Self:
        """Raise TypeError: a release takes no rows. Update the sketch and release it again, at its own cost.

        Parameters
        ----------
        X, *args, **kwargs
            They are ignored.

        Returns
        -------
        Nothing.

        Raises
        ------
        TypeError
            Always.
        """
        name = self._released
        raise TypeError(f"{type(self).__name__} takes no rows: update a {name} and release that")

    @property
    def epsilon(self) -> float:
        """Budget spent on a record that is in all of the merged parts."""
        return float(self._arrays["spent"][0]) * EPSILON_UNIT

    @property
    def epsilon_if_disjoint(self) -> float:
        """Budget spent on a record that is in only one of the merged parts."""
        return float(self._arrays["spent_if_disjoint"][0]) * EPSILON_UNIT

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise of one number."""
        return math.sqrt(float(self._arrays["variance"][0]))

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        if int(arrays["spent"][0]) < 0 or int(arrays["spent_if_disjoint"][0]) < 0:
            raise ValueError("budgets must be at least 0")
        if not float(arrays["variance"][0]) >= 0:
            raise ValueError(f"variance must be at least 0, got {arrays['variance'][0]}")


def _rounded_up(sensitivity: int, units: int) -> tuple[int, int]:
    """Return a sensitivity and a budget of at least the same ratio, which `discrete_laplace` takes.

    It takes ratios of integers below 2**56. The last bits of larger ones are dropped from the budget, and
    filled up in the sensitivity.
    """
    numerator = sensitivity * round(1.0 / EPSILON_UNIT)
    bits = max(0, numerator.bit_length() - LARGEST_SCALE.bit_length() + 2)
    if units >> bits < _LEAST_UNITS:
        return sensitivity, units  # refused there, unless both have a common factor
    return -(-sensitivity >> bits) << bits, units >> bits << bits


def check_record_weight(sketch: MergeableSketch, record_weight: int) -> None:
    """Refuse a record weight below that of a row that the sketch has seen."""
    check_int("record_weight", record_weight, 1, 1 << 31)
    heaviest = int(sketch.state["largest_weight"].array[0])
    if heaviest == UNKNOWN_WEIGHT:
        raise ValueError(
            f"release needs the largest weight of a row, which this {type(sketch).__name__} does not know "
            "(an older version saved it) or cannot count; pass check_weights=False if no row is heavier than "
            "record_weight"
        )
    if heaviest > record_weight:
        raise ValueError(
            f"record_weight must be at least the largest weight of a row, {heaviest} (which is private), got "
            f"{record_weight}; clip weights to a public bound before they are taken in"
        )
