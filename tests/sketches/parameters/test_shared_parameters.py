"""Shared parameters: the naive twin, transposes, variances of products, and training beside dense tables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import (
    CyclicMap,
    MultiHashMap,
    PairMap,
    ParameterMap,
    QuotientRemainderMap,
    RobeMap,
    SharedParameters,
    TileMap,
    hash_keys,
)
from mergesketch.sketches.parameters.parameter_map import Table
from naive import shared_parameters as naive

#: A width that neither blocks nor words of signs divide.
COLUMNS = 70
SHAPES = ((9, COLUMNS), (40, COLUMNS))
MAPS: dict[str, ParameterMap] = {
    "robe": RobeMap(16),
    "robe, one": RobeMap(1),
    "robe, wide": RobeMap(1000),
    "multi": MultiHashMap(4),
    "tile": TileMap(4, 24),
    "cyclic": CyclicMap(SHAPES),
    "sum": QuotientRemainderMap(40, 7),
    "concatenation": QuotientRemainderMap(40, 7, "concatenation"),
}
every_map = pytest.mark.parametrize("map", MAPS.values(), ids=MAPS.keys())


def naive_places(map: Any, m: int, seed: int, table: int) -> Callable[[int, int], list[naive.Place]]:
    def places(row: int, i: int) -> list[naive.Place]:
        if isinstance(map, CyclicMap):
            first = 0 if table == 0 else math.prod(map.shapes[0])
            return naive.cyclic(row, i, m, first, COLUMNS, naive.keys(seed, 0, 1)[0])
        if isinstance(map, TileMap):
            return naive.tile(row, i, m, map.rows, map.columns, naive.keys(seed, table, 1)[0])
        if isinstance(map, QuotientRemainderMap):
            return naive.quotient_remainder(row, i, m, map.n_remainders, COLUMNS, map.combine)
        return naive.robe(row, i, m, map.block, naive.keys(seed, table, map.n_copies))

    return places


@every_map
@pytest.mark.parametrize("m", [1, 13, 100, 5000])
@settings(max_examples=3)
@given(data=st.data())
def test_equals_its_naive_twin(map: ParameterMap, m: int, data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 2**64 - 1))
    table = 0 if isinstance(map, QuotientRemainderMap) else data.draw(st.integers(0, 1))
    n_rows = 40 if not isinstance(map, CyclicMap) else SHAPES[table][0]
    rows = data.draw(st.lists(st.integers(0, n_rows - 1), min_size=1, max_size=6))
    rng = np.random.default_rng(seed)
    A = naive.matrix(naive_places(map, m, seed, table), rows, COLUMNS, m)
    parameters = SharedParameters(m, map, seed=seed)
    gradients = 4 * rng.integers(-9, 9, (len(rows), COLUMNS))
    parameters.scatter_add(rows, gradients, table=table, scale=2.0)
    np.testing.assert_array_equal(parameters.weights, 2 * np.tensordot(gradients, A, 2))
    read = parameters.gather(rows, COLUMNS, table=table, scale=0.5)
    np.testing.assert_array_equal(read, 0.5 * A @ parameters.weights)
    offsets, factors = [0, len(rows) // 2, len(rows) // 2, len(rows)], rng.integers(-4, 5, len(rows))
    bags = parameters.gather_bags(rows, offsets, COLUMNS, factors, table=table)
    weighted = factors[:, None] * parameters.gather(rows, COLUMNS, table=table)
    expected = [weighted[a:b].sum(axis=0) for a, b in itertools.pairwise(offsets)]
    np.testing.assert_array_equal(bags, expected)


@every_map
@settings(max_examples=5)
@given(st.integers(0, 2**32))
def test_adding_is_the_transpose_of_reading(map: ParameterMap, seed: int) -> None:
    """<gather(w), g> = <w, scatter(g)>, bit for bit, for integers; multiples of 4 have exact quarters."""
    rng = np.random.default_rng(seed)
    m, rows = int(rng.integers(1, 3000)), rng.integers(0, 9, (3, 5))
    weights = 4 * rng.integers(-9, 10, m).astype(np.float32)
    parameters = SharedParameters.from_weights(weights, map, seed=seed)
    g = 4.0 * rng.integers(-9, 10, (3, 5, COLUMNS))
    scattered = parameters.empty_like().scatter_add(rows, g).weights
    assert (parameters.gather(rows, COLUMNS) * g).sum() == weights.astype(float) @ scattered
    offsets, factors = np.array([0, 4, 4, 15]), rng.integers(-5, 5, 15)
    scattered = parameters.empty_like().update_bags(rows.ravel(), offsets, g[0, :3], factors).weights
    left = (parameters.gather_bags(rows.ravel(), offsets, COLUMNS, factors) * g[0, :3]).sum()
    assert left == weights.astype(float) @ scattered


@every_map
def test_runs_have_the_places_that_rows_are_read_from(map: ParameterMap) -> None:
    """The runs of a map give what its own kernels give."""
    m, rows = 500, np.arange(9, dtype=np.uint64)
    parameters = SharedParameters(m, map).initialize(1.0)
    table = Table(m, COLUMNS, 0, 0)
    out, bags = np.empty((9, COLUMNS), np.float32), parameters._bags((9,), None, None)
    ParameterMap.gather_into(map, parameters.weights, rows, bags, table, 1.0, out)
    np.testing.assert_array_equal(out, parameters.gather(rows, COLUMNS))
    there, here = np.zeros(m, np.float32), np.zeros(m, np.float32)
    ParameterMap.scatter_into(map, rows, bags, out, table, 1.0, there)
    map.scatter_into(rows, bags, out, table, 1.0, here)
    np.testing.assert_array_equal(here, there)


# -- the variance of inner products ----------------------------------------------------------------


def predicted_variance(x: np.ndarray, y: np.ndarray, block: int, m: int) -> float:
    groups = np.arange(x.size) // block
    apart = groups[:, None] != groups
    terms = np.outer(x**2, y**2) + np.outer(x * y, x * y)
    return float((terms * apart).sum() / m)


def structured(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n = 256
    if kind == "ones":
        return np.ones(n), np.ones(n)
    if kind == "few":
        x = np.zeros(n)
        x[[0, 1, 64, 65, 200]] = 1.0
        return x, x
    if kind == "grid":
        return np.tile([1.0, -1.0, 2.0, 0.0], n // 4), np.tile([1.0, 1.0], n // 2)
    return rng.choice([-1.0, 1.0], n), rng.standard_normal(n)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ones", "few", "grid", "random"])
@pytest.mark.parametrize("block", [1, 64])
def test_inner_products_have_the_mean_and_the_variance_of_the_theorem(kind: str, block: int) -> None:
    """Each row of a table with many rows is an independent draw of the hash functions."""
    x, y = structured(kind, np.random.default_rng(1))
    m, n = 64, 20_000
    words = np.arange(n, dtype=np.uint64)
    map, table = RobeMap(block), Table(m, x.size, 5, 0)
    runs = map.runs(words, table)
    inner = np.empty(n)
    # A sketch for each draw is slow, so places and signs are read from rows of unit weights, all at once.
    places = (np.repeat(runs.starts[:, 0], block, axis=1) + np.arange(x.size) % block) % m
    signs = unit_signs(map, words, table)
    for a, b in ((0, n // 2), (n // 2, n)):
        keys = np.arange(b - a)[:, None] * m + places[a:b]
        sx, sy = (
            np.bincount(keys.ravel(), (signs[a:b] * v).ravel(), (b - a) * m).reshape(-1, m) for v in (x, y)
        )
        inner[a:b] = (sx * sy).sum(axis=1)
    variance = predicted_variance(x, y, block, m)
    assert abs(inner.mean() - x @ y) <= 6 * math.sqrt(variance / n)
    squares = (inner - x @ y) ** 2
    assert abs(squares.mean() - variance) <= 6 * squares.std() / math.sqrt(n) + 1e-9


def unit_signs(map: ParameterMap, words: np.ndarray, table: Table) -> np.ndarray:
    """Return the sign of each entry: what is read where all parameters are 1."""
    parameters = SharedParameters.from_weights(np.ones(table.n_parameters, np.float32), map, seed=table.seed)
    return parameters.gather(words, table.n_columns)


# -- training ---------------------------------------------------------------------------------------


def test_with_room_for_all_entries_training_equals_that_of_dense_tables() -> None:
    """Logistic regression on sums of embedded ids: every step is equal, bit for bit."""
    rng = np.random.default_rng(3)
    n_rows, d = 50, 8
    rows, labels = rng.integers(0, n_rows, (200, 5)), rng.integers(0, 2, 200)
    parameters = SharedParameters(n_rows * d + 17, CyclicMap([(n_rows, d)])).initialize(0.1)
    dense = parameters.gather(np.arange(n_rows), d)
    for start in range(0, 200, 20):
        batch, y = rows[start : start + 20], labels[start : start + 20]
        for shared in (True, False):
            embedded = parameters.gather(batch, d) if shared else dense[batch]
            logits = embedded.sum(axis=(1, 2))
            gradient = np.broadcast_to((1 / (1 + np.exp(-logits)) - y)[:, None, None], embedded.shape)
            if shared:
                parameters.scatter_add(batch, -0.1 * gradient)
            else:
                np.add.at(dense, batch.ravel(), (-0.1 * gradient).reshape(-1, d).astype(np.float32))
    np.testing.assert_array_equal(parameters.gather(np.arange(n_rows), d), dense)


@pytest.mark.parametrize("m", [1, 7, 64, 100, 5000])
def test_cyclic_loads_differ_by_at_most_one(m: int) -> None:
    shapes = [(11, 6), (5, 9)]
    parameters = SharedParameters(m, CyclicMap(shapes))
    for number, (n_rows, n_columns) in enumerate(shapes):
        parameters.scatter_add(range(n_rows), np.ones((n_rows, n_columns)), table=number)
    loads = parameters.weights
    assert loads.sum() == 111 and loads.max() - loads.min() <= 1


# -- sizes, sums and kinds of rows -------------------------------------------------------------------


@every_map
def test_folding_equals_updates_of_the_smaller_array(map: ParameterMap) -> None:
    rng = np.random.default_rng(0)
    rows, gradients = rng.integers(0, 40, 30), 4 * rng.integers(-9, 9, (30, COLUMNS))
    large, small = (SharedParameters(m, map, seed=4) for m in (1200, 40))
    if isinstance(map, CyclicMap):
        with pytest.raises(ValueError, match="cannot be folded"):
            large.fold(40)
        return
    folded = large.scatter_add(rows, gradients).fold(40)
    small.scatter_add(rows, gradients)
    np.testing.assert_array_equal(folded.weights, small.weights)
    assert folded.config() == small.config() and folded.n_updates == 30
    with pytest.raises(ValueError, match="n_parameters must be a divisor of 1200"):
        large.fold(7)


def test_rows_are_numbers_and_strings_of_any_shape() -> None:
    parameters = SharedParameters(997).initialize(1.0, seed=2)
    numbers = np.array([[3, -1], [2**62, 0]])
    read = parameters.gather(numbers, 5)
    assert read.shape == (2, 2, 5)
    np.testing.assert_array_equal(read[0, 1], parameters.gather(-1, 5))
    np.testing.assert_array_equal(read, parameters.gather(numbers.tolist(), 5))
    texts = ["tea", "cake", "日本", "tea"]
    read = parameters.gather(texts, 5)
    np.testing.assert_array_equal(read, parameters.gather(np.array(texts).reshape(2, 2), 5).reshape(4, 5))
    np.testing.assert_array_equal(read, parameters.gather(hash_keys(texts, 0), 5))
    np.testing.assert_array_equal(read[0], read[3])
    assert (read[0] != read[1]).any()
    assert (parameters.gather("tea", 5, table=1) != read[0]).any()


def test_pairs_have_an_order_and_may_be_strings() -> None:
    parameters = SharedParameters(997, PairMap()).initialize(1.0)
    pairs = np.array([[[1, 2], [2, 1]], [[1, 2], [3, 4]]])
    read = parameters.gather(pairs, 6)
    assert read.shape == (2, 2, 6)
    np.testing.assert_array_equal(read[0, 0], read[1, 0])
    assert (read[0, 0] != read[0, 1]).any()
    np.testing.assert_array_equal(read[0], parameters.gather([(1, 2), (2, 1)], 6))
    texts = parameters.gather([("a", "b"), ("b", "a"), ("a", "b")], 6)
    np.testing.assert_array_equal(texts[0], texts[2])
    assert (texts[0] != texts[1]).any()
    for bad in ([1, 2, 3], 5, "ab", [[1, 2, 3]], [[1.5, 2.5]]):
        with pytest.raises((TypeError, ValueError), match=r"^rows must"):
            parameters.gather(bad, 6)


def test_consecutive_rows_are_no_arithmetic_progression() -> None:
    starts = RobeMap(8).runs(np.arange(2000, dtype=np.uint64), Table(1 << 20, 8, 0, 0)).starts.ravel()
    steps = np.diff(starts) % (1 << 20)
    # Of 1999 random steps, some two are equal by chance.
    assert np.unique(steps).size > 1980


def test_averages_are_weighted_means() -> None:
    a = SharedParameters(50).scatter_add([1], [[8.0, 4.0]])
    b = a.empty_like().scatter_add([1, 2], [[0.0, 4.0], [4.0, 0.0]])
    mean = SharedParameters.average([a, b], weights=[3, 1])
    np.testing.assert_array_equal(mean.weights, 0.75 * a.weights + 0.25 * b.weights)
    assert mean.n_updates == 3
    np.testing.assert_array_equal(SharedParameters.average([a, b]).weights, 0.5 * a.weights + 0.5 * b.weights)
    for parts, weights in (([], None), ([a], [-1.0]), ([a, b], [0, 0]), ([a, 3], None)):
        with pytest.raises((TypeError, ValueError), match=r"^(parts|weights) must"):
            SharedParameters.average(parts, weights)


def test_weights_may_be_the_callers_memory() -> None:
    weights = np.zeros(100, np.float32)
    shared = SharedParameters.from_weights(weights, RobeMap(4), copy=False)
    copied = SharedParameters.from_weights(weights, RobeMap(4))
    shared.scatter_add([1], [[1, 2, 3]])
    assert np.abs(weights).sum() == 6 and not copied.weights.any()
    with pytest.raises(ValueError, match="read-only"):
        shared.weights[0] = 1.0
    for bad in (weights[::2], np.broadcast_to(np.float32(1), 9)):
        with pytest.raises(ValueError, match=r"^weights must be an array, contiguous"):
            SharedParameters.from_weights(bad, copy=False)
    for bad in (np.zeros(3, int), np.zeros((3, 3)), np.full(3, np.nan)):
        with pytest.raises((TypeError, ValueError), match=r"^weights must"):
            SharedParameters.from_weights(bad)


def test_normal_weights_are_those_of_the_seed() -> None:
    a, b = (SharedParameters(20_000).initialize(0.5, seed=s) for s in (1, 2))
    assert a == SharedParameters(20_000).initialize(0.5, seed=1) and a != b
    assert abs(a.weights.std() - 0.5) < 6 * 0.5 / math.sqrt(2 * 20_000)


# -- matrices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("map", [RobeMap(8), TileMap(4, 24), TileMap(64, 64)], ids=str)
def test_products_equal_those_with_the_whole_matrix(map: ParameterMap) -> None:
    rng = np.random.default_rng(0)
    parameters = SharedParameters.from_weights(rng.integers(-3, 4, 700).astype(np.float32), map)
    # The second matrix is read in several parts.
    for n_rows, n_columns in ((37, 51), (700, 900)):
        W = parameters.gather(range(n_rows), n_columns, table=2, scale=2.0)
        X, Y = rng.integers(-3, 4, (2, 3, n_rows)), rng.integers(-3, 4, (2, 3, n_columns))
        shape, how = (n_rows, n_columns), {"table": 2, "scale": 2.0}
        np.testing.assert_array_equal(parameters.matmul(X, shape, **how), X @ W)
        np.testing.assert_array_equal(parameters.matmul(Y, shape, transposed=True, **how), Y @ W.T)
        found = parameters.empty_like().update_product(X, Y, **how)
        G = X.reshape(-1, n_rows).T @ Y.reshape(-1, n_columns)
        assert found == parameters.empty_like().scatter_add(range(n_rows), G, **how)


# -- refusals ---------------------------------------------------------------------------------------


def test_bad_arguments_are_refused_by_name() -> None:
    parameters = SharedParameters(100)
    cyclic = SharedParameters(100, CyclicMap([(3, 4)]))
    X = np.ones((2, 3))
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: SharedParameters(0), "n_parameters"),
        (lambda: SharedParameters(9, "robe"), "map"),  # type: ignore[arg-type]
        (lambda: SharedParameters(9, dtype="float16"), "dtype"),
        (lambda: RobeMap(0), "block"),
        (lambda: MultiHashMap(65), "n_hashes"),
        (lambda: CyclicMap([]), "shapes"),
        (lambda: CyclicMap([3]), "shapes"),  # type: ignore[list-item]
        (lambda: CyclicMap([(2**40, 2**30)]), "shapes"),
        (lambda: TileMap(0), "rows"),
        (lambda: QuotientRemainderMap(5, 6), "n_remainders"),
        (lambda: QuotientRemainderMap(5, 2, "product"), "combine"),
        (lambda: parameters.gather([1], 0), "n_columns"),
        (lambda: parameters.gather([1], 5, table=-1), "table"),
        (lambda: parameters.gather([1], 5, scale=math.inf), "scale"),
        (lambda: parameters.gather([1.5], 5), "rows"),
        (lambda: parameters.gather(np.zeros(2, "M8[s]"), 5), "rows"),
        (lambda: parameters.gather_bags([1], [0, 2], 5), "offsets"),
        (lambda: parameters.gather_bags([1, 2], [0, 2, 1, 2], 5), "offsets"),
        (lambda: parameters.gather_bags([1], [0, 1], 5, [np.nan]), "weights"),
        (lambda: parameters.scatter_add([1], [[np.inf]]), "gradients"),
        (lambda: parameters.scatter_add([1], [[1e39]]), "gradients"),
        (lambda: parameters.scatter_add([1, 2], [[1.0]]), "gradients"),
        (lambda: parameters.initialize(-1.0), "std"),
        (lambda: parameters.matmul(X, (4, 5)), "X"),
        (lambda: parameters.matmul(X, 5), "shape"),  # type: ignore[arg-type]
        (lambda: parameters.update_product(X, np.ones((3, 2))), "Y"),
        (lambda: parameters.update_product(X * 1e30, X * 1e30), "X and Y"),
        (lambda: cyclic.gather([3], 4), "rows"),
        (lambda: cyclic.gather([-1], 4), "rows"),
        (lambda: cyclic.gather(["tea"], 4), "rows"),
        (lambda: cyclic.gather([1], 5), "n_columns"),
        (lambda: cyclic.gather([1], 4, table=1), "table"),
    ]
    for call, name in calls:
        with pytest.raises((TypeError, ValueError), match=rf"^{name}\b"):
            call()
    assert not parameters.weights.any() and parameters.n_updates == 0


def test_real_gradients_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    rows, gradients = rng.integers(0, 999, 6000), rng.standard_normal((6000, 64)).astype(np.float32)
    before, found = mergesketch.get_num_threads(), []
    try:
        for n in (1, 3):
            mergesketch.set_num_threads(n)
            for map in (RobeMap(32), TileMap(8, 32)):
                found.append(SharedParameters(5000, map).scatter_add(rows, gradients).weights.copy())
    finally:
        mergesketch.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[3])


# -- sizes and rates --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ones", "few", "grid", "random"])
def test_sizes_for_an_error_cover(kind: str) -> None:
    error, confidence, n = 0.3, 0.8, 400
    x, y = structured(kind, np.random.default_rng(2))
    wrong = {}
    for share in (1, 100):
        m = SharedParameters.for_error(error, confidence, map=RobeMap(1)).n_parameters
        assert m == 112
        inner = np.empty(n)
        for row in range(n):  # each row has hash functions of its own
            sketches = [
                SharedParameters(max(1, m // share), RobeMap(1)).update(row, v).weights.astype(float)
                for v in (x, y)
            ]
            inner[row] = sketches[0] @ sketches[1]
        wrong[share] = np.mean(np.abs(inner - x @ y) >= error * np.linalg.norm(x) * np.linalg.norm(y))
    assert wrong[1] <= 1 - confidence + 6 * math.sqrt(confidence * (1 - confidence) / n)
    assert wrong[100] > 2 * (1 - confidence)  # a hundredth of the parameters does not do


def test_sizes_for_an_error_are_refused_for_other_maps() -> None:
    assert SharedParameters.for_error(0.9, 0.5, map=TileMap(16, 16)).n_parameters == 256
    for arguments in ({"map": MultiHashMap()}, {"error": 1e-7}, {"confidence": 1.0}):
        with pytest.raises(ValueError, match=rf"^{next(iter(arguments))} must"):
            SharedParameters.for_error(**{"error": 0.1, **arguments})  # type: ignore[arg-type]


def test_the_gradient_scaler_is_one_over_the_squared_scales() -> None:
    shapes, scales, m = [(9, COLUMNS), (5, 8)], [2.0, -0.5], 97
    for map in (RobeMap(16), TileMap(4, 24), CyclicMap(shapes)):
        parameters = SharedParameters(m, map, seed=3)
        loads = np.zeros(m)
        for number, (n_rows, n_columns) in enumerate(shapes):
            key = naive.keys(3, 0 if isinstance(map, CyclicMap) else number, 1)
            for row, i in itertools.product(range(n_rows), range(n_columns)):
                if isinstance(map, CyclicMap):
                    found = naive.cyclic(row, i, m, (0, 9 * COLUMNS)[number], n_columns, key[0])
                elif isinstance(map, TileMap):
                    found = naive.tile(row, i, m, 4, 24, key[0])
                else:
                    found = naive.robe(row, i, m, 16, key)
                for at, coefficient in found:
                    loads[at] += (scales[number] * coefficient) ** 2
        np.testing.assert_array_equal(parameters.gradient_scaler(shapes, scales), 1 / loads)
    assert (SharedParameters(10**5).gradient_scaler([(2, 2)]) == 1.0).all()


def test_with_the_gradient_scaler_descent_is_stable_at_the_rates_of_dense_tables() -> None:
    """Quadratic losses 0.5 (entry - target)**2, whose descent is stable up to a rate of 2."""
    shapes, rate = [(40, 10), (20, 5)], 1.9
    parameters = SharedParameters(50, CyclicMap(shapes))
    scales = [3.0, 0.5]
    targets = [np.random.default_rng(1).standard_normal(shape) for shape in shapes]

    def norm_after(steps: int, scaler: np.ndarray) -> float:
        w = SharedParameters.from_weights(parameters.weights, parameters.map)
        for _ in range(steps):
            gradient = w.empty_like()
            for number, (n_rows, n_columns) in enumerate(shapes):
                how = {"table": number, "scale": scales[number]}
                entries = w.gather(range(n_rows), n_columns, **how)
                gradient.scatter_add(range(n_rows), entries - targets[number], **how)
            moved = w.weights - rate * scaler * gradient.weights
            w = SharedParameters.from_weights(moved.astype(np.float32), w.map)
        return float(np.abs(w.weights).max())

    assert norm_after(100, parameters.gradient_scaler(shapes, scales)) < 2.0
    assert norm_after(4, np.ones(50)) > 1e6
