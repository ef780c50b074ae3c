"""Give sketches of numbers what they share: extremes, ranks of numbers, and the form of answers."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from ...lsh.inputs.answers import like
from ...lsh.inputs.finite_numbers import FiniteNumbers
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch

__all__ = ["QuantileSketch"]


class QuantileSketch(MergeableSketch):
    """A sketch of numbers that answers for quantiles and ranks.

    Its state has the least and the largest value, as arrays named `min` and `max`.
    """

    @property
    def _n_values(self) -> int:
        """The number of values, with their counts."""
        return self.n_updates

    @property
    def min(self) -> float:
        """The least value, exactly; NaN as long as there is none."""
        return float(self._arrays["min"][0]) if self._n_values else math.nan

    @property
    def max(self) -> float:
        """The largest value, exactly; NaN as long as there is none."""
        return float(self._arrays["max"][0]) if self._n_values else math.nan

    def rank(self, values: RowsLike) -> Any:
        """Estimate how many of the sketch's values are at most each of some values.

        `cdf_bounds` tells how far the share may be off.

        Parameters
        ----------
        values : array, list or column of n numbers, or one number
            Finite.

        Returns
        -------
        ndarray of shape (n,), float64
            A float for one number.

        Raises
        ------
        TypeError, ValueError
            If the values are no finite real numbers in one dimension.

        Warns
        -----
        SaturationWarning
            If a number is beyond `largest` of a `DDSketch`, which does not tell apart the values there.
        """
        numbers = self._numbers(values)
        return self._like(values, numbers, self._ranks(numbers.values)[0])

    def cdf(self, values: RowsLike) -> Any:
        """Estimate the share of the sketch's values that are at most each of some values.

        `cdf_bounds` tells how far it may be off.

        Parameters
        ----------
        values : array, list or column of n numbers, or one number
            Finite.

        Returns
        -------
        ndarray of shape (n,), float64
            A float for one number. NaN as long as the sketch has no values.

        Raises
        ------
        TypeError, ValueError
            If the values are no finite real numbers in one dimension.

        Warns
        -----
        SaturationWarning
            If a number is beyond `largest` of a `DDSketch`, which does not tell apart the values there.

        Examples
        --------
        >>> import mergesketch
        >>> sketch = mergesketch.DDSketch(relative_error=0.01).update(range(1, 1001))
        >>> round(sketch.cdf(300), 2)
        0.3
        >>> mergesketch.KLLSketch(k=2000).update(range(1, 1001)).cdf([0, 300])
        array([0. , 0.3])
        """
        numbers = self._numbers(values)
        ranks, n = self._ranks(numbers.values)
        return self._like(values, numbers, ranks / n)

    def _numbers(self, values: Any) -> FiniteNumbers:
        """Return the numbers of a query on the device of the sketch."""
        raise NotImplementedError

    def _ranks(self, x: NDArray[Any]) -> tuple[NDArray[Any], float]:
        """Return the ranks of numbers, and the number of values; zeros and NaN if there is none."""
        raise NotImplementedError

    def _answer(self, q: Any, answer: NDArray[Any]) -> Any:
        """Return answers in the form of q: a float for a number, a Series for a Series."""
        return answer.item() if answer.ndim == 0 else like(q, answer)

    def _like(self, values: Any, numbers: FiniteNumbers, answer: NDArray[Any]) -> Any:
        """Return answers to numbers in the form of the argument."""
        return answer.item() if numbers.is_single else like(values, answer)
