"""What a hash family is, and the configuration mechanism that families and sketches share.

A family of locality-sensitive hash functions turns rows into integer codes. Its codes collide with a
probability that depends on how alike two rows are; that probability, as a function of two rows, is a
kernel, and every sketch over the family estimates sums of that kernel.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from inspect import isabstract
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import IncompatibleSketchError
from .inputs.arrays import check_probabilities
from .inputs.raw_rows import read_raw_rows
from .inputs.rows import Rows
from .support.checks import check_int, renamed
from .support.configured import Configured, differing_field, register

__all__ = ["HashFamily", "check_same_family", "family_from_config"]


def check_same_family(what: str, ours: HashFamily, theirs: HashFamily | None) -> None:
    """IncompatibleSketchError if `theirs` is told and is another family than `ours`; `what` differs then."""
    if theirs is None:
        return
    if not isinstance(theirs, HashFamily):
        raise TypeError(f"family must be a hash family, got {type(theirs).__name__}")
    difference = differing_field(ours.config(), theirs.config())
    if difference is not None:
        raise IncompatibleSketchError(f"{what} differ in {difference}")


class HashFamily(Configured, ABC):
    """`n_hashes` hash functions drawn from one locality-sensitive family.

    Attributes
    ----------
    n_hashes : int
        Columns of the codes: the rows of a sketch, the tables of an index.
    n_buckets : int
        Codes lie in [0, n_buckets), n_buckets <= 2**32.
    seed : int
        Same parameters and seed, same codes: on any machine, over any number of threads.
    metric : str
        What `collision_probability` takes: an "angle" in radians; a "euclidean" or "cityblock" distance;
        a "jaccard" or "weighted_jaccard" distance, 1 minus the similarity; a "hamming" distance, the
        number of places that differ; for "rank", 1 minus the similarity of orders; and for
        "inner_product" the inner product itself.
    design_effect : float
        At least 1: the variance of a mean over the hashes is at most so many times that over as many
        independent ones (Kish 1965, "Survey sampling"). It is 1 where hashes of given rows are independent,
        or where what they share makes means vary less; standard errors of sketches allow for it.

    Notes
    -----
    A subclass draws its random parameters lazily, at the first call that needs them, with
    `mergesketch.lsh.support.random`; so a configuration that came from a file allocates nothing.
    """

    n_hashes: int
    n_buckets: int
    seed: int
    metric: ClassVar[str]
    #: Probability that two rows that the family tells apart still share a bucket: 1/n_buckets after
    #: rehashing into n_buckets, 0 where the code itself is the bucket.
    chance_collision: float
    design_effect: float = 1.0
    _registry: ClassVar[dict[str, type[HashFamily]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register(HashFamily._registry, cls)
        if "read_rows" not in vars(cls) and not {"hash", "hash_query", "probe"}.isdisjoint(vars(cls)):
            # Such a method may not know the rows that a base class reads.
            setattr(cls, "read_rows", HashFamily.read_rows)  # noqa: B010

    def read_rows(self, X: Any, name: str = "X") -> Rows:
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
        The default serves families that check rows in `hash`: it counts the rows, and its cuts are plain
        slices of `X`. A family that overrides it can rely on its own `Rows` in `hash`, which begins with
        ``rows = self.read_rows(X)``. A subclass that overrides `hash`, `hash_query` or `probe` alone gets
        the default again.
        """
        return read_raw_rows(X, name)

    @abstractmethod
    def hash(self, X: Any) -> NDArray[np.uint32]:
        """Codes of the rows of `X`.

        Parameters
        ----------
        X : n rows
            Dense, sparse or sets, as the family says.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32, C order

        Raises
        ------
        TypeError, ValueError
            If the rows are not what the family takes.
        """

    def hash_query(self, Q: Any) -> NDArray[np.uint32]:
        """Codes of query rows: `hash`, unless the family treats queries unlike data.

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

    def probe(self, Q: Any, n_probes: int) -> NDArray[np.uint32]:
        """Codes of the `n_probes` buckets of each hash that are likeliest to hold a query's neighbours.

        Looking beside the query's own bucket finds the neighbours that just missed it, so fewer hashes
        find as many (Lv, Josephson, Wang, Charikar and Li 2007).

        Parameters
        ----------
        Q : query rows, as `hash_query` takes them
        n_probes : int
            At least 1, and at most what the family can tell apart.

        Returns
        -------
        ndarray of shape (n, n_hashes, n_probes), uint32
            The likeliest first: ``probe(Q, n)[:, :, 0]`` are the codes of ``hash_query(Q)``. Buckets of one
            hash are distinct before they are reduced to `n_buckets`. Which of two that are nearly as likely
            comes first may depend on whether the processor fuses multiplications and additions.

        Raises
        ------
        TypeError
            With more than one probe, if the family knows of no order of neighbouring buckets.
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
        """Probability that one hash (after concatenation, before rehashing) collides at `distance`.

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
            If a distance is no number or out of range.
        """

    def distance(self, probability: ArrayLike) -> NDArray[np.float64]:
        """The distance at which the collision probability is that: the inverse of `collision_probability`.

        Parameters
        ----------
        probability : array_like of float
            In [0, 1].

        Returns
        -------
        ndarray of the shape of `probability`, float64
            In the units of the family's `metric`. The largest distance there is, which may be infinite,
            for a probability below that of all distances.

        Raises
        ------
        TypeError, ValueError
            If a probability is no number or lies outside [0, 1].

        Notes
        -----
        By bisection, to the last bit: 64 values of `collision_probability` for each probability.
        """
        wanted = check_probabilities(probability)
        values, place = np.unique(wanted, return_inverse=True)
        # Distances are at least 0, and their bit patterns are in their order: bisecting these takes as
        # few steps for tiny and huge distances as for others.
        low = np.zeros(values.size, dtype=np.int64)
        high = np.full(values.size, self._largest_distance).view(np.int64)
        while bool((low < high).any()):
            middle = low + (high - low) // 2
            near = (low < high) & (self.collision_probability(middle.view(np.float64)) > values)
            low, high = np.where(near, middle + 1, low), np.where(near, high, middle)
        return low.view(np.float64)[place].reshape(wanted.shape)

    @property
    def _largest_distance(self) -> float:
        """The end of the range of `collision_probability`."""
        if self.metric == "hamming":  # of bits or of features, whichever a row consists of
            return float(getattr(self, "n_bits", getattr(self, "n_features", math.inf)))
        ends = {"angle": math.pi, "jaccard": 1.0, "weighted_jaccard": 1.0, "rank": 2.0}
        return ends.get(self.metric, math.inf)

    @abstractmethod
    def kernel(self, X: Any, Y: Any) -> NDArray[np.float64]:
        """Pairwise collision probabilities, shape (len(X), len(Y)); the exact, slow reference.

        Of a family that treats queries unlike data, `X` are queries and `Y` are data.

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
        """The constructor's arguments as JSON-able values, and the name of the family.

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
    """The family that `config` tells of, the inverse of ``family.config()``.

    Parameters
    ----------
    config : mapping
        As ``family.config()`` gives it.

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
    arguments = dict(config)
    name = arguments.pop("family", None)
    concrete = {key: value for key, value in HashFamily._registry.items() if not isabstract(value)}
    cls = concrete.get(name) if isinstance(name, str) else None
    if cls is None:
        known = ", ".join(sorted(concrete))
        raise ValueError(f"family must be one of {known}, got {name!r}")
    return cls._from_config(arguments)


Configured._readers["family"] = family_from_config
