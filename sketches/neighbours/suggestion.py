"""Choose the number of tables, the power, width and capacity of an index: `suggest`."""

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
from .bucket_loads import LARGEST_CAPACITY, NODES, WEIGHTS, expected_held, expected_lost, least_capacity
from .crowding import (
    MODELS,
    MOST_POWER,
    Crowd,
    TableModel,
    crowd_at,
    crowd_of,
    near_powers,
    some_rows,
)
from .index import LSHIndex

__all__ = ["Suggestion", "suggest"]

#: Nanoseconds for each bucket and for each id of a query, measured on one AVX-512 core. Only ratios matter.
_NS_BUCKET, _NS_ID = 20.0, 10.0
#: The cost of a byte of memory per row in nanoseconds of a query. It is low, so that memory is used where it
#: makes queries faster.
_NS_BYTE_A_ROW = 1.0
#: Largest number of elementary hashes of an index.
_MOST_VALUES = 1 << 16
_DEFAULT_FEATURES = 100
#: Least width that is tried, as a share of the typical distance.
_NARROW = 0.02


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
            Width of the rows, by default that which `suggest` was given. For "jaccard" it is the typical
            number of tokens of a set, and optional.
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
        elif n_features is None and options.get("projection") != "sparse":
            raise ValueError("n_features must be given, here or to suggest, got None")
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
    """Choose the parameters of an `LSHIndex` for a distance, a recall and a memory limit.

    Parameters
    ----------
    metric : {"angle", "euclidean", "cityblock", "jaccard"}
        The distance: the `metric` of the families SignedRandomProjection, PStable and MinHash.
    n_rows : int
        Number of rows that will be added to the index.
    near : float
        Distance of the rows to be found: an angle in radians, a distance, or for "jaccard" 1 minus the
        similarity. Nearer rows have a higher recall.
    far : float or array_like of float, optional
        Typical distances between a query and the other rows. Either this or `sample` is needed.
    sample : n rows, optional
        At least 16 rows of the data, as the family accepts them; up to 2,048 are used. They show how rows
        cluster, so that capacities are sufficient in dense regions too. The model assumes that queries are
        like them.
    recall : float, default 0.9
        Least probability that a row at `near` is among a query's candidates, in (0, 1).
    memory : int, optional
        Largest number of bytes of the index.
    n_probes : int, default 1
        Number of buckets that a query will read in each table, up to 256. With more probes, fewer tables are
        needed. It must be 1 for "jaccard".
    n_features : int, optional
        Width of the rows, by default that of the sample or 100. For "jaccard" it is the typical number of
        tokens of a set. The cost of hashing is proportional to it.

    Returns
    -------
    Suggestion
        ``suggestion.index(...)`` is the empty index.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, if neither or both of `far` and `sample`
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
    which lost is at most 1 %, and L is the least number of tables that achieves the recall.

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
    predicted, and lose more than 1 %; `LSHIndex.overflow` reports it. The recall is that of candidates:
    ``query(X, k)`` returns the k most frequent. If `candidates` is close to `n_rows`, comparing with all rows
    costs less.

    `mergesketch.distributed.band_parameters` answers another question: the bands and rows that best separate
    pairs above a similarity from pairs below it, without queries and memory.

    The call takes about a second, or several with many probes or a very wide sample, and less than 400 MB.

    Examples
    --------
    The data are a million rows of 128 features, with neighbours at a cosine of 0.9 and other rows at right
    angles:

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
        typical = 1.0 if model.typical is None else model.typical(np.abs(sample[1:] - sample[:-1]))
    # Steps much narrower than all distances separate all rows, so widths have a least value for any `near`.
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


class _Grid:
    """All candidates (power, width, buckets), as arrays of shape (powers, widths, buckets)."""

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
            # More buckets than codes are useless. With equally many, the bucket is the code.
            bits = np.int64(1) << self.power
            self.n_buckets = np.minimum(self.n_buckets, bits)
            chance[self.n_buckets == bits] = 0.0
        by_chance = -np.expm1(n_probes * np.log1p(-chance))
        self.meet = k_near[:, :, None] * (1 - by_chance) + by_chance
        share = crowd.mass[..., None] * np.exp(
            np.sqrt(crowd.spread)[..., None] * NODES - crowd.spread[..., None] / 2
        )
        load = n_rows * (share[:, :, None] * (1 - chance[..., None]) + chance[..., None])
        self.capacity = least_capacity(load)
        self.lost = expected_lost(load, self.capacity[..., None]) @ WEIGHTS
        self.met = n_probes * (expected_held(load, self.capacity[..., None]) @ WEIGHTS)
        slot = 8 if _wide_ids(n_rows) else 4
        self.table_bytes = self.n_buckets * (slot * self.capacity + 4)
        constant, each = model.ns_value
        self.ns_table = (
            self.power * (constant + each * n_features) + n_probes * _NS_BUCKET + self.met * _NS_ID
        )
        changes = 2.0 if model.code_is_bits else 3.0
        self.possible = (self.capacity <= LARGEST_CAPACITY) & (changes**self.power >= n_probes)

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
        nbytes = tables.astype(np.float64) * self.table_bytes  # may exceed 63 bits
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
