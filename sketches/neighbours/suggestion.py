"""How many tables, which power, width and capacity an index needs: `suggest`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_choice, check_int, check_real
from .crowding import (
    MODELS,
    MOST_POWER,
    Crowd,
    TableModel,
    crowd_at,
    crowd_of,
    near_powers,
    some_rows,
    typical_distance,
)
from .index import LSHIndex

__all__ = ["Suggestion", "suggest"]

#: Nanoseconds of a query, measured on one AVX-512 core: a bucket, an id in it. Only ratios matter.
_NS_BUCKET, _NS_ID = 20.0, 10.0
#: What a byte of memory per row is worth in nanoseconds a query: little, so that memory is taken where
#: it makes queries faster and not merely because there is plenty.
_NS_BYTE_A_ROW = 1.0
#: Share of insertions that full buckets may lose.
_OVERFLOW = 0.01
_LARGEST_CAPACITY = 1 << 20
_MOST_VALUES = 1 << 16
#: Means over a normal variable.
_NODES, _WEIGHTS = (array.astype(np.float64) for array in np.polynomial.hermite_e.hermegauss(16))
_WEIGHTS /= _WEIGHTS.sum()
_DEFAULT_FEATURES = 100
#: Of typical distances: narrower widths are not tried.
_NARROW = 0.02


@dataclass(frozen=True)
class Suggestion:
    """Parameters of an index, and what theory says of it; what `suggest` returns."""

    metric: str
    #: Tables, L.
    n_hashes: int
    #: Elementary hashes concatenated to one.
    power: int
    #: Of the steps of p-stable projections; None for other families.
    width: float | None
    #: Buckets of a table, W.
    n_buckets: int
    #: Ids of a bucket, B.
    capacity: int
    #: Probability that a row at `near` shares a bucket with the query and is still in it.
    recall: float
    #: Expected number of ids of other rows that a query reads, a row counted for each table it is met in.
    candidates: float
    #: Expected share of insertions that full buckets do not keep.
    overflow: float
    #: Bytes of the index: L W (4 B + 4), with ids that need 64 bits L W (8 B + 4).
    nbytes: int
    #: Expected time of a query by the model below; a relative measure, of one core.
    nanoseconds: float
    #: Buckets of each table that a query is to look into.
    n_probes: int
    #: What was told of the rows: their number, and their features.
    n_rows: int
    n_features: int | None

    def family(self, n_features: int | None = None, *, seed: int = 0, **options: Any) -> HashFamily:
        """Return the hash family of these parameters.

        Parameters
        ----------
        n_features : int, optional
            Width of the rows, by default what `suggest` was told. For "jaccard" the typical number of
            tokens of a set, which may stay unknown.
        seed : int, default 0
        **options
            More arguments of the family: `projection`, `scheme`.

        Returns
        -------
        SignedRandomProjection, PStable or MinHash

        Raises
        ------
        TypeError, ValueError
            If the metric's family refuses them.
        """
        n_features = self.n_features if n_features is None else n_features
        model = MODELS[self.metric]
        if n_features is None and model.metric.compares == "sets":
            n_features = _DEFAULT_FEATURES
        elif n_features is None and options.get("projection") != "sparse":
            raise ValueError("n_features must be given, here or to suggest, got None")
        return model.make(
            n_features, self.n_hashes, self.power, self.width, self.n_buckets, seed=seed, **options
        )

    def index(self, n_features: int | None = None, *, seed: int = 0, **options: Any) -> LSHIndex:
        """Return an empty index over that family, with the arguments of `family`.

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
            wide_ids=_wide_ids(self.n_rows),
            seed=seed,
        )


def suggest(
    metric: str,
    *,
    n_rows: int,
    near: float,
    far: ArrayLike | None = None,
    sample: Any = None,
    recall: float = 0.9,
    memory: int | None = None,
    n_probes: int = 1,
    n_features: int | None = None,
) -> Suggestion:
    """Parameters of an `LSHIndex` that finds rows at a distance, with a recall, in a memory.

    Parameters
    ----------
    metric : {"angle", "euclidean", "cityblock", "jaccard"}
        The distance: `metric` of the families SignedRandomProjection, PStable and MinHash.
    n_rows : int
        Rows that the index will hold.
    near : float
        Distance of the rows to be found: an angle in radians, a distance, or for "jaccard" 1 minus the
        similarity. Nearer rows are found with more than the given recall.
    far : float or array_like of float, optional
        Typical distances between a query and the other rows. Either this or `sample` is needed.
    sample : n rows, optional
        Rows of the data, as the family takes them, at least 16; up to 2,048 are used. They tell how rows
        crowd, so that capacities suffice in dense regions too; queries are thought to be like them.
    recall : float, default 0.9
        In (0, 1): at least so likely is a row at `near` among a query's candidates.
    memory : int, optional
        Bytes that the index may take.
    n_probes : int, default 1
        Buckets of each table that a query will look into, up to 256: fewer tables do then. Not for
        "jaccard".
    n_features : int, optional
        Width of the rows (of a sample it is known), for "jaccard" the typical number of tokens of a set.
        Hashing costs in proportion; 100 if not told.

    Returns
    -------
    Suggestion
        ``suggestion.index(...)`` is the empty index.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; if neither or both of `far` and
        `sample` are given; if `far` is no farther than `near`; if `memory` is too small, with the least
        that would do and the recall that it suffices for.

    Notes
    -----
    With k(d) the collision probability of one elementary hash at distance d, a table of W buckets whose
    codes concatenate p hashes puts a row at `near` into the query's bucket with probability

        q(d) = k(d)**p + (1 - k(d)**p) / W

    (without the second term where codes are the W = 2**p bits themselves), and of L tables at least one
    does with probability (Indyk and Motwani 1998; Gionis, Indyk and Motwani 1999)

        recall = 1 - (1 - q(near) (1 - lost))**L .

    A bucket of capacity B has lost the row, if M others fell into it, with probability
    max(0, M + 1 - B) / (M + 1). M is Poisson with mean lambda; the expectation is then

        lost = P(M >= B) - B / lambda P(M >= B + 1) .

    Lambda, n_rows times the share of rows that a bucket attracts, varies over hash functions and rows:
    it is taken as log-normal, for it is a product of p factors. With `far` its mean is n_rows E q(far)
    and its second moment that of rows which differ in many features and are independent but for that.
    With `sample` both moments are those that pairs and triples of rows in one bucket have in tables over
    the sample (no fewer pairs than 3, for a sample without any does not rule those out). B is the least
    capacity with lost at most 1 %, and L then the least number of tables for the recall. A query costs

        L (p c_value + c_bucket + lambda c_id)

    for hashing, opening buckets and counting ids; the constants are measured ones. Of all (p, W, width)
    that fit into `memory` the cheapest is chosen, with a byte of memory a row counted as a nanosecond a
    query. The exponent rho = ln k(near) / ln k(far), by which widths are compared in theory (cost grows
    as n_rows**rho; Datar, Immorlica, Indyk and Mirrokni 2004, section 4), is the limit of that for
    many rows.

    With `n_probes` T, a table finds the row if it lies in any of the T buckets that `HashFamily.probe` puts
    first; q(near) is then the sum of their probabilities (Lv, Josephson, Wang, Charikar and Li 2007, section
    4.3), averaged over places of a query between the borders of its bucket. Each probed bucket is
    taken to be as full as the query's own, which is a little too full. Query with ``n_probes=T`` then.

    With `far` alone buckets of clustered rows, or of few features, get fuller than is foreseen, and lose
    more than 1 %; `LSHIndex.overflow` tells. Recall is that of candidates: ``query(X, k)`` returns the k
    most frequent. Where `candidates` comes near `n_rows`, comparing with all rows costs less.

    Which bands and rows best tell pairs above a similarity from pairs below it, with no query and no
    memory in it, is another question: see `mergesketch.distributed.band_parameters`.

    Time and memory: a second, with many probes or a very wide sample some; under 400 MB.

    Examples
    --------
    A million rows of 128 features, neighbours at a cosine of 0.9, others at right angles:

    >>> import math, mergesketch
    >>> plan = mergesketch.suggest(
    ...     "angle", n_rows=1_000_000, near=math.acos(0.9), far=math.pi / 2, recall=0.95, n_features=128
    ... )
    >>> plan.recall >= 0.95
    True
    >>> index = plan.index(seed=1)
    >>> index.family.n_hashes == plan.n_hashes, index.capacity == plan.capacity
    (True, True)
    """
    model = MODELS[check_choice("metric", metric, MODELS)]
    n_rows = check_int("n_rows", n_rows, 1, 1 << 62)
    near = check_real("near", near, 0.0, model.metric.largest, closed=True)
    recall = check_real("recall", recall, 0.0, 1.0)
    if memory is not None:
        memory = check_int("memory", memory, 1, 1 << 62)
    n_probes = check_int("n_probes", n_probes, 1, 256)
    if n_probes > 1 and model.probed is None:
        raise ValueError(
            f"n_probes must be 1 for {metric!r}, which has no multi-probe querying, got {n_probes}"
        )
    if n_features is not None:
        n_features = check_int("n_features", n_features, 1, 1 << 62)
    if (far is None) == (sample is None):
        raise ValueError(
            f"far or sample must be given, and not both; got {'neither' if far is None else 'both'}"
        )
    refuse_gpu("suggest", far, sample)
    if sample is not None:
        sample, width = some_rows(model, sample)
        n_features = n_features if width is None else width
    if sample is None:
        distances = _check_far(far, model.metric.largest)
        typical = float(np.median(distances))
        if typical <= near:
            raise ValueError(f"near must be less than far, typically {typical:g}, got {near:g}")
    else:
        typical = typical_distance(model, sample)
    # Steps that are narrow beside all distances tell nothing apart, however near `near` is.
    widths = np.array(model.widths) * (max(near, _NARROW * typical) or 1.0)
    k_near = near_powers(model, widths, near, n_probes)
    if sample is None:
        crowd = crowd_at(model, widths, distances)
    else:
        crowd = crowd_of(model, widths, sample)
        if (crowd.mass[0] >= k_near[0]).all():
            raise ValueError(f"near must be nearer than most rows of sample are to each other, got {near:g}")
    grid = _Grid(model, n_rows, widths, k_near, crowd, n_probes, n_features or _DEFAULT_FEATURES)
    return grid.best(metric, recall, memory, n_features)


def _wide_ids(n_rows: int) -> bool:
    return n_rows > 2**32 - 1


def _check_far(far: Any, largest: float) -> NDArray[np.float64]:
    values = check_array("far", far)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"far must hold real numbers, got dtype {values.dtype}")
    if values.size == 0 or not bool(np.all((values >= 0) & (values <= largest))):
        got = f"{values.min()} to {values.max()}" if values.size else "none"
        raise ValueError(f"far must hold distances in [0, {largest:g}], got {got}")
    return values.astype(np.float64).reshape(-1)


def expected_lost(load: NDArray[np.float64], capacity: NDArray[Any]) -> NDArray[np.float64]:
    """E max(0, M + 1 - B) / (M + 1), M Poisson of mean `load`."""
    from scipy.special import gammainc

    load = np.maximum(load, 1e-12)
    return np.asarray(gammainc(capacity, load) - capacity / load * gammainc(capacity + 1, load))


def expected_held(load: NDArray[np.float64], capacity: NDArray[Any]) -> NDArray[np.float64]:
    """E min(M, B), M Poisson of mean `load`."""
    from scipy.special import gammainc

    load = np.maximum(load, 1e-12)
    few = 1.0 - gammainc(capacity - 1, load)
    return np.asarray(load * few + capacity * gammainc(capacity, load))


def least_capacity(load: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find by bisection the least capacity that loses at most 1 % of ids, over the last axis."""
    low = np.zeros(load.shape[:-1], dtype=np.int64)  # loses more
    high = np.full(load.shape[:-1], 2 * _LARGEST_CAPACITY, dtype=np.int64)  # loses less, or is too large
    while bool((high - low > 1).any()):
        middle = np.maximum((low + high) // 2, 1)
        enough = expected_lost(load, middle[..., None]) @ _WEIGHTS <= _OVERFLOW
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


class _Grid:
    """All (power, width, buckets) worth a look, as arrays of shape (powers, widths, buckets)."""

    def __init__(
        self,
        model: TableModel,
        n_rows: int,
        widths: NDArray[np.float64],
        k_near: NDArray[np.float64],
        crowd: Crowd,
        n_probes: int,
        n_features: int,
    ) -> None:
        self.n_rows, self.n_probes = n_rows, n_probes
        largest = max(2, math.ceil(math.log2(n_rows)) + 4)
        exponents = np.arange(max(1, largest - 14), min(largest, 32) + 1)
        powers = np.arange(1, MOST_POWER + 1)
        self.power, self.width, self.n_buckets = np.meshgrid(
            powers, widths, np.int64(1) << exponents, indexing="ij"
        )
        chance = 1.0 / self.n_buckets
        if model.code_is_bits:
            # More buckets than codes help nothing; as many make the code the bucket.
            bits = np.int64(1) << self.power
            self.n_buckets = np.minimum(self.n_buckets, bits)
            chance[self.n_buckets == bits] = 0.0
        by_chance = -np.expm1(n_probes * np.log1p(-chance))
        self.meet = k_near[:, :, None] * (1 - by_chance) + by_chance
        share = crowd.mass[..., None] * np.exp(
            np.sqrt(crowd.spread)[..., None] * _NODES - crowd.spread[..., None] / 2
        )
        load = n_rows * (share[:, :, None] * (1 - chance[..., None]) + chance[..., None])
        self.capacity = least_capacity(load)
        self.lost = expected_lost(load, self.capacity[..., None]) @ _WEIGHTS
        self.met = n_probes * (expected_held(load, self.capacity[..., None]) @ _WEIGHTS)
        slot = 8 if _wide_ids(n_rows) else 4
        self.table_bytes = self.n_buckets * (slot * self.capacity + 4)
        constant, each = model.ns_value
        self.ns_table = (
            self.power * (constant + each * n_features) + n_probes * _NS_BUCKET + self.met * _NS_ID
        )
        changes = 2.0 if model.code_is_bits else 3.0
        self.possible = (self.capacity <= _LARGEST_CAPACITY) & (changes**self.power >= n_probes)

    def recall(self, n_tables: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(
            -np.expm1(n_tables * np.log1p(-np.minimum(self.meet * (1.0 - self.lost), 1 - 1e-16)))
        )

    def best(self, metric: str, recall: float, memory: int | None, n_features: int | None) -> Suggestion:
        hit = np.clip(self.meet * (1.0 - self.lost), 1e-300, 1 - 1e-16)
        wanted = np.ceil(np.maximum(math.log1p(-recall) / np.log1p(-hit), 1.0) - 1e-9)
        most = _MOST_VALUES // self.power
        possible = self.possible & (wanted <= most)
        if not possible.any():
            reached = float(self.recall(most)[self.possible].max(initial=0.0))
            raise ValueError(
                f"recall must be at most {reached:.4g}, which {_MOST_VALUES} hashes reach, got {recall:g}"
            )
        tables = np.where(possible, wanted, 1).astype(np.int64)
        nbytes = tables.astype(np.float64) * self.table_bytes  # which may pass 63 bits
        if memory is not None and not (possible & (nbytes <= memory)).any():
            fitting = np.minimum(memory // self.table_bytes, most)
            reached = float(self.recall(fitting)[self.possible].max(initial=0.0))
            enough = f"that is enough for a recall of {reached:.3g}" if reached else "no table fits into that"
            raise ValueError(
                f"memory must be at least {nbytes[possible].min():.0f} bytes for a recall of {recall:g}, got "
                f"{memory}: {enough}"
            )
        cost = tables * self.ns_table + nbytes / self.n_rows * _NS_BYTE_A_ROW
        fits = possible if memory is None else possible & (nbytes <= memory)
        at = np.unravel_index(np.argmin(np.where(fits, cost, np.inf)), cost.shape)
        width = float(self.width[at])
        return Suggestion(
            metric=metric,
            n_hashes=int(tables[at]),
            power=int(self.power[at]),
            width=width or None,
            n_buckets=int(self.n_buckets[at]),
            capacity=int(self.capacity[at]),
            recall=float(self.recall(tables)[at]),
            candidates=float(tables[at] * self.met[at]),
            overflow=float(self.lost[at]),
            nbytes=int(tables[at]) * int(np.broadcast_to(self.table_bytes, tables.shape)[at]),
            nanoseconds=float(tables[at] * self.ns_table[at]),
            n_probes=self.n_probes,
            n_rows=self.n_rows,
            n_features=n_features,
        )
