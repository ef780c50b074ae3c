"""Signs of products with given vectors: codes, the kernel, configurations and what is refused."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LSHIndex, Race
from mergesketch.lsh import LearnedProjection, SignedRandomProjection, family_from_config

EXAMPLES = settings(max_examples=max(10, settings.default.max_examples // 4))


@EXAMPLES
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))
def test_codes_and_kernel_are_those_of_the_definition(seed: int, n_hashes: int, power: int, d: int) -> None:
    """Vectors of few integers make products of 0, which count as positive."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (n_hashes * power, d)).astype(float)
    vectors[~vectors.any(axis=1)] = 1.0
    X = rng.integers(-2, 3, (7, d)).astype(float)
    family = LearnedProjection(vectors, power=power)
    assert (family.n_hashes, family.n_features, family.n_buckets) == (n_hashes, d, max(2, 2**power))
    # The vectors are rounded once they have length 1: the signs are those of the rounded ones.
    signs = X @ family.vectors.astype(float).T >= 0
    codes = np.zeros((7, n_hashes), np.int64)
    for k in range(power):
        codes += signs[:, k * n_hashes : (k + 1) * n_hashes].astype(np.int64) << k
    assert family.hash(X).tolist() == codes.tolist()
    share = (codes[:, None, :] == codes[None]).mean(axis=2)
    np.testing.assert_allclose(family.kernel(X, X), share, rtol=1e-15)
    rehashed = LearnedProjection(vectors, power=power, n_buckets=1000, seed=seed)
    np.testing.assert_allclose(rehashed.kernel(X, X), share, rtol=1e-15)


def test_given_vectors_of_a_random_family_have_its_codes_and_probes() -> None:
    drawn = SignedRandomProjection(12, 9, power=4, seed=2)
    family = LearnedProjection(drawn.vectors, power=4)
    X = np.random.default_rng(0).standard_normal((300, 12))
    np.testing.assert_array_equal(family.hash(X), drawn.hash(X))
    # The first probe is the code, and the second differs in the bit whose hyperplane is nearest.
    probes = family.probe(X, 2)
    np.testing.assert_array_equal(probes[:, :, 0], drawn.hash(X))
    distances = np.abs(X @ family.vectors.T).reshape(300, 4, 9)
    np.testing.assert_array_equal(probes[:, :, 0] ^ probes[:, :, 1], 1 << distances.argmin(axis=1))


def test_lengths_of_vectors_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((6, 5))
    family = LearnedProjection(vectors, power=3)
    np.testing.assert_allclose(np.linalg.norm(family.vectors, axis=1), 1.0, rtol=1e-6)
    for scale in (1e-300, 1e-40, 8.0, 1e300):
        np.testing.assert_allclose(
            LearnedProjection(scale * vectors, power=3).vectors, family.vectors, rtol=1e-6
        )
    # What has been rounded once stays as it is, however often a configuration is read.
    for _ in range(3):
        again = family_from_config(family.config())
        assert isinstance(again, LearnedProjection)
        assert again.vectors.tobytes() == family.vectors.tobytes()
        assert LearnedProjection(family.vectors, power=3) == family


def test_vectors_are_copied_and_cannot_be_written_to() -> None:
    vectors = np.eye(4, dtype=np.float32)
    family = LearnedProjection(vectors, power=2)
    codes = family.hash(np.eye(4))
    vectors[:] = -1
    np.testing.assert_array_equal(family.hash(np.eye(4)), codes)
    np.testing.assert_array_equal(family.vectors, np.eye(4))
    with pytest.raises(ValueError, match="read-only"):
        family.vectors[0, 0] = 3
    with pytest.raises(AttributeError, match="cannot change"):
        family.vectors = np.eye(4, dtype=np.float32)


def test_a_sketch_sums_the_kernel_without_error() -> None:
    rng = np.random.default_rng(3)
    family = LearnedProjection(rng.standard_normal((12, 6)), power=3)
    X, Q = rng.standard_normal((50, 6)), rng.standard_normal((5, 6))
    found = Race(family).update(X).query(Q)
    np.testing.assert_allclose(found, family.kernel(Q, X).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("metric", ["angle", "euclidean", "cityblock", "inner_product"])
def test_an_index_ranks_candidates_by_the_metric(metric: str) -> None:
    rng = np.random.default_rng(4)
    rows, Q = rng.standard_normal((40, 3)) * rng.uniform(0.1, 3, (40, 1)), rng.standard_normal((6, 3))
    # All rows are in one bucket: nothing is missed.
    index = LSHIndex(LearnedProjection([[1e-9, 0, 1]], metric=metric)).update(np.abs(rows))
    ids = index.search(np.abs(Q), np.abs(rows), k=40).ids
    P, R = np.abs(Q)[:, None], np.abs(rows)[None]
    keys = {
        "angle": -(P * R).sum(2) / np.linalg.norm(R, axis=2),
        "euclidean": np.linalg.norm(P - R, axis=2),
        "cityblock": np.abs(P - R).sum(2),
        "inner_product": -(P * R).sum(2),
    }
    np.testing.assert_array_equal(ids, np.argsort(keys[metric], axis=1))


def test_bad_arguments_are_refused() -> None:
    for match, vectors in {
        r"^vectors must be finite": [[1.0, np.nan]],
        r"^vectors must not be zero, got zeros in row 1": [[1.0, 2.0], [0.0, 0.0]],
        r"^vectors must have at least a row": np.ones((0, 3)),
        r"^vectors must have at most 180,224 numbers": np.ones((1, 180_225)),
    }.items():
        with pytest.raises(ValueError, match=match):
            LearnedProjection(vectors)
    with pytest.raises(ValueError, match=r"^vectors must be a multiple of power=2 rows, got 3"):
        LearnedProjection(np.eye(3), power=2)
    for name, value in {"power": 33, "metric": "jaccard", "n_buckets": 1, "seed": -1}.items():
        with pytest.raises(ValueError, match=f"^{name} must"):
            LearnedProjection(np.eye(66), **{name: value})
    with pytest.raises(ValueError, match="must have 4 columns"):
        LearnedProjection(np.eye(4)).hash(np.ones((2, 3)))


def test_configurations_of_strangers_are_refused() -> None:
    config = LearnedProjection(np.eye(4)).config()
    one = base64.b64encode(np.array([1, 0, 0, 0], "<f4").tobytes()).decode()
    nan = base64.b64encode(np.array([1, np.nan, 0, 0], "<f4").tobytes()).decode()
    changes: list[Any] = [
        [],
        [one, one[:-4]],
        ["***"],
        [one[:-2] + "AA"],
        [nan],
        ["AAA="],
        [one, 3],
        one,
        3,
        None,
    ]
    for vectors in changes:
        with pytest.raises((TypeError, ValueError)):
            family_from_config({**config, "vectors": vectors})
    assert family_from_config({**config, "vectors": [one]}).n_hashes == 1
