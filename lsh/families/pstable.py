"""p-stable projections: locality-sensitive families of the Euclidean and the city block distance."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ..family import RowsToCodes
from ..inputs.rows import VectorRows
from ..kernels import probing, projection
from ..support.backend import refuse_gpu
from ..support.checks import check_choice, check_real
from ..support.lazy import lazy
from ..support.public import publish
from ..support.random import normal, random_uint64, uniform
from ..support.types import RowsLike
from .projection import ProjectionFamily, RandomVectors, prepare_vectors
from .width import with_width

__all__ = ["PStable"]

_MAX_VALUES = 1 << 24


class PStable(ProjectionFamily):
    """Hash vectors by Euclidean (L2) or Manhattan (L1) distance: near vectors share more codes.

    Parameters
    ----------
    n_features : int, optional
        Width of the rows, by default that of the first rows.
    n_hashes : int, default 128
    p : {2, 1}
        2 for the Euclidean distance, 1 for the sum of absolute differences.
    width : float, default 1.0
        Width of the steps, in units of distance. Rows at a distance well below it mostly collide; rows at a
        distance well above it rarely do.
    power : int, default 1
        Number of steps concatenated to one hash, at most 64.
    n_buckets : int, default 65536
        Codes lie in [0, n_buckets), from 2 to 2**32.
    seed : int, default 0
        In [0, 2**64).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    An elementary hash is ``floor((w . x + b) / width)``, where b is uniform in [0, width), and the entries of
    w are normal for p = 2 and Cauchy for p = 1. With s = width / c, two vectors at distance c share it with
    probability (Datar, Immorlica, Indyk and Mirrokni 2004, section 3.2)

        p = 2:  1 - 2 Phi(-s) - 2 / (sqrt(2 pi) s) (1 - exp(-s**2 / 2))
        p = 1:  2 atan(s) / pi - ln(1 + s**2) / (pi s)

    and all `power` of them with that probability to the power. The steps are mixed to one 64-bit word and
    reduced to `n_buckets`, so unequal steps still collide with probability
    ``chance_collision = 1 / n_buckets``.

    A step is that of the float64 product, added up in a fixed order. A float32 product decides the step only
    where its error bound excludes others. All steps above 2**62 count as one step, and all below -2**62 as
    another. Vectors take ``8 n_hashes power n_features`` bytes and are drawn at first use. The time is that
    of the matrix product.

    References
    ----------
    - Datar, Immorlica, Indyk, Mirrokni. Locality-sensitive hashing scheme based on p-stable
      distributions. SoCG 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh import PStable
    >>> family = PStable(n_features=2, n_hashes=4000, width=2.0, seed=1)
    >>> x, y = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]])
    >>> family.kernel(x, y).round(4)
    array([[0.1575]])
    >>> bool(abs((family.hash(x) == family.hash(y)).mean() - 0.1575) < 0.03)
    True
    """

    _parameters = ("n_features", "n_hashes", "p", "width", "power", "n_buckets", "seed")

    def __init__(
        self,
        n_features: int | None = None,
        n_hashes: int = 128,
        *,
        p: int = 2,
        width: float = 1.0,
        power: int = 1,
        n_buckets: int = 1 << 16,
        seed: int = 0,
    ) -> None:
        self._set_width(n_features)
        self.p: int = check_choice("p", p, (1, 2))
        self.width = check_real("width", width, 0.0, math.inf)
        self._set_hashes(n_hashes, power, 64, _MAX_VALUES)
        self._set_codes(n_buckets, None, seed)

    @property
    def metric(self) -> str:  # type: ignore[override]
        """The name of the metric: "euclidean" for p = 2, "cityblock" for p = 1."""
        return "euclidean" if self.p == 2 else "cityblock"

    @property
    def _n_drawn(self) -> int:
        return self.n_values * (self.n_features or 0)

    @lazy
    def _vectors(self) -> RandomVectors:
        shape = (self.n_values, self._known_features)
        if self.p == 2:
            matrix = normal(self.seed, "p-stable normal vectors", math.prod(shape))
        else:
            angles = uniform(self.seed, "p-stable Cauchy vectors", math.prod(shape)) - 0.5
            matrix = np.tan(np.pi * angles).astype(np.float32)
        return prepare_vectors(matrix.reshape(shape))

    @lazy
    def _offsets(self) -> NDArray[np.float64]:
        return uniform(self.seed, "p-stable offsets", self.n_values) * self.width

    @lazy
    def _keys(self) -> NDArray[np.uint64]:
        return random_uint64(self.seed, "p-stable codes", self.n_hashes)

    def _coder(self, rows: VectorRows) -> RowsToCodes:
        kernels = rows.backend.kernels(projection)
        kernel = kernels.project_steps_dense if rows.form == "dense" else kernels.project_steps_csr
        codes = (self._keys, np.uint64(self.n_buckets))
        return partial(kernel, *rows.arrays, *self._vectors, self._offsets, self.width, *codes)

    @property
    def _changes(self) -> tuple[int, str]:
        return 3, "steps"

    def _prober(self, rows: VectorRows) -> RowsToCodes:
        kernels, probe_steps = rows.backend.kernels(projection), rows.backend.kernels(probing).probe_steps
        kernel = kernels.step_margins_dense if rows.form == "dense" else kernels.step_margins_csr
        margins = partial(kernel, *rows.arrays, *self._vectors, self._offsets, self.width)
        codes = (self._keys, np.uint64(self.n_buckets))

        def write_probes(start: int, stop: int, out: NDArray[np.uint32]) -> None:
            probe_steps(*margins(start, stop), *codes, out)

        return write_probes

    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Return the probability that a hash collides at a distance, before the reduction to buckets.

        Parameters
        ----------
        distance : array_like of float
            At least 0.

        Returns
        -------
        ndarray of the shape of `distance`, float64

        Raises
        ------
        TypeError, ValueError
            If a distance is not a number or is out of range.
        """
        distance = self._check_distances(distance)
        with np.errstate(divide="ignore", over="ignore"):
            s = self.width / distance
        far = s < 1e-4  # the closed forms cancel here; the first term of their series is accurate
        near_0 = s > 1e100  # squares overflow here, and the probability is 1
        safe = np.where(far | near_0, 1.0, s)
        if self.p == 2:
            near = (
                1.0
                - 2.0 * scipy.special.ndtr(-safe)
                + 2.0 / (math.sqrt(2.0 * math.pi) * safe) * np.expm1(-(safe**2) / 2.0)
            )
            series = s / math.sqrt(2.0 * math.pi)
        else:
            near = 2.0 * np.arctan(safe) / math.pi - np.log1p(safe**2) / (math.pi * safe)
            series = s / math.pi
        elementary = np.where(near_0, 1.0, np.where(far, series, near))
        return np.asarray(elementary**self.power)

    @with_width
    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Return the exact collision probability of every pair of rows, before the reduction to buckets.

        Parameters
        ----------
        X, Y : array_like or SciPy sparse matrix of shape (n, n_features), (m, n_features)

        Returns
        -------
        ndarray of shape (n, m), float64

        Raises
        ------
        TypeError, ValueError
            If `X` or `Y` holds no real numbers, NaN or infinity, or has another width.
        """
        from scipy.spatial.distance import cdist

        refuse_gpu("kernel", X, Y)
        left, right = self._read(X).dense, self._read(Y, "Y").dense
        return self.collision_probability(
            cdist(left, right, "euclidean") if self.p == 2 else cdist(left, right, "cityblock")
        )


publish("mergesketch.lsh", __all__, globals())
