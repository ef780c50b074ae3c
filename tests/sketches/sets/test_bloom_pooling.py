"""Test group testing: designs within their caps, decoders against enumeration and their guarantees."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mergesketch import BloomPooling
from mergesketch.errors import SaturationWarning
from mergesketch.sketches.sets.pool_decoders import errors_explain
from naive import bloom_pooling as naive
from scipy import sparse


@st.composite
def designs(draw, most=60):
    n = draw(st.integers(1, most))
    n_tests = draw(st.integers(1, 30))
    return {
        "n_samples": n,
        "n_tests": n_tests,
        "prevalence": draw(st.floats(0.001, 0.6)),
        "seed": draw(st.integers(0, 2**64 - 1)),
        "max_pool_size": draw(st.none() | st.integers(-(-n // n_tests), n)),
        "max_pools_per_sample": draw(st.none() | st.integers(1, 5)),
    }


# -- designs --------------------------------------------------------------------------------------


@given(designs())
def test_designs_keep_to_their_caps(options):
    pooling = BloomPooling(**options)
    design = pooling.design
    assert design.shape == (options["n_tests"], options["n_samples"])
    pools = pooling.pools
    assert all((np.diff(pool) > 0).all() for pool in pools)
    in_pools = np.bincount(np.concatenate(pools), minlength=options["n_samples"])
    assert (in_pools == pooling.pools_per_sample).all()
    assert max(map(len, pools)) <= (options["max_pool_size"] or options["n_samples"])
    assert pooling.pools_per_sample <= (options["max_pools_per_sample"] or options["n_tests"])
    np.testing.assert_array_equal(design.toarray(), BloomPooling(**options).design.toarray())


@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 8))
def test_partitions_deal_the_samples_evenly(n, n_tests, k):
    assume(k <= n_tests)
    sizes = [len(pool) for pool in BloomPooling(n, n_tests, pools_per_sample=k).pools]
    edges = np.arange(k + 1) * n_tests // k
    for first, last in pairwise(edges):
        part = sizes[first:last]
        assert sum(part) == n and max(part) - min(part) <= 1


def test_half_of_the_pools_are_positive_by_default():
    pooling = BloomPooling(10_000, 1000, prevalence=0.01)
    share = [1 - 0.99 ** len(pool) for pool in pooling.pools]
    assert 0.4 < np.mean(share) < 0.6


# -- decoders -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(designs(), st.data())
def test_decoders_of_clean_tests_keep_their_guarantees(options, data):
    pooling = BloomPooling(**options)
    n = pooling.n_samples
    truth = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    outcomes = pooling.outcomes(truth)
    assert outcomes.tolist() == [bool(truth[pool].any()) for pool in pooling.pools]
    found = {method: pooling.decode(outcomes, method).infected for method in ("comp", "dd", "scomp")}
    pools = pooling.pools
    assert set(np.flatnonzero(found["comp"])) == naive.comp(pools, outcomes, n)
    assert set(np.flatnonzero(found["dd"])) == naive.definite(pools, outcomes, n)
    assert (found["comp"] >= truth).all()  # no positive sample is missed
    assert (found["dd"] <= truth).all()  # no negative sample is called positive
    assert (found["dd"] <= found["scomp"]).all() and (found["scomp"] <= found["comp"]).all()
    # scomp's set explains all outcomes.
    assert pooling.outcomes(found["scomp"]).tolist() == outcomes.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        belief = pooling.decode(outcomes)
    assert ((belief.posterior >= 0) & (belief.posterior <= 1)).all()
    assert (belief.infected <= found["comp"]).all()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 12), st.integers(1, 6), st.floats(0.01, 0.5), st.floats(0, 0.3), st.floats(0, 0.3),
    st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 99),
)  # fmt: skip
def test_beliefs_are_exact_where_pools_are_disjoint(n, n_tests, prevalence, fp, fn, read, seed):
    """Each sample is in one pool, so there are no loops."""
    rng = np.random.default_rng(seed)
    prior = np.clip(prevalence * rng.uniform(0.2, 1.8, n), 0.001, 0.999)
    pooling = BloomPooling(
        n,
        n_tests,
        prevalence=prior,
        pools_per_sample=1,
        false_positive_rate=fp,
        false_negative_rate=fn,
        seed=seed,
    )
    outcomes = np.array(read[:n_tests])
    pools = pooling.pools
    full = [t for t in range(n_tests) if pools[t].size]
    if fp == fn == 0 and outcomes.sum() > outcomes[full].sum():
        with pytest.raises(ValueError, match="outcomes must not contradict"):
            pooling.decode(outcomes)
        return
    decoded = pooling.decode(outcomes)
    assert decoded.converged
    # The outcome of an empty pool says nothing about the samples.
    exact = naive.pool_posterior([pools[t] for t in full], outcomes[full], prior, fp, fn)
    np.testing.assert_allclose(decoded.posterior, exact, atol=1e-5)


def test_beliefs_are_exact_on_a_chain():
    """Pools {0, 1}, {1, 2}, {2, 3} have no loops, and messages travel over several pools."""
    pooling = BloomPooling(
        4, 3, prevalence=[0.1, 0.2, 0.05, 0.3], false_positive_rate=0.02, false_negative_rate=0.1
    )

    rows = [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    pooling.__dict__["design"] = sparse.csr_array(np.array(rows, dtype=np.bool_))
    for outcomes in ([True, True, False], [False, True, True], [True, False, True], [False] * 3, [True] * 3):
        exact = naive.pool_posterior(pooling.pools, outcomes, pooling.prevalence, 0.02, 0.1)
        np.testing.assert_allclose(pooling.decode(outcomes).posterior, exact, atol=1e-5)


@pytest.mark.slow
def test_beliefs_are_near_the_truth_in_designs_with_loops():
    """Enumeration of all 2**14 sets gives the same calls, except where the posterior is near one half."""
    rng = np.random.default_rng(1)
    errors = []
    for seed in range(12):
        pooling = BloomPooling(
            14,
            8,
            prevalence=0.1,
            pools_per_sample=2,
            seed=seed,
            false_positive_rate=0.01,
            false_negative_rate=0.02,
        )
        outcomes = pooling.outcomes(rng.random(14) < 0.1, seed=seed)
        exact = np.array(naive.pool_posterior(pooling.pools, outcomes, pooling.prevalence, 0.01, 0.02))
        decoded = pooling.decode(outcomes)
        clear = np.abs(exact - 0.5) > 0.25
        assert (decoded.infected[clear] == (exact[clear] > 0.5)).all()
        errors.append(np.abs(decoded.posterior - exact).mean())
    assert np.mean(errors) < 0.02


def area_under_roc(truth, score) -> float:
    """Return the probability that a positive sample scores above a negative one; ties count half."""
    positive, negative = score[truth], score[~truth]
    wins = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    return float(wins)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "tests", "size", "expected"), [(200, 60, 10, 0.9998), (96, 24, 12, 0.9983)])
def test_beliefs_separate_as_well_as_published_prototypes(n, tests, size, expected):
    """2 % prevalence, 0.1 % errors, 400 rounds: within 6 standard errors of the prototype's area."""
    rng = np.random.default_rng(7)
    truths, scores, areas = [], [], []
    for seed in range(400):
        pooling = BloomPooling(
            n, tests, prevalence=0.02, max_pool_size=size, seed=seed,
            false_positive_rate=0.001, false_negative_rate=0.001,
        )  # fmt: skip
        truth = rng.random(n) < 0.02
        posterior = pooling.decode(pooling.outcomes(truth, seed=seed)).posterior
        truths.append(truth)
        scores.append(posterior)
        if truth.any():
            areas.append(area_under_roc(truth, posterior))
    area = area_under_roc(np.concatenate(truths), np.concatenate(scores))
    error = np.std(areas) / math.sqrt(len(areas))
    assert area >= expected - 6 * error


@pytest.mark.slow
def test_sure_posteriors_are_as_true_as_they_say_where_tests_are_enough():
    """30 tests for 100 samples at 2 %: sums over rounds are within 6 standard errors. Fewer: see the page."""
    rng, beyond = np.random.default_rng(3), []
    for seed in range(200):
        pooling = BloomPooling(
            384, 115, prevalence=0.02, seed=seed, false_positive_rate=0.01, false_negative_rate=0.01
        )
        truth = rng.random(384) < 0.02
        posterior = pooling.decode(pooling.outcomes(truth, seed=seed)).posterior
        sure = posterior >= 0.9
        beyond.append([sure.sum(), (posterior[sure] - truth[sure]).sum()])
    called, wrong = np.array(beyond).T
    assert called.sum() > 0.9 * 0.02 * 384 * 200
    assert abs(wrong.sum()) < 6 * math.sqrt(np.square(wrong).sum())


def test_ten_thousand_samples():
    rng = np.random.default_rng(2)
    pooling = BloomPooling(10_000, 1500, prevalence=0.01, false_positive_rate=0.01, false_negative_rate=0.01)
    truth = rng.random(10_000) < 0.01
    decoded = pooling.decode(pooling.outcomes(truth))
    assert decoded.converged
    assert area_under_roc(truth, decoded.posterior) > 0.99


# -- inconclusive tests, and outcomes that nothing explains ---------------------------------------


def test_positive_pools_that_no_sample_explains_are_reported():
    """30 of 96 samples are positive, and so are all 24 pools; the samples were said to be 2 % positive."""
    truth = np.isin(np.arange(96), np.random.default_rng(0).choice(96, 30, replace=False))
    for error in (0.0, 0.01):
        pooling = BloomPooling(
            96, 24, prevalence=0.02, max_pool_size=12, false_positive_rate=error, false_negative_rate=error
        )
        outcomes = (pooling.design.astype(int) @ truth) > 0
        assert outcomes.all()
        with pytest.warns(
            SaturationWarning, match="24 of 24 positive pools have no sample .* 24 tests"
        ) as told:
            decoded = pooling.decode(outcomes)
        assert told[0].filename == __file__
        assert decoded.unexplained.tolist() == list(range(24)) and not decoded.infected.any()
        # These find a set that explains all outcomes, and warn of nothing.
        for method in ("comp", "scomp"):
            assert quietly(pooling.decode, outcomes, method).unexplained.size == 0


def quietly(call, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("error", SaturationWarning)
        return call(*args, **kwargs)


def test_single_false_positives_are_explained_by_test_errors():
    pooling = BloomPooling(96, 24, prevalence=0.02, false_positive_rate=0.02, false_negative_rate=0.02)
    outcomes = np.zeros(24, dtype=bool)
    outcomes[5] = True
    decoded = quietly(pooling.decode, outcomes)
    assert decoded.unexplained.tolist() == [5] and not decoded.infected.any()
    assert quietly(pooling.decode, np.zeros(24, dtype=bool)).unexplained.size == 0
    # The method dd leaves pools unexplained on purpose.
    clean = BloomPooling(4, 2, pools_per_sample=1)
    assert quietly(clean.decode, [True, False], "dd").unexplained.tolist() == [0]


@given(st.integers(0, 30), st.integers(0, 30), st.floats(0.0, 0.9))
def test_test_errors_explain_what_is_not_too_rare(n_wrong, n_more, rate):
    chance = naive.chance_of_errors(n_wrong, n_wrong + n_more, rate)
    assume(not math.isclose(chance, 1e-3, rel_tol=1e-6))
    assert errors_explain(n_wrong, n_wrong + n_more, rate) == (chance >= 1e-3)


@settings(deadline=None, max_examples=60)
@given(designs(12), st.data(), st.floats(0.01, 0.3), st.sampled_from([0.0, 0.02]))
def test_inconclusive_tests_and_second_rounds_decode_as_their_pools_do(options, data, prevalence, error):
    """Every decoder gets the pools of both rounds without the inconclusive ones."""
    pooling = BloomPooling(
        **{**options, "prevalence": prevalence}, false_positive_rate=error, false_negative_rate=error
    )
    n, n_tests = pooling.n_samples, pooling.n_tests
    truth = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    second = data.draw(st.lists(st.lists(st.integers(0, n - 1), max_size=4, unique=True), max_size=4))
    pools = [*pooling.pools, *second]
    outcomes = np.array([float(any(truth[i] for i in pool)) for pool in pools])
    outcomes[data.draw(st.lists(st.integers(0, len(pools) - 1), max_size=5))] = np.nan
    known = np.flatnonzero(~np.isnan(outcomes))
    left, answers = [pools[t] for t in known], outcomes[known] == 1
    before = outcomes.copy()
    for method in ("comp", "dd", "scomp", "belief_propagation"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SaturationWarning)
            decoded = pooling.decode(
                outcomes[:n_tests], method, second_pools=second, second_outcomes=outcomes[n_tests:]
            )
        found = set(np.flatnonzero(decoded.infected).tolist())
        if method in ("comp", "dd"):
            assert found == {"comp": naive.comp, "dd": naive.definite}[method](left, answers, n)
        assert decoded.unexplained.tolist() == [
            t
            for t, pool, answer in zip(known, left, answers, strict=True)
            if answer and not found & set(pool)
        ]
    np.testing.assert_array_equal(outcomes, before)
    twin = BloomPooling(n, max(1, known.size), prevalence=prevalence)
    twin.false_positive_rate = twin.false_negative_rate = error
    rows = [[i in pool for i in range(n)] for pool in map(set, left)] or [[False] * n]
    twin.__dict__["design"] = sparse.csr_array(np.array(rows, dtype=np.bool_))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        same = twin.decode(answers if known.size else [False])
    np.testing.assert_allclose(decoded.posterior, same.posterior, atol=1e-6)


def test_beliefs_of_two_rounds_are_exact_on_a_chain():
    """The pool {1, 2} of the second round joins {0, 1} and {2, 3}; a lost test leaves what the others say."""
    pooling = BloomPooling(
        4, 2, prevalence=[0.1, 0.2, 0.05, 0.3], pools_per_sample=1,
        false_positive_rate=0.02, false_negative_rate=0.1,
    )  # fmt: skip
    rows = [[1, 1, 0, 0], [0, 0, 1, 1]]
    pooling.__dict__["design"] = sparse.csr_array(np.array(rows, dtype=np.bool_))
    for outcomes in ([1, 1, 0], [0, 1, 1], [1, 0, 1], [np.nan, 1, 1], [1, 1, np.nan], [np.nan] * 3):
        known = [t for t in range(3) if outcomes[t] == outcomes[t]]
        pools = [[0, 1], [2, 3], [2, 1]]
        exact = naive.pool_posterior(
            [pools[t] for t in known], [outcomes[t] for t in known], pooling.prevalence, 0.02, 0.1
        )
        found = pooling.decode(outcomes[:2], second_pools=[[2, 1]], second_outcomes=outcomes[2:])
        np.testing.assert_allclose(found.posterior, exact, atol=1e-5)


def test_a_second_round_finds_more():
    """20 tests of 96 samples at 2 %, and 10 more: fewer wrong samples in a round, by 6 standard errors."""
    rng, gains = np.random.default_rng(5), []
    for seed in range(150):
        pooling = BloomPooling(
            96, 20, prevalence=0.02, seed=seed, false_positive_rate=0.01, false_negative_rate=0.01
        )
        truth = rng.random(96) < 0.02
        outcomes = pooling.outcomes(truth, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SaturationWarning)
            first = pooling.decode(outcomes)
            pools = pooling.suggest_pools(first.posterior, 10)
            answers = [bool(truth[pool].any()) for pool in pools]
            both = pooling.decode(outcomes, second_pools=pools, second_outcomes=answers)
        gains.append((truth != first.infected).sum() - (truth != both.infected).sum())
    assert np.mean(gains) > 6 * np.std(gains) / math.sqrt(len(gains))


# -- second rounds --------------------------------------------------------------------------------


def test_second_rounds_ask_about_the_doubtful():
    pooling = BloomPooling(20, 5, prevalence=0.1, max_pool_size=6)
    posterior = np.zeros(20)
    posterior[[3, 4]] = 0.5, 0.45
    posterior[8:13] = 0.1
    posterior[19] = 1.0
    pools = pooling.suggest_pools(posterior, 10)
    assert [pool.tolist() for pool in pools] == [[3], [4, 8], [9, 10, 11, 12]]
    assert [pool.tolist() for pool in pooling.suggest_pools(posterior, 1)] == [[3]]
    assert max(map(len, pooling.suggest_pools(posterior, 10, max_pool_size=2))) == 2
    assert pooling.suggest_pools(np.zeros(20), 4) == []


def test_nulls_of_columns_are_inconclusive_tests():
    pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    pooling = BloomPooling(40, 16, pools_per_sample=2, false_positive_rate=0.05)
    outcomes = [None, *pooling.outcomes(np.arange(40) == 7).tolist()[1:]]
    wanted = pooling.decode(np.array(outcomes, dtype=np.float64)).posterior
    for column in (pd.Series(outcomes, dtype="boolean"), pl.Series(outcomes), pa.array(outcomes)):
        np.testing.assert_array_equal(pooling.decode(column).posterior, wanted)
    pools, answers = [[7], [8]], pd.Series([True, None], dtype="boolean")
    found = pooling.decode(pd.Series(outcomes, dtype="boolean"), second_pools=pools, second_outcomes=answers)
    assert np.flatnonzero(found.infected).tolist() == [7]


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("n_samples must be", {"n_samples": 0}),
        ("n_tests must be", {"n_tests": 0}),
        (r"prevalence must lie in \(0, 1\)", {"prevalence": 0.0}),
        (r"prevalence must lie in \(0, 1\)", {"prevalence": 1.0}),
        (r"prevalence must lie in \(0, 1\)", {"prevalence": float("nan")}),
        ("prevalence must be a number or an array", {"prevalence": [0.1, 0.2]}),
        ("pools_per_sample must be", {"pools_per_sample": 9}),
        ("max_pool_size must be at least 3", {"max_pool_size": 2}),
        ("max_pools_per_sample must be", {"max_pools_per_sample": 0}),
        ("false_positive_rate must be", {"false_positive_rate": -0.1}),
        ("false_negative_rate must be less than 1", {"false_negative_rate": 1.0}),
        ("must sum to less than 1", {"false_positive_rate": 0.6, "false_negative_rate": 0.4}),
        ("seed must be", {"seed": -1}),
    ],
)
def test_bad_options_are_refused_by_name(message, options):
    with pytest.raises(ValueError, match=message):
        BloomPooling(**{"n_samples": 20, "n_tests": 8, **options})


def test_bad_outcomes_are_refused_by_name():
    pooling = BloomPooling(20, 8, pools_per_sample=2)
    with pytest.raises(ValueError, match="outcomes must be 8 booleans"):
        pooling.decode([True])
    with pytest.raises(ValueError, match="outcomes must be 8 booleans"):
        pooling.decode(np.full(8, 0.5))
    with pytest.raises(TypeError, match="outcomes must be 8 booleans, or NaN"):
        pooling.decode([None] * 8)
    second = {"second_pools": [[1, 2], [3]], "second_outcomes": [True, False]}
    for message, wrong in (
        (r"second_outcomes must be 2 booleans, .* got shape \(1,\)", {"second_outcomes": [True]}),
        (r"second_outcomes must be 0 booleans, .* got shape \(2,\)", {"second_pools": []}),
        (r"second_pools\[1\] must lie in \[0, 20\), got 20", {"second_pools": [[1], [20]]}),
        (r"second_pools\[0\] must lie in \[0, 20\), got -1", {"second_pools": [[-1], [2]]}),
        (r"second_pools\[0\] must have every sample once, got 4 again", {"second_pools": [[4, 3, 4], [2]]}),
        (r"second_pools\[0\] must be integers, got dtype float64", {"second_pools": [[1.0], [2]]}),
        (r"second_pools\[0\] must be integers, got bool", {"second_pools": [[True], [2]]}),
        (r"second_pools\[0\] must be a one-dimensional", {"second_pools": [3, 4]}),
        ("second_pools must be a list of arrays", {"second_pools": 3}),
        ("second_pools must be a list of arrays", {"second_pools": pooling.design}),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            pooling.decode([False] * 8, **{**second, **wrong})
    with pytest.raises(ValueError, match="method must be one of"):
        pooling.decode([False] * 8, "guess")
    with pytest.raises(ValueError, match="infected must be 20 booleans"):
        pooling.outcomes([True] * 3)
    with pytest.raises(ValueError, match="posterior must be 20 numbers"):
        pooling.suggest_pools(np.full(20, 1.5), 3)
    # All pools of the first partition are negative, one of the second is positive: no sample explains it.
    for method in ("comp", "dd", "scomp", "belief_propagation"):
        with pytest.raises(ValueError, match=r"outcomes must not contradict .* pool 4"):
            pooling.decode([False] * 4 + [True] + [False] * 3, method)
