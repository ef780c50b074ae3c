"""One small array of parameters that stands for many large tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_array, check_finite
from ...lsh.inputs.weights import check_real_weights
from ...lsh.support.aliases import alias
from ...lsh.support.backend import backend_of, device_of, read_only
from ...lsh.support.checks import check_choice, check_flag, check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.random import normal
from ...lsh.support.types import KeysLike
from ..core.guard import changing, uninterrupted
from ..core.state import StateSpec
from .frequent_rows import FrequentRows
from .gradients import Product, Rows
from .hashed_maps import RobeMap
from .parameter_map import ParameterMap
from .table_queries import NO_OFFSETS

__all__ = ["SharedParameters"]

_MOST_PARAMETERS = 1 << 40
#: The largest standard deviation.
_LARGEST = 2.0**64


class SharedParameters(FrequentRows):
    """Keep tables of any size in one small array, whose entries many rows share.

    Parameters
    ----------
    n_parameters : int
        The number m of parameters, from 1 to 2**40.
    map : ParameterMap, optional
        Where the entries of the tables lie: ``RobeMap()`` by default, or `CafeMap`, `CyclicMap`,
        `TileMap`, `MultiHashMap`, `PairMap`, `SemanticMap` or `QuotientRemainderMap`.
    seed : int, default 0
        In [0, 2**64). The seed of the hash functions. Only objects of one seed merge.
    dtype : {"float32", "float64"}

    Attributes
    ----------
    weights : ndarray of shape (n_parameters,)
        The parameters, as a view that cannot be written to. They are 0 at first.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    A virtual table has a row for each integer of 64 bits, or for each string: there is no vocabulary.
    `gather` reads rows, ``gather(rows) = A w``, where w are the weights and each row of the matrix A has one
    entry of 1 or -1 (or a few, for some maps). `scatter_add` adds the transpose, ``w += A^T g``. So it is the
    gradient of `gather`, and

        <gather(rows), g> = <w, scatter_add(rows, g)>

    for all w and g. Rows that share a parameter are read together and learn together. Tables of different
    numbers, `table`, share the parameters, but each has hash functions of its own.

    All methods are linear in the weights, so objects merge by addition: the sum of the gradients that several
    workers have scattered is the scattered gradient of all. Sums are exact for integers (up to 2**24 in
    float32), and equal up to rounding for others.

    Reading a row of d columns takes about as long as copying d numbers, and another hash for each block. The
    time does not depend on the number of rows of the table, only on whether the parameters fit the
    processor's caches.

    References
    ----------
    - Weinberger, Dasgupta, Langford, Smola, Attenberg. Feature hashing for large scale multitask learning.
      ICML 2009.
    - Desai, Chou, Shrivastava. Random offset block embedding (ROBE) for compressed embedding tables in deep
      learning recommendation systems. MLSys 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import RobeMap, SharedParameters
    >>> parameters = SharedParameters(10_000, RobeMap(block=8)).initialize(std=0.1, seed=1)
    >>> rows = parameters.gather(["tea", "cake"], n_columns=16)
    >>> rows.shape
    (2, 16)

    A step of gradient descent for 0.5 |row|**2, whose gradient is the row:

    >>> gradient = parameters.empty_like().scatter_add(["tea", "cake"], rows, scale=-0.5)
    >>> np.allclose(parameters.merge(gradient).gather(["tea", "cake"], 16), rows / 2, atol=0.2)
    True
    """

    _gpu = True
    _parameters = ("n_parameters", "map", "seed", "dtype")
    _filled = ("weights", "parameters used")

    def __init__(
        self, n_parameters: int, map: ParameterMap | None = None, *, seed: int = 0, dtype: str = "float32"
    ) -> None:
        self.n_parameters = check_int("n_parameters", n_parameters, 1, _MOST_PARAMETERS)
        if map is not None and not isinstance(map, ParameterMap):
            raise TypeError(f"map must be a ParameterMap, such as RobeMap(), got {type(map).__name__}")
        self.map = RobeMap() if map is None else map
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self.dtype = check_choice("dtype", dtype, ("float32", "float64"))

    def _layout(self) -> dict[str, StateSpec]:
        remedy = "choose fewer parameters"
        return {"weights": StateSpec((self.n_parameters,), self.dtype, "sum", remedy=remedy)}

    # -- constructors -----------------------------------------------------------------------------

    @classmethod
    def for_error(
        cls,
        error: float,
        confidence: float = 0.95,
        *,
        map: ParameterMap | None = None,
        seed: int = 0,
        dtype: str = "float32",
    ) -> Self:
        """Return shared parameters that keep inner products of tables within a bound of the error.

        Parameters
        ----------
        error : float
            In (0, 1): the bound, as a share of the product of both norms.
        confidence : float, default 0.95
            In (0, 1): the probability with which the bound holds, for each product by itself.
        map : ParameterMap, optional
            ``RobeMap()`` by default, or another `RobeMap`, a `PairMap` or a `TileMap`.
        seed : int, default 0
        dtype : {"float32", "float64"}
            As for the class.

        Returns
        -------
        SharedParameters

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range, or the map has no such bound.

        Notes
        -----
        Let x be all entries of a table, or of several, and y the coefficients of a linear function of them,
        such as one entry, or a logit that adds up entries of some rows. Let S be the matrix of `scatter_add`.
        With parameters w = S x the function is read as ``S x . S y``. With

            m = 2 / (error**2 (1 - confidence))

        parameters, ``|S x . S y - x . y| < error |x| |y|`` with a probability of at least `confidence`.
        Proof: the mean is x . y, and the variance is at most ``(|x|**2 |y|**2 + (x . y)**2) / m``, see
        `RobeMap`, so at most ``2 |x|**2 |y|**2 / m``; and Chebyshev's inequality.

        So m does not depend on the number of rows and columns. This holds for parameters that are a sketch of
        given tables, and so shows what m parameters can represent; training may find better ones. Desai and
        Shrivastava (2022) state bounds of their own for such tables, which are not used here.

        Examples
        --------
        >>> from mergesketch import SharedParameters
        >>> SharedParameters.for_error(0.01, confidence=0.9)
        <SharedParameters(n_parameters=200000, map=RobeMap(block=64), seed=0, dtype='float32') for error=0.01,
        confidence=0.9: 0 updates, 800,008 bytes>
        """
        error = check_real("error", error, 0.0, 1.0)
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        map = RobeMap() if map is None else map
        run = getattr(map, "longest_run", None)
        if not isinstance(run, int):
            raise ValueError(f"map must be a RobeMap, a PairMap or a TileMap for such a bound, got {map!r}")
        # Rounding must not add a parameter to a size that is an integer.
        needed = 2.0 / (error * error * (1.0 - confidence)) * (1.0 - 1e-12)
        if needed > _MOST_PARAMETERS:
            raise ValueError(
                f"error must be reached with 2**40 parameters, got {error:g}, which takes {needed:.3g}"
            )
        new = cls(max(run, math.ceil(needed)), map, seed=seed, dtype=dtype)
        return new._asked_for(error=error, confidence=confidence)

    @classmethod
    def from_weights(
        cls, weights: ArrayLike, map: ParameterMap | None = None, *, seed: int = 0, copy: bool = True
    ) -> Self:
        """Return shared parameters that have given weights.

        Parameters
        ----------
        weights : array of shape (n_parameters,), float32 or float64
        map : ParameterMap, optional
        seed : int, default 0
            As for the class.
        copy : bool, default True
            False to use the memory of the array, which must be contiguous: changes are then seen on both
            sides.

        Returns
        -------
        SharedParameters

        Raises
        ------
        TypeError, ValueError
            If the array has another dtype or shape, NaN or infinity, or cannot be used without a copy.

        Examples
        --------
        >>> import numpy as np
        >>> from mergesketch import SharedParameters
        >>> weights = np.zeros(100, np.float32)
        >>> parameters = SharedParameters.from_weights(weights, copy=False)
        >>> _ = parameters.scatter_add(7, [1.0, 2.0])
        >>> float(np.abs(weights).sum())
        3.0
        """
        array = check_array("weights", weights)
        if array.dtype.name not in ("float32", "float64"):
            raise TypeError(f"weights must be float32 or float64, got dtype {array.dtype}")
        if array.ndim != 1 or array.size == 0:
            raise ValueError(f"weights must have shape (n_parameters,), got shape {array.shape}")
        check_finite("weights", array, backend_of(array))
        if not check_flag("copy", copy) and not _can_be_used(array, weights):
            raise ValueError(
                "weights must be an array, contiguous, writeable, aligned and of the byte order of this "
                "machine, to be used without a copy"
            )
        new = cls(array.size, map, seed=seed, dtype=array.dtype.name)
        device = device_of(array)
        new._check_device(device)
        arrays = {"weights": array.copy() if copy else array, "n_updates": np.zeros(1, np.int64)}
        return new._set_arrays(arrays, device)

    @classmethod
    def average(cls, parts: Sequence[Self], weights: ArrayLike | None = None) -> Self:
        """Return the weighted mean of several shared parameters of one configuration.

        Parameters
        ----------
        parts : sequence of SharedParameters
            At least one.
        weights : array of a number of at least 0 for each part, optional
            For example the numbers of rows that each has learned from. They need not add up to 1. By default
            all are equal.

        Returns
        -------
        SharedParameters
            With the updates of all parts.

        Raises
        ------
        TypeError, ValueError
            If there is no part, or weights are negative or all 0.
        IncompatibleSketchError
            If configurations differ.

        Examples
        --------
        >>> from mergesketch import SharedParameters
        >>> parts = [SharedParameters(100).scatter_add(7, [value]) for value in (1.0, 5.0)]
        >>> SharedParameters.average(parts, weights=[3, 1]).gather(7, n_columns=1)
        array([2.], dtype=float32)
        """
        given, parts = parts, list(parts) if isinstance(parts, Iterable) else []
        if not parts or not all(isinstance(part, cls) for part in parts):
            raise TypeError(f"parts must be a sequence of at least one {cls.__name__}, got {given!r}")
        shares = check_real_weights(
            "weights", np.ones(len(parts)) if weights is None else weights, len(parts)
        )
        if not bool((shares >= 0).all()) or not shares.any():
            raise ValueError(f"weights must be at least 0, and not all 0, got {shares.tolist()}")
        mean = parts[0].empty_like().to(parts[0].device)
        for part, share in zip(parts, (shares / shares.sum()).tolist(), strict=True):
            scaled = part.copy()
            scaled._arrays["weights"] *= share
            mean.merge(scaled)
        return mean

    def initialize(self, std: float, seed: int = 0) -> Self:
        """Set the weights to independent normal numbers of mean 0.

        Parameters
        ----------
        std : float
            The standard deviation, above 0.
        seed : int, default 0
            In [0, 2**64). Equal seeds give equal weights on every machine.

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range. Nothing changes then.
        """
        std = check_real("std", std, 0.0, _LARGEST)
        seed = check_int("seed", seed, 0, 2**64 - 1)
        drawn = normal(seed, "SharedParameters, weights", self.n_parameters)
        drawn *= std
        with self._lock, changing(self), uninterrupted():
            self._arrays["weights"][:] = self._backend.constant(drawn)
        return self

    # -- updates ----------------------------------------------------------------------------------

    def update(self, rows: KeysLike, gradients: ArrayLike, *, table: int = 0, scale: float = 1.0) -> Self:
        """Add gradients of rows to the parameters that the rows share: the transpose of `gather`.

        Parameters
        ----------
        rows : array of integers of any shape, or array or list of strings or bytes, or one row
            Rows may repeat.
        gradients : array of the shape of `rows` and a last dimension of n_columns
            Finite numbers.
        table : int, default 0
            The number of the virtual table, in [0, 2**32).
        scale : float, default 1.0
            A factor of all gradients: that of the table in a model where several share the parameters, or a
            negative step.

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            If the map has no such rows, or the gradients have another shape, or are not finite, or not after
            they are multiplied by the scale. Nothing changes then.

        Notes
        -----
        A sum beyond the largest number of the dtype (3.4e38 for float32) becomes infinite, and `gather` then
        returns infinity or NaN.
        """
        return self._take_in(
            {"rows": rows, "gradients": gradients}, self._read_rows, None, None, table, scale
        )

    scatter_add = alias(update)

    def update_bags(
        self,
        rows: KeysLike,
        offsets: ArrayLike,
        gradients: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        table: int = 0,
        scale: float = 1.0,
    ) -> Self:
        """Add the gradients of sums of rows: the transpose of `gather_bags`.

        Parameters
        ----------
        rows : array or list of n integers, strings or bytes
        offsets : array of n_bags + 1 integers
            Bag b has the rows from ``offsets[b]`` to ``offsets[b + 1]``.
        gradients : array of shape (n_bags, n_columns)
        weights : array of n numbers, optional
            The factor of each row, 1 by default.
        table : int, default 0
        scale : float, default 1.0
            As for `update`.

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            As `update` does, or if offsets fall, or do not begin at 0 and end at n. Nothing changes then.
        """
        if offsets is None:
            raise TypeError(NO_OFFSETS)
        arguments = {"rows": rows, "gradients": gradients}
        return self._take_in(arguments, self._read_rows, offsets, weights, table, scale)

    def _read(self, first: Any, second: Any, read: Callable[..., Rows | Product], *others: Any) -> Any:
        return read(first, second, *others)

    def _read_rows(
        self, rows: Any, gradients: Any, offsets: Any, factors: Any, table: Any, scale: Any
    ) -> Rows:
        array = self._numbers("gradients", gradients)
        which = self._table(array.shape[-1], table)
        words, shape = self._words(rows, which)
        bags = self._bags(shape, offsets, factors)
        expected = shape if offsets is None else (bags.offsets.size - 1,)
        if array.shape[:-1] != expected:
            raise ValueError(
                f"gradients must have shape {(*expected, which.n_columns)}, a row for each row, got "
                f"shape {array.shape}"
            )
        flat, scale = read_only(array.reshape(-1, which.n_columns)), self._scale(scale)
        self._refuse_overflow("gradients", scale, flat, bags.factors)
        return Rows(words, bags, flat, which, scale)

    def _amounts(self, batch: Rows | Product) -> dict[str, int]:
        return {"n_updates": batch.n_rows}

    def _add(self, batch: Rows | Product) -> None:
        batch.add_to(self._arrays["weights"], self.map)

    # -- other sizes ------------------------------------------------------------------------------

    def fold(self, n_parameters: int) -> Self:
        """Return a smaller array: the sums of the parameters whose places are equal modulo its size.

        Parameters
        ----------
        n_parameters : int
            A divisor of the number of parameters.

        Returns
        -------
        SharedParameters
            Equal to what the same updates had given in an array of that size: for sums that are exact, bit
            for bit. With `CyclicMap`, whose chunks have the size of the array, it is not, and raises.

        Raises
        ------
        TypeError, ValueError
            If `n_parameters` is no divisor, or the map cannot be folded.

        Examples
        --------
        >>> from mergesketch import SharedParameters
        >>> large, small = SharedParameters(1024), SharedParameters(64)
        >>> for parameters in (large, small):
        ...     _ = parameters.scatter_add(range(100), [[1.0] * 64] * 100)
        >>> large.fold(64) == small
        True
        """
        n_parameters = check_int("n_parameters", n_parameters, 1, self.n_parameters)
        if self.n_parameters % n_parameters:
            raise ValueError(f"n_parameters must be a divisor of {self.n_parameters}, got {n_parameters}")
        if not self.map.folds:
            raise ValueError(
                f"a {type(self.map).__name__} cannot be folded: its places depend on n_parameters"
            )
        new = type(self)(n_parameters, self.map, seed=self.seed, dtype=self.dtype)
        folded = self._arrays["weights"].reshape(-1, n_parameters).sum(axis=0)
        arrays = {"weights": folded, "n_updates": self._arrays["n_updates"].copy()}
        return new._set_arrays(arrays, self.device)


def _can_be_used(array: NDArray[Any], given: Any) -> bool:
    """Check that an array which was read is the memory that was given, in an order that kernels can write."""
    if device_of(array) != "cpu":
        return bool(array.flags.c_contiguous)
    is_same = np.may_share_memory(array, np.asarray(given))
    return is_same and array.flags.c_contiguous and array.flags.writeable


publish("mergesketch", __all__, globals())
