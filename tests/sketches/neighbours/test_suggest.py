"""Test `suggest`: its predictions against real indexes, its constraints, bad arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import Suggestion, suggest
from mergesketch.sketches.neighbours.bucket_loads import expected_held, expected_lost, least_capacity
from mergesketch.sketches.neighbours.crowding import MODELS, shared, some_rows
from paths import SHARED
from scipy.stats import poisson

DATA = SHARED / "mnist_t10k.npz"
#: There are many features, because then rows around a query are independent of each other.
N_ROWS, WIDTH, SEEDS = 2_000, 200, 120


# -- rows around one query ------------------------------------------------------------------------


def at_distance(p: int) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return a function that makes a query and rows at given distances of it in the norm `p`."""

    def rows(rng: np.random.Generator, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        steps = rng.standard_normal((distances.size, WIDTH))
        steps *= distances[:, None] / np.linalg.norm(steps, ord=p, axis=1, keepdims=True)
        query = rng.standard_normal((1, WIDTH))
        return query, query + steps

    return rows


def at_angle(rng: np.random.Generator, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    query = np.zeros((1, WIDTH))
    query[0, 0] = 1.0
    rows = rng.standard_normal((angles.size, WIDTH))
    rows[:, 0] = 0.0
    rows *= np.sin(angles)[:, None] / np.linalg.norm(rows, axis=1, keepdims=True)
    rows[:, 0] = np.cos(angles)
    return query, rows


def at_jaccard(rng: np.random.Generator, distances: np.ndarray) -> tuple[Any, Any]:
    """Return sets of 60 tokens that share c with the query, so that c / (120 - c) is the similarity."""
    query = rng.integers(0, 2**63, 60)
    common = np.round(120 * (1 - distances) / (2 - distances)).astype(np.int64)
    tokens = rng.integers(0, 2**63, (distances.size, 60))
    picked = np.argsort(rng.random((distances.size, 60)), axis=1)
    shared_tokens = np.arange(60) < common[:, None]
    tokens[shared_tokens] = query[picked[shared_tokens]]
    return (query, np.array([0, 60])), (tokens.reshape(-1), 60 * np.arange(distances.size + 1))


SCENES = {
    "angle": (at_angle, 0.5, math.pi / 2),
    "euclidean": (at_distance(2), 1.0, 3.0),
    "cityblock": (at_distance(1), 2.0, 12.0),
    # 50 and 20 of 60 common tokens.
    "jaccard": (at_jaccard, 1 - 50 / 70, 1 - 20 / 100),
}


@pytest.mark.slow
@pytest.mark.parametrize("metric", SCENES)
@pytest.mark.parametrize("memory", [None, 300_000])
def test_recall_and_candidates_are_as_predicted(metric: str, memory: int | None) -> None:
    """One row is planted at exactly `near`, all others at exactly `far`, over seeds of data and family."""
    rows_at, near, far = SCENES[metric]
    plan = suggest(metric, n_rows=N_ROWS, near=near, far=far, recall=0.8, memory=memory, n_features=WIDTH)
    assert plan.recall >= 0.8
    assert plan.overflow <= 0.01
    assert memory is None or plan.nbytes <= memory
    distances = np.full(N_ROWS, far)
    distances[0] = near
    found, met = np.empty(SEEDS), np.empty(SEEDS)
    for seed in range(SEEDS):
        query, rows = rows_at(np.random.default_rng(seed), distances)
        index = plan.index(seed=seed).add(rows)
        ids, counts = index.query(query, k=500 * plan.n_hashes)
        found[seed] = (ids[0] == 0).any()
        met[seed] = counts[0][ids[0] > 0].sum()
    assert abs(found.mean() - plan.recall) < 6 * math.sqrt(plan.recall * (1 - plan.recall) / SEEDS)
    # One of the n_rows rows is the query itself.
    allowed = 6 * met.std(ddof=1) / math.sqrt(SEEDS) + 2 * plan.candidates / N_ROWS
    assert abs(met.mean() - plan.candidates) < allowed


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["angle", "euclidean", "cityblock"])
@pytest.mark.parametrize("n_probes", [3, 20])
def test_probed_buckets_hold_the_row_as_often_as_predicted(metric: str, n_probes: int) -> None:
    """Rates are per table, over seeds; the prediction is itself a mean over few states."""
    rows_at, near, far = SCENES[metric]
    plan = suggest(metric, n_rows=10**5, near=near, far=far, n_probes=n_probes, n_features=WIDTH)
    alone = suggest(metric, n_rows=10**5, near=near, far=far, n_features=WIDTH)
    assert plan.n_probes == n_probes
    assert plan.n_hashes < alone.n_hashes
    predicted = -math.expm1(math.log1p(-plan.recall) / plan.n_hashes) / (1 - plan.overflow)
    shares = np.empty(SEEDS)
    for seed in range(SEEDS):
        query, rows = rows_at(np.random.default_rng(seed), np.full(40, near))
        family = plan.family(seed=seed)
        probes = family.probe(query, n_probes)
        shares[seed] = (family.hash(rows)[:, :, None] == probes).any(axis=2).mean()
    allowed = 6 * shares.std(ddof=1) / math.sqrt(SEEDS) + 0.02 * predicted
    assert abs(shares.mean() - predicted) < allowed


def neighbours(metric: str, rng: np.random.Generator, X: np.ndarray, near: float) -> np.ndarray:
    """Return a row at that distance of each row of X."""
    step = rng.standard_normal(X.shape)
    if metric == "euclidean":
        return X + near * step / np.linalg.norm(step, axis=1, keepdims=True)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    step -= (step * unit).sum(axis=1, keepdims=True) * unit
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    return np.cos(near) * unit + np.sin(near) * step


def clustered(rng: np.random.Generator) -> np.ndarray:
    centres = 2 * rng.standard_normal((60, 16))
    return centres[rng.zipf(1.5, 12_000) % 60] + rng.standard_normal((12_000, 16))


@pytest.mark.slow
@pytest.mark.parametrize("data", ["clusters", "digits"])
@pytest.mark.parametrize(("metric", "near"), [("angle", 0.3), ("euclidean", None)])
def test_predictions_from_a_sample_hold_for_rows_that_crowd(
    data: str, metric: str, near: float | None
) -> None:
    """Log-normal loads are a model: recall is within 3 points, candidates are within a fifth."""
    rng = np.random.default_rng(1)
    if data == "digits":
        if not DATA.exists():
            pytest.skip("the MNIST test set is not here")
        X = np.load(DATA)["images"].reshape(10_000, 784).astype(np.float64)
    else:
        X = clustered(rng)
    near = near or (1500.0 if data == "digits" else 1.5)
    X = X[rng.permutation(len(X))]
    plan = suggest(metric, n_rows=len(X), near=near, sample=X[::4], recall=0.9, memory=20_000_000)
    queries, rest = X[:400], X[400:]
    rows = np.concatenate([rest, neighbours(metric, rng, queries, near)])
    found, met, overflow = [], [], []
    for seed in range(6):
        index = plan.index(seed=seed).add(rows)
        ids, counts = index.query(queries, k=len(rows))
        planted = ids == np.arange(len(rest), len(rows))[:, None]
        found.append(planted.any(axis=1).mean())
        met.append((counts * ~planted).sum(axis=1).mean())
        overflow.append(index.overflow)
    assert abs(np.mean(found) - plan.recall) < 0.03
    assert abs(np.mean(met) / plan.candidates - 1) < 0.2
    assert np.mean(overflow) < 0.03
    # Without the sample, typical pairs say little about rows that crowd.
    typical = {"angle": math.pi / 2 if data == "clusters" else 1.1, "euclidean": 2 * near}[metric]
    blind = suggest(metric, n_rows=len(X), near=near, far=typical, recall=0.9, n_features=X.shape[1])
    assert blind.candidates != plan.candidates


# -- the theory's parts ---------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(load=st.floats(1e-6, 500), capacity=st.integers(1, 600))
def test_losses_are_the_sums_over_the_poisson_distribution(load: float, capacity: int) -> None:
    m = np.arange(3000)
    weights = poisson.pmf(m, load)
    lost = (weights * np.maximum(0, m + 1 - capacity) / (m + 1)).sum()
    held = (weights * np.minimum(m, capacity)).sum()
    assert math.isclose(expected_lost(np.array(load), np.array(capacity)), lost, rel_tol=1e-6, abs_tol=1e-12)
    assert math.isclose(expected_held(np.array(load), np.array(capacity)), held, rel_tol=1e-6, abs_tol=1e-12)


@settings(max_examples=30, deadline=None)
@given(load=st.floats(1e-6, 2000))
def test_the_capacity_is_the_least_that_suffices(load: float) -> None:
    loads = np.full((1, 16), load)
    capacity = least_capacity(loads, 0.01)
    assert expected_lost(loads[0, 0], capacity)[0] <= 0.01
    assert capacity[0] == 1 or expected_lost(loads[0, 0], capacity - 1)[0] > 0.01


@pytest.mark.parametrize("metric", SCENES)
def test_collision_probability_is_the_mean_over_places_in_the_bucket(metric: str) -> None:
    model = MODELS[metric]
    far = np.array([0.0, 0.1, 0.5, 0.9, 1.0] if metric == "jaccard" else [0.1, 0.3, 1.0, 2.0, 3.0])
    given = model.given(1.5, far)
    expected = model.make(1, 1, 1, 1.5, 2).collision_probability(far)
    # The prediction is a mean over few states.
    np.testing.assert_allclose(given.mean(axis=0), expected, atol=2e-3)


def test_shares_of_buckets_are_measured_without_bias() -> None:
    """The shares of buckets are known, and a sample sees few rows of each."""
    rng = np.random.default_rng(2)
    shares = np.array([0.05] * 4 + [0.01] * 80)
    first, second = (shares**2).sum(), (shares**3).sum()
    codes = rng.choice(shares.size, (2000, 64), p=shares).astype(np.uint32)
    mass, spread = shared(codes, 64)
    assert mass.shape == spread.shape == (1,)
    assert abs(mass[0] / first - 1) < 0.02
    assert abs(spread[0] - math.log(second / first**2)) < 0.05


# -- constraints ----------------------------------------------------------------------------------

arguments = st.fixed_dictionaries(
    {
        "metric": st.sampled_from(sorted(MODELS)),
        "n_rows": st.integers(1, 10**9),
        "near": st.floats(0.0, 0.6),
        "far": st.floats(0.7, 1.0),
        "recall": st.floats(0.05, 0.99),
    }
)


def planned(**keywords: Any) -> Suggestion | ValueError:
    try:
        return suggest(**keywords)
    except ValueError as error:
        return error


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(keywords=arguments, megabytes=st.integers(1, 10_000))
def test_more_memory_never_predicts_less(keywords: dict, megabytes: int) -> None:
    """Nor does it make a possible plan impossible, or a cheaper plan dearer."""
    best = None
    for memory in (megabytes * 1_000_000, 8 * megabytes * 1_000_000, None):
        plan = planned(**keywords, memory=memory)
        if isinstance(plan, ValueError):
            assert best is None
            assert str(plan).startswith(("memory must be at least", "recall must be at most"))
            continue
        assert plan.recall >= keywords["recall"]
        assert plan.overflow <= 0.01 + 1e-9
        slot = 8 if keywords["n_rows"] >= 2**32 else 4
        assert plan.nbytes == plan.n_hashes * plan.n_buckets * (slot * plan.capacity + 4)
        assert memory is None or plan.nbytes <= memory
        assert best is None or plan.nanoseconds <= best * (1 + 1e-9)
        best = plan.nanoseconds


def test_costs_of_plans_beyond_63_bits_do_not_wrap() -> None:
    plan = suggest("cityblock", n_rows=724_612_281, near=0.5, far=0.75, recall=0.5)
    assert plan.nbytes == plan.n_hashes * plan.n_buckets * (4 * plan.capacity + 4) > 0


@pytest.mark.slow
@pytest.mark.parametrize("metric", SCENES)
def test_what_is_said_to_suffice_does(metric: str) -> None:
    """The memory and the recall that an error names are enough, and little less is not."""
    _, near, far = SCENES[metric]
    keywords = {"n_rows": 10**6, "near": near, "far": far}
    with pytest.raises(ValueError, match=r"memory must be at least (\d+) bytes") as caught:
        suggest(metric, recall=0.9, memory=4_500_000, **keywords)
    words = str(caught.value).split()
    least, reached = int(words[5]), float(words[-1])
    assert suggest(metric, recall=0.9, memory=least, **keywords).nbytes == least
    with pytest.raises(ValueError, match="memory must be"):
        suggest(metric, recall=0.9, memory=least - 1, **keywords)
    assert suggest(metric, recall=0.99 * reached, memory=4_500_000, **keywords).nbytes <= 4_500_000
    with pytest.raises(ValueError, match="memory must be"):
        suggest(metric, recall=min(0.9, 1.01 * reached), memory=4_500_000, **keywords)


def test_memory_for_no_table_is_told_of() -> None:
    with pytest.raises(ValueError, match=r"memory must be at least .* got 1000: no table fits into that"):
        suggest("angle", n_rows=10**6, near=0.3, far=1.5, memory=1000)


def test_a_recall_out_of_reach_is_told_of() -> None:
    with pytest.raises(
        ValueError, match=r"recall must be at most 0\.\d+, which 65536 hashes reach, got 0.99"
    ):
        suggest("jaccard", n_rows=2**30, near=0.99999, far=0.999999, recall=0.99)


def test_nearer_rows_and_farther_others_cost_less() -> None:
    costs = [
        suggest("angle", n_rows=10**6, near=near, far=far).nanoseconds
        for near, far in ((0.1, 1.5), (0.4, 1.5), (0.4, 1.2), (0.4, 0.8))
    ]
    assert costs == sorted(costs)


# -- families and indexes -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("metric", SCENES)
def test_the_family_is_what_is_suggested(metric: str) -> None:
    _, near, far = SCENES[metric]
    plan = suggest(metric, n_rows=1000, near=near, far=far, n_features=30)
    family = plan.family(seed=4)
    assert family.metric == metric
    assert (family.n_hashes, family.n_buckets, family.seed) == (plan.n_hashes, plan.n_buckets, 4)
    assert family.config()["power"] == plan.power
    assert family.config().get("width") == plan.width
    index = plan.index(seed=4)
    assert index.family == family
    assert (index.capacity, index.wide_ids, index.n_updates) == (plan.capacity, False, 0)
    if metric != "jaccard":
        assert plan.family(12).config()["n_features"] == 12
    huge = suggest(metric, n_rows=2**33, near=near / 10, far=far, n_features=30)
    assert huge.index().wide_ids


def test_options_of_the_family_are_passed_on() -> None:
    plan = suggest("angle", n_rows=1000, near=0.3, far=1.5)
    assert plan.family(projection="sparse").config()["n_features"] is None
    assert plan.family(600, projection="hadamard").config()["projection"] == "hadamard"
    assert not plan.family().is_fixed
    sets = suggest("jaccard", n_rows=1000, near=0.3, far=0.9)
    assert sets.index(scheme="one-permutation").family.config()["scheme"] == "one-permutation"


def test_samples_of_every_form() -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((300, 20)).astype(np.float32)
    dense = suggest("angle", n_rows=1000, near=0.3, sample=X)
    assert dense.n_features == 20
    assert suggest("angle", n_rows=1000, near=0.3, sample=X.tolist()) == dense
    assert suggest("angle", n_rows=1000, near=0.3, sample=scipy.sparse.csr_matrix(X)) == dense
    tokens, offsets = rng.integers(0, 50, 3000), np.arange(0, 3001, 10)
    sets = suggest("jaccard", n_rows=1000, near=0.1, sample=(tokens, offsets))
    assert suggest("jaccard", n_rows=1000, near=0.1, sample=np.split(tokens, offsets[1:-1])) == sets
    # Wide rows are hashed without their empty columns.
    wide = scipy.sparse.csr_array((X.reshape(-1), np.tile(np.arange(20) * 50_000, 300), np.arange(301) * 20))
    plan = suggest("angle", n_rows=1000, near=0.3, sample=wide)
    assert plan.n_features == 19 * 50_000 + 1
    rows, width = some_rows(MODELS["angle"], wide)
    assert width == plan.n_features
    np.testing.assert_array_equal(rows.toarray(), X)
    nothing = scipy.sparse.csr_array((100, 1_000_000))
    with pytest.raises(ValueError, match="near must be nearer"):
        suggest("euclidean", n_rows=1000, near=0.3, sample=nothing)


GOOD: dict[str, Any] = {"metric": "angle", "n_rows": 100, "near": 0.3, "far": 1.5}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"metric": "cosine"}, ValueError, "metric must be one of 'angle', .* got 'cosine'"),
        ({"n_rows": 0}, ValueError, "n_rows must be an integer from 1 to 4611686018427387904, got 0"),
        ({"n_rows": 1.5}, TypeError, "n_rows must be an integer"),
        ({"near": -0.1}, ValueError, r"near must be a number in \[0, 3.14159\], got -0.1"),
        ({"near": math.nan}, ValueError, "near must be a number"),
        ({"near": "0.3"}, TypeError, "near must be a number"),
        ({"near": 1.6}, ValueError, "near must be less than far, typically 1.5, got 1.6"),
        ({"metric": "jaccard", "far": 1.5}, ValueError, r"far must hold distances in \[0, 1\], got 1.5"),
        ({"far": []}, ValueError, "far must hold distances in .* got none"),
        ({"far": "far"}, TypeError, "far must hold real numbers"),
        ({"far": math.nan}, ValueError, "far must hold distances"),
        ({"far": None}, ValueError, "far or sample must be given, and not both; got neither"),
        ({"sample": np.eye(20)}, ValueError, "far or sample must be given, and not both; got both"),
        ({"far": None, "sample": np.eye(9)}, ValueError, "sample must have at least 16 rows, got 9"),
        ({"far": None, "sample": np.full((20, 3), np.nan)}, ValueError, "sample must be finite"),
        (
            {"far": None, "sample": np.ones((20, 3))},
            ValueError,
            "near must be nearer than most rows of sample",
        ),
        ({"metric": "jaccard", "far": None, "sample": 3}, TypeError, "sample must be"),
        ({"recall": 1.0}, ValueError, r"recall must be a number in \(0, 1\), got 1"),
        ({"recall": "0.9"}, TypeError, "recall must be a number"),
        ({"memory": 0}, ValueError, "memory must be an integer from 1 to 4611686018427387904, got 0"),
        ({"memory": 1e9}, TypeError, "memory must be an integer"),
        ({"n_probes": 0}, ValueError, "n_probes must be an integer from 1 to 256, got 0"),
        ({"metric": "jaccard", "far": 0.9, "n_probes": 2}, ValueError, "n_probes must be 1 for 'jaccard'"),
        ({"n_features": 0}, ValueError, "n_features must be an integer from 1 to 4611686018427387904"),
    ],
)
def test_bad_arguments_are_refused_by_name(changed: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        suggest(**{**GOOD, **changed})


# -- units of the caller --------------------------------------------------------------------------


def clusters(n: int, width: int, seed: int) -> np.ndarray:
    """Return unit vectors in clusters of unequal widths, whose variance falls from feature to feature."""
    rng = np.random.default_rng(seed)
    scale = (1.0 + np.arange(width)) ** -0.5
    centres, noise = rng.standard_normal((100, width)) * scale, rng.standard_normal((n, width)) * scale
    X = centres[rng.integers(0, 100, n)] + noise * rng.uniform(0.2, 0.6, (n, 1))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unit", "metric", "near"),
    [
        ({"min_cosine": 0.8}, "angle", math.acos(0.8)),
        ({"min_jaccard": 0.6}, "jaccard", 0.4),
        ({"max_distance": 0.5}, "euclidean", 0.5),
        ({"max_distance": 0.5, "metric": "angle"}, "angle", 0.5),
        ({"max_distance": 0.5, "metric": "cityblock"}, "cityblock", 0.5),
    ],
)
def test_units_are_distances_of_a_metric(unit: dict[str, Any], metric: str, near: float) -> None:
    far = {"jaccard": 0.95, "angle": 1.5}.get(metric, 4.0)
    plan = suggest(n_rows=10_000, far=far, **unit)
    assert plan.metric == metric
    assert plan.overflow <= 0.001
    assert plan.recall >= 0.9
    one = suggest(n_rows=10_000, far=far, n_probes=1, **unit)
    family = one.family(30)
    k = float(family.collision_probability(near))
    found = (k + (1 - k) * family.chance_collision) * (1 - one.overflow)
    assert one.recall == pytest.approx(1 - (1 - found) ** one.n_hashes)
    assert plan.n_probes == 1 or metric != "jaccard"


@pytest.mark.slow
def test_the_number_of_probes_is_the_cheapest() -> None:
    asked: dict[str, Any] = {"n_rows": 100_000, "min_cosine": 0.8, "far": 1.5}

    def cost(plan: Suggestion) -> float:
        return plan.nanoseconds + plan.nbytes / plan.n_rows

    chosen = suggest(**asked)
    each = [suggest(**asked, n_probes=n) for n in (1, 2, 4, 8, 16, 32, 64)]
    assert chosen in each
    assert cost(chosen) == min(map(cost, each))
    # Less memory takes more probes.
    assert suggest(**asked, memory=chosen.nbytes // 8).n_probes > chosen.n_probes
    with pytest.raises(ValueError, match="memory must be at least"):
        suggest(**asked, memory=10_000)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [None, 20_000_000])
def test_the_recipe_finds_the_ten_nearest(memory: int | None) -> None:
    X = clusters(20_500, 96, seed=1)
    X, Q = X[:20_000], X[20_000:]
    cosines = Q @ X.T
    truth = np.argsort(-cosines, axis=1)[:, :10]
    tenth = float(np.quantile(np.take_along_axis(cosines, truth[:, 9:], axis=1), 0.1))
    plan = suggest(n_rows=len(X), sample=X[:2000], min_cosine=tenth, memory=memory)
    assert memory is None or plan.nbytes <= memory
    index = plan.index(seed=1).add(X)
    ids, distances = index.search(Q, X, k=10, n_probes=plan.n_probes)
    recall = np.mean([np.isin(a, b).mean() for a, b in zip(truth, ids, strict=True)])
    assert recall > 0.9
    assert index.overflow < 0.01
    assert (np.diff(distances, axis=1) >= 0).all()


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs the images")
def test_the_recipe_finds_the_ten_nearest_images() -> None:
    images = np.load(DATA)
    X = next(images[name] for name in images.files if images[name].ndim > 1)
    X = X.reshape(len(X), -1).astype(np.float32)
    X, Q = X[:9_500], X[9_500:]
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosines = (Q / np.linalg.norm(Q, axis=1, keepdims=True)) @ unit.T
    truth = np.argsort(-cosines, axis=1)[:, :10]
    plan = suggest(n_rows=len(X), sample=X[:2000], min_cosine=0.75, memory=30_000_000)
    index = plan.index(seed=1).add(X)
    ids, _ = index.search(Q, X, k=10, n_probes=plan.n_probes)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(truth, ids, strict=True)]) > 0.9
    assert index.overflow < 0.01


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"near": None},
            "one of near, min_cosine, min_jaccard, max_distance must be given, got none of them",
        ),
        ({"min_cosine": 0.9}, "must be given, got near and min_cosine"),
        ({"metric": None}, "metric must be given with near, got None"),
        ({"near": None, "min_jaccard": 0.9}, "metric must be 'jaccard' with min_jaccard, got 'angle'"),
        ({"near": None, "min_cosine": 1.2}, r"min_cosine must be a number in \[-1, 1\], got 1.2"),
        (
            {"near": None, "metric": None, "min_jaccard": -0.1},
            r"min_jaccard must be a number in \[0, 1\], got -0.1",
        ),
        ({"near": None, "max_distance": 4.0}, r"max_distance must be a number in \[0, 3.14159\], got 4"),
        (
            {"near": None, "metric": "euclidean", "max_distance": np.inf},
            r"max_distance must be a number in \[0, 1e\+300\], got inf",
        ),
        ({"metric": "euclidean", "near": 1e301}, r"near must be a number in \[0, 1e\+300\], got 1e\+301"),
        (
            {"far": None, "sample": np.eye(20), "n_features": 3},
            "n_features must be 20, the width of sample, got 3",
        ),
        ({"near": None, "min_cosine": 0.01}, "min_cosine must be nearer than far, typically 1.5, got 0.01"),
        (
            {"near": None, "min_cosine": 0.2, "far": None, "sample": np.ones((20, 3))},
            "min_cosine must be nearer than most rows of sample are to each other, got 0.2",
        ),
    ],
)
def test_bad_units_are_refused_by_name(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        suggest(**{**GOOD, **changed})


def test_public() -> None:
    assert mergesketch.suggest is suggest
    assert mergesketch.Suggestion is Suggestion
