"""Rows that share parameters as their sets are alike: the naive twin, and the shares of the theorem."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import MinHashSketch, SemanticMap, SharedParameters
from naive import shared_parameters as naive


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**64 - 1),
    power=st.integers(1, 4),
    bits=st.integers(1, 16),
    block=st.integers(1, 9),
    n_columns=st.integers(1, 20),
    m=st.sampled_from([1, 7, 300]),
)
def test_equals_its_naive_twin(seed: int, power: int, bits: int, block: int, n_columns: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    width, n_blocks = min(block, n_columns), -(-n_columns // block)
    # Few values, so that some blocks agree.
    signatures = rng.integers(0, 3, (5, n_blocks * power + 1)) << rng.integers(0, 16)
    keys = naive.keys(seed, 1, 1 + n_blocks)

    def places(row: int, i: int) -> list[naive.Place]:
        return naive.semantic(signatures[row].tolist(), i, m, power, bits, width, keys)

    A = naive.matrix(places, list(range(5)), n_columns, m)
    gradients = rng.integers(-9, 9, (5, n_columns))
    parameters = SharedParameters(m, SemanticMap(power, bits, block), seed=seed)
    parameters.scatter_add(signatures, gradients, table=1)
    np.testing.assert_array_equal(parameters.weights, np.tensordot(gradients, A, 2))
    read = parameters.gather(signatures, n_columns, table=1)
    np.testing.assert_array_equal(read, A @ parameters.weights)
    assert (read * gradients).sum() == parameters.weights @ parameters.weights


def shares(left: np.ndarray, right: np.ndarray, map: SemanticMap, n_columns: int, m: int) -> np.ndarray:
    """Return the share of entries that two rows read from one place, for each pair of rows."""
    weights = np.arange(1, m + 1).astype(np.float32)
    parameters = SharedParameters.from_weights(weights, map)
    read = (np.abs(parameters.gather(signatures, n_columns)) for signatures in (left, right))
    return np.equal(*read).mean(axis=1)


@pytest.mark.parametrize("power, bits", [(1, 1), (2, 4), (4, 8)])
@pytest.mark.parametrize("similarity", [0.0, 0.5, 0.9, 1.0])
def test_shares_are_those_of_the_theorem(power: int, bits: int, similarity: float) -> None:
    """Values that are independent, and equal with the probability J."""
    rng = np.random.default_rng(power)
    n, n_columns, m = 2000, 32, 50
    left, right = rng.integers(0, 2**32, (2, n, n_columns * power))
    right = np.where(rng.random(right.shape) < similarity, left, right)
    found = shares(left, right, SemanticMap(power, bits, block=1), n_columns, m)
    equal = (similarity + (1 - similarity) / 2**bits) ** power
    expected = equal + (1 - equal) / m
    # Entries of a row are independent: n * n_columns trials.
    assert abs(found.mean() - expected) <= 6 * math.sqrt(expected * (1 - expected) / found.size / n_columns)


@pytest.mark.parametrize("kind", ["random", "consecutive"])
def test_shares_of_real_signatures(kind: str) -> None:
    """Sets of 6,000 elements that have two thirds in common with the next one: J = 1/2."""
    n, size, m, n_columns = 80, 6000, 1000, 32
    elements = np.arange((n + 2) * size // 3 * 2)
    if kind == "random":
        elements = np.random.default_rng(1).integers(0, 2**62, elements.size)
    sketch = MinHashSketch(2 * n, n_hashes=64)
    step = size // 3
    # Pair p has the sets 2 p and 2 p + 1, and no element in common with another pair.
    for number in range(2 * n):
        start = (number // 2) * (size + step) % (elements.size - size - step) + (number % 2) * step
        sketch.update(elements[start : start + size], number)
    signatures = sketch.signatures()
    found = shares(signatures[::2], signatures[1::2], SemanticMap(2, 8, block=1), n_columns, m)
    equal = (0.5 + 0.5 / 256) ** 2
    expected = equal + (1 - equal) / m
    assert abs(found.mean() - expected) <= 6 * found.std(ddof=1) / math.sqrt(n)


def test_rows_of_any_shape_and_those_of_empty_sets() -> None:
    sketch = MinHashSketch(4, n_hashes=16).update(np.arange(500), 0).update(np.arange(1000, 1500), 2)
    parameters = SharedParameters(999, SemanticMap(2)).initialize(1.0)
    signatures = sketch.signatures()
    read = parameters.gather(signatures, 40)
    assert (read[1] == read[3]).all() and not (read[0] == read[2]).all()
    nested = parameters.gather(signatures.reshape(2, 2, 16), 40)
    np.testing.assert_array_equal(nested.reshape(4, 40), read)
    np.testing.assert_array_equal(parameters.gather(signatures[0], 40), read[0])
    np.testing.assert_array_equal(parameters.gather(signatures[0].tolist(), 40), read[0])
    sums = parameters.gather_bags(signatures, [0, 2, 4], 40)
    np.testing.assert_allclose(sums, read.reshape(2, 2, 40).sum(axis=1), rtol=1e-6)


def test_refusals() -> None:
    for arguments, message in (
        ((0,), "power must"),
        ((2, 0), "bits must"),
        ((9, 8), "power \\* bits must be at most 64"),
        ((2, 8, 0), "block must"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{message}"):
            SemanticMap(*arguments)
    parameters = SharedParameters(100, SemanticMap(2, block=8))
    for bad in (3, [1, 2, 3], np.zeros((2, 9), int), np.zeros((2, 10)), [["a"] * 10], [[True] * 10]):
        with pytest.raises((TypeError, ValueError), match=r"^rows must"):
            parameters.gather(bad, 40)
