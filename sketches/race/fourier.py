"""Kernel sums of Gaussian and Laplacian kernels from sums of random Fourier features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.weights import check_weights
from ...lsh.support.checks import check_flag, check_int, check_real
from ...lsh.support.configured import arguments_of
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.state import StateSpec
from ..kernels.fourier import ONE
from .fourier_queries import FourierQueries
from .privacy_budget import PrivacyBudget, check_budget
from .private_fourier import PrivateFourier, fourier_sensitivity, total_unit
from .race import largest_weight
from .release import check_record_weight

__all__ = ["FourierSketch"]


class _Batch(NamedTuple):
    """The sums that a batch of rows adds, and the number of its rows."""

    n: int
    sums: NDArray[np.int64]
    #: The sum of the weights, and of their magnitudes.
    total: Any
    magnitude: int
    heaviest: int


class FourierSketch(FourierQueries):
    """Estimate sums and densities of a Gaussian or Laplacian kernel (KDE) from random Fourier features.

    Parameters
    ----------
    n_features : int
        Number of columns d of the rows.
    n_components : int, default 1024
        Number of random frequencies m, at least 2. The standard error of a density is at most
        ``1 / sqrt(2 m)``, or ``sqrt(k / (2 m))`` for k widths.
    width : float or sequence of float, default 1.0
        Width h of the kernel, in units of distance. If up to 64 widths are given, `query` takes one of them.
        All components serve each width: with few features, errors are smaller than those of as many sketches
        with ``m / k`` components each, and else they are equal.
    kernel : {"gaussian", "laplacian"}
        ``exp(-|x - q|_2**2 / (2 h**2))``, or ``exp(-|x - q|_1 / h)`` of the city block distance.
    projection : {"independent", "orthogonal", "hadamard"}
        "orthogonal" draws the frequencies of the Gaussian kernel in blocks of d orthogonal directions, which
        mostly makes the errors smaller, most where d is large and the width too. They take
        ``O(m d**2)`` time to draw. "hadamard" takes the rows of products of Hadamard matrices and random
        signs as directions (Yu et al. 2016, section 4), in blocks of D, the next power of two, at least 256.
        Errors are about as small, and dense rows with many features take far less time. Sparse rows take far
        more, because zeros cost as much as other numbers.
    seed : int, default 0
        In [0, 2**64).

    Attributes
    ----------
    total : int
        The sum of the weights of all rows, N below.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    A shift-invariant kernel is a mean of cosines, ``k(x, q) = E cos(w . (x - q))``, over frequencies w from
    its Fourier transform: normal ones for the Gaussian kernel, and Cauchy ones for the Laplacian. The sketch
    adds up ``cos(w_c . x)`` and ``sin(w_c . x)`` of all rows for each of m frequencies, and a query returns
    the mean over c of

        sum over x of cos(w_c . (x - q)) = S_cos[c] cos(w_c . q) + S_sin[c] sin(w_c . q)

    which is unbiased (Rahimi and Recht 2007, "Random features for large-scale kernel machines"). A cosine has
    a variance of at most 1/2, so the standard error of a kernel sum is at most ``N / sqrt(2 m)``, for every
    query and in any dimension. That is an absolute error: where densities are far below it, `Race` and
    `DensitySketch` are better.

    Features are rounded to multiples of 2**-20 and added as 64-bit integers. So sketches merge bit for bit,
    and rows can be removed exactly, by `subtract` or by negative weights.

    A row costs d m multiplications, and m cosines and sines; so does a query, for any N. With "hadamard" the
    multiplications become ``3 m log2(D)`` additions. Memory is 16 m bytes. The frequencies take another 8 d m
    bytes, or 32 m with "hadamard", and k weights of 8 bytes a component for k widths. They are drawn from the
    seed at first use, and are not saved.

    References
    ----------
    - Rahimi, Recht. Random features for large-scale kernel machines. NIPS 2007.
    - Yu, Suresh, Choromanski, Holtmann-Rice, Kumar. Orthogonal random features. NIPS 2016.
    - Veach, Guibas. Optimally combining sampling techniques for Monte Carlo rendering. SIGGRAPH 1995.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> sketch = mergesketch.FourierSketch(n_features=2, n_components=2000, width=1.0, seed=1)
    >>> monday = sketch.empty_like().update([[0.0, 0.0], [1.0, 1.0]])
    >>> tuesday = sketch.empty_like().update([[5.0, 0.0]])
    >>> sums, std = (monday | tuesday).query([[0.0, 0.0]], return_std=True)
    >>> bool(abs(sums[0] - (1 + np.exp(-1) + np.exp(-12.5))) < 4 * std[0])
    True
    """

    _gpu = True
    _not_compared = frozenset(["largest_weight"])

    @classmethod
    def for_error(cls, n_features: int, error: float, confidence: float = 0.95, **parameters: Any) -> Self:
        """Return a sketch whose densities have an absolute error of at most a bound.

        Parameters
        ----------
        n_features : int
        error : float
            In (0, 1): the bound of the error of a kernel sum, over the total weight.
        confidence : float
            Probability 1 - delta with which the bound holds, for each query by itself.
        **parameters
            The other parameters of the class. Weights must not be negative, `projection` must be
            "independent" and `width` one number: for others no such bound is proven.

        Returns
        -------
        FourierSketch

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Notes
        -----
        A term of the density lies in [-1, 1] and has a variance of at most 1/2. Bernstein's inequality (in
        Boucheron, Lugosi and Massart 2013, theorem 2.10) and Hoeffding's (theorem 2.8) then give::

            m = min(1 + 4 error / 3, 2) ln(2 / delta) / error**2

        Examples
        --------
        >>> from mergesketch import FourierSketch
        >>> FourierSketch.for_error(n_features=10, error=0.02).n_components
        9470
        """
        error = check_real("error", error, 0.0, 1.0)
        delta = 1.0 - check_real("confidence", confidence, 0.0, 1.0)
        least = cls(n_features, 128, **parameters)  # raises if one of them is wrong
        if least.projection != "independent":
            raise ValueError(
                f'projection must be "independent" for a bound of the error, got "{least.projection}"'
            )
        if isinstance(least.width, tuple):
            raise ValueError(f"width must be one number for a bound of the error, got {least.width}")
        # Rounded features may add 2**-20 to an error.
        left = max(error - 2.0 / ONE, error / 2.0)
        needed = min(1.0 + 4.0 * left / 3.0, 2.0) * math.log(2.0 / delta) / left / left
        try:
            sketch = cls(n_features, max(2, math.ceil(needed)), **parameters)
        except (ValueError, OverflowError):
            raise ValueError(
                f"error must be reached by as many components as a sketch can have, got {error:g}, which "
                f"takes {needed:.3g} at confidence {confidence:g}"
            ) from None
        return sketch._asked_for(error=error, confidence=confidence)

    def _layout(self) -> dict[str, StateSpec]:
        return {
            "sums": StateSpec((2, self.n_components), "int64", "sum", remedy="choose fewer components"),
            "total": StateSpec((1,), "int64", "sum"),
            # The noise of a release must hide a record as heavy as the heaviest row.
            "largest_weight": StateSpec((1,), "int64", "max"),
        }

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        if int(arrays["largest_weight"][0]) < 0:
            raise ValueError(f"largest_weight must be at least 0, got {arrays['largest_weight'][0]}")

    @property
    def total(self) -> int:
        """The sum of the weights of all rows."""
        return int(self._arrays["total"][0])

    def update(self, X: RowsLike, weights: ArrayLike | None = None) -> Self:
        """Add a batch of rows.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers within 2**30 widths of 0.
        weights : array of n integers, optional
            1 by default. Negative weights remove rows again.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN or infinity, has another number of columns, or lies beyond 2**30
            of the least width; if
            `weights` are no integers, or of another number.
        OverflowError
            If a 64-bit sum could wrap: sums of magnitudes of weights are at most 2**43. Nothing changes if an
            exception is raised.
        """
        return self._take_in({"X": X, "weights": weights})

    def _read(self, X: Any, weights: Any) -> _Batch:
        rows = self._read_rows(X)
        checked, magnitude = check_weights("weights", weights, rows.n)
        total = checked.sum() if checked.size else rows.n
        return _Batch(
            rows.n, self._features(rows, checked), total, magnitude, largest_weight(checked, rows.n)
        )

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return {"sums": batch.magnitude * ONE, "total": batch.magnitude, "n_updates": batch.n}

    def _add(self, batch: _Batch) -> None:
        arrays = self._arrays
        arrays["sums"] += batch.sums
        arrays["total"] += batch.total
        np.maximum(arrays["largest_weight"], batch.heaviest, out=arrays["largest_weight"])

    # -- releases ---------------------------------------------------------------------------------

    def release(
        self,
        epsilon: float,
        *,
        record_weight: int = 1,
        check_weights: bool = True,
        budget: PrivacyBudget | None = None,
    ) -> PrivateFourier:
        """Return a differentially private copy, which contains noisy sums and no exact ones.

        Parameters
        ----------
        epsilon : float
            The budget, above 0. It is rounded down to a multiple of 2**-24.
        record_weight : int, default 1
            The largest sum of magnitudes of weights that one record has added, as for `Race.release`. It is a
            public bound that you guarantee.
        check_weights : bool, default True
            False to release the sketch even if a row was heavier than `record_weight`, as for `Race.release`.
        budget : PrivacyBudget, optional
            The budget of all releases about the same people, from which this release takes `epsilon`.

        Returns
        -------
        PrivateFourier
            It is epsilon-differentially private under adding or removing a record.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of its range, or a row that was added, subtracted or merged has a larger
            weight than `record_weight`. Such messages are for the owner of the data only.
        OverflowError
            If a sum and its noise may go beyond 63 bits.
        PrivacyBudgetError
            If less than `epsilon` remains of the budget. Nothing is released then.
        """
        if self.device == "gpu":
            raise NotImplementedError('noise is drawn on the CPU: move the sketch with .to("cpu")')
        check_budget(budget)
        check_real("epsilon", epsilon, 0.0, math.inf)
        record_weight = check_int("record_weight", record_weight, 1, 1 << 31)
        if check_flag("check_weights", check_weights):
            check_record_weight(self, record_weight)
        with self._lock:
            state = self.state
            unit = total_unit(self.n_components)
            if abs(self.total) * unit > 1 << 62:
                raise OverflowError("sums and noise together go beyond 63 bits")
            exact = {"sums": state.arrays["sums"], "total": state.arrays["total"] * unit}
            sensitivity = fourier_sensitivity(self.n_components, record_weight)
            release = PrivateFourier(**arguments_of(self))
            return release._take_noisy(self, exact, sensitivity, epsilon, budget)


publish("mergesketch", __all__, globals())
