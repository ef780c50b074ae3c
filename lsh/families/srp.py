"""Signed random projections: the locality-sensitive family of angles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from ..inputs.arrays import check_distances
from ..inputs.rows import VectorRows
from ..kernels import hadamard, probing
from ..kernels import projection as projection_kernels
from ..support.backend import Backend
from ..support.checks import check_choice, check_int
from ..support.lazy import lazy
from ..support.random import normal, random_uint64
from ..support.threads import get_num_threads
from .angles import angles_of_rows
from .projection import Prober, ProjectionFamily

__all__ = ["SignedRandomProjection"]

#: Gives the products of the rows [start, stop), whose signs are the bits.
Products = Callable[[int, int], NDArray[np.float32]]

PROJECTIONS = ("gaussian", "hadamard", "sparse")
_MAX_VALUES = 1 << 24
_QUANTILES = 4096
#: Of a Hadamard block: in smaller ones products take so few values that rows of one or two non-zeros
#: collide with wrong probabilities (by 0.13 in blocks of 4, 0.001 in blocks of 128, ties aside: see Notes).
_LEAST_SIZE = 256
#: Coordinates to transform that are worth a thread of their own.
_COORDINATES_BLOCK = 1 << 20
#: Hashed entries that are worth a thread of their own.
_ENTRIES_BLOCK = 1 << 16
#: Rows of a range, if there are as many for each thread: entries of features that they share are hashed once.
_SHARING_ROWS = 32


class SignedRandomProjection(ProjectionFamily):
    """Hash functions of vectors that collide the more, the smaller the angle between two vectors.

    Parameters
    ----------
    n_features : int or None
        Width of the rows; None, for any width, only with ``projection="sparse"``.
    n_hashes : int
    power : int, default 1
        Sign bits concatenated to one hash, at most 32.
    projection : {"gaussian", "hadamard", "sparse"}
        How rows are projected; see Notes.
    n_buckets : int, optional
        Codes lie in [0, n_buckets). By default ``2**power``: the code is its bits. Otherwise codes are
        mixed and reduced to `n_buckets`.
    seed : int, default 0
        In [0, 2**64).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    An elementary hash is the sign of ``w . x`` with w a random vector (a product of 0 counts as
    positive). Two vectors at angle theta share it with probability 1 - theta / pi (Charikar 2002,
    section 3), and all `power` bits with that to the power. Lengths do not matter; a vector of zeros has
    no angle, and the code whose bits are all set.

    - "gaussian": w has independent normal entries, drawn at first use; vectors and a copy of them in the
      order of multiplication, in panels of 64, take ``8 n_hashes power n_features`` bytes. Time of the
      matrix product. The bit is the sign of the float64 product, added up in a fixed order: float32
      products only decide where their error bound leaves no doubt. So codes are the same for float32 and
      float64, dense and sparse rows, and on any processor.
    - "hadamard": signs of H D3 H D2 H D1 x in blocks of the next power of two m, at least 256, H the
      Walsh-Hadamard matrix and D random signs (Andoni et al. 2015, section 3; Yu et al. 2016).
      O(m log m) for m bits in place of O(m n_features), and 3 stored bits for each: faster than
      "gaussian" from some hundred features on. Rows are rounded to float32 first. The bits of a block are
      not independent: with k bits of a hash in one block, which is all of them where there are few hashes
      and at most one where there are m, it collides less often, by about
      ``k (k - 1) / (2 m) (sin(theta) / (pi - theta))**2`` of the probability, which is 4 % for 8 bits of a
      block of 256 at a right angle. Products of a few equal entries take few values, 0 for one: there
      rounding chooses the sign. So a bit of such a row and that of a multiple of it, unless by a power of
      two, differ with probability up to 0.008 in blocks of 256, and those of opposite rows agree with up to
      twice that; for larger blocks it falls as 1 / sqrt(m). Rows of unlike entries have no such ties.
    - "sparse": the entries of w are hashed from the numbers of feature and vector and never stored, so
      any number of features will do, of sparse or dense rows (very sparse random projections: Li, Hastie
      and Church 2006). Entries are normal quantiles (4,096 of them) and not signs: with entries of -1 and 1
      rows of few non-zeros would collide with the wrong probabilities. O(non-zeros n_hashes power),
      a fourth of the time where rows share their features. Rows are rounded to float32 first.

    References
    ----------
    - Charikar. Similarity estimation techniques from rounding algorithms. STOC 2002.
    - Li, Hastie, Church. Very sparse random projections. KDD 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.lsh import SignedRandomProjection
    >>> family = SignedRandomProjection(n_features=2, n_hashes=4000, power=2, seed=1)
    >>> x, y = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])
    >>> family.kernel(x, y)
    array([[0.5625]])
    >>> bool(abs((family.hash(x) == family.hash(y)).mean() - 0.5625) < 0.05)
    True
    """

    _parameters = ("n_features", "n_hashes", "power", "projection", "n_buckets", "seed")
    metric = "angle"

    def __init__(
        self,
        n_features: int | None,
        n_hashes: int,
        *,
        power: int = 1,
        projection: str = "gaussian",
        n_buckets: int | None = None,
        seed: int = 0,
    ) -> None:
        self.projection: str = check_choice("projection", projection, PROJECTIONS)
        if n_features is None and projection != "sparse":
            raise ValueError('n_features must be given unless projection="sparse", got None')
        # Any width is None to sparse projections, whose codes do not depend on it.
        self.n_features = None if n_features is None else check_int("n_features", n_features, 1)  # type: ignore[assignment]
        self.n_hashes = check_int("n_hashes", n_hashes, 1)
        self.power = check_int("power", power, 1, 32)
        if self.n_values > _MAX_VALUES:
            raise ValueError(f"n_hashes * power must be at most {_MAX_VALUES}, got {self.n_values}")
        self.n_buckets = 1 << self.power if n_buckets is None else check_int("n_buckets", n_buckets, 2, 2**32)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self.chance_collision = 0.0 if self._code_is_bits else 1.0 / self.n_buckets

    @property
    def _code_is_bits(self) -> bool:
        return self.n_buckets == 1 << self.power

    # -- random parameters ------------------------------------------------------------------------

    @property
    def _n_drawn(self) -> int:
        if self.projection == "sparse":
            return self.n_values
        return (
            self.n_values * self.n_features
            if self.projection == "gaussian"
            else max(self.n_values, self.n_features)
        )

    def _draw_vectors(self) -> NDArray[np.float32]:
        shape = (self.n_values, self.n_features)
        return normal(self.seed, "srp gaussian vectors", math.prod(shape)).reshape(shape)

    @lazy
    def _keys(self) -> NDArray[np.uint64]:
        return random_uint64(self.seed, "srp codes", self.n_hashes)

    @lazy
    def _masks(self) -> NDArray[np.uint16]:
        """Random signs of the Hadamard rounds, shape (blocks, 3 size / 16): a set bit flips a sign."""
        size = max(_LEAST_SIZE, 1 << (self.n_features - 1).bit_length())
        blocks = -(-self.n_values // size)
        words = random_uint64(self.seed, "srp hadamard signs", blocks * 3 * size // 64)
        return words.astype("<u8").view("<u2").astype(np.uint16).reshape(blocks, 3 * size // 16)

    @lazy
    def _entries_key(self) -> np.uint64:
        return np.uint64(random_uint64(self.seed, "srp hashed entries", 1)[0])

    @lazy
    def _quantiles(self) -> NDArray[np.float32]:
        """Midpoint quantiles of the normal distribution, scaled to unit variance."""
        middle: NDArray[np.float64] = ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
        return np.asarray(middle / middle.std(), np.float32)

    # -- codes ------------------------------------------------------------------------------------

    read_rows = ProjectionFamily.read_rows

    def hash(self, X: Any) -> NDArray[np.uint32]:
        """Codes of the rows of `X`.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers; float32 and float64 are used as they are.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN or infinity, or has another width.
        """
        if self.projection == "gaussian":
            return super().hash(X)
        if self.projection == "hadamard":
            return self._hash_hadamard(X)
        return self._hash_sparse(X)

    def _project(self, rows: VectorRows, out: NDArray[np.uint32]) -> Callable[[int, int], None]:
        how = (self._vectors, self._panels, self._vector_norms, self.n_hashes)
        kernels, arrays = rows.backend.kernels(projection_kernels), rows.arrays
        kernel = kernels.project_signs_dense if rows.form == "dense" else kernels.project_signs_csr

        def run(start: int, stop: int) -> None:
            kernel(*arrays, *how, start, stop, out)
            self._reduce(rows.backend, out[start:stop])

        return run

    def _reduce(self, backend: Backend, codes: NDArray[np.uint32]) -> None:
        if not self._code_is_bits:
            backend.kernels(projection_kernels).mix_codes(codes, self._keys, np.uint64(self.n_buckets))

    def _hash_hadamard(self, X: Any) -> NDArray[np.uint32]:
        rows = self.read_rows(X)
        backend = rows.backend
        out = backend.xp.empty((rows.n, self.n_hashes), dtype=np.uint32)
        how = (self._masks, self.n_hashes, self.power)
        kernels, arrays = backend.kernels(hadamard), rows.arrays
        kernel = kernels.hadamard_signs_dense if rows.form == "dense" else kernels.hadamard_signs_csr

        def run(start: int, stop: int) -> None:
            kernel(*arrays, *how, start, stop, out)
            self._reduce(backend, out[start:stop])

        backend.map_blocks(run, rows.n, max(1, _COORDINATES_BLOCK // (16 * self._masks.size)))
        return out

    def _hash_sparse(self, X: Any) -> NDArray[np.uint32]:
        rows = self.read_rows(X)
        indptr, indices, data = rows.csr()
        backend, n = rows.backend, rows.n
        out = backend.xp.empty((n, self.n_hashes), dtype=np.uint32)
        how = (self._entries_key, self._quantiles, self.n_hashes, self.power)

        def run(start: int, stop: int) -> None:
            backend.kernels(projection_kernels).hashed_signs(indptr, indices, data, *how, start, stop, out)
            self._reduce(backend, out[start:stop])

        entries_a_row = 1 + data.size * self.n_values // max(1, n)
        together = min(_SHARING_ROWS, -(-n // get_num_threads()))
        backend.map_blocks(run, n, max(together, _ENTRIES_BLOCK // entries_a_row))
        return out

    # -- multi-probe querying -----------------------------------------------------------------------

    @property
    def _changes(self) -> tuple[int, str]:
        return 2, "bits"

    def _prober(self, rows: VectorRows) -> Prober:
        make = {
            "gaussian": self._gaussian_products,
            "hadamard": self._hadamard_products,
            "sparse": self._sparse_products,
        }[self.projection]
        backend, n, products = make(rows)
        keys = self._keys[:0] if self._code_is_bits else self._keys
        how = (self.n_hashes, self.power, keys, np.uint64(self.n_buckets))

        def probe(start: int, stop: int, out: NDArray[np.uint32]) -> None:
            backend.kernels(probing).probe_signs(products(start, stop), *how, out)

        return backend, n, probe

    def _gaussian_products(self, rows: VectorRows) -> tuple[Backend, int, Products]:
        how = (self._vectors, self._panels, self._vector_norms)
        kernels, arrays = rows.backend.kernels(projection_kernels), rows.arrays
        kernel = kernels.sign_margins_dense if rows.form == "dense" else kernels.sign_margins_csr
        return rows.backend, rows.n, lambda start, stop: kernel(*arrays, *how, start, stop)

    def _hadamard_products(self, rows: VectorRows) -> tuple[Backend, int, Products]:
        masks, backend, arrays = self._masks, rows.backend, rows.arrays
        kernels = backend.kernels(hadamard)
        kernel = kernels.hadamard_products_dense if rows.form == "dense" else kernels.hadamard_products_csr

        def products(start: int, stop: int) -> NDArray[np.float32]:
            values = backend.xp.empty((stop - start, self.n_values), dtype=np.float32)
            kernel(*arrays, masks, start, stop, values)
            return values

        return backend, rows.n, products

    def _sparse_products(self, rows: VectorRows) -> tuple[Backend, int, Products]:
        csr, how = rows.csr(), (self._entries_key, self._quantiles)
        backend = rows.backend

        def products(start: int, stop: int) -> NDArray[np.float32]:
            values = backend.xp.empty((stop - start, self.n_values), dtype=np.float32)
            backend.kernels(projection_kernels).hashed_products(*csr, *how, start, stop, values)
            return values

        return backend, rows.n, products

    # -- theory -----------------------------------------------------------------------------------

    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """``(1 - distance / pi) ** power``, with the distance an angle in radians.

        Parameters
        ----------
        distance : array_like of float
            In [0, pi].

        Returns
        -------
        ndarray of the shape of `distance`, float64

        Raises
        ------
        TypeError, ValueError
            If a distance is no number or out of range.
        """
        return np.asarray((1.0 - check_distances(distance, math.pi) / math.pi) ** self.power)

    def kernel(self, X: Any, Y: Any) -> NDArray[np.float64]:
        """Exact collision probability of every pair of rows: ``(1 - angle / pi) ** power``.

        Parameters
        ----------
        X, Y : array_like or SciPy sparse matrix of shape (n, n_features), (m, n_features)

        Returns
        -------
        ndarray of shape (n, m), float64
            A row of zeros has the collision probability that its code has: it is at angle pi / 2 to every
            other row, and at 0 to another row of zeros.

        Raises
        ------
        TypeError, ValueError
            If `X` or `Y` holds no real numbers, NaN or infinity, or has another width.
        """
        return self.collision_probability(angles_of_rows(X, Y, self.n_features))
