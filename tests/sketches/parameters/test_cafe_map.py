"""Rows with places of their own: the naive twin, and how rows enter and leave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import CafeMap, HeavyHitters, RobeMap, SharedParameters, TopK
from mergesketch.errors import IncompatibleSketchError
from mergesketch.sketches.parameters.cafe_map import with_important
from naive import shared_parameters as naive

D = 12
IDS = st.sampled_from([0, 1, 2, 3, 5, 8, -1, 2**63, 2**64 - 2])


@settings(max_examples=30)
@given(st.integers(0, 2**64 - 1), st.sets(IDS, max_size=4), st.integers(1, 20), st.integers(0, 40))
def test_equals_its_naive_twin(seed: int, frequent: set[int], block: int, spare: int) -> None:
    words = sorted({row % 2**64 for row in frequent})
    map = CafeMap(4, D, block, sorted(frequent))
    assert map.frequent == tuple(words)
    rows = [0, 1, 2, 3, 4, 5, 2**64 - 1, 5]
    m = 4 * D + min(block, D) + spare
    key = naive.keys(seed, 0, 1)[0]
    A = naive.matrix(lambda row, i: naive.cafe(row, i, m, (words, 4, D, block), key), rows, D, m)
    gradients = np.random.default_rng(seed).integers(-9, 9, (len(rows), D))
    parameters = SharedParameters(m, map, seed=seed).scatter_add(np.array(rows, np.uint64), gradients)
    np.testing.assert_array_equal(parameters.weights, np.tensordot(gradients, A, 2))
    read = parameters.gather(np.array(rows, np.uint64), D)
    np.testing.assert_array_equal(read, A @ parameters.weights)
    # Reading and adding are transposes of each other.
    assert (read * gradients).sum() == parameters.weights @ parameters.weights


@settings(max_examples=50)
@given(
    st.dictionaries(st.integers(0, 9), st.integers(0, 20).map(float), max_size=8),
    st.sets(st.integers(0, 9), max_size=3),
    st.sampled_from([0.0, 0.25, 1.0]),
)
def test_the_most_important_rows_are_chosen(
    importance: dict[int, float], frequent: set[int], margin: float
) -> None:
    found = with_important(CafeMap(3, D, frequent=sorted(frequent)), importance, margin)
    assert set(found.frequent) == naive.chosen(importance, frequent, 3, margin)


def adapted(parameters: SharedParameters, rows: list, **how: float) -> SharedParameters:
    return parameters.adapt([(row, 10.0 - i) for i, row in enumerate(rows)], **how)


def test_no_row_changes_when_it_enters_and_only_those_that_leave_do() -> None:
    rows = list(range(50))
    one = SharedParameters(300, CafeMap(6, D, 8), seed=3).initialize(1.0)
    before, weights = one.gather(rows, D), one.weights.copy()
    two = adapted(one, [7, 3, 40, 11])
    np.testing.assert_array_equal(two.gather(rows, D), before)
    np.testing.assert_array_equal(one.weights, weights)
    # A row of its own learns alone.
    two.scatter_add([7], np.ones((1, D)))
    after = two.gather(rows, D)
    changed = np.flatnonzero((after != before).any(axis=1))
    np.testing.assert_array_equal(changed, [7])
    # 7 and 3 leave, and are read from their hashed places again; the others stay, wherever they lie now.
    three = adapted(two, [40, 11, 20, 21, 22, 23], margin=0.0)
    assert set(three.map.frequent) == {40, 11, 20, 21, 22, 23}
    np.testing.assert_array_equal(three.gather(rows, D), before)
    assert three.n_updates == two.n_updates == 1


def test_rows_of_about_the_same_importance_do_not_replace_each_other() -> None:
    parameters = adapted(SharedParameters(100, CafeMap(2, D)), ["a", "b"])
    again = parameters.adapt([("a", 8), ("b", 8), ("c", 9.9)])
    assert again.map == parameters.map
    assert again.adapt([("a", 8), ("b", 7), ("c", 9.9)]).map != parameters.map
    assert parameters.adapt([]).map == parameters.map
    # Without a margin the choice does not depend on what was chosen before.
    ties = [(row, 5) for row in "abcd"]
    others = adapted(parameters, ["c", "d"], margin=0.0)
    assert others.adapt(ties, margin=0.0).map == parameters.adapt(ties, margin=0.0).map
    assert parameters.adapt([], margin=0.0).map.frequent == ()


@pytest.mark.parametrize("counts", [TopK(3), HeavyHitters(0.01)], ids=["TopK", "HeavyHitters"])
def test_workers_that_adapt_to_merged_counts_are_averaged(counts: TopK | HeavyHitters) -> None:
    rng = np.random.default_rng(0)
    start = SharedParameters(200, CafeMap(3, D, 4)).initialize(1.0)
    common = np.repeat(["x", "y", "z"], [90, 80, 70])
    workers, sketches = [], []
    for which in range(2):
        texts = [f"{which}/{number}" for number in rng.integers(0, 1000, 100)]
        sketches.append(counts.empty_like().update([*common[which::2], *texts]))
        own = start.adapt(sketches[-1].top(1 + which), margin=0.0)
        workers.append(own.scatter_add(texts, rng.integers(-3, 4, (100, D))))
    with pytest.raises(IncompatibleSketchError, match="frequent"):
        workers[0].merge(workers[1])
    merged = (sketches[0] | sketches[1]).top(3)
    workers = [worker.adapt(merged, margin=0.0) for worker in workers]
    mean = SharedParameters.average(workers, [3, 1])
    read = [part.gather(["x", "y", "z"], D) for part in (*workers, mean)]
    np.testing.assert_allclose(read[2], 0.75 * read[0] + 0.25 * read[1], rtol=0, atol=1e-6)
    assert len(mean.map.frequent) == 3
    assert SharedParameters.from_bytes(mean.to_bytes()) == mean


def test_a_frequent_row_is_learned_exactly_beside_many_others() -> None:
    """Zipf counts are added up: the error of a frequent row is 0, and hashed alone it is not."""
    counts = np.floor(1000 / np.arange(1, 2001)) + 1
    ids, gradients = np.arange(2000), np.tile(counts[:, None], D)
    map = CafeMap(20, D, frequent=range(20))
    mine = SharedParameters(500, map).scatter_add(ids, gradients).gather(ids[:20], D)
    np.testing.assert_array_equal(mine, gradients[:20])
    hashed = SharedParameters(500, RobeMap(D)).scatter_add(ids, gradients).gather(ids[:20], D)
    assert (hashed != gradients[:20]).all(axis=1).any()


def test_refusals() -> None:
    for arguments, message in (
        ((0, 4), "n_frequent must"),
        ((2, 0), "n_columns must"),
        ((2, 4, 0), "block must"),
        ((2, 4, 4, [1, 2, 3]), "frequent must have at most n_frequent = 2"),
        ((2, 4, 4, ["a"]), "frequent must be integers"),
        ((2, 4, 4, [1.5]), "frequent must"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{message}"):
            CafeMap(*arguments)
    parameters = SharedParameters(100, CafeMap(2, D, 4))
    with pytest.raises(ValueError, match=r"^n_columns must be 12"):
        parameters.gather([1], 4)
    with pytest.raises(ValueError, match=r"^table must be 0"):
        parameters.gather([1], D, table=1)
    with pytest.raises(ValueError, match=r"^n_parameters must be at least 28"):
        SharedParameters(27, CafeMap(2, D, 4)).gather([1], D)
    assert SharedParameters(28, CafeMap(2, D, 4)).gather([1], D).shape == (1, D)
    with pytest.raises(ValueError, match="cannot be folded"):
        parameters.fold(50)
    with pytest.raises(ValueError, match=r"^map must be a CafeMap"):
        SharedParameters(100).adapt([])
    odd: list[Any] = [[(1, "3")], {(1, 2): 3}, [((1, 2), 1.0)], [([1], 1.0)], [(1, 1j)], [(1, 10**400)]]
    for importance in ([(1, -1.0)], [(1, np.nan)], [(1, 2), (1, 3)], [1, 2], [(1, "a")], [(1.5, 2)], 3, *odd):
        with pytest.raises((TypeError, ValueError), match=r"importance"):
            parameters.adapt(importance)
    with pytest.raises((TypeError, ValueError), match=r"^margin must"):
        parameters.adapt([(1, 1)], margin=-0.5)
