"""Draws of a sampler: the naive twin, exact probabilities, unbiased sums, and what draws depend on."""

from __future__ import annotations

import copy
import pickle
import threading
from fractions import Fraction
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LSHIndex, LSHSampler
from mergesketch.errors import FullBucketsWarning
from mergesketch.lsh import InnerProduct, LearnedProjection, PStable, SignedRandomProjection
from mergesketch.sketches.neighbours import lsh_sampler as module
from naive import lsh_sampler as naive
from naive.index import kept_by
from structured_rows import MAKERS

pytestmark = pytest.mark.filterwarnings("ignore::mergesketch.errors.FullBucketsWarning")
D = 8


def rows_of(n: int, d: int = D, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def index_of(X: np.ndarray, n_hashes: int = 6, power: int = 3, **options: Any) -> LSHIndex:
    ids = options.pop("ids", None)
    seed = options.pop("family_seed", 1)
    family = SignedRandomProjection(X.shape[1], n_hashes, power=power, seed=seed)
    return LSHIndex(family, **options).update(X, ids)


# -- the twin -------------------------------------------------------------------------------------


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    wide = draw(st.booleans())
    largest = 2**63 - 2 if wide else 2**32 - 2
    some = st.integers(0, 12) | st.sampled_from([largest, largest - 1, 500])
    ids = draw(st.lists(some, max_size=12, unique=True))
    return {
        "ids": ids,
        "wide": wide,
        "capacity": draw(st.sampled_from([1, 2, 64])),
        "n_probes": draw(st.sampled_from([1, 1, 3])),
        "uniform": draw(st.sampled_from([0.0, 0.25, 1.0])),
        "exclude": draw(
            st.none() | st.lists(st.lists(some | st.just(-1), min_size=2, max_size=2), min_size=3, max_size=3)
        ),
        "weights": draw(st.none() | st.just([draw(st.floats(1e-3, 9.0)) for _ in ids])),
        "seed": draw(st.integers(0, 2**64 - 1)),
        "step": draw(st.integers(0, 2**64 - 1) | st.just(0)),
        "n": draw(st.sampled_from([1, 3, 40])),
    }


@pytest.mark.slow
@given(situations())
@settings(max_examples=80, deadline=None)
def test_draws_and_probabilities_equal_the_naive_twin(case: dict[str, Any]) -> None:
    ids, n = case["ids"], case["n"]
    X = rows_of(len(ids), 4, seed=case["seed"] % 1000)
    family = SignedRandomProjection(4, 3, power=2, seed=5)
    index = LSHIndex(family, capacity=case["capacity"], wide_ids=case["wide"]).update(X, ids)
    options = {name: case[name] for name in ("uniform", "n_probes", "weights", "seed")}
    sampler = LSHSampler(index, ids=np.array(ids, np.uint64), **options)
    integers = np.diff(sampler._weight_ends, prepend=0).tolist() if case["weights"] else [1] * len(ids)
    Q, exclude = rows_of(3, 4, seed=1), case["exclude"]
    found, probabilities = sampler.sample(Q, n, exclude=exclude, step=case["step"])
    kept = kept_by(index, family.hash(X), ids)
    codes = family.probe(Q, case["n_probes"])
    for i in range(3):
        left_out = set() if exclude is None else set(exclude[i])
        places = [(t, int(c)) for t in range(3) for c in codes[i, t]]
        buckets = [[j for j in kept.get(place, []) if j not in left_out] for place in places]
        others = {j: w for j, w in zip(sorted(ids), integers, strict=True) if j not in left_out}
        drawn = naive.draws(buckets, others, case["uniform"], n, case["seed"], case["step"], i)
        assert found[i].tolist() == drawn + [-1] * (n - len(drawn))
        one = naive.one_draw(buckets, others, Fraction(case["uniform"])) if others else {}
        among = {j: float(1 - (1 - q) ** n) for j, q in one.items()}
        expected = [among[j] for j in drawn] + [1.0] * (n - len(drawn))
        np.testing.assert_allclose(probabilities[i], expected, rtol=1e-12)
        asked = [*ids, *left_out, 7, 499, -1, 7]
        expected = [1.0 if j == -1 else among.get(j, 0.0) for j in asked]
        here = sampler.probabilities(Q, asked, n, exclude=exclude)[i]
        np.testing.assert_allclose(here, expected, rtol=1e-12, atol=1e-15)


def test_probabilities_of_one_draw_add_up_to_one() -> None:
    X = rows_of(300)
    index = index_of(X, capacity=16)
    for uniform, n_probes in ((0.0, 1), (0.3, 4)):
        sampler = LSHSampler(index, uniform=uniform, n_probes=n_probes, ids=np.arange(300))
        exclude = np.column_stack([np.arange(20), np.full(20, -1)])
        for left_out in (None, exclude):
            q = sampler.probabilities(X[:20], np.arange(300), exclude=left_out)
            np.testing.assert_allclose(q.sum(axis=1), 1.0, rtol=1e-12)
            assert (q.min() > 0.0) == (uniform > 0.0 and left_out is None)


# -- frequencies and sums -------------------------------------------------------------------------


def test_draws_from_all_ids_are_in_proportion_to_weights() -> None:
    X, weights = rows_of(50), np.random.default_rng(0).zipf(1.5, 50).astype(float)
    weights[3] = 1e-300
    order = np.random.default_rng(1).permutation(50)
    index = index_of(X)
    sampler = LSHSampler(index, uniform=0.25, ids=order, weights=weights[order])
    plain = LSHSampler(index, uniform=0.0).probabilities(X[:3], np.arange(50))
    expected = 0.75 * plain + 0.25 * weights / weights.sum()
    np.testing.assert_allclose(sampler.probabilities(X[:3], np.arange(50)), expected, rtol=1e-12, atol=1e-15)
    # Without the ids that are excluded, shares are those of the others.
    found = sampler.probabilities(X[:1], np.arange(50), exclude=[[int(np.argmax(weights)), 9]])[0]
    np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-12)
    sampler.update(X[:1], [70], weights=[1e6]).remove([0, 1])
    assert sampler.probabilities(X[:1], [70])[0, 0] > 0.25 and len(sampler) == 49
    sampler.update(X[:2], [0, 1], weights=weights[:2]).remove([70])
    np.testing.assert_allclose(sampler.probabilities(X[:3], np.arange(50)), expected, rtol=1e-12, atol=1e-15)
    with pytest.raises(ValueError, match="weights must be given for a sampler that was made with weights"):
        sampler.update(X[:1], [71])
    for wrong in ([0.0], [-1.0], [np.nan], [1.0, 2.0]):
        with pytest.raises(ValueError, match="weights must"):
            sampler.update(X[:1], [71], weights=wrong)
    assert len(sampler) == len(index.ordered_ids()) == 50
    with pytest.raises(ValueError, match="X must"):
        sampler.update(X[:1, :3], [71], weights=[1.0])
    assert len(sampler) == 50
    sampler.remove(np.arange(50)).update(X[:1], [4], weights=[2.0])
    assert sampler.sample(X[:1], 2).ids.tolist() == [[4, -1]]
    with pytest.raises(ValueError, match="ids must be given for weights"):
        LSHSampler(index, weights=weights)
    for unweighted in (LSHSampler(index), LSHSampler(index, ids=[4])):
        with pytest.raises(ValueError, match="weights must be None for a sampler that was made without"):
            unweighted.update(X[:1], [71], weights=[1.0])


@pytest.mark.parametrize("name", [*MAKERS, "normal"])
def test_frequencies_are_the_probabilities_and_sums_are_unbiased(name: str) -> None:
    X = MAKERS[name](60, D, 3) if name in MAKERS else rows_of(60)
    # Buckets overflow, and rows are dropped from all tables.
    index = index_of(X, capacity=4)
    weights = np.random.default_rng(1).zipf(1.5, 60)
    sampler = LSHSampler(index, uniform=0.2, ids=np.arange(60), weights=weights, seed=4)
    n_calls, n, f = 3000, 8, np.random.default_rng(0).exponential(size=60)
    for exclude in (None, np.full((n_calls, 1), 5)):
        ids, p = sampler.sample(np.repeat(X[:1], n_calls, axis=0), n, exclude=exclude)
        counts = np.bincount(ids[ids >= 0], minlength=60)
        expected = sampler.probabilities(X[:1], np.arange(60), n, exclude=None if exclude is None else [5])[0]
        error = np.sqrt(n_calls * expected * (1.0 - expected))
        assert (np.abs(counts - n_calls * expected) <= 6.0 * error).all()
        totals = np.where(ids >= 0, f[ids] / p, 0.0).sum(axis=1)
        truth = f.sum() - (0.0 if exclude is None else f[5])
        assert abs(totals.mean() - truth) < 6.0 * totals.std() / np.sqrt(n_calls)
        assert (np.sort(ids, axis=1)[:, 1:] != np.sort(ids, axis=1)[:, :-1])[ids.min(axis=1) >= 0].all()


def test_shared_samples_unite_those_of_the_rows_with_their_probabilities() -> None:
    X, n_calls, counts, totals = rows_of(80), 1500, np.zeros(80), np.zeros(1500)
    sampler = LSHSampler(index_of(X), uniform=0.3, seed=2)
    for step in range(n_calls):
        ids, p = sampler.sample_shared(X[:4], 5)
        if step < 5:
            rows = sampler.sample(X[:4], 5, step=step).ids
            assert ids.tolist() == np.unique(rows[rows >= 0]).tolist()
        counts[ids] += 1
        totals[step] = (ids / p).sum()
    expected = 1.0 - (1.0 - sampler.probabilities(X[:4], np.arange(80), 5)).prod(axis=0)
    np.testing.assert_allclose(p, expected[ids], rtol=1e-12)
    error = np.sqrt(expected * (1.0 - expected) / n_calls)
    assert (np.abs(counts / n_calls - expected) <= 6.0 * error).all()
    assert abs(totals.mean() - np.arange(80).sum()) < 6.0 * totals.std() / np.sqrt(n_calls)
    ids, p = sampler.sample_shared(X[:0], 5)
    assert ids.shape == p.shape == (0,) and ids.dtype == np.int64


def test_near_ids_are_drawn_more_often() -> None:
    X = rows_of(400)
    sampler = LSHSampler(index_of(X, 20, 5), uniform=0.1)
    q = sampler.probabilities(X[:50], np.arange(400))
    own = q[np.arange(50), np.arange(50)]
    assert (own > 20 * np.median(q, axis=1)).all()


# -- what draws depend on -------------------------------------------------------------------------


def test_draws_depend_on_the_step_and_the_row_alone() -> None:
    X = rows_of(500)
    sampler = LSHSampler(index_of(X), seed=9)
    whole = sampler.sample(X[:90], 12)
    assert sampler.step == 1
    other = sampler.sample(X[:90], 12)
    assert sampler.step == 2 and not np.array_equal(whole.ids, other.ids)
    for threads in (1, 2, 3):
        before = mergesketch.get_num_threads()
        mergesketch.set_num_threads(threads)
        try:
            again = sampler.sample(X[:90], 12, step=0)
        finally:
            mergesketch.set_num_threads(before)
        np.testing.assert_array_equal(again.ids, whole.ids)
        np.testing.assert_array_equal(again.probabilities, whole.probabilities)
    parts = [
        sampler.sample(X[a:b], 12, step=0, first_row=a) for a, b in ((0, 1), (1, 50), (50, 50), (50, 90))
    ]
    np.testing.assert_array_equal(np.vstack([part.ids for part in parts]), whole.ids)
    assert sampler.step == 2
    sampler.step = 1
    np.testing.assert_array_equal(sampler.sample(X[:90], 12).ids, other.ids)
    assert not np.array_equal(LSHSampler(sampler.index, seed=8).sample(X[:90], 12).ids, whole.ids)
    sampler.step = 2**64 - 1
    sampler.sample(X[:2], 3)
    assert sampler.step == 0


@pytest.mark.parametrize("capacity", [3, 64])
def test_merged_indexes_give_the_draws_of_the_whole(capacity: int) -> None:
    X, ids = rows_of(300), np.arange(300)
    whole = LSHSampler(index_of(X, capacity=capacity), ids=ids)
    expected = whole.sample(X[:40], 20)
    family = whole.index.family
    parts = [LSHIndex(family, capacity=capacity) for _ in range(3)]
    for number, part in enumerate(parts):
        part.update(X[number::3][::-1], ids[number::3][::-1])
    shuffled = np.random.default_rng(0).permutation(300)
    for index in (
        parts[2] | parts[0] | parts[1],
        LSHIndex(family, capacity=capacity).update(X[shuffled], shuffled),
        mergesketch.from_bytes(whole.index.to_bytes()),
        whole.index.copy(),
    ):
        found = LSHSampler(index, ids=ids).sample(X[:40], 20)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)


@pytest.mark.slow
def test_copies_and_pickles_continue() -> None:
    X = rows_of(80)
    sampler = LSHSampler(index_of(X, capacity=2), ids=np.arange(90), uniform=0.3, n_probes=2, seed=3)
    sampler.sample(X, 5)
    others = [pickle.loads(pickle.dumps(sampler)), copy.deepcopy(sampler), copy.copy(sampler)]
    expected = sampler.sample(X, 5)
    for other in others:
        assert repr(other).startswith("LSHSampler(<LSHIndex(") and repr(other).endswith("seed=3): step 1")
        np.testing.assert_array_equal(other.sample(X, 5).ids, expected.ids)
    assert copy.copy(sampler).index is sampler.index


def test_samples_beside_changes_are_those_before_or_after_one() -> None:
    X = rows_of(200)
    there, ids = [X, -X], np.arange(200)
    expected = [LSHSampler(index_of(Y), seed=1).sample(X[:20], 10, step=7) for Y in there]
    sampler, wrong, stop = LSHSampler(index_of(X), seed=1), [], threading.Event()

    def ask() -> None:
        ended = False
        while not ended:
            ended = stop.is_set()  # each thread asks at least once
            found = sampler.sample(X[:20], 10, step=7)
            wrong.append(not any(np.array_equal(found.ids, one.ids) for one in expected))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(1, 60):
        sampler.replace(ids, there[turn % 2])
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong and not any(wrong)


# -- changes of the rows --------------------------------------------------------------------------


def test_replaced_rows_are_those_of_a_new_index() -> None:
    X, Y = rows_of(100), rows_of(100, seed=2)
    sampler = LSHSampler(index_of(X), seed=1)
    sampler.sample(X[:3], 4)
    ids = np.arange(10, 90, 4)
    assert sampler.replace(ids, Y[ids], old=X[ids]) is sampler
    X[ids] = Y[ids]
    assert sampler.remove([3, 4], X[[3, 4]]).update(Y[:2], [3, 200]) is sampler
    new = LSHIndex(sampler.index.family).update(np.delete(X, [3, 4], 0), np.delete(np.arange(100), [3, 4]))
    new.update(Y[:2], [3, 200])
    assert len(sampler) == 100 and sampler.ids.tolist() == [*range(4), *range(5, 100), 200]
    expected = LSHSampler(new, seed=1).sample(Y[:30], 25, step=5)
    found = sampler.sample(Y[:30], 25, step=5)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


def test_no_ids_are_drawn_where_there_are_none() -> None:
    X = rows_of(5)
    sampler = LSHSampler(LSHIndex(SignedRandomProjection(D, 4, power=2)))
    for left_out in (None, [[0, 1]] * 5):
        found = sampler.sample(X, 3, exclude=left_out)
        assert (found.ids == -1).all() and (found.probabilities == 1.0).all()
    assert (sampler.probabilities(X, [0, 3]) == 0.0).all() and len(sampler) == 0
    sampler.update(X)
    # All but one id are excluded, and then all.
    found = sampler.sample(X, 50, exclude=np.tile([0, 1, 2, 4], (5, 1)))
    np.testing.assert_array_equal(found.ids, np.tile([3] + [-1] * 49, (5, 1)))
    np.testing.assert_allclose(found.probabilities, 1.0, rtol=1e-12)
    assert (sampler.sample(X, 50, exclude=np.tile(np.arange(5), (5, 1))).ids == -1).all()
    sampler.remove(np.arange(5))
    assert (sampler.sample(X, 3).ids == -1).all() and (sampler.probabilities(X, [0, 3]) == 0.0).all()
    assert sampler.sample(X[:0], 3).ids.shape == (0, 3)
    sampler.update(X[:1], [2**32 - 2])
    assert set(sampler.sample(X, 9).ids.reshape(-1).tolist()) == {2**32 - 2, -1}


def test_queries_with_empty_buckets_draw_from_all_ids() -> None:
    index = LSHIndex(PStable(1, 3, width=0.5, n_buckets=1 << 16, seed=1)).update([[0.0], [1.0], [50.0]])
    sampler = LSHSampler(index, uniform=0.0)
    np.testing.assert_allclose(sampler.probabilities([[1e6]], [0, 1, 2, 3])[0], [1 / 3, 1 / 3, 1 / 3, 0.0])
    assert set(sampler.sample([[1e6]], 40).ids[0].tolist()) == {0, 1, 2, -1}


def test_ids_that_full_buckets_have_dropped_must_be_given() -> None:
    X = np.ones((40, D))
    with pytest.warns(FullBucketsWarning):
        index = index_of(X, capacity=2)
    sampler = LSHSampler(index)
    with pytest.raises(
        ValueError, match="ids must be given, because full buckets have dropped rows from all"
    ):
        sampler.sample(X[:1], 4)
    assert sampler.step == 0
    given = LSHSampler(index, ids=np.arange(40)[::-1])
    q = given.probabilities(X[:1], np.arange(40))[0]
    np.testing.assert_allclose(q.sum(), 1.0)
    assert q.min() == 0.5 / 40
    dropped = int(np.argmin(q))
    # Ids that no table has can be removed, replaced and excluded.
    given.replace([dropped], -X[:1])
    assert given.probabilities(-X[:1], [dropped])[0, 0] > 0.5
    given.remove([dropped])
    assert given.probabilities(X[:1], [dropped])[0, 0] == 0.0 and len(given) == 39
    with pytest.raises(ValueError, match="ids must be those of ids of the sampler, got 77"):
        given.remove([77])
    with pytest.raises(ValueError, match="ids must be those of ids of the sampler"):
        given.replace([dropped], X[:1])
    with pytest.raises(ValueError, match="ids must be given for a sampler that was made with ids"):
        given.update(X[:1])
    assert len(given.remove([77], missing="ignore").update(X[:1], [100])) == 40
    # Changes that bypass the sampler are noticed.
    index.update(-X[:1], [55])
    with pytest.raises(ValueError, match="ids must contain all ids of the index"):
        given.sample(X[:1], 4)
    with pytest.raises(ValueError, match="ids must contain all ids of the index, got 1 ids"):
        LSHSampler(index, ids=[3])


def test_an_id_that_was_added_twice_counts_twice() -> None:
    X = rows_of(3)
    sampler = LSHSampler(index_of(X, ids=[4, 5, 4]), uniform=0.5)
    assert sampler.ids.tolist() == [4, 5]
    np.testing.assert_allclose(sampler.probabilities(X, [4, 5]).sum(axis=1), 1.0)


def test_asymmetric_families_hash_queries_as_queries() -> None:
    X = rows_of(50)
    index = LSHIndex(InnerProduct(D, 8, power=2, max_norm=10.0)).update(X)
    sampler = LSHSampler(index, uniform=0.0)
    codes, slots = index.family.hash_query(X[:1]), index.buckets()[0]
    there = {int(i) - 1 for t in range(8) for i in slots[t, codes[0, t]] if i}
    assert there and set(np.flatnonzero(sampler.probabilities(X[:1], np.arange(50))[0]).tolist()) == there


# -- all ids of the buckets -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MAKERS, "normal"])
def test_retrieved_ids_have_their_probabilities_over_hash_functions(name: str) -> None:
    X = MAKERS[name](30, D, 3) if name in MAKERS else rows_of(30)
    n_seeds, counts = 300, np.zeros(30)
    for seed in range(n_seeds):
        # Fewer buckets than codes add chance collisions.
        family = SignedRandomProjection(D, 3, power=5, n_buckets=16, seed=seed)
        ids, p = LSHSampler(LSHIndex(family).update(X)).retrieve(X[:1], X)
        counts[ids[0]] += 1
        kernel = family.kernel(X[:1], X[ids[0]])[0]
        np.testing.assert_allclose(p[0], 1 - (1 - (kernel + (1 - kernel) / 16)) ** 3, rtol=1e-9)
    kernel = family.kernel(X[:1], X)[0]
    expected = 1 - (1 - (kernel + (1 - kernel) / 16)) ** 3
    error = np.sqrt(expected * np.maximum(1 - expected, 0.0) / n_seeds)
    assert (np.abs(counts / n_seeds - expected) <= 6.0 * error + 1e-9).all()


@pytest.mark.parametrize("name", ["repeated", "grid", "normal"])
def test_weights_of_retrieved_ids_are_unbiased_where_buckets_overflow(name: str) -> None:
    X = MAKERS[name](30, D, 3) if name in MAKERS else rows_of(30)
    n_seeds, weights = 500, np.zeros((500, 30))
    for seed in range(n_seeds):
        family = SignedRandomProjection(D, 3, power=3, seed=seed)
        index = LSHIndex(family, capacity=3, seed=seed).update(X)
        ids, p = LSHSampler(index).retrieve(X[:1], X)
        weights[seed, ids[0]] = 1.0 / p[0]
    assert index.overflow > 0.1
    # A row that is never found has weights of 0, and no standard error that covers 1.
    found = weights.any(axis=0)
    error = weights.std(axis=0) / np.sqrt(n_seeds)
    assert (
        found.mean() > 0.5 and (np.abs(weights.mean(axis=0) - 1.0)[found] < 6.0 * error[found] + 1e-9).all()
    )


def test_retrieved_ids_have_their_probabilities_over_priorities() -> None:
    X, counts, n_seeds = MAKERS["repeated"](40, D, 3), np.zeros(40), 400
    family = SignedRandomProjection(D, 3, power=3, seed=2)
    whole = LSHSampler(LSHIndex(family, capacity=64).update(X)).retrieve(X[:1], X)
    over_hashes = dict(zip(whole.ids[0].tolist(), whole.probabilities[0].tolist(), strict=True))
    expected = np.zeros(40)
    for seed in range(n_seeds):
        index = LSHIndex(family, capacity=4, seed=seed).update(X)
        # Buckets that have dropped ids, and from which some are removed, stay fair.
        index.remove([0, 1], X[:2])
        ids, p = LSHSampler(index).retrieve(X[:1], X)
        counts[ids[0]] += 1.0 / p[0] * [over_hashes[i] for i in ids[0].tolist()]
        expected[ids[0]] = 1.0
    # A mean of weights of 1 / q, q at least 2 / 40, has a variance below 20.
    assert (np.abs(counts / n_seeds - expected)[expected > 0] < 6.0 * np.sqrt(20.0 / n_seeds)).all()


def test_retrieved_ids_of_sets_and_sparse_rows() -> None:
    import scipy.sparse

    X = MAKERS["few entries"](30, D, 3)
    index = index_of(X, 5, 2)
    expected = LSHSampler(index).retrieve(X[:4], X)
    found = LSHSampler(index).retrieve(scipy.sparse.csr_array(X[:4]), scipy.sparse.csr_array(X))
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-12)
    sets = [np.flatnonzero(row) for row in X]
    family = mergesketch.MinHash(4, n_buckets=64, scheme="permutations")
    ids, p = LSHSampler(LSHIndex(family, capacity=4).update(sets)).retrieve(sets[:2], sets)
    assert (ids[:, 0] >= 0).all() and ((p > 0) & (p <= 1)).all()


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_buckets", [None, 7])
def test_given_hash_functions_have_no_probabilities_over_them(n_buckets: int | None) -> None:
    W = rows_of(100)
    family = LearnedProjection(rows_of(40, seed=2), power=4, n_buckets=n_buckets)
    sampler = LSHSampler(LSHIndex(family, capacity=64).update(W), seed=1)
    with pytest.raises(TypeError, match=r"family must draw its hash functions at random .* LearnedProj"):
        sampler.retrieve(W[:2], W)
    with pytest.raises(TypeError, match="LearnedProjection has no collision probability"):
        sampler.index.distance_estimate([1])
    # Probabilities over the draws are exact.
    np.testing.assert_allclose(sampler.probabilities(W[:5], np.arange(100)).sum(axis=1), 1.0)
    if n_buckets is None:
        found = sampler.index.query(W[:1], k=20)
        kernel = family.kernel(W[:1], W[found.ids[0]])[0]
        np.testing.assert_allclose(sampler.index.kernel_estimate(found.counts)[0], kernel)


def test_replace_adds_ids_if_it_is_asked_to() -> None:
    X, Y = rows_of(20), rows_of(3, seed=2)
    for options in ({}, {"ids": np.arange(20)}):
        sampler = LSHSampler(index_of(X), **options)
        before = sampler.index.to_bytes()
        with pytest.raises(ValueError, match=r"ids must be those of .* got 30; pass missing to accept"):
            sampler.replace([2, 30], Y[:2])
        with pytest.raises(ValueError, match="missing must be one of"):
            sampler.replace([2, 30], Y[:2], missing="ignore")
        with pytest.raises(ValueError, match="X must have 8 columns"):
            sampler.replace([2, 30], Y[:2, :5], missing="add")
        assert sampler.index.to_bytes() == before and sampler.ids.tolist() == list(range(20))
        sampler.replace([2, 30], Y[:2], missing="add")
        assert sampler.ids.tolist() == [*range(20), 30]
        new = LSHIndex(sampler.index.family).update(
            np.vstack([X[:2], Y[:1], X[3:], Y[1:2]]), [*range(20), 30]
        )
        expected = LSHSampler(new).probabilities(Y, [2, 30])
        np.testing.assert_allclose(sampler.probabilities(Y, [2, 30]), expected, rtol=1e-12)
    weighted = LSHSampler(index_of(X), ids=np.arange(20), weights=np.arange(1.0, 21.0))
    with pytest.raises(ValueError, match="because it has weights, got 1 others; add them by update"):
        weighted.replace([2, 30], Y[:2], missing="add")
    assert len(weighted) == 20 and len(weighted.replace([2], Y[:1], missing="add")) == 20


def test_wrong_arguments_are_refused_and_change_nothing() -> None:
    X = rows_of(20)
    sampler = LSHSampler(index_of(X))
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, "n must be an integer from 1", {"n": 0}),
        (TypeError, "n must be an integer", {"n": True}),
        (ValueError, "Q must have 8 columns", {"Q": X[:, :3]}),
        (ValueError, "Q must be finite", {"Q": np.full((2, D), np.nan)}),
        (
            ValueError,
            r"exclude must have shape \(2,\) or \(2, m\) for 2 rows, got \(3,\)",
            {"exclude": [1, 2, 3]},
        ),
        (TypeError, "exclude must be integers, got dtype float64", {"exclude": [1.0, 2.0]}),
        (TypeError, "exclude must be integers, got bool", {"exclude": [True, 1]}),
        (ValueError, "exclude must be ids from 0 to .*, got -2", {"exclude": [-2, 1]}),
        (ValueError, "step must be an integer from 0", {"step": -1}),
        (TypeError, "first_row must be", {"first_row": 1.5}),
    ]
    for kind, message, changed in wrong:
        with pytest.raises(kind, match=message):
            sampler.sample(**{"Q": X[:2], "n": 3, **changed})
    assert sampler.step == 0
    with pytest.raises(ValueError, match=r"ids must have shape \(m,\) or \(2, m\)"):
        sampler.probabilities(X[:2], [[1], [2], [3]])
    with pytest.raises(ValueError, match="step must be"):
        sampler.step = 2**64
    with pytest.raises(AttributeError):
        sampler.uniform = 0.3  # type: ignore[misc]
    for arguments, message in (
        ({"uniform": 1.5}, "uniform"),
        ({"n_probes": 0}, "n_probes"),
        ({"seed": -1}, "seed"),
    ):
        with pytest.raises(ValueError, match=message):
            LSHSampler(sampler.index, **arguments)
    with pytest.raises(TypeError, match="index must be an LSHIndex, got ndarray"):
        LSHSampler(X)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ids must be distinct"):
        LSHSampler(sampler.index, ids=[*range(20), 3])
    with pytest.raises(ValueError, match="rows must have a row for each id found, got 5 rows and id"):
        sampler.retrieve(X[:9], X[:5])
    with pytest.raises(ValueError, match="n_probes must be 1"):
        LSHSampler(sampler.index, n_probes=2).retrieve(X[:2], X)
    copies = LSHIndex(mergesketch.MinHash(4, n_buckets=64, scheme="one-permutation"))
    with pytest.raises(ValueError, match="family must have independent tables"):
        LSHSampler(copies).retrieve([[1]], [[1]])


def test_arguments_are_not_changed_and_not_kept() -> None:
    X, ids = rows_of(20), np.arange(20)
    exclude = np.array([[5, 3], [7, -1]])
    before = exclude.copy()
    sampler = LSHSampler(index_of(X), ids=ids)
    expected = sampler.sample(X[:2], 9, exclude=exclude, step=0).ids
    np.testing.assert_array_equal(exclude, before)
    ids[:] = 0
    np.testing.assert_array_equal(sampler.sample(X[:2], 9, exclude=exclude, step=0).ids, expected)
    assert module.LSHSampler is LSHSampler
