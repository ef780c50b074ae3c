"""Test sizes chosen by an allowed error: each meets its theorem, and no smaller one would."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mergesketch import (
    BloomFilter,
    BloomSignatures,
    CountMinSketch,
    CountSketch,
    HeavyHitters,
    MinHashSketch,
    Race,
    RepresenterSketch,
    SharedParameters,
    TopK,
)
from mergesketch.lsh import MinHash, SignedRandomProjection

FAMILY = SignedRandomProjection(4, n_hashes=2, power=2, seed=3)


def test_minhash_similarities_err_by_no_more_than_allowed() -> None:
    """The share of pairs beyond the error must not exceed the bound of Chebyshev's inequality."""
    error, confidence, n_pairs = 0.1, 0.8, 400
    shared, own = 3000, 1500  # similarity 1/2, of the largest variance, in sets of many more tokens than bins
    rng = np.random.default_rng(0)
    sketch = MinHashSketch.for_error(error, confidence, n_sets=2, seed=5)
    assert sketch.n_hashes == 125 == round(0.25 / (1 - confidence) / error**2)
    beyond = 0
    for _ in range(n_pairs):
        tokens = rng.integers(0, 2**63, shared + 2 * own)
        pair = sketch.empty_like().update(tokens[: shared + own], sets=0).update(tokens[own:], sets=1)
        beyond += abs(pair.jaccard(0, 1)[0] - shared / (shared + 2 * own)) > error
    # Six standard errors of the measured share are added.
    assert beyond / n_pairs < 1 - confidence + 6 * np.sqrt(0.2 * 0.8 / n_pairs)


def test_neighbourhoods_err_by_no_more_than_allowed() -> None:
    degree, n_nodes, confidence, relative_error = 60, 500, 0.8, 0.1
    signatures = BloomSignatures.for_error(
        n_nodes + 20_000, relative_error, degree, confidence, directed=True, seed=7
    )
    rng = np.random.default_rng(1)
    targets = np.concatenate([rng.choice(20_000, degree, replace=False) for _ in range(n_nodes)]) + n_nodes
    signatures.update(np.column_stack([np.repeat(np.arange(n_nodes), degree), targets]))
    beyond = np.abs(signatures.cardinality(np.arange(n_nodes)) - degree) > relative_error * degree
    assert beyond.mean() < 1 - confidence + 6 * np.sqrt(0.2 * 0.8 / n_nodes)


@pytest.mark.parametrize(
    ("relative_error", "degree", "confidence"), [(0.1, 100, 0.95), (0.3, 5, 0.5), (0.01, 9, 0.9)]
)
def test_signatures_are_the_smallest(relative_error: float, degree: int, confidence: float) -> None:
    n_bits = BloomSignatures.for_error(9, relative_error, degree, confidence).n_bits
    allowed = (1 - confidence) * (relative_error * degree) ** 2

    def variance(m: int) -> float:
        return m * (np.exp(degree / m) - degree / m - 1)

    assert variance(n_bits) <= allowed * (1 + 1e-6)
    assert n_bits == 64 or variance(n_bits - 64) > allowed


def test_a_filter_is_sized_as_by_its_constructor() -> None:
    small = BloomFilter.for_error(1000, 0.02, seed=4)
    assert small == BloomFilter(1000, 0.02, seed=4)
    assert small.expected_error_rate(1000) <= 0.02
    assert BloomFilter(n_blocks=small.n_blocks - 1, n_hashes=small.n_hashes).expected_error_rate(1000) > 0.02


@pytest.mark.parametrize("n_buckets", [2, 5])
def test_kernel_densities_err_by_no_more_than_allowed_with_few_buckets(n_buckets: int) -> None:
    """Two heaps of equal rows have the largest errors that the theorem allows."""
    relative_error, confidence, density, n_seeds = 0.9, 0.9, 0.02, 20
    X, weights = [np.array([1, 2]), np.array([7])], np.array([2, 98])
    beyond = []
    for seed in range(n_seeds):
        family = MinHash(1, n_buckets=n_buckets, scheme="permutations", seed=seed)
        race = Race.for_error(family, relative_error, confidence, density).update(X, weights)
        found = race.density(X[:1], groups=Race.n_groups(confidence))[0]
        beyond.append(abs(found - density) > relative_error * density)
    # Without chance collisions in the size 31 % of the errors would lie beyond the bound with 2 buckets.
    assert np.mean(beyond) <= 1 - confidence


@pytest.mark.slow
@pytest.mark.parametrize("error", [0.9, 0.45, 0.2])
@pytest.mark.parametrize("confidence", [0.5, 0.8])
def test_tables_of_few_counters_err_by_no_more_than_allowed(error: float, confidence: float) -> None:
    n_seeds = 200
    for counts in ([1, 100], [1] + [10] * 10, (1000 // np.arange(40, 0, -1)).tolist()):
        keys, sizes = (
            np.arange(len(counts)),
            {CountMinSketch: np.sum(counts), CountSketch: np.hypot.reduce(counts)},
        )
        for cls, size in sizes.items():
            found = [
                cls.for_error(error, confidence, seed=s).update(keys, counts).query(keys[:1])[0]
                for s in range(n_seeds)
            ]
            beyond = np.abs(np.array(found) - counts[0]) > error * size
            assert beyond.mean() < 1 - confidence + 6 * np.sqrt(confidence * (1 - confidence) / n_seeds)
    for own, shared in ((0, 1), (1, 1), (10, 10)):  # one more token on the right
        beyond = []
        for seed in range(n_seeds):
            sketch = MinHashSketch.for_error(error, confidence, n_sets=2, seed=seed)
            tokens = np.random.default_rng(seed).integers(0, 2**62, 2 * own + 1 + shared)
            sketch.update(tokens[: own + shared], sets=0).update(tokens[own:], sets=1)
            beyond.append(abs(sketch.jaccard(0, 1)[0] - shared / tokens.size) > error)
        assert np.mean(beyond) < 1 - confidence + 6 * np.sqrt(confidence * (1 - confidence) / n_seeds)


def test_subclasses_and_modes_of_a_race_are_sized_too() -> None:
    plain = Race.for_error(FAMILY, 0.5, density=0.1)
    real = Race.for_error(FAMILY, 0.5, density=0.1, dtype="float", n_outputs=3)
    model = RepresenterSketch.for_error(FAMILY, 0.5, density=0.1, n_outputs=3, precision="float64")
    assert type(model) is RepresenterSketch
    assert plain.family == real.family == model.family
    assert (real.dtype, real.n_outputs, model.n_outputs, model.precision) == ("float", 3, 3, "float64")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("error", lambda x: MinHashSketch.for_error(x)),
        ("relative_error", lambda x: BloomSignatures.for_error(9, x, 5)),
        ("error_rate", lambda x: BloomFilter.for_error(9, x)),
        ("relative_error", lambda x: CountMinSketch.for_error(x)),
        ("relative_error", lambda x: CountSketch.for_error(x)),
        ("frequency", lambda x: HeavyHitters.for_error(x)),
        ("relative_error", lambda x: TopK.for_error(10, x)),
        ("relative_error", lambda x: Race.for_error(FAMILY, x)),
        ("error", lambda x: SharedParameters.for_error(x)),
    ],
)
def test_what_is_no_error_is_refused(name: str, call: Any) -> None:
    for wrong in (0, -0.1, float("nan"), "x", True, None):
        with pytest.raises((TypeError, ValueError), match=rf"^{name} must be"):
            call(wrong)


def test_what_no_size_reaches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^error must be reached by 1048576 bins, got 0.0001"):
        MinHashSketch.for_error(1e-4)
    with pytest.raises(ValueError, match=r"^relative_error must be reached by 1073741824 bits, got 1e-06"):
        BloomSignatures.for_error(9, 1e-6, 5)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("error", lambda x: MinHashSketch.for_error(x)),
        ("relative_error", lambda x: BloomSignatures.for_error(9, x, 5)),
        ("error_rate", lambda x: BloomFilter.for_error(9, x)),
        ("relative_error", lambda x: CountMinSketch.for_error(x)),
        ("relative_error", lambda x: CountSketch.for_error(x)),
        ("frequency", lambda x: HeavyHitters.for_error(x)),
        ("relative_error", lambda x: TopK.for_error(10, x)),
        ("relative_error", lambda x: HeavyHitters.for_error(0.1, x)),
        ("relative_error", lambda x: Race.for_error(FAMILY, x)),
        ("relative_error", lambda x: Race.for_error(FAMILY, 0.5, density=x)),
        ("relative_error", lambda x: RepresenterSketch.for_error(FAMILY, x, n_outputs=2)),
    ],
)
def test_messages_name_what_was_given_and_not_what_follows_from_it(name: str, call: Any) -> None:
    for tiny in (1e-16, 1e-160, 1e-300, 5e-324):
        with pytest.raises(ValueError, match=rf"^{name} must be [^;]*, got .*"):
            call(tiny)


def test_other_arguments_are_named_too() -> None:
    for n_keys in (2**41, 10**30):
        with pytest.raises(ValueError, match=r"^n_keys must be an integer from 1 to 1099511627776, got"):
            BloomFilter.for_error(n_keys)
    with pytest.raises(ValueError, match=r"^n_keys 1,099,511,627,776 at error_rate 0.001 needs"):
        BloomFilter.for_error(2**40, 0.001)
    # The errors are so large that any sketch meets them.
    assert Race.for_error(FAMILY, 1e200).family.n_hashes == Race.n_groups(0.95)
    # There are more rows where the fewest counters in all would not fit a row.
    assert CountSketch.for_error(3e-4, 1 - 1e-9).n_buckets <= 2**28
