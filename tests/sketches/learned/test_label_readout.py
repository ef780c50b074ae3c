"""Test hashed labels: the naive twin, the bound on buckets that are read, and unbiased estimates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import get_num_threads, hash_keys, set_num_threads
from mergesketch.lsh.support.random import random_uint64
from mergesketch.sketches.learned.label_buckets import (
    buckets_of_labels,
    confused_labels,
    size_for,
)
from mergesketch.sketches.learned.label_readout import label_estimates, label_lists, top_estimates
from naive import label_hash as naive


def draw(seed: int, n: int, R: int, B: int, L: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of buckets, and buckets of labels."""
    rng = np.random.default_rng(seed)
    probabilities = {
        "even": lambda: rng.random((n, R, B)),
        "peaked": lambda: rng.random((n, R, B)) ** 20,
        "tied": lambda: rng.integers(0, 3, (n, R, B)) / 4.0,
        "one": lambda: np.eye(B)[rng.integers(0, B, (n, R))],
        "zero": lambda: np.zeros((n, R, B)),
    }[kind]()
    return probabilities, rng.integers(0, B, (R, L)).astype(np.uint16)


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 4),
    st.integers(1, 5),
    st.integers(2, 70),
    st.sampled_from([1, 3, 40, 1024, 2500]),
    st.sampled_from(["even", "peaked", "tied", "one", "zero"]),
    st.sampled_from(["mean", "min"]),
    st.data(),
)
def test_the_read_out_is_the_naive_one(seed, n, R, B, L, kind, readout, data) -> None:
    probabilities, buckets = draw(seed, n, R, B, L, kind)
    k = data.draw(st.integers(1, min(L, 12)))
    numbers, estimates = top_estimates(probabilities, buckets, k, readout=readout)
    every = label_estimates(probabilities, buckets, readout)
    assert every.shape == (n, L) and numbers.shape == estimates.shape == (n, k)
    for i in range(n):
        wanted = naive.top_labels(probabilities[i], buckets, k, readout)
        assert numbers[i].tolist() == [label for label, _ in wanted]
        if readout == "min":
            assert estimates[i].tolist() == [value for _, value in wanted]
        np.testing.assert_array_equal(estimates[i], every[i, numbers[i]])
        for label in numbers[i, :3] if readout == "mean" else ():
            direct = naive.estimate(probabilities[i], buckets[:, label].tolist())
            assert every[i, label] == pytest.approx(direct, rel=1e-12, abs=1e-12)
    # The search through lists of labels returns the same, to the bit.
    lists = label_lists(buckets, B)
    listed = top_estimates(probabilities, buckets, k, lists, readout=readout)
    np.testing.assert_array_equal(listed[0], numbers)
    np.testing.assert_array_equal(listed[1], estimates)


def test_lists_have_the_labels_of_each_bucket() -> None:
    _, buckets = draw(0, 0, 3, 7, 50, "even")
    starts, members, places = label_lists(buckets, 7)
    np.testing.assert_array_equal(places, buckets.T)
    for r in range(3):
        for b in range(7):
            assert members[r, starts[r, b] : starts[r, b + 1]].tolist() == naive.labels_of(buckets, r, b)


@pytest.mark.parametrize("readout", ["mean", "min"])
@pytest.mark.parametrize("n_probes", [1, 2, 5])
def test_few_buckets_give_the_best_of_their_labels(n_probes: int, readout: str) -> None:
    R, B, L, k = 3, 60, 3000, 4
    probabilities, buckets = draw(n_probes, 6, R, B, L, "peaked")
    numbers, _ = top_estimates(probabilities, buckets, k, label_lists(buckets, B), n_probes, readout)
    for values, found in zip(probabilities, numbers, strict=True):
        best = [np.argsort(-row, kind="stable")[:n_probes] for row in values]
        inside = [j for j in range(L) if any(buckets[r, j] in best[r] for r in range(R))]
        wanted = naive.top_labels(values, buckets[:, inside], k, readout)
        assert found.tolist() == [inside[j] for j, _ in wanted]


def test_more_buckets_are_read_where_labels_lack() -> None:
    buckets = np.repeat(np.arange(64, dtype=np.uint16), 1)[None]
    probabilities = np.random.default_rng(0).random((5, 1, 64))
    numbers, _ = top_estimates(probabilities, buckets, 10, label_lists(buckets, 64), 2)
    np.testing.assert_array_equal(numbers, np.argsort(-probabilities[:, 0], axis=1)[:, :10])


def test_threads_change_nothing() -> None:
    probabilities, buckets = draw(3, 200, 4, 64, 5000, "even")
    lists, before = label_lists(buckets, 64), get_num_threads()
    found = []
    try:
        for n_threads in (1, 3):
            set_num_threads(n_threads)
            found.append(
                [
                    *top_estimates(probabilities, buckets, 5),
                    *top_estimates(probabilities, buckets, 5, lists, 3),
                    label_estimates(probabilities, buckets),
                ]
            )
    finally:
        set_num_threads(before)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


# -- hash functions -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_buckets", [2, 3, 1000, 65536])
def test_buckets_are_those_of_the_naive_hash(n_buckets: int) -> None:
    labels = np.array(["tea", "cake", "", "milk" * 50])
    words = random_uint64(7, "LabelHash buckets", 15).reshape(5, 3)
    found = buckets_of_labels(labels, 5, n_buckets, 7)
    assert found.dtype == np.uint16
    for j, key in enumerate(hash_keys(labels.tolist(), 7).tolist()):
        assert found[:, j].tolist() == [naive.bucket(key, row, n_buckets) for row in words]


def test_buckets_stay_the_same_for_ever() -> None:
    """Models of other machines and versions merge, so the numbers here must never change."""
    assert buckets_of_labels(np.arange(6), 2, 1000, 0).tolist() == STABLE


def test_one_label_has_one_bucket_in_every_dtype() -> None:
    wanted = buckets_of_labels(np.array([0, 1]), 4, 50, 3)
    for labels in (
        np.array([0, 1], np.uint8),
        np.array([0.0, 1.0]),
        np.array([False, True]),
        np.array([0, 1], object),
        np.array([0.0, True], object),
        np.array([0, 1], ">i4"),
    ):
        np.testing.assert_array_equal(buckets_of_labels(labels, 4, 50, 3), wanted)
    texts = buckets_of_labels(np.array(["0", "1"]), 4, 50, 3)
    np.testing.assert_array_equal(buckets_of_labels(np.array(["0", "1"], object), 4, 50, 3), texts)
    assert not np.array_equal(texts, wanted)
    with pytest.raises(ValueError, match="y must hold integers or strings"):
        buckets_of_labels(np.array([0.5]), 4, 50, 3)


@pytest.mark.parametrize(
    "labels", [np.arange(40), np.arange(40) * 2**32, np.array([f"{i:040}" for i in range(40)])]
)
def test_two_labels_share_a_bucket_with_probability_one_in_b(labels: np.ndarray) -> None:
    """Pairs of many seeds: their number of shared buckets has the mean and variance of pairwise tests."""
    R, B, seeds = 64, 10, 60
    shared = np.array(
        [
            np.mean([(row[:, None] == row).sum() - row.size for row in buckets_of_labels(labels, R, B, seed)])
            for seed in range(seeds)
        ]
    )
    n_pairs = labels.size * (labels.size - 1)
    # Each unordered pair counts twice; pairs of a hash function are uncorrelated.
    error = math.sqrt(2 * n_pairs * (1 / B) * (1 - 1 / B) / (R * seeds))
    assert abs(shared.mean() - n_pairs / B) < 6 * error


DISTRIBUTIONS = {
    "one-hot": np.eye(50)[0],
    "two": np.r_[0.6, 0.4, np.zeros(48)],
    "even": np.full(50, 0.02),
    "zipf": 1.0 / np.arange(1, 51) / (1.0 / np.arange(1, 51)).sum(),
    "several labels": np.r_[0.9, 0.8, 0.5, np.full(47, 0.01)],
    "grid": np.repeat([0.0, 0.05, 0.05, 0.04, 0.06], 10) / 2.0,
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_estimates_are_unbiased_and_keep_their_variance(name: str) -> None:
    """True probabilities of buckets give, over hash functions, the true probabilities of labels."""
    truth, R, B, seeds = DISTRIBUTIONS[name], 4, 8, 2000
    found = np.empty((seeds, truth.size))
    for first in range(0, seeds, 50):  # many hash functions of one seed, four by four
        every = buckets_of_labels(np.arange(truth.size), 50 * R, B, first)
        for i, buckets in enumerate(every.reshape(50, R, -1)):
            probabilities = np.stack([np.bincount(row, truth, B) for row in buckets])[None]
            found[first + i] = label_estimates(probabilities, buckets)[0]
    others = (truth**2).sum() - truth**2
    variance = others / (R * (B - 1))
    errors = np.abs(found.mean(axis=0) - truth)
    assert (errors <= 6 * np.sqrt(variance / seeds) + 1e-12).all()
    # A sample variance of n values has a standard error of sqrt((kurtosis - 1) / n) of it.
    centred = found - truth
    fourth = (centred**4).mean(axis=0)
    error = np.sqrt(np.maximum(fourth - variance**2, 0.0) / seeds)
    assert (np.abs((centred**2).mean(axis=0) - variance) <= 6 * error + 1e-12).all()
    assert (variance <= (truth.sum() - truth) ** 2 / (R * (B - 1)) + 1e-15).all()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_minima_are_never_too_low(name: str) -> None:
    """Check labels that a row has independently, too: a bucket has at least the probability of each label."""
    truth = DISTRIBUTIONS[name]
    for seed in range(50):
        buckets = buckets_of_labels(np.arange(truth.size), 3, 8, seed)
        sums = np.stack([np.bincount(row, truth, 8) for row in buckets])
        either = 1.0 - np.array([[np.prod(1.0 - truth[row == b]) for b in range(8)] for row in buckets])
        for probabilities in (sums, either):
            found = label_estimates(probabilities[None], buckets, "min")[0]
            assert (found >= truth - 1e-12).all()
            assert (found <= probabilities.max() + 1e-12).all()


def test_labels_that_share_all_buckets_are_counted() -> None:
    buckets = np.array([[1, 2, 1, 3, 2, 1], [5, 5, 5, 0, 6, 5]], np.uint16)
    assert confused_labels(buckets) == 3
    assert confused_labels(buckets[:, :1]) == 0


def test_the_probability_of_confusion_bounds_the_share_of_seeds() -> None:
    n_labels, R, B, seeds = 60, 2, 64, 400
    confused = sum(
        confused_labels(buckets_of_labels(np.arange(n_labels), R, B, seed)) > 0 for seed in range(seeds)
    )
    bound = naive.confusion_probability(n_labels, R, B)
    assert bound == pytest.approx(60 * 59 / 2 / 64**2)
    # At least one of N rare pairs: 1 - exp(-bound) for pairs that are nearly independent.
    expected = 1 - math.exp(-bound)
    assert abs(confused / seeds - expected) < 6 * math.sqrt(expected * (1 - expected) / seeds)


@pytest.mark.parametrize("n_labels", [1, 2, 3, 100, 7058, 10**6])
@pytest.mark.parametrize("error", [1.0, 0.2, 0.05])
def test_sizes_are_the_smallest_that_suffice(n_labels: int, error: float) -> None:
    R, B = size_for(n_labels, 0.99, error)
    assert naive.confusion_probability(n_labels, R, B) <= 0.01 * (1 + 1e-9)
    assert 1 / math.sqrt(R * (B - 1)) <= error * (1 + 1e-9)
    assert naive.smallest_size(n_labels, 0.99, error, 16, 600) == R * B
    # The formula of the paper suffices.
    paper = math.ceil(2 * math.log(max(n_labels, 2) / math.sqrt(0.01)) / math.log(B))
    assert naive.confusion_probability(n_labels, paper, B) <= 0.01
    assert size_for(n_labels, 0.99, error, n_repetitions=R) == (R, B)
    assert size_for(n_labels, 0.99, error, n_buckets=B)[0] <= R


def test_sizes_that_are_impossible_are_refused() -> None:
    with pytest.raises(ValueError, match="standard_error must be larger"):
        size_for(10, 0.99, 1e-5)
    with pytest.raises(ValueError, match="1 repetitions of 16 buckets do not suffice"):
        size_for(1000, 0.99, 0.5, 1, 16)


STABLE = [[388, 763, 975, 469, 185, 230], [906, 187, 267, 759, 35, 307]]
