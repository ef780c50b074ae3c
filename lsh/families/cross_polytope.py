"""Cross-polytope hashing: the locality-sensitive family of angles that tells near from far the best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..family import HashFamily
from ..inputs.rows import VectorRows, read_rows
from ..kernels import cross_polytope
from ..support.checks import check_int
from ..support.lazy import lazy
from ..support.random import random_uint64
from ..support.types import RowsLike
from ..tables.cross_polytope import LARGEST_LOG2_DIMENSION, collision_of_angle, collision_of_rotation
from .angles import angles_of_rows

__all__ = ["CrossPolytope"]

_MAX_VALUES = 1 << 24
#: Of a rotation: the signs of smaller ones do not mix rows of few non-zeros well enough.
_LEAST_SIZE = 256
#: Of a rotation, unless there are more axes: what stays in the first cache. Wider rows are scattered first.
_LARGEST_SIZE = 8192
#: Wide dense rows that are made sparse at a time; on a GPU so many numbers.
_WIDE_ROWS, _WIDE_NUMBERS = 16, 1 << 26
#: Coordinates, times the rounds of a rotation, that are worth a thread of their own.
_COORDINATES_BLOCK = 1 << 16
_PROBES_BLOCK = 1 << 12


class CrossPolytope(HashFamily):
    """Hash functions of vectors that collide the more, the smaller the angle; sharper than signs.

    Parameters
    ----------
    n_features, n_hashes : int
    power : int, default 1
        Elementary hashes concatenated to one, at most 32.
    dimension : int, optional
        Axes m that an elementary hash chooses from, a power of two from 2 to 65,536; by default the next
        one from `n_features` on. It has 2 m values.
    n_buckets : int, optional
        Codes lie in [0, n_buckets). By default ``(2 m)**power`` where that is at most 2**32: the code is
        the values' digits. Otherwise, and for other numbers of buckets, values are mixed and reduced.
    seed : int, default 0
        In [0, 2**64).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    An elementary hash rotates a row at random and takes the nearest of the 2 m signed axes: which
    coordinate is the largest in magnitude, and its sign (Andoni, Indyk, Laarhoven, Razenshteyn and Schmidt
    2015, "Practical and optimal LSH for angular distance"). For nearby rows it is asymptotically the best
    that a hash of angles can be: at equal chances of colliding for far rows, near ones collide more often
    than under signs of projections. Lengths do not matter; rows of zeros have a code of their own choice,
    that of the first axis.

    Rotations are H D3 H D2 H D1, with H the Walsh-Hadamard matrix and D random signs, of the next power of
    two from `n_features` on, at least 256. One rotation serves as many elementary hashes as `dimension`
    goes into its coordinates, so a small `dimension` is also a fast one. For Gaussian rotations in its place
    the collision probability is

        2 m * integral over u, v > 0 of phi(u, v) P(|U| <= u, |V| <= v)**(m - 1)

    with phi the density of two normal numbers of correlation cos(angle): integrated beforehand for 257
    angles and every m, and interpolated between them. Orthogonal rotations of s coordinates keep the angle
    that Gaussian ones keep on average only, so p for k elementary hashes of one rotation becomes, with l the
    logarithm of the integral::

        exp(k l - sin(angle)**2 / (2 s) (k**2 l'**2 + k l''))

    to first order in 1 / s (`collision_probability`). Pseudo-random rotations of 256 deviate from that by
    less than 0.002, for rows of one or two non-zeros too, and larger ones by less. But rotated rows of a few
    equal entries have few values, and for some hashes two coordinates share the largest: there rounding
    chooses between them. So such a row and a multiple of it, unless by a power of two, do not collide with
    a probability up to 0.025 in rotations of 256, and less in larger ones.

    Rows of more than 8,192 features, or `dimension` if that is more, are scattered to so many coordinates
    before each rotation: features are added up, with random signs, at hashed places (Weinberger et al. 2009,
    "Feature hashing for large scale multitask learning"). So any number of features will do. Cosines of
    two rows then vary by about 1 / sqrt(8192) = 0.011 from rotation to rotation.

    O(size log(size)) for each rotation, and O(non-zeros) to scatter; 3 size / 8 bytes of random signs.
    Rows are rounded to float32 first, and added up in one fixed order: codes depend on neither batch,
    threads nor sparsity.

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
        n_features: int,
        n_hashes: int,
        *,
        power: int = 1,
        dimension: int | None = None,
        n_buckets: int | None = None,
        seed: int = 0,
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1)
        self.n_hashes = check_int("n_hashes", n_hashes, 1)
        self.power = check_int("power", power, 1, 32)
        if self.n_values > _MAX_VALUES:
            raise ValueError(f"n_hashes * power must be at most {_MAX_VALUES}, got {self.n_values}")
        largest = 1 << LARGEST_LOG2_DIMENSION
        padded = 1 << (self.n_features - 1).bit_length()
        if dimension is None:
            dimension = min(max(2, padded), largest)
        self.dimension = check_int("dimension", dimension, 2, max(_LEAST_SIZE, min(padded, largest)))
        if self.dimension & (self.dimension - 1):
            raise ValueError(f"dimension must be a power of two, got {dimension}")
        cells = (2 * self.dimension) ** self.power
        self.n_buckets = (
            min(cells, 2**32) if n_buckets is None else check_int("n_buckets", n_buckets, 2, 2**32)
        )
        self._code_is_digits = self.n_buckets == cells
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self.chance_collision = 0.0 if self._code_is_digits else 1.0 / self.n_buckets

    @property
    def n_values(self) -> int:
        """Elementary hashes: ``n_hashes * power``."""
        return self.n_hashes * self.power

    @property
    def _size(self) -> int:
        """Coordinates of a rotation."""
        padded = min(1 << (self.n_features - 1).bit_length(), _LARGEST_SIZE)
        return max(_LEAST_SIZE, padded, self.dimension)

    @property
    def _n_drawn(self) -> int:
        return self.n_values * self._size

    @lazy
    def _scatter_keys(self) -> NDArray[np.uint64]:
        """A key for each rotation of rows that are scattered before it; empty for others."""
        if self.n_features <= self._size:
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
        return keys[:0] if self._code_is_digits else keys

    # -- codes ------------------------------------------------------------------------------------

    def read_rows(self, X: RowsLike, name: str = "X") -> VectorRows:
        return read_rows(X, self.n_features, name)

    def hash(self, X: RowsLike) -> NDArray[np.uint32]:
        """Codes of the rows of `X`.

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
        rows = self.read_rows(X)
        kernels = rows.backend.kernels(cross_polytope)
        out: NDArray[np.uint32] = rows.backend.xp.empty((rows.n, self.n_hashes), dtype=np.uint32)
        write = self._writer(rows, kernels.cross_polytope_codes_dense, kernels.cross_polytope_codes_csr)
        block = max(1, _COORDINATES_BLOCK // (16 * self._masks.size))
        rows.backend.map_blocks(lambda a, b: write(a, b, out), rows.n, block)
        return out

    def probe(self, Q: RowsLike, n_probes: int) -> NDArray[np.uint32]:
        """Codes of the `n_probes` cells of each hash that are likeliest to hold a query's neighbours.

        Parameters
        ----------
        Q : array_like or SciPy sparse matrix of shape (n, n_features)
        n_probes : int
            From 1 to ``dimension**power``.

        Returns
        -------
        ndarray of shape (n, n_hashes, n_probes), uint32
            The likeliest first: ``probe(Q, n)[:, :, 0]`` are the codes of ``hash_query(Q)``.

        Raises
        ------
        TypeError, ValueError
            If `Q` is refused by `hash`, or `n_probes` is out of range.

        Notes
        -----
        Cells come in the order of the summed squares of what their axes' coordinates are smaller than the
        nearest axis's (Andoni et al. 2015, section 5): noise would have to make up for those differences.
        O(dimension power) for each hash, and O(log n_probes) for each probe.
        """
        n_probes = check_int("n_probes", n_probes, 1)
        limit = self.dimension**self.power
        if n_probes > limit:
            raise ValueError(f"n_probes must be at most dimension**power = {limit}, got {n_probes}")
        rows = self.read_rows(Q, "Q")
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
        together = _WIDE_ROWS if device == "cpu" else max(1, _WIDE_NUMBERS // self.n_features)

        def write(start: int, stop: int, out: NDArray[np.uint32]) -> None:
            # Wide rows go the way of sparse ones, a few at a time.
            for left in range(start, stop, together):
                right = min(left + together, stop)
                csr = rows.cut(left, right).csr
                sparse(*csr, scatter_keys, *arguments, 0, right - left, out[left:right])

        return write

    # -- theory -----------------------------------------------------------------------------------

    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Probability that one hash collides at an angle: of all hashes on average.

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
            If a distance is no number or out of range.
        """
        angle, axes = self._check_distances(distance), self.dimension.bit_length() - 1
        if self.n_features > self._size:
            # Scattering changes angles as Gaussian rotations do: by as much as orthogonal ones do not.
            return np.asarray(collision_of_angle(angle, axes) ** self.power)
        total = np.zeros_like(angle)
        for parts, share in self._splits.items():
            total += share * math.prod(collision_of_rotation(angle, axes, self._size, part) for part in parts)
        return np.minimum(total, 1.0)

    @lazy
    def _splits(self) -> dict[tuple[int, ...], float]:
        """Shares of hashes by how their elementary hashes share rotations.

        A hash of (2, 1) has two of one rotation and one of the next.
        """
        each, splits = self._size // self.dimension, Counter[tuple[int, ...]]()
        # After `each` hashes a rotation begins with a hash again.
        for h in range(min(self.n_hashes, each)):
            rotations = Counter(((h * self.power + np.arange(self.power)) // each).tolist())
            alike = (self.n_hashes - h - 1) // each + 1
            splits[tuple(sorted(rotations.values(), reverse=True))] += alike
        return {parts: count / self.n_hashes for parts, count in splits.items()}

    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Collision probability of every pair of rows, by `collision_probability` of their angle.

        Parameters
        ----------
        X, Y : array_like or SciPy sparse matrix of shape (n, n_features), (m, n_features)

        Returns
        -------
        ndarray of shape (n, m), float64
            A row of zeros is taken to be at pi / 2 to every other row, and at 0 to another row of zeros.

        Raises
        ------
        TypeError, ValueError
            If `X` or `Y` holds no real numbers, NaN or infinity, or has another width.
        """
        return self.collision_probability(angles_of_rows(X, Y, self.n_features))
