"""Signs of products with vectors that are given, and not drawn: a family whose vectors may be learned."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inputs.arrays import check_dense
from ..support.backend import read_only, refuse_gpu
from ..support.checks import check_choice, check_int
from ..support.lazy import lazy
from ..support.public import publish
from ..support.types import RowsLike
from .sign_family import SignFamily
from .sign_projections import Given

__all__ = ["METRICS", "LearnedProjection"]

#: The measures by which an index may rank the candidates.
METRICS = ("angle", "euclidean", "cityblock", "inner_product")
#: The most entries of all vectors. A file has them in its header, which is at most a mebibyte long.
_MOST_ENTRIES = 11 << 14
#: Lengths of vectors that are 1 up to rounding. Vectors of such lengths stay as they are.
_ROUNDING = 1e-6


class LearnedProjection(SignFamily):
    """Hash vectors by the signs of products with given vectors, for example with those of `LearnedHash`.

    Parameters
    ----------
    vectors : array_like of shape (power * n_hashes, n_features)
        The normals of the hyperplanes, in the order of `SignedRandomProjection.vectors`: row ``k * n_hashes +
        h`` gives bit k of hash h. At most 180,224 numbers.
    power : int, default 1
        Number of sign bits concatenated to one hash, at most 32.
    metric : {"angle", "euclidean", "cityblock", "inner_product"}
        The measure by which `LSHIndex.search` ranks candidates. It does not change the codes.
    n_buckets : int, optional
        Codes lie in [0, n_buckets). By default ``2**power``: the code is its bits. Otherwise codes are
        mixed and reduced to `n_buckets`.
    seed : int, default 0
        Seed of that mixing, in [0, 2**64).

    Attributes
    ----------
    n_features : int
    n_hashes : int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Vectors are scaled to length 1 and rounded to float32. Codes do not depend on their lengths, and `probe`
    then orders buckets by the distance of a query from the hyperplanes. A product of 0 counts as positive.
    Codes, and the cost of hashing, are those of ``SignedRandomProjection(projection="gaussian")`` with these
    vectors.

    The vectors are not random, so there is no probability that two rows at some distance collide.
    `collision_probability` and `distance` raise TypeError. So do `LSHIndex.distance_estimate`,
    `LSHSampler.retrieve`, `Race.for_error`, and the standard errors of `Race` and of other kernel sums. The
    kernel is the share of hashes that two rows have in common: a sketch over the family computes sums of this
    kernel, and it has no error but that of `n_buckets`.

    Configurations, and so files, contain the vectors. Objects merge only if all numbers are equal.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import LSHIndex
    >>> from mergesketch.lsh import LearnedProjection
    >>> family = LearnedProjection([[1.0, 0.0], [0.0, 2.0]], power=2)
    >>> family.hash([[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0]])[:, 0]
    array([3, 1, 2], dtype=uint32)
    >>> family.vectors
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    >>> LSHIndex(family).update([[2.0, 2.0], [-1.0, 2.0]]).query([[1.0, 5.0]], k=1).ids
    array([[0]])
    """

    _parameters = ("vectors", "power", "metric", "n_buckets", "seed")
    metric = "angle"
    is_drawn = False

    def __init__(
        self,
        vectors: ArrayLike,
        *,
        power: int = 1,
        metric: str = "angle",
        n_buckets: int | None = None,
        seed: int = 0,
    ) -> None:
        refuse_gpu("LearnedProjection", vectors)
        matrix = _unit_vectors(vectors)
        power = check_int("power", power, 1, 32)
        if len(matrix) % power:
            raise ValueError(f"vectors must be a multiple of power={power} rows, got {len(matrix)}")
        self.vectors: NDArray[np.float32] = read_only(matrix)
        # Other families have one metric each, as an attribute of the class.
        vars(self)["metric"] = check_choice("metric", metric, METRICS)
        self._set_width(matrix.shape[1])
        self._set_hashes(len(matrix) // power, power, 32, _MOST_ENTRIES)
        n_codes = 1 << self.power
        self._set_codes(n_codes if n_buckets is None else n_buckets, n_codes, seed)
        self._sign_projection = Given(matrix, self.n_hashes, self.power)

    @staticmethod
    def check_size(n_vectors: int, n_features: int) -> None:
        """Raise ValueError if there are more numbers than a family may have.

        Parameters
        ----------
        n_vectors, n_features : int
            The shape of the vectors.

        Raises
        ------
        ValueError
            If their product is above 180,224.
        """
        if n_vectors * n_features > _MOST_ENTRIES:
            raise ValueError(
                f"vectors must have at most {_MOST_ENTRIES:,} numbers, got {n_vectors:,} x {n_features:,}"
            )

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON-able values, and the name of the family.

        Returns
        -------
        dict
            ``vectors`` is a list of texts: the base64 of each vector's numbers as little-endian float32.
        """
        return {**super().config(), "vectors": list(self._texts)}

    @lazy
    def _texts(self) -> tuple[str, ...]:
        rows = self.vectors.astype("<f4")
        return tuple(base64.b64encode(row.tobytes()).decode("ascii") for row in rows)

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        return super()._from_config({**config, "vectors": _decoded(config.get("vectors"))})

    def __repr__(self) -> str:
        shape = f"<{len(self.vectors)} x {self.n_features} numbers>"
        others = {name: getattr(self, name) for name in self._parameters[1:]}
        shown = "".join(f", {name}={value!r}" for name, value in others.items())
        return f"{type(self).__name__}(vectors={shape}{shown})"

    def collision_probability(self, distance: ArrayLike) -> NoReturn:
        """Raise TypeError: the vectors are not random.

        Parameters
        ----------
        distance : array_like of float

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(
            "LearnedProjection has no collision probability, because its vectors are not random; `kernel` "
            "computes the share of hashes that rows have in common"
        )

    def distance(self, probability: ArrayLike) -> NoReturn:
        """Raise TypeError: the vectors are not random.

        Parameters
        ----------
        probability : array_like of float

        Raises
        ------
        TypeError
            Always.
        """
        self.collision_probability(probability)

    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Return the share of hashes that every pair of rows has in common, before codes are rehashed.

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
        left, right = self._read(X), self._read(Y, "Y")
        refuse_gpu("kernel", left.arrays[-1])
        refuse_gpu("kernel", right.arrays[-1])
        exact = self
        if not self._code_is_exact:
            exact = type(self)(self.vectors, power=self.power, metric=self.metric)
        ours, theirs = exact.hash(left), exact.hash(right)
        common = np.zeros((left.n, right.n))
        for h in range(self.n_hashes):
            common += ours[:, h, None] == theirs[:, h]
        return common / self.n_hashes


def _unit_vectors(vectors: Any) -> NDArray[np.float32]:
    """Return vectors of length 1 in new memory; TypeError or ValueError if they are none."""
    given = check_dense(vectors, None, "vectors")
    if given.shape[0] < 1 or given.shape[1] < 1:
        raise ValueError(f"vectors must have at least a row and a column, got shape {given.shape}")
    LearnedProjection.check_size(*given.shape)
    matrix = given.astype(np.float64)
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    if not largest.all():
        raise ValueError(f"vectors must not be zero, got zeros in row {int(np.argmin(largest))}")
    scaled = matrix / largest
    lengths = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    is_unit = np.abs(lengths * largest - 1.0) < _ROUNDING
    return np.ascontiguousarray(np.where(is_unit, matrix, scaled / lengths), np.float32)


def _decoded(texts: Any) -> Any:
    """Return the vectors that texts of a configuration stand for; arrays are returned as they are."""
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return texts
    if len({len(text) for text in texts}) != 1:
        raise ValueError("vectors must be texts of one length")
    try:
        rows = [np.frombuffer(base64.b64decode(text, validate=True), "<f4") for text in texts]
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"vectors must be the base64 of float32 numbers: {error}") from None
    return np.stack(rows).astype(np.float32)


publish("mergesketch.lsh", __all__, globals())
