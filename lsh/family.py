"""The base class of hash families.

A family of locality-sensitive hash functions turns rows into integer codes. The codes of two rows are equal
with a probability that depends on how similar the rows are. As a function of two rows that probability is a
kernel, and every sketch over the family estimates sums of the kernel.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import IncompatibleSketchError
from .inputs.arrays import check_range
from .inputs.raw_rows import read_raw_rows
from .inputs.rows import Rows
from .metric import METRICS
from .support.backend import refuse_gpu
from .support.checks import check_int, renamed
from .support.configured import Configured, build_named, differing_field, register, register_reader
from .support.public import publish
from .support.types import RowsLike

__all__ = [
    "HashFamily",
    "RowsToCodes",
    "check_same_family",
    "family_from_config",
    "refuse_given_functions",
    "with_known_widths",
]

#: A function ``(start, stop, out)`` that writes the codes of the rows [start, stop).
RowsToCodes = Callable[[int, int, NDArray[np.uint32]], None]


def check_same_family(what: str, ours: HashFamily, theirs: HashFamily | None) -> None:
    """Raise IncompatibleSketchError if `theirs` is given and differs from `ours`; messages name `what`."""
    if theirs is None:
        return
    if not isinstance(theirs, HashFamily):
        raise TypeError(f"family must be a hash family, got {type(theirs).__name__}")
    difference = differing_field(ours.config(), theirs.config())
    if difference is not None:
        raise IncompatibleSketchError(f"{what} differ in {difference}")


def refuse_given_functions(family: HashFamily, what: str) -> None:
    """Raise TypeError if the hash functions are not random; `what` names what is random over them."""
    if not family.is_drawn:
        raise TypeError(
            f"family must draw its hash functions at random for {what}, and those of {type(family).__name__} "
            "are given"
        )


class HashFamily(Configured, ABC):
    """Hash rows with `n_hashes` functions of one locality-sensitive family (LSH): the base of all families.

    Attributes
    ----------
    n_hashes : int
        Number of columns of the codes, which is the number of rows of a sketch, or tables of an index.
    n_buckets : int
        Codes lie in [0, n_buckets). At most 2**32.
    seed : int
        Equal parameters and seeds give equal codes, on any machine and with any number of threads.
    metric : str
        The measure that `collision_probability` takes: an "angle" in radians; a "euclidean" or "cityblock"
        distance; a "jaccard" or "weighted_jaccard" distance, which is 1 minus the similarity; a "hamming"
        distance, which is the number of places that differ; for "rank", 1 minus the similarity of orders; and
        for "inner_product" the inner product itself.
    design_effect : float
        An upper bound, at least 1, of the variance of a mean over the hashes, divided by the variance over
        independent hashes (Kish 1965, "Survey sampling"). It is 1 where hashes of given rows are independent,
        or where their dependence makes means vary less. Standard errors of sketches take it into account.
    is_drawn : bool
        True if the hash functions are drawn at random, so that collisions of given rows have probabilities.
        False for functions that are given, as those of `LearnedProjection`. Probabilities over hash functions
        and standard errors are then refused.

    Notes
    -----
    A subclass draws its random parameters with `mergesketch.lsh.support.random`, at the first call that needs
    them. So a configuration that is read from a file allocates no memory.
    """

    n_hashes: int
    n_buckets: int
    seed: int
    metric: ClassVar[str]
    #: Probability that two rows share a bucket although their elementary hashes differ: 1 / n_buckets after
    #: rehashing into n_buckets, and 0 where the code itself is the bucket.
    chance_collision: float
    design_effect: float = 1.0
    is_drawn: ClassVar[bool] = True
    _registry: ClassVar[dict[str, type[HashFamily]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register(HashFamily._registry, cls)

    @property
    def is_fixed(self) -> bool:
        """False as long as the number of features is unknown; sketches take it from their first rows."""
        return True

    def for_rows(self, X: RowsLike, name: str = "X") -> Self:
        """Return the family with the number of features that rows have.

        Parameters
        ----------
        X : n rows
            As `hash` takes them.
        name : str, default "X"
            Name of the argument in messages.

        Returns
        -------
        HashFamily
            The family itself if its number of features is known already, or if there are no rows.

        Raises
        ------
        TypeError, ValueError
            If the rows are not what the family takes.
        """
        return self

    def fixed_like(self, other: HashFamily) -> Self:
        """Return the family with the number of features of another family of the same class.

        Parameters
        ----------
        other : HashFamily

        Returns
        -------
        HashFamily
            The family itself if its number of features is known, or that of the other one is not.
        """
        return self

    def read_rows(self, X: RowsLike, name: str = "X") -> Rows:
        """Check rows once, so that `hash`, `hash_query` and `probe` take them, and cuts of them, as they are.

        A sketch reads a whole batch before it changes anything, and then hashes it block by block.

        Parameters
        ----------
        X : n rows
            As `hash` or `hash_query` takes them. Rows that have been read are returned as they are.
        name : str, default "X"
            Name of the argument in messages.

        Returns
        -------
        Rows
            ``hash(rows.cut(start, stop))`` gives the codes of the rows [start, stop).

        Raises
        ------
        TypeError, ValueError
            If the rows are not what the family takes.

        Notes
        -----
        A family of the library returns its own `Rows`. A user's family checks rows in `hash`: its rows are
        counted, and their cuts are plain slices of `X`. That is also so for a subclass of any family that
        overrides `hash`, `hash_query` or `probe`.
        """
        names, classes = ("_read", "hash", "hash_query", "probe"), type(self).__mro__
        places = [next(i for i, cls in enumerate(classes) if name in vars(cls)) for name in names]
        reader = type(self) if places[0] == min(places) else HashFamily
        return reader._read(self, X, name)

    def _read(self, X: Any, name: str = "X") -> Rows:
        """Return the rows that `hash` takes. A family that overrides it begins `hash` with this call."""
        return read_raw_rows(X, name)

    @abstractmethod
    def hash(self, X: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of rows.

        Parameters
        ----------
        X : n rows
            Dense or sparse rows, or sets: see the family.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32, C order

        Raises
        ------
        TypeError, ValueError
            If the rows are not what the family takes.
        """

    def hash_query(self, Q: RowsLike) -> NDArray[np.uint32]:
        """Return the codes of query rows: those of `hash`, unless the family treats queries differently.

        Parameters
        ----------
        Q : n rows
            As for `hash`.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32, C order

        Raises
        ------
        TypeError, ValueError
            If the rows are not what the family takes.
        """
        with renamed("X", "Q"):
            return self.hash(Q)

    def probe(self, Q: RowsLike, n_probes: int) -> NDArray[np.uint32]:
        """Return the codes of the `n_probes` buckets of each hash that most likely contain neighbours.

        Buckets next to the bucket of the query often contain neighbours that are not in it. With several
        probes, fewer hashes find the same number of neighbours (Lv, Josephson, Wang, Charikar and Li 2007).

        Parameters
        ----------
        Q : query rows, as `hash_query` takes them
        n_probes : int
            At least 1, and at most the number of buckets that the family distinguishes.

        Returns
        -------
        ndarray of shape (n, n_hashes, n_probes), uint32
            The most likely bucket is first: ``probe(Q, n)[:, :, 0]`` are the codes of ``hash_query(Q)``.
            Buckets of one hash are distinct before they are reduced to `n_buckets`. The order of two buckets
            that are almost equally likely may depend on whether the processor fuses multiplications and
            additions.

        Raises
        ------
        TypeError
            With more than one probe, if the family does not order neighbouring buckets.
        ValueError
            If `n_probes` is out of range.
        """
        if check_int("n_probes", n_probes, 1) > 1:
            raise TypeError(
                f"{type(self).__name__} has no multi-probe querying: n_probes must be 1, got {n_probes}"
            )
        return self.hash_query(Q)[:, :, None]

    @abstractmethod
    def collision_probability(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Return the probability that a hash collides at a distance, concatenated but not rehashed.

        Parameters
        ----------
        distance : array_like of float
            In the units of the family's `metric`.

        Returns
        -------
        ndarray of the shape of `distance`, float64

        Raises
        ------
        TypeError, ValueError
            If a distance is not a number or is out of range.
        """

    def distance(self, probability: ArrayLike) -> NDArray[np.float64]:
        """Return the distance of a collision probability: the inverse of `collision_probability`.

        Parameters
        ----------
        probability : array_like of float
            In [0, 1].

        Returns
        -------
        ndarray of the shape of `probability`, float64
            In the units of the family's `metric`. A probability below that of all distances gives the
            largest distance, which may be infinite.

        Raises
        ------
        TypeError, ValueError
            If a probability is not a number or lies outside [0, 1].

        Notes
        -----
        The distance is found by bisection, to the last bit, with 64 values of `collision_probability`.
        """
        refuse_gpu("distance", probability)
        wanted = check_range("probability", probability, 1.0)
        values, place = np.unique(wanted, return_inverse=True)
        # Distances are at least 0, so their bit patterns have the same order. Bisecting these takes equally
        # few steps for tiny, huge and other distances.
        low = np.zeros(values.size, dtype=np.int64)
        high = np.full(values.size, self._largest_distance).view(np.int64)
        while bool((low < high).any()):
            middle = low + (high - low) // 2
            near = (low < high) & (self.collision_probability(middle.view(np.float64)) > values)
            low, high = np.where(near, middle + 1, low), np.where(near, high, middle)
        return low.view(np.float64)[place].reshape(wanted.shape)

    @property
    def _largest_distance(self) -> float:
        """The largest distance that `collision_probability` takes."""
        metric = METRICS.get(self.metric)
        largest = metric.largest if metric else math.inf
        if self.metric == "hamming":  # rows consist of bits, or of features
            largest = float(getattr(self, "n_bits", getattr(self, "n_features", largest)))
        return largest

    def _check_distances(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Return distances as float64; ValueError if one lies outside the range of the metric."""
        refuse_gpu("collision_probability", distance)
        return check_range("distance", distance, self._largest_distance)

    @abstractmethod
    def kernel(self, X: RowsLike, Y: RowsLike) -> NDArray[np.float64]:
        """Return exact collision probabilities of all pairs of rows: the slow reference.

        For a family that treats queries differently, `X` are queries and `Y` are data.

        Parameters
        ----------
        X, Y : n and m rows
            As for `hash`.

        Returns
        -------
        ndarray of shape (n, m), float64

        Raises
        ------
        TypeError, ValueError
            If the rows are not what the family takes.
        """

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON-able values, and the name of the family.

        Returns
        -------
        dict
        """
        return {"family": type(self).__name__, **super().config()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashFamily) and self.config() == other.config()

    def __hash__(self) -> int:
        return hash(repr(self.config()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._from_config, (super().config(),)


def family_from_config(config: Mapping[str, Any]) -> HashFamily:
    """Return the family that a configuration describes: the inverse of ``family.config()``.

    Parameters
    ----------
    config : mapping
        A result of ``family.config()``.

    Returns
    -------
    HashFamily

    Raises
    ------
    ValueError
        If the configuration names no known family or its arguments are refused.

    Examples
    --------
    >>> from mergesketch.lsh import MinHash, family_from_config
    >>> family = MinHash(n_hashes=8, seed=3)
    >>> family_from_config(family.config()) == family
    True
    """
    family: HashFamily = build_named("family", HashFamily._registry, config)
    return family


def with_known_widths(configs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return configurations of sketches whose families may not know their number of features yet.

    These families get the number of the first family that knows it, as they do when sketches merge.
    """
    families = [
        family_from_config(config["family"]) if isinstance(config.get("family"), Mapping) else None
        for config in configs
    ]
    fixed = next((family for family in families if family is not None and family.is_fixed), None)
    if fixed is None:
        return list(configs)
    return [
        config
        if family is None or family.is_fixed
        else {**config, "family": family.fixed_like(fixed).config()}
        for config, family in zip(configs, families, strict=True)
    ]


register_reader("family", family_from_config)


publish("mergesketch.lsh", __all__, globals())
