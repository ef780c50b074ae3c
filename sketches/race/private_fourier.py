"""Private releases of sums of random Fourier features."""

from __future__ import annotations

import math
from typing import Any

from ...lsh.support.backend import refuse_gpu
from ...lsh.support.public import publish
from ..core.state import StateSpec
from ..kernels.fourier import ONE
from .fourier_queries import FourierQueries
from .release import Release

__all__ = ["PrivateFourier", "fourier_sensitivity", "total_unit"]

#: The most that a row adds to the two sums of a component, in magnitudes; each is rounded, by a half at most.
_A_COMPONENT = math.isqrt(2 * ONE * ONE) + 2


class PrivateFourier(Release, FourierQueries):
    """Estimate kernel densities from noisy sums (differential privacy), made by `FourierSketch.release`.

    Parameters
    ----------
    n_features : int
    n_components : int, default 1024
    width : float or sequence of float, default 1.0
    kernel : {"gaussian", "laplacian"}
    projection : {"independent", "orthogonal", "hadamard"}
    seed : int, default 0
        As for `FourierSketch`.

    Attributes
    ----------
    epsilon : float
        The budget spent on a record that is in all of the merged parts: the sum of their budgets.
    epsilon_if_disjoint : float
        The budget spent on a record that is in only one of the merged parts: the largest of their budgets.
    noise_std : float
        Standard deviation of the noise of one sum. A cosine of 1 adds 2**20 to a sum.
    total : float
        The sum of the weights, with noise. The exact sum is private.

    Notes
    -----
    The release is epsilon-differentially private for adding or removing one record. A row changes the two
    sums of a component by at most ``|cos| + |sin| <= sqrt(2)``. It changes the total by 1, and the total is
    multiplied by m / 16 before noise is added, so that its noise is about 33 / epsilon rows for any m. So the
    L1 sensitivity of all m components is ``(sqrt(2) + 1 / 16) m record_weight``. Each sum gets independent
    discrete Laplace noise of that scale over epsilon, in units of 2**-20, exactly sampled from the operating
    system's randomness. For random Fourier features and such noise see Wagner, Naamad and Mishra 2023 and
    Backurs, Lin, Mahabadi, Silwal and Tarnawski 2024. If the ratio of sensitivity and epsilon has too many
    digits for exact sampling, it is rounded up.

    The noise of a kernel sum has a standard deviation of about ``2.1 sqrt(m) / epsilon`` rows, and the
    components have one of at most ``N / sqrt(2 m)``. The sum of both squares is least for about
    ``m = N epsilon / sqrt(8)`` components, and the standard error is then ``sqrt(sqrt(8) N / epsilon)`` rows.

    Everything that is computed from a release is post-processing and costs nothing more. The guarantee covers
    the release only. So choose the width, the seed and the number of components without looking at the data.

    References
    ----------
    - Wagner, Naamad, Mishra. Fast private kernel density estimation via locality sensitive quantization.
      ICML 2023.
    - Backurs, Lin, Mahabadi, Silwal, Tarnawski. Efficiently computing similarities to private datasets.
      ICLR 2024.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> X = np.random.default_rng(0).standard_normal((20_000, 4)) + 2.0
    >>> sketch = mergesketch.FourierSketch(n_features=4, n_components=200, width=2.0, seed=1)
    >>> private = sketch.update(X).release(epsilon=1.0)
    >>> private.epsilon
    1.0
    >>> bool(abs(private.total - 20_000) < 1000)
    True
    """

    _released, _number = "FourierSketch", "sum"

    def _layout(self) -> dict[str, StateSpec]:
        return {
            "sums": StateSpec((2, self.n_components), "int64", "sum"),
            "total": StateSpec((1,), "int64", "sum"),
            **self._budgets(),
        }

    @property
    def total(self) -> float:
        """Estimated sum of the weights, with noise of about ``33 record_weight / epsilon`` rows."""
        return float(self._arrays["total"][0]) / total_unit(self.n_components)

    @property
    def _total_std(self) -> float:
        return self.noise_std / total_unit(self.n_components)

    def _sums(self, Q: Any, width: Any, return_std: bool) -> Any:
        refuse_gpu(type(self).__name__, Q)
        return super()._sums(Q, width, return_std)


def total_unit(n_components: int) -> int:
    """Return the integer that stands for a row in a released total: 2**20 times a share of the components."""
    return ONE * max(1, n_components // 16)


def fourier_sensitivity(n_components: int, record_weight: int) -> int:
    """Return the most that a record changes all sums and the total, in magnitudes, as released integers."""
    return (_A_COMPONENT * n_components + total_unit(n_components)) * record_weight


publish("mergesketch", __all__, globals())
