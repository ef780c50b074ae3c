"""The softmax of sampled classes: the naive twin, the softmax of all classes, bias, and stability."""

from __future__ import annotations

from typing import Any

import fake_cupy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LSHIndex, LSHSampler, sampled_softmax
from mergesketch.lsh import SignedRandomProjection
from naive.sampled_softmax import loss_and_gradient

cupy = fake_cupy.install()

pytestmark = pytest.mark.filterwarnings("ignore::mergesketch.errors.FullBucketsWarning")


@st.composite
def batches(draw: st.DrawFn) -> tuple[Any, ...]:
    n, m, k = draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(st.integers(0, 5))
    numbers = st.floats(-30, 30)
    # Ids may be targets, and may repeat.
    ids = draw(st.lists(st.lists(st.integers(-1, 6), min_size=k, max_size=k), min_size=n, max_size=n))
    one = st.lists(st.integers(0, 6), min_size=m, max_size=m, unique=True)
    targets = draw(st.lists(one, min_size=n, max_size=n))
    targets = [[t if draw(st.booleans()) else -1 for t in row] for row in targets]
    logits = [[draw(numbers) for _ in range(m + k)] for _ in range(n)]
    shares = [[draw(st.floats(1e-6, 2.0)) for _ in range(k)] for _ in range(n)]
    shapes = ((n, m + k), (n, k), (n, k), (n, m))
    kinds = (float, np.int64, float, np.int64)
    parts = (logits, ids, shares, targets)
    return tuple(np.array(x, t).reshape(s) for x, t, s in zip(parts, kinds, shapes, strict=True))


@given(batches())
@settings(max_examples=100)
def test_losses_and_gradients_equal_the_naive_twin(batch: tuple[Any, ...]) -> None:
    found = sampled_softmax(*batch)
    assert found.losses.shape == (len(batch[0]),) and found.gradients.shape == batch[0].shape
    for i in range(len(batch[0])):
        loss, gradient = loss_and_gradient(*(part[i].tolist() for part in batch))
        np.testing.assert_allclose(found.losses[i], loss, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.gradients[i], gradient, rtol=1e-11, atol=1e-13)


def test_all_classes_with_certainty_are_the_whole_softmax() -> None:
    rng = np.random.default_rng(0)
    whole, y = 3.0 * rng.standard_normal((6, 40)), rng.integers(0, 40, 6)
    logits = np.column_stack([whole[np.arange(6), y], whole])
    losses, gradients = sampled_softmax(logits, np.arange(40), np.ones(40), y)
    odds = np.exp(whole - whole.max(axis=1, keepdims=True))
    softmax = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(losses, -np.log(softmax[np.arange(6), y]), rtol=1e-12)
    # The column of the target has what the row of all classes lacks.
    joined = gradients[:, 1:].copy()
    assert (joined[np.arange(6), y] == 0.0).all()
    joined[np.arange(6), y] += gradients[:, 0]
    softmax[np.arange(6), y] -= 1.0
    np.testing.assert_allclose(joined, softmax, atol=1e-14)


def test_gradients_are_those_of_the_losses() -> None:
    rng = np.random.default_rng(1)
    logits, ids = rng.standard_normal((4, 5)), rng.integers(-1, 9, (4, 3))
    shares, targets, step = rng.uniform(0.1, 1.0, (4, 3)), [[1, 2], [3, -1], [-1, -1], [8, 0]], 1e-6
    gradients = sampled_softmax(logits, ids, shares, targets).gradients
    for j in range(5):
        ahead, behind = logits.copy(), logits.copy()
        ahead[:, j] += step
        behind[:, j] -= step
        rise = [sampled_softmax(x, ids, shares, targets).losses for x in (ahead, behind)]
        np.testing.assert_allclose(gradients[:, j], (rise[0] - rise[1]) / (2 * step), atol=1e-8)


def test_places_without_a_class_and_hits_have_no_effect() -> None:
    args = ([[1, -1, 2, 5]], [[0.5, -9.0, 0.1, 1.0]], [[2, -1]])
    first = sampled_softmax([[1.0, 0.0, 2.0, 0.0, 0.0, 3.0]], *args)
    other = sampled_softmax(
        [[1.0, 1e5, 2.0, -1e300, 1e300, 3.0]], args[0], [[0.5, np.nan, 1e-9, 1.0]], args[2]
    )
    np.testing.assert_array_equal(first.losses, other.losses)
    np.testing.assert_array_equal(first.gradients, other.gradients)
    assert (first.gradients[0, [1, 3, 4]] == 0.0).all()


def test_large_logits_and_small_probabilities_are_stable() -> None:
    losses, gradients = sampled_softmax(
        [[0.0, 5e4], [9e8, 1.0], [-1e300, 0.0]], [[1]] * 3, [[1e-300]] * 3, [0] * 3
    )
    np.testing.assert_allclose(losses, [5e4 + 300 * np.log(10), 0.0, 1e300], rtol=1e-12)
    np.testing.assert_allclose(gradients, [[-1, 1], [0, 0], [-1, 1]], atol=1e-300)
    assert sampled_softmax(np.zeros((1, 2), np.float32), [[1]], [[0.5]], [0]).gradients.dtype == np.float32
    assert np.isposinf(sampled_softmax([[-1.7e308, 1.7e308]], [1], [0.5], [3]).losses)
    nothing = np.empty((2, 0), int)
    assert sampled_softmax(np.zeros((2, 0)), nothing, np.zeros((2, 0)), nothing).losses.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float16, np.float32),
        (np.int16, np.float32),
        (np.float32, np.float32),
        (np.int32, np.float64),
        (np.float64, np.float64),
        (np.longdouble, np.float64),
    ],
)
def test_losses_are_float64_and_gradients_float32_or_float64(given: Any, expected: Any) -> None:
    logits = np.array([[1, 2, 5]], given)
    losses, gradients = sampled_softmax(logits, [[3, 4]], [[1.0, 0.5]], [7])
    assert losses.dtype == np.float64 and gradients.dtype == expected
    total = np.exp(1) + np.exp(2) + 2 * np.exp(5)
    np.testing.assert_allclose(losses, [np.log(total) - 1], rtol=1e-14)
    of = np.array([[np.exp(1) / total - 1, np.exp(2) / total, 2 * np.exp(5) / total]])
    np.testing.assert_allclose(gradients, of, rtol=1e-6)


def test_the_corrected_gradient_has_little_bias() -> None:
    rng = np.random.default_rng(2)
    W = rng.standard_normal((200, 12))
    h, target, n_calls = 0.5 * rng.standard_normal(12), 7, 4000
    index = LSHIndex(SignedRandomProjection(12, 12, power=4, seed=1), capacity=16).update(W)
    sampler = LSHSampler(index, uniform=0.5, ids=np.arange(200), seed=5)
    whole = W @ h
    odds = np.exp(whole - whole.max())
    exact = odds / odds.sum()
    exact[target] -= 1.0
    ids, p = sampler.sample(np.tile(h, (n_calls, 1)), 60, exclude=np.full(n_calls, target))

    def gradients(shares: np.ndarray) -> np.ndarray:
        logits = np.column_stack([np.full(n_calls, whole[target]), whole[ids]])
        found = np.zeros((n_calls, 200))
        rows = np.arange(n_calls)
        of = sampled_softmax(logits, ids, shares, np.full(n_calls, target)).gradients
        found[:, target] = of[:, 0]
        np.add.at(found, (rows[:, None], ids), of[:, 1:])
        return found

    corrected = gradients(p)
    bias = np.linalg.norm(corrected.mean(axis=0) - exact)
    assert bias < np.sqrt(corrected.var(axis=0).sum())
    # Without the probabilities the bias is larger than the error of the mean by far.
    plain = gradients(np.ones_like(p))
    assert np.linalg.norm(plain.mean(axis=0) - exact) > 3.0 * bias
    # The estimated sums are unbiased.
    logits = np.column_stack([np.full(n_calls, whole[target]), whole[ids]])
    losses = sampled_softmax(logits, ids, p, np.full(n_calls, target)).losses
    sums, truth = np.exp(losses + whole[target]), np.exp(whole).sum()
    assert abs(sums.mean() - truth) < 6.0 * sums.std() / np.sqrt(n_calls)
    assert losses.mean() < -np.log(exact[target] + 1.0)


def test_arrays_on_a_gpu_have_the_same_results() -> None:
    rng = np.random.default_rng(3)
    args = (rng.standard_normal((4, 5)), rng.integers(-1, 9, (4, 3)), rng.uniform(0.1, 1.0, (4, 3)))
    targets = np.array([[1, 2], [3, -1], [-1, -1], [8, 0]])
    expected = sampled_softmax(*args, targets)
    found = sampled_softmax(*map(cupy.asarray, (*args, targets)))
    for ours, theirs in zip(found, expected, strict=True):
        assert isinstance(ours, cupy.ndarray)
        np.testing.assert_allclose(ours.get(), theirs, rtol=1e-12, atol=1e-15)
    with pytest.raises(TypeError, match="ids lies in main memory, but logits on the GPU"):
        sampled_softmax(cupy.asarray(args[0]), *args[1:], targets)


def test_wrong_arguments_are_refused() -> None:
    good = {
        "logits": np.zeros((2, 3)),
        "ids": [[1, 2]] * 2,
        "probabilities": np.ones((2, 2)),
        "targets": [3, 4],
    }
    sampled_softmax(**good)
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, r"logits must have 1 \+ 2 columns, .* got 4", {"logits": np.zeros((2, 4))}),
        (ValueError, r"logits must have shape \(n, m \+ k\), got \(3,\)", {"logits": np.zeros(3)}),
        (ValueError, "logits must be finite, got nan", {"logits": np.full((2, 3), np.nan)}),
        (TypeError, "logits must hold real numbers", {"logits": np.zeros((2, 3), complex)}),
        (TypeError, "ids must be integers, got dtype float64", {"ids": [[1.0, 2.0]] * 2}),
        (
            ValueError,
            r"ids must have shape \(m,\) or \(2, m\) for 2 rows, got \(3, 2\)",
            {"ids": [[1, 2]] * 3},
        ),
        (ValueError, r"probabilities must have the shape of ids, \(2, 2\)", {"probabilities": [0.5, 0.5]}),
        (ValueError, "probabilities must be finite numbers above 0, got 0.0", {"probabilities": np.eye(2)}),
        (ValueError, "probabilities must be finite", {"probabilities": np.full((2, 2), np.inf)}),
        (ValueError, "probabilities must be finite", {"probabilities": np.full((2, 2), np.nan)}),
        (ValueError, "targets must have shape", {"targets": [1, 2, 3]}),
        (ValueError, "targets must be ids from 0", {"targets": [-2, 1]}),
        (
            ValueError,
            "targets of a row must be distinct, got 6 twice in row 1",
            {"targets": [[6, 5], [6, 6]], "logits": np.zeros((2, 4))},
        ),
    ]
    for kind, message, changed in wrong:
        with pytest.raises(kind, match=message):
            sampled_softmax(**{**good, **changed})
