"""Cross-polytope hashing: the family of angles that best distinguishes near rows from far ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inputs.rows import VectorRows, read_rows
from ..kernels import cross_polytope
from ..support.checks import check_int
from ..support.lazy import lazy
from ..support.public import publish
from ..support.random import random_uint64
from ..support.threads import cut_range
from ..support.types import RowsLike
from ..tables.cross_polytope import LARGEST_LOG2_DIMENSION, collision_of_angle, collision_of_rotation
from .angles import angles_of_rows
from .concatenation import ConcatenatedFamily
from .width import FamilyOfWidth, with_width

__all__ = ["CrossPolytope"]

_MAX_VALUES = 1 << 24
#: Least size of a rotation: the signs of smaller ones do not mix rows of few non-zeros well enough.
_LEAST_SIZE = 256
#: Largest size of a rotation, unless there are more axes: it stays in L1. Wider rows are scattered first.
_LARGEST_SIZE = 8192
#: Number of wide dense rows that are made sparse at a time, and of their numbers on a GPU.
_WIDE_ROWS, _WIDE_NUMBERS = 16, 1 << 26
#: Number of coordinates, times the rounds of a rotation, that are worth a thread of their own.
_COORDINATES_BLOCK = 1 << 16
#: Number of probes that are worth a thread of their own.
_PROBES_BLOCK = 1 << 12


class CrossPolytope(FamilyOfWidth, ConcatenatedFamily):
    """Hash vectors by angle (cosine similarity), for nearest neighbours: sharper than signs of projections.

    Parameters
    ----------
    n_features : int, optional
        Width of the rows, by default that of the first rows; `dimension` must be given then.
    n_hashes : int, default 128
    power : int, default 1
        Number of elementary hashes concatenated to one, at most 32.
    dimension : int, optional
        Number of axes m that an elementary hash chooses from, a power of two from 2 to 65,536. By default it
        is the least one of at least `n_features`. The hash has 2 m values.
    n_buckets : int, optional
        Codes lie in [0, n_buckets). By default ``(2 m)**power`` where that is at most 2**32; the code then
        consists of the values as digits. Otherwise, and for other numbers of buckets, values are mixed and
        reduced.
    seed : int, default 0
        In [0, 2**64).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    An elementary hash rotates a row at random and takes the nearest of the 2 m signed axes, that is, the
    coordinate that is largest in magnitude and its sign (Andoni, Indyk, Laarhoven, Razenshteyn and Schmidt
    2015, "Practical and optimal LSH for angular distance"). For nearby rows it is asymptotically the best
    hash of angles: at equal collision probabilities for far rows, near rows collide more often than under
    signs of projections. Lengths have no effect. Rows of zeros have the code of the first axis.

    Rotations are H D3 H D2 H D1, where H is the Walsh-Hadamard matrix and D are random signs. Their size is
    the least power of two of at least `n_features` and 256. One rotation serves ``size / dimension``
    elementary hashes, so a small `dimension` is also fast. For Gaussian rotations the collision probability
    would be

        2 m * integral over u, v > 0 of phi(u, v) P(|U| <= u, |V| <= v)**(m - 1)

    where phi is the density of two normal numbers of correlation cos(angle). It has been integrated for 257
    angles and every m, and is interpolated between them. Orthogonal rotations of s coordinates keep the
    angle. Gaussian projections keep it only on average. So the probability for k elementary hashes of one
    rotation is, with l the logarithm of the integral::

        exp(k l - sin(angle)**2 / (2 s) (k**2 l'**2 + k l''))

    to first order in 1 / s (`collision_probability`). Pseudo-random rotations of 256 deviate from it by less
    than 0.002, for rows of one or two non-zeros too, and larger ones by less. But rotated rows of a few equal
    entries have few different values. For some hashes two coordinates are equally large, and rounding chooses
    between them. So such a row and a multiple of it (other than by a power of two) fail to collide with a
    probability of up to 0.025 in rotations of 256, and less in larger ones.

    Rows of more than 8,192 features (or `dimension`, if that is larger) are scattered to 8,192 coordinates
    (or `dimension`) before each rotation: features are added up, with random signs, at hashed places
    (Weinberger et al. 2009, "Feature hashing for large scale multitask learning"). So rows may have any
    number of features. Cosines of two rows then vary by about 1 / sqrt(8192) = 0.011 from rotation to
    rotation.

    Time: O(size log(size)) for each rotation, and O(non-zeros) to scatter. Bytes: 3 size / 8 of random signs
    for each rotation. Rows are rounded to float32 first and added up in a fixed order, so codes do not depend
    on batches, threads or sparsity.

    References
    ----------
    - Andoni, Indyk, Laarhoven, Razenshteyn, Schmidt. Practical and optimal LSH for angular distance. NIPS
      2015.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh import CrossPolytope
    >>> family = CrossPolytope(n_features=128, n_hashes=2000, dimension=64, seed=1)
    >>> family.collision_probability([0.0, 0.5, 1.0, np.pi / 2]).round(3)
    array([1.   , 0.42 , 0.114, 0.007])
    >>> rng = np.random.default_rng(0)
    >>> x, noise = rng.standard_normal((2, 1, 128))
    >>> y = x + 0.5 * noise
    >>> share = (family.hash(x) == family.hash(y)).mean()
    >>> bool(abs(share - family.kernel(x, y)[0, 0]) < 0.05)
    True
    """

    metric: ClassVar[str] = "angle"
    _parameters = ("n_features", "n_hashes", "power", "dimension", "n_buckets", "seed")

    def __init__(
        self,
        n_features: int | None = None,
        n_hashes: int = 128,
        *,
        power: int = 1,
        dimension: int | None = None,
        n_buckets: int | None = None,
        seed: int = 0,
    ) -> None:
        self._set_width(n_features)
        self._set_hashes(n_hashes, power, 32, _MAX_VALUES)
        largest = 1 << LARGEST_LOG2_DIMENSION
        if self.n_features is None and dimension is None:
            raise ValueError(
                "dimension must be given if n_features is None, because the number of codes depends on it; "
                "got None"
            )
        padded = largest if self.n_features is None else 1 << (self.n_features - 1).bit_length()
        if dimension is None:
            dimension = min(max(2, padded), largest)
        self.dimension = check_int("dimension", dimension, 2, max(_LEAST_SIZE, min(padded, largest)))
        if self.dimension & (self.dimension - 1):
            raise ValueError(f"dimension must be a power of two, got {dimension}")
        cells = (2 * self.dimension) ** self.power
        self._set_codes(min(cells, 2**32) if n_buckets is None else n_buckets, cells, seed)

    @property
    def _size(self) -> int:
        """Number of coordinates of a rotation."""
        padded = min(1 << (self._known_features - 1).bit_length(), _LARGEST_SIZE)
        return max(_LEAST_SIZE, padded, self.dimension)

    @property
    def _n_drawn(self) -> int:
        return 0 if self.n_features is None else self.n_values * self._size

    @property
    def _least_width(self) -> int:
        return self.dimension

    @lazy
    def _scatter_keys(self) -> NDArray[np.uint64]:
        """Return a key for each rotation if rows are scattered before it, and otherwise no keys."""
        if self._known_features <= self._size:
            return np.empty(0, dtype=np.uint64)
        return random_uint64(self.seed, "cross-polytope scattering", self._masks.shape[0])

    @lazy
    def _masks(self) -> NDArray[np.uint16]:
        """Random signs of the rotations, shape (rotations, 3 size / 16): a set bit flips a sign."""
        rotations = -(-self.n_values // (self._size // self.dimension))
        words = random_uint64(self.seed, "cross-polytope signs", rotations * 3 * self._size // 64)
        return words.astype("<u8").view("<u2").astype(np.uint16).reshape(rotations, -1)

    @lazy
    def _keys(self) -> NDArray[np.uint64]:
        keys = random_uint64(self.seed, "cross-polytope codes", self.n_hashes)
        return keys[:0] if self._code_is_exact else keys

    # -- codes ------------------------------------------------------------------------------------

    def _read(self, X: RowsLike, name: str = "X") -> VectorRows:
        return read_rows(X, self.n_features, name)

    @with_width
    def hash(self, X: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of rows.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN or infinity, or has another width.
        """
        rows = self._read(X)
        kernels = rows.backend.kernels(cross_polytope)
        out: NDArray[np.uint32] = rows.backend.xp.empty((rows.n, self.n_hashes), dtype=np.uint32)
        write = self._writer(rows, kernels.cross_polytope_codes_dense, kernels.cross_polytope_codes_csr)
        block = max(1, _COORDINATES_BLOCK // (16 * self._masks.size))
        rows.backend.map_blocks(lambda a, b: write(a, b, out), rows.n, block)
        return out

    @with_width
    def probe(self, Q: RowsLike, n_probes: int) -> NDArray[np.uint32]:
        """Return the codes of the `n_probes` cells of each hash that most likely contain neighbours.

        Parameters
        ----------
        Q : array_like or SciPy sparse matrix of shape (n, n_features)
        n_probes : int
            From 1 to ``dimension**power``.

        Returns
        -------
        ndarray of shape (n, n_hashes, n_probes), uint32
            The most likely cell is first: ``probe(Q, n)[:, :, 0]`` are the codes of ``hash_query(Q)``.

        Raises
        ------
        TypeError, ValueError
            If `Q` is refused by `hash`, or `n_probes` is out of range.

        Notes
        -----
        Cells are ordered by the sum of squared differences between the coordinates of the nearest axes and
        those of the cell's axes (Andoni et al. 2015, section 5): noise of that size would lead to the cell.
        Time: O(dimension power) for each hash, and O(log n_probes) for each probe.
        """
        n_probes = check_int("n_probes", n_probes, 1)
        limit = self.dimension**self.power
        if n_probes > limit:
            raise ValueError(f"n_probes must be at most dimension**power = {limit}, got {n_probes}")
        rows = self._read(Q, "Q")
        kernels = rows.backend.kernels(cross_polytope)
        out: NDArray[np.uint32] = rows.backend.xp.empty((rows.n, self.n_hashes, n_probes), dtype=np.uint32)
        write = self._writer(rows, kernels.cross_polytope_probes_dense, kernels.cross_polytope_probes_csr)
        block = max(1, _PROBES_BLOCK // (self.n_hashes * (n_probes + self.power * self.dimension // 16)))
        rows.backend.map_blocks(lambda a, b: write(a, b, out), rows.n, block)
        return out

    def _writer(
        self, rows: VectorRows, dense: Callable[..., None], sparse: Callable[..., None]
    ) -> Callable[[int, int, NDArray[np.uint32]], None]:
        """Return what writes codes or probes of rows [start, stop) by a kernel for dense or sparse rows."""
        arguments = (self._masks, self.dimension, self.power, self._keys, np.uint64(self.n_buckets))
        scatter_keys = self._scatter_keys
        if rows.form == "csr":
            return partial(sparse, *rows.arrays, scatter_keys, *arguments)
        if scatter_keys.size == 0:
            return partial(dense, *rows.arrays, *arguments)
        device = rows.backend.device
        together = _WIDE_ROWS if device == "cpu" else max(1, _WIDE_NUMBERS // self._known_features)

        def write(start: int, stop: int, out: NDArray[np.uint32]) -> None:
            # Wide rows are hashed as sparse ones, a few at a time.
            for left, right in cut_range(start, stop, together):
                csr = rows.cut(left, right).csr
                sparse(*csr, scatter_keys, *arguments, 0, right - left, out[left:right])

        return write

    # -- theory -----------------------------------------------------------------------------------

    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Return the probability that a hash collides at an angle, on average over all hashes.

        Parameters
        ----------
        distance : array_like of float
            Angles, in [0, pi].

        Returns
        -------
        ndarray of the shape of `distance`, float64

        Raises
        ------
        TypeError, ValueError
            If a distance is not a number or is out of range.
        """
        angle, axes = self._check_distances(distance), self.dimension.bit_length() - 1
        if self._known_features > self._size:
            # Scattering changes angles as much as Gaussian rotations do.
            return np.asarray(collision_of_angle(angle, axes) ** self.power)
        total = np.zeros_like(angle)
        for parts, share in self._splits.items():
            total += share * math.prod(collision_of_rotation(angle, axes, self._size, part) for part in parts)
        return np.minimum(total, 1.0)

    @lazy
    def _splits(self) -> dict[tuple[int, ...], float]:
        """Shares of hashes by the numbers of elementary hashes that they have from each rotation.

        A hash of (2, 1) has two elementary hashes of one rotation and one of the next.
        """
        each, splits = self._size // self.dimension, Counter[tuple[int, ...]]()
        # Every `each` hashes a rotation and a hash begin together.
        for h in range(min(self.n_hashes, each)):
            rotations = Counter(((h * self.power + np.arange(self.power)) // each).tolist())
            alike = (self.n_hashes - h - 1) // each + 1
            splits[tuple(sorted(rotations.values(), reverse=True))] += alike
        return {parts: count / self.n_hashes for parts, count in splits.items()}

    @with_width
    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Return the collision probability of every pair of rows: `collision_probability` of their angle.

        Parameters
        ----------
        X, Y : array_like or SciPy sparse matrix of shape (n, n_features), (m, n_features)

        Returns
        -------
        ndarray of shape (n, m), float64
            A row of zeros counts as at angle pi / 2 to every other row, and at 0 to another row of zeros.

        Raises
        ------
        TypeError, ValueError
            If `X` or `Y` holds no real numbers, NaN or infinity, or has another width.
        """
        return self.collision_probability(angles_of_rows(X, Y, self.n_features))


publish("mergesketch.lsh", __all__, globals())
