"""What the laws run over: how to make each sketch and family, and data for it.

A new sketch class or family adds one entry here; `test_laws.py` fails for a public class without one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mergesketch import (
    AceDetector,
    BloomFilter,
    BloomSignatures,
    CountMinSketch,
    CountSketch,
    DensitySketch,
    HeavyHitters,
    LSHIndex,
    MergeableSketch,
    MinHashSketch,
    NadarayaWatsonSketch,
    PrivateClassifier,
    PrivateRace,
    PrivateRegressor,
    Race,
    RaceWindow,
    RepresenterSketch,
    StormSketch,
)
from mergesketch.lsh import (
    BBitMinHash,
    BitSampling,
    CrossPolytope,
    HashFamily,
    InnerProduct,
    MinHash,
    PStable,
    SignedRandomProjection,
    WeightedMinHash,
    WinnerTakeAll,
)
from mergesketch.lsh.inputs.arrays import check_dense, check_distances
from mergesketch.lsh.support.random import random_uint64
from scipy.optimize import brentq


class ToyFamily(HashFamily):
    """Bit sampling over small integers: hash r is one feature of the row. Its kernel is checked by eye."""

    _parameters = ("n_features", "n_hashes", "n_buckets", "seed")
    metric = "hamming"
    chance_collision = 0.0

    def __init__(self, n_features: int, n_hashes: int, n_buckets: int = 4, seed: int = 0) -> None:
        self.n_features, self.n_hashes, self.n_buckets, self.seed = n_features, n_hashes, n_buckets, seed

    def hash(self, X: Any) -> np.ndarray:
        X = check_dense(X, self.n_features)
        if X.size and (X.min() < 0 or X.max() >= self.n_buckets):
            raise ValueError(f"X must lie in [0, {self.n_buckets})")
        picked = random_uint64(self.seed, "ToyFamily", self.n_hashes) % np.uint64(self.n_features)
        return np.ascontiguousarray(X[:, picked.astype(np.int64)], dtype=np.uint32)

    def collision_probability(self, distance: Any) -> np.ndarray:
        return 1.0 - check_distances(distance, self.n_features) / self.n_features

    def kernel(self, X: Any, Y: Any) -> np.ndarray:
        return (np.asarray(X)[:, None, :] == np.asarray(Y)[None, :, :]).mean(axis=2)


@dataclass(frozen=True)
class Family:
    """A family under test."""

    make: Callable[..., HashFamily]  # make(n_hashes=, seed=)
    rows: Callable[[np.random.Generator, int], Any]  # data that it hashes
    #: What `collision_probability` is tested at, in the units of the family's metric.
    distances: Sequence[float] = ()
    #: pairs(rng, distance, n): n independent pairs, rows to hash and queries, at exactly that distance;
    #: collisions are of ``hash(rows)`` and ``hash_query(queries)``, the kernel is ``kernel(queries, rows)``.
    pairs: Callable[[np.random.Generator, float, int], tuple[Any, Any]] | None = None
    #: How far off the documentation says that collision probabilities may be.
    bias: float = 0.0
    #: Why dense rows are not to be had as SciPy sparse ones too.
    no_csr: str = ""
    #: Why a row cannot have a million features.
    not_wide: str = ""

    @property
    def name(self) -> str:
        return type(self.make(n_hashes=1, seed=0)).__name__


def _dense(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((n, 12)).astype(np.float32)


def _positive(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.maximum(rng.standard_normal((n, 12)), 0).astype(np.float32)


def _sets(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 9, n))])
    return rng.integers(0, 40, int(offsets[-1])).astype(np.uint64), offsets.astype(np.int64)


def _unit(X: np.ndarray) -> np.ndarray:
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def angle_pairs(rng: np.random.Generator, angle: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of any length at that angle."""
    x = _unit(rng.standard_normal((n, 12)))
    other = rng.standard_normal((n, 12))
    across = _unit(other - (other * x).sum(axis=1, keepdims=True) * x)
    y = np.cos(angle) * x + np.sin(angle) * across
    return x * rng.uniform(0.1, 10, (n, 1)), y * rng.uniform(0.1, 10, (n, 1))


def distance_pairs(p: int) -> Callable[[np.random.Generator, float, int], tuple[np.ndarray, np.ndarray]]:
    """Rows at that distance in the norm `p`."""

    def pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[np.ndarray, np.ndarray]:
        x, step = rng.standard_normal((2, n, 12))
        return x, x + step * (distance / np.linalg.norm(step, ord=p, axis=1, keepdims=True))

    return pairs


def hamming_pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 6 integers below 4, as many of them unlike as the distance says."""
    x = rng.integers(0, 4, (n, 6))
    unlike = rng.permuted(np.arange(6) < np.full((n, 1), distance), axis=1)
    return x, (x + unlike * rng.integers(1, 4, (n, 6))) % 4


def set_pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[Any, Any]:
    """Sets at that Jaccard distance, the union of each pair having 24 tokens; as (tokens, offsets)."""
    common = round(24 * (1.0 - distance))
    assert abs(24 * (1.0 - distance) - common) < 1e-9
    left = (24 - common) // 3
    tokens = rng.integers(0, 2**64, (n, 24), dtype=np.uint64)
    sides = tokens[:, : common + left], np.delete(tokens, np.s_[common : common + left], axis=1)
    x, y = ((side.reshape(-1), np.arange(n + 1) * side.shape[1]) for side in sides)
    return x, y


def weighted_pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[Any, Any]:
    """Weights at that weighted Jaccard distance: a share of each column belongs to both rows of a pair.

    Each pair has 12 features of its own, for pairs with common features collide or not together.
    """
    weights = rng.exponential(size=(n, 12)) + 0.1
    # x holds what is common and a third of the rest, y what is common and two thirds.
    common = weights * (1.0 - distance)
    mine = np.arange(12) < 4
    rest = weights.sum(axis=1, keepdims=True) * distance
    x, y = np.zeros((2, n, n, 12))
    own = np.arange(n)
    x[own, own] = common + mine * rest / 3 / 4
    y[own, own] = common + ~mine * rest * 2 / 3 / 8
    return x.reshape(n, 12 * n), y.reshape(n, 12 * n)


def inner_product_pairs(
    rng: np.random.Generator, product: float, n: int, query_norm: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows no longer than 10 and queries of that inner product, lengths at random.

    Queries are no longer than `query_norm`; with None, of any length, and the product is that with the
    query at length 1.
    """
    direction, other = _unit(rng.standard_normal((n, 12))), rng.standard_normal((n, 12))
    across = _unit(other - (other * direction).sum(axis=1, keepdims=True) * direction)
    lengths = rng.uniform(0.01, 100, (n, 1))
    along = np.full((n, 1), product)
    if query_norm is not None:
        lengths = rng.uniform(abs(product) / 10, query_norm, (n, 1))
        along = product / lengths
    side = rng.uniform(0, 1, (n, 1)) * np.sqrt(np.maximum(100 - along**2, 0))
    return along * direction + side * across, lengths * direction


def _packed(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rows of 20 bits; those that pad them are random too."""
    return rng.integers(0, 256, (n, 3), dtype=np.uint8)


def bit_pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Packed rows of 20 bits, as many of them unlike as the distance says."""
    x = _packed(rng, n)
    unlike = rng.permuted(np.arange(20) < np.full((n, 1), distance), axis=1)
    return x, x ^ np.packbits(unlike, axis=1)


#: Orders of 12 features, from the same to the reverse of 0, 1, ..., 11.
_ORDERS = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
    (1, 0, 2, 3, 5, 4, 6, 7, 8, 9, 11, 10),
    (0, 2, 1, 4, 6, 3, 5, 9, 7, 8, 11, 10),
    (3, 0, 5, 1, 9, 2, 7, 4, 11, 6, 10, 8),
    (5, 8, 1, 11, 3, 9, 0, 6, 10, 2, 7, 4),
    (10, 11, 9, 6, 8, 7, 4, 5, 2, 3, 0, 1),
    (11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)


def _winner_family(group_size: int, name: str, **arguments: Any) -> dict[str, Family]:
    """Winner-take-all over rows in these orders, at the distances where theory has their probabilities."""

    def make(n_hashes: int, seed: int) -> WinnerTakeAll:
        return WinnerTakeAll(12, n_hashes, group_size=group_size, seed=seed, **arguments)

    theory = WinnerTakeAll(12, 1, group_size=group_size)
    orders = {}
    for order in _ORDERS:
        below = [sum(order[j] < order[i] for j in range(i)) for i in range(12)]
        agree = sum(math.comb(b, group_size - 1) for b in below) / math.comb(12, group_size)
        # In the angle, for the slope of a probability in the distance is not bounded.
        angle = (
            brentq(
                lambda t, agree=agree: float(theory.collision_probability(1 - math.sin(t))) - agree,
                -math.pi / 2,
                math.pi / 2,
                xtol=1e-14,
            )
            if 0 < agree < 1
            else (agree - 0.5) * math.pi
        )
        orders[1 - math.sin(angle)] = np.array(order)

    def pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[np.ndarray, np.ndarray]:
        features = rng.permuted(np.tile(np.arange(12), (n, 1)), axis=1)
        low, high = np.sort(rng.standard_normal((2, n, 12)), axis=2)
        x, y = np.empty((2, n, 12))
        np.put_along_axis(x, features, low, axis=1)
        np.put_along_axis(y, features, high[:, orders[distance]], axis=1)
        return x, y

    return {name: Family(make, _dense, tuple(orders), pairs)}


def _split(tokens: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
    return np.split(tokens, offsets[1:-1])


_ANGLES = (0.1, 0.5, 1.0, np.pi / 2, 2.0)
_JACCARD = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)

FAMILIES: dict[str, Family] = {
    "ToyFamily": Family(
        lambda n_hashes, seed: ToyFamily(n_features=6, n_hashes=n_hashes, seed=seed),
        lambda rng, n: rng.integers(0, 4, (n, 6)),
        (0, 1, 3, 6),
        hamming_pairs,
        no_csr="a toy",
        not_wide="a toy",
    ),
    **{
        f"SignedRandomProjection, {projection}": Family(
            lambda n_hashes, seed, projection=projection: SignedRandomProjection(
                n_features=12, n_hashes=n_hashes, power=3, projection=projection, seed=seed
            ),
            _dense,
            _ANGLES,
            angle_pairs,
            # Of blocks of 256; see the class and test_projections.py.
            bias=1e-3 if projection == "hadamard" else 0.0,
        )
        for projection in ("gaussian", "hadamard", "sparse")
    },
    "SignedRandomProjection, rehashed": Family(
        lambda n_hashes, seed: SignedRandomProjection(12, n_hashes, power=9, n_buckets=50, seed=seed),
        _dense,
        _ANGLES,
        angle_pairs,
    ),
    "CrossPolytope": Family(
        lambda n_hashes, seed: CrossPolytope(12, n_hashes, seed=seed),
        _dense,
        _ANGLES,
        angle_pairs,
        # Of rotations of 256; see test_cross_polytope.py.
        bias=1e-3,
    ),
    "CrossPolytope, rehashed": Family(
        lambda n_hashes, seed: CrossPolytope(12, n_hashes, power=2, dimension=32, n_buckets=50, seed=seed),
        _dense,
        _ANGLES,
        angle_pairs,
        bias=1e-3,
    ),
    "PStable, 2": Family(
        lambda n_hashes, seed: PStable(12, n_hashes, p=2, width=2.0, power=2, seed=seed),
        _dense,
        (0.0, 0.2, 1.0, 3.0, 8.0),
        distance_pairs(2),
    ),
    "PStable, 1": Family(
        lambda n_hashes, seed: PStable(12, n_hashes, p=1, width=4.0, n_buckets=64, seed=seed),
        _dense,
        (0.0, 0.2, 1.0, 4.0, 30.0),
        distance_pairs(1),
    ),
    "InnerProduct": Family(
        lambda n_hashes, seed: InnerProduct(12, n_hashes, max_norm=10.0, power=2, seed=seed),
        _dense,
        (-8.0, 0.0, 5.0, 9.0, 9.9),
        lambda rng, product, n: inner_product_pairs(rng, product, n, None),
    ),
    "InnerProduct, bounded queries": Family(
        lambda n_hashes, seed: InnerProduct(
            12, n_hashes, max_norm=10.0, query_norm=20.0, power=5, n_buckets=30, seed=seed
        ),
        _dense,
        (-120.0, 0.0, 100.0, 180.0, 198.0),
        lambda rng, product, n: inner_product_pairs(rng, product, n, 20.0),
    ),
    "InnerProduct, hadamard": Family(
        lambda n_hashes, seed: InnerProduct(
            12, n_hashes, max_norm=10.0, query_norm=20.0, projection="hadamard", seed=seed
        ),
        _dense,
        (-120.0, 0.0, 100.0, 180.0, 198.0),
        lambda rng, product, n: inner_product_pairs(rng, product, n, 20.0),
        bias=1e-3,
    ),
    "InnerProduct, sparse": Family(
        lambda n_hashes, seed: InnerProduct(12, n_hashes, max_norm=10.0, projection="sparse", seed=seed),
        _dense,
        (-8.0, 0.0, 5.0, 9.0, 9.9),
        lambda rng, product, n: inner_product_pairs(rng, product, n, None),
    ),
    "WeightedMinHash": Family(
        lambda n_hashes, seed: WeightedMinHash(n_hashes, seed=seed), _positive, _JACCARD, weighted_pairs
    ),
    "WeightedMinHash, concatenated": Family(
        lambda n_hashes, seed: WeightedMinHash(n_hashes, power=2, n_buckets=64, seed=seed),
        _positive,
        _JACCARD,
        weighted_pairs,
    ),
    "MinHash": Family(lambda n_hashes, seed: MinHash(n_hashes, seed=seed), _sets, _JACCARD, set_pairs),
    "BBitMinHash": Family(
        lambda n_hashes, seed: BBitMinHash(n_hashes, 2, seed=seed), _sets, _JACCARD, set_pairs
    ),
    "MinHash, one permutation": Family(
        lambda n_hashes, seed: MinHash(n_hashes, power=2, n_buckets=64, scheme="one-permutation", seed=seed),
        _sets,
        _JACCARD,
        set_pairs,
    ),
    "MinHash, fast similarity": Family(
        lambda n_hashes, seed: MinHash(n_hashes, n_buckets=100, scheme="fast-similarity", seed=seed),
        _sets,
        _JACCARD,
        set_pairs,
    ),
    **{
        name: Family(
            lambda n_hashes, seed, power=power, n_buckets=n_buckets: BitSampling(
                20, n_hashes, power=power, n_buckets=n_buckets, seed=seed
            ),
            _packed,
            (0, 1, 3, 8, 16, 20),
            bit_pairs,
            no_csr="packed bits",
            not_wide="its features are bits; see test_bit_sampling.py",
        )
        for name, power, n_buckets in (("BitSampling", 2, None), ("BitSampling, rehashed", 5, 50))
    },
    **_winner_family(2, "WinnerTakeAll, pairs"),
    **_winner_family(4, "WinnerTakeAll", power=2),
    **_winner_family(3, "WinnerTakeAll, rehashed", power=2, n_buckets=50),
}


@dataclass(frozen=True)
class Entry:
    """A sketch class under test, in one of its modes."""

    cls: type[MergeableSketch]
    #: Empty sketches.
    sketches: st.SearchStrategy[MergeableSketch]
    #: Arguments of `update`, for a given sketch; also empty batches.
    batches: Callable[[Any], st.SearchStrategy[tuple]]
    #: The arguments that are several batches in one.
    join: Callable[[Sequence[tuple]], tuple]
    #: One large batch, so that it is worth spreading over threads.
    large: Callable[[np.random.Generator, Any], tuple]
    #: Arguments that `update` must refuse.
    bad: Sequence[tuple]
    linear: bool = True
    #: Why update(A ++ B) is not merge(update(A), update(B)) bit for bit; and then the law that holds
    #: instead: check(whole, merged, batches) asserts it.
    merge_is_inexact: str | None = None
    weaker_law: Callable[[Any, Any, Sequence[tuple]], None] | None = None
    #: Names of states that a further update must refuse at the edge of int64.
    counters: Sequence[str] = field(default=("n_updates",))


def take(sketch: Any, *batch: Any) -> Any:
    """Have a sketch take in a batch: by `update`, or by merging where it takes no rows."""
    if not isinstance(sketch, PrivateRace):
        return sketch.update(*batch)
    return sketch.merge(
        *(
            sketch.empty_like()._set_arrays(
                {
                    "counts": counts,
                    "spent": np.array([spent]),
                    "spent_if_disjoint": np.array([spent]),
                    "variance": np.array([spent / 8]),
                    "n_updates": np.array([1]),
                }
            )
            for counts, spent in zip(*batch, strict=True)
        )
    )


def _release_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    # Noisy counters and budgets of several releases: what noise they hold does not matter to the laws.
    shape = sketch._layout()["counts"].shape
    return st.integers(0, 3).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.int64, (n, *shape), elements=st.integers(-9, 9)),
            hnp.arrays(np.int64, n, elements=st.integers(1, 99)),
        )
    )


def _join_arrays(batches: Sequence[tuple]) -> tuple:
    return tuple(np.concatenate(column) for column in zip(*batches, strict=True))


def _join_lists(batches: Sequence[tuple]) -> tuple:
    return [row for rows, _ in batches for row in rows], np.concatenate([weights for _, weights in batches])


_KEY_TYPES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-3, 3) | st.integers(-(2**63), 2**64 - 1) | st.just(2**64 - 1),
    "str": st.text(max_size=2) | st.sampled_from(["tea", "cake", "straße", "日本"]),
    "bytes": st.binary(max_size=2),
}


def _counts(n: int, low: int) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.int64, n, elements=st.integers(low, 5))


def _key_batches(low: int) -> Callable[[Any], st.SearchStrategy[tuple]]:
    def batches(sketch: Any) -> st.SearchStrategy[tuple]:
        # One sketch gets keys of one type, chosen by its seed.
        kind = sorted(_KEY_TYPES)[sketch.seed % 3]
        keys = st.lists(_KEY_TYPES[kind], max_size=12)
        return keys.flatmap(lambda k: st.tuples(st.just(k), _counts(len(k), low)))

    return batches


def _large_keys(rng: np.random.Generator, sketch: Any) -> tuple:
    keys = rng.zipf(1.3, 100_000).astype(np.int64)
    return keys, rng.integers(0, 4, keys.size)


_BAD_KEYS: list[tuple] = [
    (["a", 1], None),
    ([1.5], None),
    ([None], None),
    (["a"], [1, 2]),
    (["a"], [0.5]),
    (["a"], ["b"]),
    (["a"], np.array([2**63], dtype=np.uint64)),
    (np.array([1.0]), None),
    (3, None),
]
_SEEDS = st.integers(0, 2**64 - 1) | st.integers(0, 2)


def _between_truth_and_plain(whole: Any, merged: Any, batches: Sequence[tuple]) -> None:
    plain = CountMinSketch(whole.n_rows, whole.n_buckets, seed=whole.seed)
    keys, counts = _join_lists(batches)
    plain.update(keys, counts)
    distinct = list(dict.fromkeys(keys))
    truth = [sum(c for k, c in zip(keys, counts, strict=True) if k == key) for key in distinct]
    for sketch in (whole, merged):
        assert (sketch.query(distinct) >= truth).all()
        assert (sketch.state["counts"].array <= plain.state["counts"].array).all()
        assert sketch.total == plain.total
        assert sketch.n_updates == plain.n_updates


def _weighted_batches(
    sketch: Any, weights: Callable[[int], st.SearchStrategy[np.ndarray]]
) -> st.SearchStrategy[tuple]:
    return _race_batches(sketch).flatmap(lambda b: st.tuples(st.just(b[0]), weights(len(b[0]))))


def _eighths(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    # Real weights that float64 adds exactly, so that the laws hold bit for bit.
    return hnp.arrays(np.int64, shape, elements=st.integers(-40, 40)).map(lambda w: w / 8)


def _race_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    family = sketch.family
    rows = hnp.arrays(
        np.int64,
        st.tuples(st.integers(0, 8), st.just(family.n_features)),
        elements=st.integers(0, family.n_buckets - 1),
    )
    return rows.flatmap(lambda X: st.tuples(st.just(X), _counts(len(X), -5)))


def _real_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    # Rows from a seed: codes of the few floats that Hypothesis likes would be all alike.
    seeds = st.tuples(st.integers(0, 8), st.integers(0, 2**32))
    rows = seeds.map(lambda s: np.random.default_rng(s[1]).standard_normal((s[0], 12)).astype(np.float32))
    return rows.flatmap(lambda X: st.tuples(st.just(X), _counts(len(X), -5)))


def _pane_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    def with_panes(batch: tuple) -> st.SearchStrategy[tuple]:
        n = len(batch[0])
        weights = st.just(batch[1]) if sketch.dtype == "int" else _eighths((n,))
        return st.tuples(st.just(batch[0]), weights, hnp.arrays(np.int64, n, elements=st.integers(0, 4)))

    return _race_batches(sketch).flatmap(with_panes)


def _target_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    """Rows, targets (some NaN), weights and times, whole numbers of half-lives: all sums are exact."""

    def with_targets(batch: tuple) -> st.SearchStrategy[tuple]:
        n = len(batch[0])
        shape = (n,) if sketch.n_outputs is None else (n, sketch.n_outputs)
        holes = hnp.arrays(np.bool_, shape, elements=st.sampled_from([False] * 9 + [True]))
        targets = st.tuples(_eighths(shape), holes).map(lambda t: np.where(t[1], np.nan, t[0]))
        periods = hnp.arrays(np.int64, n, elements=st.integers(-3, 9))
        times = periods.map(lambda p: p * (sketch.half_life or 1.0))
        return st.tuples(st.just(batch[0]), targets, _eighths((n,)), times)

    return _race_batches(sketch).flatmap(with_targets)


def _index_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    # Ids from a small range, so that some come twice: those count twice.
    def with_ids(batch: tuple) -> st.SearchStrategy[tuple]:
        n = len(batch[0])
        return st.tuples(st.just(batch[0]), hnp.arrays(np.int64, n, elements=st.integers(0, 50)))

    return _race_batches(sketch).flatmap(with_ids)


def _set_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    rows = st.lists(hnp.arrays(np.uint64, st.integers(0, 6), elements=st.integers(0, 20)), max_size=8)
    return rows.flatmap(lambda X: st.tuples(st.just(X), _counts(len(X), -5)))


def _vector_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    """Rows on a coarse lattice, so that cells fill, and weights."""
    rows = st.integers(0, 8).flatmap(
        lambda n: hnp.arrays(np.int64, (n, sketch.n_features), elements=st.integers(-9, 9))
    )
    return rows.flatmap(lambda X: st.tuples(st.just(X / 4), _counts(len(X), 0)))


_OVERSIZE = ("clip", "split")


def _density_entry(rotate: bool, max_bins: int) -> Entry:
    """Tables so large that they do not err; with few bins kept, so that light ones are dropped."""
    return Entry(
        DensitySketch,
        st.tuples(st.integers(1, 3), st.sampled_from([0.5, 3.0]), st.integers(1, 4), _SEEDS).map(
            lambda t: DensitySketch(
                t[0],
                t[1] if rotate else [t[1]] * t[0],
                n_repetitions=t[2],
                n_rows=5,
                n_buckets=8192,
                max_bins=max_bins,
                rotate=rotate,
                seed=t[3],
            )
        ),
        _vector_batches,
        _join_arrays,
        lambda rng, sketch: (rng.normal(size=(30_000, sketch.n_features)), rng.integers(0, 4, 30_000)),
        [
            (np.full((1, 9), 1.0), None),
            ([0.0], None),
            ([[np.nan]], None),
            (None, None),
            ([["a"]], None),
            (np.zeros((2, 3)), [1]),
        ],
        linear=False,
        counters=("counts", "total", "n_updates"),
    )


_TABLE = st.tuples(st.integers(1, 4), st.integers(1, 9) | st.just(1000), _SEEDS)

ENTRIES: dict[str, Entry] = {
    "AceDetector": Entry(
        AceDetector,
        # Samples so small that they overflow.
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 6), _SEEDS).map(
            lambda t: AceDetector(ToyFamily(t[0], t[1], seed=t[3] >> 1), sample_size=t[2], seed=t[3])
        ),
        lambda sketch: _race_batches(sketch).map(lambda batch: batch[:1]),
        _join_arrays,
        lambda rng, sketch: (rng.integers(0, 4, (60_000, sketch.family.n_features)),),
        [([[9.0]],), ([0],), ([[0] * 9],), (None,)],
        linear=False,
        counters=("counts", "n_updates"),
    ),
    "BloomFilter": Entry(
        BloomFilter,
        st.tuples(st.integers(1, 9) | st.just(300), st.integers(1, 20), _SEEDS).map(
            lambda t: BloomFilter(n_blocks=t[0], n_hashes=t[1], seed=t[2])
        ),
        lambda sketch: _key_batches(0)(sketch).map(lambda batch: batch[:1]),
        lambda batches: ([key for (keys,) in batches for key in keys],),
        lambda rng, sketch: _large_keys(rng, sketch)[:1],
        [(["a", 1],), ([1.5],), ([None],), (np.array([1.0]),), (3,)],
        linear=False,
    ),
    "BloomSignatures": Entry(
        BloomSignatures,
        st.tuples(st.integers(1, 9), st.sampled_from([64, 128]), st.booleans(), _SEEDS).map(
            lambda t: BloomSignatures(t[0], t[1], directed=t[2], seed=t[3])
        ),
        lambda sketch: st.lists(st.tuples(*[st.integers(0, sketch.n_nodes - 1)] * 2), max_size=12).map(
            lambda edges: (np.array(edges, dtype=np.int32).reshape(-1, 2),)
        ),
        lambda batches: (np.concatenate([np.empty((0, 2), np.int64), *(edges for (edges,) in batches)]),),
        lambda rng, sketch: (rng.integers(0, sketch.n_nodes, (200_000, 2)),),
        [([[0, 99]],), ([[-1, 0]],), ([[0.5, 0.0]],), ([0, 1, 2],), ([["a", "b"]],)],
        linear=False,
    ),
    "CountMinSketch": Entry(
        CountMinSketch,
        _TABLE.map(lambda t: CountMinSketch(t[0], t[1], seed=t[2])),
        _key_batches(0),
        _join_lists,
        _large_keys,
        [*_BAD_KEYS, (["a"], [-1])],
        counters=("counts", "total", "n_updates"),
    ),
    "CountMinSketch, conservative": Entry(
        CountMinSketch,
        _TABLE.map(lambda t: CountMinSketch(t[0], t[1], conservative=True, seed=t[2])),
        _key_batches(0),
        _join_lists,
        _large_keys,
        [*_BAD_KEYS, (["a"], [-1])],
        linear=False,
        merge_is_inexact="an update raises counters by what they hold already, so parts sum to more",
        weaker_law=_between_truth_and_plain,
        counters=("counts", "total", "n_updates"),
    ),
    "CountSketch": Entry(
        CountSketch,
        _TABLE.map(lambda t: CountSketch(t[0], t[1], seed=t[2])),
        _key_batches(-5),
        _join_lists,
        _large_keys,
        _BAD_KEYS,
        counters=("counts", "total", "n_updates"),
    ),
    "DensitySketch": _density_entry(rotate=False, max_bins=400),
    "DensitySketch, few bins": _density_entry(rotate=False, max_bins=7),
    "DensitySketch, rotated": _density_entry(rotate=True, max_bins=50),
    "HeavyHitters": Entry(
        HeavyHitters,
        # Tables so large that no key's estimate errs in these tests: then the laws hold bit for bit for
        # all that `==` compares. What holds whatever the table is tested in test_heavy_hitters.py.
        st.tuples(st.sampled_from([0.05, 0.2, 0.5]), _SEEDS).map(
            lambda t: HeavyHitters(t[0], n_rows=4, n_buckets=4096, max_key_bytes=16, seed=t[1])
        ),
        _key_batches(0),
        _join_lists,
        _large_keys,
        [*_BAD_KEYS, (["a"], [-1]), (["x" * 17], None), (["é" * 9], None)],
        linear=False,
        counters=("counts", "total", "n_updates"),
    ),
    "MinHashSketch": Entry(
        MinHashSketch,
        st.tuples(st.integers(1, 5), st.integers(1, 9) | st.just(200), _SEEDS).map(
            lambda t: MinHashSketch(t[0], t[1], seed=t[2])
        ),
        lambda sketch: st.integers(0, 20).flatmap(
            lambda n: st.tuples(
                hnp.arrays(np.uint64, n, elements=st.integers(0, 30) | st.integers(0, 2**64 - 1)),
                hnp.arrays(np.int64, n, elements=st.integers(0, sketch.n_sets - 1)),
            )
        ),
        _join_arrays,
        lambda rng, sketch: (
            rng.integers(0, 2**40, 300_000),
            rng.integers(0, sketch.n_sets, 300_000),
        ),
        [([1.5], [0]), ([1, 2], [0]), ([1], [99]), ([1], [-1]), ([1], [0.5]), ([1, "a"], [0, 0]), (3, [0])],
        linear=False,
    ),
    "Race": Entry(
        Race,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 6), _SEEDS).map(
            lambda t: Race(ToyFamily(t[0], t[1], n_buckets=t[2], seed=t[3]))
        ),
        _race_batches,
        _join_arrays,
        lambda rng, sketch: (
            rng.integers(0, sketch.family.n_buckets, (60_000, sketch.family.n_features)),
            rng.integers(-3, 4, 60_000),
        ),
        [
            ([[0.0]] * 3, [1, 2]),
            ([[9.0]], None),
            ([[0]], [0.5]),
            ([0], None),
            ([[0] * 9], None),
            (None, None),
        ],
        counters=("counts", "total", "n_updates"),
    ),
    "Race, real": Entry(
        Race,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 6), _SEEDS).map(
            lambda t: Race(ToyFamily(t[0], t[1], n_buckets=t[2], seed=t[3]), dtype="float")
        ),
        lambda sketch: _weighted_batches(sketch, lambda n: _eighths((n,))),
        _join_arrays,
        lambda rng, sketch: (
            rng.integers(0, sketch.family.n_buckets, (60_000, sketch.family.n_features)),
            rng.integers(-40, 40, 60_000) / 8,
        ),
        [([[0]], [np.nan]), ([[0]], [np.inf]), ([[0]], ["a"]), ([[0]], [1.0, 2.0]), ([[9.0]], None)],
    ),
    "Race, several outputs": Entry(
        Race,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.booleans(), _SEEDS).map(
            lambda t: Race(ToyFamily(t[0], t[1], seed=t[3]), dtype="float" if t[2] else "int", n_outputs=3)
        ),
        lambda sketch: _weighted_batches(
            sketch,
            lambda n: (
                _eighths((n, 3))
                if sketch.dtype == "float"
                else hnp.arrays(np.int64, (n, 3), elements=st.integers(-5, 5))
            ),
        ),
        _join_arrays,
        lambda rng, sketch: (
            rng.integers(0, sketch.family.n_buckets, (60_000, sketch.family.n_features)),
            rng.integers(-3, 4, (60_000, 3)),
        ),
        [([[0]], None), ([[0]], [1]), ([[0]], [[1, 2]]), ([[0]], [["a"] * 3]), ([[9.0]], [[1, 1, 1]])],
    ),
    "RepresenterSketch": Entry(
        RepresenterSketch,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.sampled_from(["float32", "float64"]), _SEEDS).map(
            lambda t: RepresenterSketch(ToyFamily(t[0], t[1], seed=t[3]), 3, precision=t[2])
        ),
        lambda sketch: _weighted_batches(sketch, lambda n: _eighths((n, 3))),
        _join_arrays,
        # So small that float32 adds them exactly, whatever their order.
        lambda rng, sketch: (
            rng.integers(0, sketch.family.n_buckets, (60_000, sketch.family.n_features)),
            rng.integers(-3, 4, (60_000, 3)) / 8,
        ),
        [([[0]], None), ([[0]], [[1, np.nan, 2]]), ([[0]], [[1.0, 2.0]]), ([[9.0]], [[1, 1, 1]])],
    ),
    **{
        f"RaceWindow, {dtype}": Entry(
            RaceWindow,
            st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), _SEEDS).map(
                lambda t, dtype=dtype: RaceWindow(ToyFamily(t[0], t[1], seed=t[3]), n_panes=t[2], dtype=dtype)
            ),
            _pane_batches,
            _join_arrays,
            lambda rng, sketch: (
                rng.integers(0, 4, (60_000, sketch.family.n_features)),
                rng.integers(-3, 4, 60_000),
                rng.integers(0, 5, 60_000),
            ),
            [([[9.0]], None, 7), ([[0]], [1, 2], 7), ([[0]], None, -1), ([[0]], None, 0.5), (3, None, 7)],
            linear=False,
        )
        for dtype in ("int", "float")
    },
    "NadarayaWatsonSketch": Entry(
        NadarayaWatsonSketch,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.sampled_from([None, 2]), _SEEDS).map(
            lambda t: NadarayaWatsonSketch(
                ToyFamily(t[0], t[1], seed=t[3]), n_outputs=t[2], nan_policy="omit"
            )
        ),
        lambda sketch: _target_batches(sketch).map(lambda batch: batch[:3]),
        _join_arrays,
        lambda rng, sketch: (
            rng.integers(0, 4, (60_000, sketch.family.n_features)),
            rng.integers(-40, 40, (60_000, *([sketch.n_outputs] if sketch.n_outputs else []))) / 8,
        ),
        [
            ([[9.0]], [1.0], None),
            ([[0]], [1.0, 2.0], None),
            ([[0]], [np.inf], None),
            ([[0]], ["a"], None),
            ([[0]], [1.0], [np.nan]),
        ],
    ),
    "NadarayaWatsonSketch, decaying": Entry(
        NadarayaWatsonSketch,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.25, 3.0]), _SEEDS).map(
            lambda t: NadarayaWatsonSketch(ToyFamily(t[0], t[1], seed=t[3]), half_life=t[2])
        ),
        lambda sketch: _target_batches(sketch).map(lambda b: (b[0], np.nan_to_num(b[1]), b[2], b[3])),
        _join_arrays,
        lambda rng, sketch: (
            rng.integers(0, 4, (60_000, sketch.family.n_features)),
            rng.integers(-40, 40, 60_000) / 8,
            np.ones(60_000),
            rng.integers(0, 10, 60_000) * sketch.half_life,
        ),
        [
            ([[0]], [1.0], None, None),
            ([[0]], [1.0], None, [np.inf]),
            ([[0]], [1.0], None, ["a"]),
            ([[0]], [np.nan], None, [1.0]),
            ([[9]], [1.0], None, [1.0]),
        ],
        linear=False,
    ),
    "PrivateRace": Entry(
        PrivateRace,
        st.tuples(st.integers(1, 5), st.integers(1, 4), _SEEDS).map(
            lambda t: PrivateRace(ToyFamily(t[0], t[1], seed=t[2]))
        ),
        _release_batches,
        _join_arrays,
        lambda rng, sketch: (
            rng.integers(-9, 9, (5, sketch.family.n_hashes, sketch.family.n_buckets)),
            np.arange(1, 6),
        ),
        [([[0]],), ([[9.0]],)],
        linear=False,
        counters=(),
    ),
    "PrivateClassifier": Entry(
        PrivateClassifier,
        st.tuples(st.integers(1, 5), st.integers(2, 4), _SEEDS).map(
            lambda t: PrivateClassifier(
                ToyFamily(t[0], t[1], seed=t[2]), low=-1.0, high=4.0, classes=range(t[1])
            )
        ),
        _release_batches,
        _join_arrays,
        lambda rng, sketch: (rng.integers(-9, 9, (5, *sketch._layout()["counts"].shape)), np.arange(1, 6)),
        [([[0]],), ([[9.0]],)],
        linear=False,
        counters=(),
    ),
    "PrivateRegressor": Entry(
        PrivateRegressor,
        st.tuples(st.integers(1, 5), st.integers(1, 4), _SEEDS).map(
            lambda t: PrivateRegressor(
                ToyFamily(t[0], t[1], seed=t[2]), low=-1.0, high=4.0, target_low=-1.0, target_high=t[1]
            )
        ),
        _release_batches,
        _join_arrays,
        lambda rng, sketch: (rng.integers(-9, 9, (5, *sketch._layout()["counts"].shape)), np.arange(1, 6)),
        [([[0]],), ([[9.0]],)],
        linear=False,
        counters=(),
    ),
    "StormSketch": Entry(
        StormSketch,
        st.tuples(st.integers(1, 70), st.sampled_from([1.0, 3.0]), _SEEDS).map(
            lambda t: StormSketch(12, t[0], max_norm=t[1], oversize=_OVERSIZE[t[2] % 2], seed=t[2])
        ),
        lambda sketch: _real_batches(sketch).map(lambda batch: batch[:1]),
        _join_arrays,
        lambda rng, sketch: (_dense(rng, 30_000),),
        [([[np.nan] * 12],), ([[0.0] * 11],), ([0.0] * 12,), ([["a"] * 12],)],
        counters=("products", "n_clipped", "n_parts", "n_updates"),
    ),
    "Race of sets": Entry(
        Race,
        st.tuples(st.integers(1, 4), st.integers(2, 50), _SEEDS).map(
            lambda t: Race(MinHash(t[0], n_buckets=t[1], scheme="permutations", seed=t[2]))
        ),
        _set_batches,
        _join_lists,
        lambda rng, sketch: (_split(*_sets(rng, 30_000)), rng.integers(-3, 4, 30_000)),
        [([[0.5]], None), (["a"], None), (3, None), (([1, 2], [0, 1]), None), ([[1], [2]], [1])],
        counters=("counts", "total", "n_updates"),
    ),
    "Race of vectors": Entry(
        Race,
        st.tuples(
            st.integers(1, 6), st.integers(1, 5), st.sampled_from(["gaussian", "hadamard"]), _SEEDS
        ).map(lambda t: Race(SignedRandomProjection(12, t[0], power=t[1], projection=t[2], seed=t[3]))),
        _real_batches,
        _join_arrays,
        lambda rng, sketch: (_dense(rng, 30_000), rng.integers(-3, 4, 30_000)),
        [
            ([[np.nan] * 12], None),
            ([[0.0] * 11 + [np.inf]], None),
            ([[0.0] * 11], None),
            ([0.0] * 12, None),
            ([["a"] * 12], None),
            ([[1.0] * 12], [0.5]),
        ],
        counters=("counts", "total", "n_updates"),
    ),
    "Race of inner products": Entry(
        Race,
        st.tuples(st.integers(1, 6), st.integers(1, 5), st.none() | st.just(2.0), _SEEDS).map(
            lambda t: Race(InnerProduct(12, t[0], max_norm=20.0, query_norm=t[2], power=t[1], seed=t[3]))
        ),
        _real_batches,
        _join_arrays,
        lambda rng, sketch: (_dense(rng, 30_000), rng.integers(-3, 4, 30_000)),
        [
            ([[0.0] * 11 + [20.1]], None),
            (np.repeat([[0.0] * 12, [6.0] * 12], 9000, axis=0), None),
            ([[np.nan] * 12], None),
            ([[0.0] * 11], None),
        ],
        counters=("counts", "total", "n_updates"),
    ),
    "LSHIndex": Entry(
        LSHIndex,
        # Buckets of few slots, so that they overflow.
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5), st.booleans(), _SEEDS).map(
            lambda t: LSHIndex(ToyFamily(t[0], t[1]), capacity=t[2], wide_ids=t[3], seed=t[4])
        ),
        _index_batches,
        _join_arrays,
        lambda rng, sketch: (rng.integers(0, 4, (30_000, sketch.family.n_features)), np.arange(30_000)),
        [
            ([[9.0]], None),
            ([0], None),
            ([[0] * 9], None),
            (None, None),
            (np.zeros((1, 99), dtype=int), [1]),
        ],
        linear=False,
        counters=("seen", "n_updates"),
    ),
}
