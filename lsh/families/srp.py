"""Signed random projections: a locality-sensitive family of angles."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..support.backend import read_only
from ..support.checks import check_choice
from ..support.public import publish
from ..support.types import RowsLike
from .angles import angles_of_rows
from .sign_family import SignFamily
from .sign_projections import PROJECTIONS, Gaussian
from .width import with_width

__all__ = ["SignedRandomProjection"]

_MAX_VALUES = 1 << 24


class SignedRandomProjection(SignFamily):
    """Hash vectors, such as embeddings, by angle (cosine similarity, SimHash): small angles share more codes.

    Parameters
    ----------
    n_features : int, optional
        Width of the rows. By default it is that of the first rows; with ``projection="sparse"`` rows may then
        have any width.
    n_hashes : int, default 128
    power : int, default 1
        Number of sign bits concatenated to one hash, at most 32.
    projection : {"gaussian", "hadamard", "sparse"}
        The way in which rows are projected; see Notes.
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
    An elementary hash is the sign of ``w . x``, where w is a random vector; a product of 0 counts as
    positive. Two vectors at angle theta share it with probability 1 - theta / pi (Charikar 2002, section 3),
    and all `power` bits with that probability to the power. The lengths of vectors have no effect. A vector
    of zeros has no angle; all bits of its code are set.

    - "gaussian": w has independent normal entries, drawn at first use. The vectors, and a copy in the order
      of multiplication, in panels of 64, take ``8 n_hashes power n_features`` bytes. The time is that of the
      matrix product. A bit is the sign of the float64 product, added up in a fixed order. A float32 product
      decides the sign only where its error bound excludes the other one. So codes are the same for float32
      and float64, for dense and sparse rows, and on every processor.
    - "hadamard": signs of H D3 H D2 H D1 x in blocks of the next power of two m, at least 256, where H is the
      Walsh-Hadamard matrix and D are random signs (Andoni et al. 2015, section 3; Yu et al. 2016). The time
      for m bits is O(m log m) instead of O(m n_features), and each bit needs 3 stored bits. It is faster than
      "gaussian" from some hundred features on. Rows are rounded to float32 first. The bits of a block are not
      independent. With k bits of a hash in one block (all of them where there are few hashes, and at most one
      where there are m), the hash collides less often, by about
      ``k (k - 1) / (2 m) (sin(theta) / (pi - theta))**2`` of the probability. That is 4 % for 8 bits of a
      block of 256 at a right angle. Products of a few equal entries take few values, among them 0, and there
      rounding chooses the sign. So a bit of such a row and the bit of a multiple of it (other than by a power
      of two) differ with probability up to 0.008 in blocks of 256, and bits of opposite rows agree with up to
      twice that probability. In larger blocks it falls as 1 / sqrt(m). Rows of unequal entries have no such
      ties.
    - "sparse": the entries of w are hashed from the numbers of feature and vector and never stored, so rows,
      sparse or dense, may have any number of features (very sparse random projections: Li, Hastie and Church
      2006). Entries are 4,096 normal quantiles and not signs: with entries of -1 and 1, rows of few non-zeros
      would collide with wrong probabilities. The time is O(non-zeros n_hashes power), and a quarter of that
      where rows share their features. Rows are rounded to float32 first.

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
        n_features: int | None = None,
        n_hashes: int = 128,
        *,
        power: int = 1,
        projection: str = "gaussian",
        n_buckets: int | None = None,
        seed: int = 0,
    ) -> None:
        self.projection: str = check_choice("projection", projection, PROJECTIONS)
        self._set_width(n_features)
        self._set_hashes(n_hashes, power, 32, _MAX_VALUES)
        n_codes = 1 << self.power
        self._set_codes(n_codes if n_buckets is None else n_buckets, n_codes, seed)
        make = PROJECTIONS[self.projection]
        self._sign_projection = make(self.n_features, self.n_hashes, self.power, self.seed)

    @property
    def is_fixed(self) -> bool:
        # Codes of sparse projections do not depend on the width.
        return self.n_features is not None or self.projection == "sparse"

    @property
    def _n_drawn(self) -> int:
        return self._sign_projection.n_drawn

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The random vectors: shape (power * n_hashes, n_features), float32, that cannot be written to.

        Row ``k * n_hashes + h`` gives bit k of hash h. Only ``projection="gaussian"`` has vectors, of rows
        whose number of features is known; others raise ValueError.
        """
        if not isinstance(self._sign_projection, Gaussian):
            raise ValueError(f'projection must be "gaussian" to have vectors, got {self.projection!r}')
        self._known_features  # noqa: B018 - raises without a number of features
        return read_only(self._sign_projection.vectors.matrix)

    # -- theory -----------------------------------------------------------------------------------

    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Return ``(1 - distance / pi) ** power``, where the distance is an angle in radians.

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
            If a distance is not a number or is out of range.
        """
        return np.asarray((1.0 - self._check_distances(distance) / math.pi) ** self.power)

    @with_width
    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Return the exact collision probability of every pair of rows: ``(1 - angle / pi) ** power``.

        Parameters
        ----------
        X, Y : array_like or SciPy sparse matrix of shape (n, n_features), (m, n_features)

        Returns
        -------
        ndarray of shape (n, m), float64
            A row of zeros counts as at angle pi / 2 to every other row, and at 0 to another row of zeros; its
            code has that collision probability.

        Raises
        ------
        TypeError, ValueError
            If `X` or `Y` holds no real numbers, NaN or infinity, or has another width.
        """
        return self.collision_probability(angles_of_rows(X, Y, self.n_features))


publish("mergesketch.lsh", __all__, globals())
