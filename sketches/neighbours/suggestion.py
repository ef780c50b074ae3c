"""Choose the number of tables, the power, width and capacity of an index: `suggest`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from .crowding import MODELS, crowd_at, crowd_of, near_powers, some_rows
from .index import LSHIndex
from .neighbour_units import Nearness, read_nearness
from .table_grid import TableGrid, Tables, needs_wide_ids

__all__ = ["Suggestion", "suggest"]

_DEFAULT_FEATURES = 100
#: Least width that is tried, as a share of the typical distance.
_NARROW = 0.02
#: Numbers of probes of which the cheapest is chosen if none is given.
_PROBES = (1, 2, 4, 8, 16, 32, 64)
#: Largest share of insertions that full buckets lose, if `near` is given and if a user's unit is.
_OVERFLOW, _OVERFLOW_OF_UNITS = 0.01, 0.001


@dataclass(frozen=True)
class Suggestion:
    """Contain the parameters of an index and its predicted properties, as `suggest` returns them."""

    metric: str
    #: Number of tables, L.
    n_hashes: int
    #: Number of elementary hashes that are concatenated to one.
    power: int
    #: Width of the steps of p-stable projections; None for other families.
    width: float | None
    #: Number of buckets of a table, W.
    n_buckets: int
    #: Largest number of ids in a bucket, B.
    capacity: int
    #: Probability that a row at `near` is found: it shares a bucket with the query and has not been dropped.
    recall: float
    #: Expected number of ids of other rows that a query reads. A row counts once for each table.
    candidates: float
    #: Expected share of insertions whose ids full buckets drop.
    overflow: float
    #: Bytes of the index: L W (4 B + 4), or L W (8 B + 4) if ids need 64 bits.
    nbytes: int
    #: Expected time of a query on one core, by the model in the notes of `suggest`; use it for comparisons.
    nanoseconds: float
    #: Number of buckets that a query reads in each table.
    n_probes: int
    #: Number of rows.
    n_rows: int
    #: Width of the rows, or typical number of tokens of a set; None if `suggest` did not get it.
    n_features: int | None

    def family(self, n_features: int | None = None, *, seed: int = 0, **options: Any) -> HashFamily:
        """Return the hash family with these parameters.

        Parameters
        ----------
        n_features : int, optional
            Width of the rows, by default that which `suggest` was given, or else that of the first rows. For
            "jaccard" it is the typical number of tokens of a set.
        seed : int, default 0
        **options
            Further arguments of the family: `projection`, `scheme`.

        Returns
        -------
        SignedRandomProjection, PStable or MinHash

        Raises
        ------
        TypeError, ValueError
            If the metric's family refuses the arguments.
        """
        n_features = self.n_features if n_features is None else n_features
        model = MODELS[self.metric]
        if n_features is None and model.metric.compares == "sets":
            n_features = _DEFAULT_FEATURES
        return model.make(
            n_features, self.n_hashes, self.power, self.width, self.n_buckets, seed=seed, **options
        )

    def index(self, n_features: int | None = None, *, seed: int = 0, **options: Any) -> LSHIndex:
        """Return an empty index over the family that `family` returns.

        Parameters
        ----------
        n_features : int, optional
        seed : int, default 0
        **options
            As for `family`.

        Returns
        -------
        LSHIndex

        Raises
        ------
        TypeError, ValueError
            As `family` does.
        """
        return LSHIndex(
            self.family(n_features, seed=seed, **options),
            capacity=self.capacity,
            wide_ids=needs_wide_ids(self.n_rows),
            seed=seed,
        )


def suggest(
    metric: str | None = None,
    *,
    n_rows: int,
    near: float | None = None,
    min_cosine: float | None = None,
    min_jaccard: float | None = None,
    max_distance: float | None = None,
    far: ArrayLike | None = None,
    sample: Any = None,
    recall: float = 0.9,
    memory: int | None = None,
    n_probes: int | None = None,
    n_features: int | None = None,
) -> Suggestion:
    """Choose the parameters of an `LSHIndex` for a distance, a recall and a memory limit.

    Parameters
    ----------
    metric : {"angle", "euclidean", "cityblock", "jaccard"}, optional
        The distance: the `metric` of the families SignedRandomProjection, PStable and MinHash. By default it
        follows from the unit: "angle" for `min_cosine`, "jaccard" for `min_jaccard` and "euclidean" for
        `max_distance`. With `near` it is needed.
    n_rows : int
        Number of rows that will be added to the index.
    near : float, optional
        Distance of the rows to be found: an angle in radians, a distance, or for "jaccard" 1 minus the
        similarity. Nearer rows have a higher recall. One of this and the next three is needed.
    min_cosine : float, optional
        Least cosine similarity of the rows to be found, from -1 to 1.
    min_jaccard : float, optional
        Least Jaccard similarity of the sets to be found, from 0 to 1.
    max_distance : float, optional
        Largest distance of the rows to be found, in the units of the metric.
    far : float or array_like of float, optional
        Typical distances between a query and the other rows, in the units of the metric: radians for
        "angle". Either this or `sample` is needed.
    sample : n rows, optional
        At least 16 rows of the data, as the family accepts them; up to 2,048 are used. They show how rows
        cluster, so that capacities are sufficient in dense regions too. The model assumes that queries are
        like them.
    recall : float, default 0.9
        Least probability that a row at `near` is among a query's candidates, in (0, 1).
    memory : int, optional
        Largest number of bytes of the index.
    n_probes : int, optional
        Number of buckets that a query will read in each table, up to 256. With more probes, fewer tables are
        needed. It must be 1 for "jaccard". By default it is 1 with `near`, and otherwise the cheapest of 1,
        2, 4, 8, 16, 32 and 64, which is then `Suggestion.n_probes`.
    n_features : int, optional
        Width of the rows, by default that of the sample, from which it must not differ, or 100. For
        "jaccard" it is the typical number of tokens of a set. The cost of hashing is proportional to it.

    Returns
    -------
    Suggestion
        ``suggestion.index(...)`` is the empty index.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, if not exactly one of `near`,
        `min_cosine`, `min_jaccard` and `max_distance` is given, if neither or both of `far` and `sample`
        are given, if `far` is not greater than `near`, or if `memory` is too small. The message then names
        the smallest memory that is enough, and the recall that `memory` is enough for.

    Notes
    -----
    **Recall**. k(d) is the collision probability of one elementary hash at distance d. A table of W buckets,
    whose codes concatenate p hashes, puts a row at `near` into the query's bucket with probability

        q(d) = k(d)**p + (1 - k(d)**p) / W

    (without the second term if the W = 2**p buckets are the codes themselves). At least one of L tables does
    so with probability (Indyk and Motwani 1998; Gionis, Indyk and Motwani 1999)

        recall = 1 - (1 - q(near) (1 - lost))**L .

    **Capacity**. If M other rows were inserted into a bucket of capacity B, it has dropped the row with
    probability max(0, M + 1 - B) / (M + 1). M is Poisson with mean lambda; the expectation is then

        lost = P(M >= B) - B / lambda P(M >= B + 1) .

    Lambda is n_rows times the share of rows in a bucket. It varies over hash functions and rows, and is
    modelled as log-normal, because it is a product of p factors. With `far` its mean is n_rows E q(far), and
    its second moment is that of rows which differ in many features and are otherwise independent. With
    `sample` both moments come from the pairs and triples of rows that share a bucket in tables of the sample
    (from at least 3 pairs, because a sample without pairs does not rule out 3). B is the least capacity for
    which lost is at most 0.1 %, or 1 % if `near` is given, and L is the least number of tables that achieves
    the recall.

    **Cost**. A query costs

        L (p c_value + c_bucket + lambda c_id)

    for hashing, reading buckets and counting ids, with measured constants. Of all (p, W, width) that fit into
    `memory`, the cheapest is chosen; a byte of memory a row counts as a nanosecond a query. Theory compares
    widths by the exponent rho = ln k(near) / ln k(far), because cost grows as n_rows**rho (Datar, Immorlica,
    Indyk and Mirrokni 2004, section 4). That is the limit of this model for many rows.

    **Probes**. With `n_probes` T, a table finds the row if it lies in any of the T buckets that
    `HashFamily.probe` puts first. q(near) is then the sum of their probabilities (Lv, Josephson, Wang,
    Charikar and Li 2007, section 4.3), averaged over positions of a query between the borders of its bucket.
    The model assumes that each probed bucket is as full as the query's own, which is slightly too full. Pass
    ``n_probes=T`` to queries too.

    **Limits**. With `far` alone, buckets of clustered rows, or of rows with few features, get fuller than
    predicted, and lose more; `LSHIndex.overflow` reports it. The recall is that of candidates:
    ``query(X, k)`` returns the k most frequent. If `candidates` is close to `n_rows`, comparing with all rows
    costs less.

    `mergesketch.distributed.band_parameters` answers another question: the bands and rows that best separate
    pairs above a similarity from pairs below it, without queries and memory.

    The call takes about a second, or several with many probes or a very wide sample, and less than 400 MB.

    Examples
    --------
    Rows of 20 clusters. Neighbours of a cosine of at least 0.9 are to be found:

    >>> import numpy as np, mergesketch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((20, 64))[rng.integers(0, 20, 5000)] + 0.3 * rng.standard_normal((5000, 64))
    >>> plan = mergesketch.suggest(n_rows=5000, sample=X[:1000], min_cosine=0.9)
    >>> plan.metric, plan.recall >= 0.9
    ('angle', True)
    >>> index = plan.index(seed=1).add(X)
    >>> ids, distances = index.search(X[:3], X, k=10, n_probes=plan.n_probes)
    >>> ids[:, 0]
    array([0, 1, 2])

    Without a sample, the typical angle of other rows is needed. Here they are at right angles:

    >>> plan = mergesketch.suggest(n_rows=1_000_000, min_cosine=0.9, far=np.pi / 2, recall=0.95, memory=10**9)
    >>> plan.recall >= 0.95 and plan.nbytes <= 10**9
    True
    """
    asked = read_nearness(
        metric, near=near, min_cosine=min_cosine, min_jaccard=min_jaccard, max_distance=max_distance
    )
    model, distance = MODELS[asked.metric], asked.distance
    n_rows = check_int("n_rows", n_rows, 1, 1 << 62)
    recall = check_real("recall", recall, 0.0, 1.0)
    if memory is not None:
        memory = check_int("memory", memory, 1, 1 << 62)
    choices = _choices(n_probes, asked)
    if n_features is not None:
        n_features = check_int("n_features", n_features, 1, 1 << 62)
    if (far is None) == (sample is None):
        raise ValueError(
            f"far or sample must be given, and not both; got {'neither' if far is None else 'both'}"
        )
    refuse_gpu("suggest", far, sample)
    if sample is not None:
        sample, width = some_rows(model, sample)
        n_features = _check_width(n_features, width)
    if sample is None:
        distances = _check_far(far, model.metric.largest)
        typical = float(np.median(distances))
        if typical <= distance:
            raise ValueError(_too_far(asked, typical))
    else:
        typical = 1.0 if model.typical is None else model.typical(np.abs(sample[1:] - sample[:-1]))
    # Steps much narrower than all distances separate all rows, so widths have a least value for any distance.
    widths = np.array(model.widths) * (max(distance, _NARROW * typical) or 1.0)
    if sample is None:
        crowd = crowd_at(model, widths, distances)
    else:
        crowd = crowd_of(model, widths, sample)
        if (crowd.mass[0] >= near_powers(model, widths, distance, choices[0])[0]).all():
            raise ValueError(
                f"{asked.name} must be nearer than most rows of sample are to each other, got {asked.given:g}"
            )
    overflow = _OVERFLOW if near is not None else _OVERFLOW_OF_UNITS
    found: list[tuple[Tables, int]] = []
    for n in choices:
        k_near = near_powers(model, widths, distance, n)
        grid = TableGrid(model, n_rows, widths, k_near, crowd, n, n_features or _DEFAULT_FEATURES, overflow)
        try:
            found.append((grid.best(recall, memory), n))
        except ValueError:
            # The most probes need the least memory, so their message is the one that helps.
            if n == choices[-1] and not found:
                raise
    tables, n = min(found, key=lambda pair: pair[0].cost(n_rows))
    return Suggestion(asked.metric, **tables._asdict(), n_probes=n, n_rows=n_rows, n_features=n_features)


def _choices(n_probes: Any, asked: Nearness) -> tuple[int, ...]:
    """Return the numbers of probes to compare."""
    can_probe = MODELS[asked.metric].probed is not None
    if n_probes is None:
        return _PROBES if can_probe and asked.name != "near" else (1,)
    n_probes = check_int("n_probes", n_probes, 1, 256)
    if n_probes > 1 and not can_probe:
        raise ValueError(
            f"n_probes must be 1 for {asked.metric!r}, which has no multi-probe querying, got {n_probes}"
        )
    return (n_probes,)


def _too_far(asked: Nearness, typical: float) -> str:
    """Return the message that other rows are nearer than the rows to be found."""
    if asked.is_similarity:
        return f"{asked.name} must be nearer than far, typically {typical:g}, got {asked.given:g}"
    return f"{asked.name} must be less than far, typically {typical:g}, got {asked.given:g}"


def _check_width(n_features: int | None, width: int | None) -> int | None:
    """Return the width of the sample's rows, or `n_features` if the sample has sets."""
    if width is None:
        return n_features
    if n_features not in (None, width):
        raise ValueError(f"n_features must be {width}, the width of sample, got {n_features}")
    return width


def _check_far(far: Any, largest: float) -> NDArray[np.float64]:
    values = check_array("far", far)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"far must hold real numbers, got dtype {values.dtype}")
    if values.size == 0 or not bool(np.all((values >= 0) & (values <= largest))):
        got = f"{values.min()} to {values.max()}" if values.size else "none"
        raise ValueError(f"far must hold distances in [0, {largest:g}], got {got}")
    return values.astype(np.float64).reshape(-1)


publish("mergesketch", __all__, globals())
