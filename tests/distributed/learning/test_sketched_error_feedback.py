"""Test SketchedErrorFeedback: the naive twin, what is conserved, collisions, ranks and failures."""

from __future__ import annotations

import copy
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.distributed import SketchedErrorFeedback
from mergesketch.distributed.kernels import sketched_error_feedback as kernels
from mergesketch.distributed.learning.error_memory import ErrorMemory, top_positions
from mergesketch.lsh.support.backend import read_only
from naive import sketched_error_feedback as naive
from paths import environment
from ranks import Ranks, needs_mpi

few = settings(max_examples=20, deadline=None)


def memory_of(feedback: SketchedErrorFeedback) -> np.ndarray:
    array: np.ndarray = feedback._arrays["memory"]
    return array


#: Small integers, whose sums and products with powers of two are exact in float32.
gradients = st.lists(st.lists(st.integers(-9, 9), min_size=40, max_size=40), min_size=1, max_size=4)


@few
@given(
    gradients,
    st.sampled_from([1 / 40, 0.25, 0.3, 1.0]),
    st.sampled_from([0.0, 0.5, 0.75, 1.0]),
    st.sampled_from(["top_k", "random_block"]),
    st.integers(0, 5),
    st.sampled_from([1 / 40, 0.1, 1.0]),
)
def test_equals_its_naive_twin(steps, memory, beta, compressor, seed, compression) -> None:
    feedback = SketchedErrorFeedback(
        40, compression=compression, memory=memory, beta=beta, compressor=compressor, seed=seed
    )
    places: dict[int, Fraction] = {}
    for number, gradient in enumerate(steps):
        sent: Any = feedback.n_sent
        if compressor == "random_block":
            sent = naive.block(40, sent, seed, number)
        exact = [Fraction(g) for g in gradient]
        update, places = naive.step(places, exact, feedback.n_places, seed, Fraction(1 - beta), sent)
        expected = [float(update.get(i, Fraction(0))) for i in range(40)]
        assert feedback.step(gradient).tolist() == expected
    assert memory_of(feedback).tolist() == [float(places.get(i, 0)) for i in range(feedback.n_places)]
    assert feedback.n_steps == len(steps) and feedback.bytes_sent == 0


@pytest.mark.parametrize("compressor", ["top_k", "random_block"])
def test_a_memory_as_large_as_the_model_is_exact_error_feedback(compressor: str) -> None:
    rng = np.random.default_rng(0)
    feedback = SketchedErrorFeedback(300, compression=0.05, memory=1.0, compressor=compressor, seed=8)
    left = np.zeros(300, np.float32)
    for _ in range(30):
        gradient = rng.standard_normal(300).astype(np.float32)
        left += gradient
        update = feedback.step(gradient)
        np.testing.assert_allclose(update[update != 0], left[update != 0], rtol=0, atol=1e-4)
        if compressor == "top_k":
            assert np.abs(left[update != 0]).min() >= np.abs(left[update == 0]).max() - 1e-4
        left -= update
    found = [naive.place_and_sign(i, 300, 8) for i in range(300)]
    kept = [sign * memory_of(feedback)[place] for place, sign in found]
    np.testing.assert_allclose(kept, left, rtol=0, atol=1e-4)


@pytest.mark.parametrize("beta", [None, 0.3, 1.0])
@pytest.mark.parametrize("compressor", ["top_k", "random_block"])
def test_nothing_is_lost_but_by_collisions(beta: float | None, compressor: str) -> None:
    # Eight parameters share a place, and all numbers are multiples of 2**-24.
    feedback = SketchedErrorFeedback(200, compression=0.1, memory=0.125, beta=beta, compressor=compressor)
    rng, left = np.random.default_rng(1), np.zeros(200)
    for _ in range(5):
        gradient = rng.integers(-9, 10, 200)
        left += gradient - feedback.step(gradient).astype(np.float64)
    expected = np.zeros(25)
    for i in range(200):
        place, sign = naive.place_and_sign(i, 25, 0)
        expected[place] += sign * left[i]
    np.testing.assert_allclose(memory_of(feedback), expected, rtol=1e-5, atol=1e-4)


@few
@given(
    st.integers(1, 60),
    st.floats(0.02, 1.0),
    st.sampled_from(["top_k", "random_block"]),
    st.floats(0.01, 1.0),
    st.integers(0, 99),
)
def test_with_the_default_beta_memory_never_grows_by_itself(n, memory, compressor, compression, seed) -> None:
    feedback = SketchedErrorFeedback(
        n, compression=compression, memory=memory, compressor=compressor, seed=seed
    )
    feedback.step(np.random.default_rng(seed).standard_normal(n))
    for _ in range(4):
        before = np.abs(memory_of(feedback))
        feedback.step(np.zeros(n))
        # Rounding of the share may take a little more than the number away.
        assert (np.abs(memory_of(feedback)) <= before * (1 + 1e-5)).all()


def test_with_a_small_beta_memory_grows_by_itself() -> None:
    feedback = SketchedErrorFeedback(40, compression=1.0, memory=0.1, beta=0.5)
    feedback.step(np.arange(40))
    before = np.abs(memory_of(feedback)).max()
    for _ in range(5):
        feedback.step(np.zeros(40))
    # Ten parameters share a place, so a step multiplies it by 1 - 0.5 * 10.
    np.testing.assert_allclose(np.abs(memory_of(feedback)).max(), before * 4**5, rtol=1e-5)


def errors_of(name: str, n: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    errors = np.zeros(n, np.float32)
    if name == "one-hot":
        errors[17] = 5
    elif name == "few":
        errors[[3, 4, 150]] = 2, -1, 4
    elif name == "constant":
        errors[:] = 1
    else:
        errors[:] = rng.standard_normal(n) ** 3
    return errors


@pytest.mark.parametrize("name", ["one-hot", "few", "constant", "heavy-tailed"])
def test_estimates_are_unbiased_and_their_variance_is_bounded(name: str) -> None:
    n, m, n_seeds = 240, 30, 600
    errors = errors_of(name, n)
    found = np.empty((n_seeds, n))
    for seed in range(n_seeds):
        memory = ErrorMemory(np.zeros(m, np.float32), n, 0.0, seed)
        memory.add(errors, 0)
        found[seed] = memory.corrected(np.zeros(n, np.float32), 0)
    deviations = found - errors
    bounds = ((errors**2).sum() - errors**2) / m
    standard = np.sqrt(bounds / n_seeds)
    assert (np.abs(deviations.mean(0)) <= 6 * standard + 1e-5).all()
    squares = deviations**2
    assert (squares.mean(0) <= bounds + 6 * squares.std(0) / np.sqrt(n_seeds) + 1e-5).all()
    # Half of the variance at least is there: the bound is not loose by chance.
    assert squares.mean() >= bounds.mean() / 2 - 1e-5


def test_parts_of_gradients_and_of_places_change_nothing() -> None:
    rng = np.random.default_rng(5)
    n, m = 333, 70
    errors = rng.standard_normal(n).astype(np.float32)
    whole, parts, by_places = (
        ErrorMemory(np.zeros(m, np.float32), n, 0.5, 2),
        ErrorMemory(np.zeros(m, np.float32), n, 0.5, 2),
        np.zeros(m, np.float32),
    )
    whole.add(errors, 0)
    for first in range(0, n, 37):
        parts.add(errors[first : first + 37], first)
    for start in range(0, m, 13):
        kernels.add_errors(read_only(errors), whole._keys, 0, start, min(m, start + 13), by_places)
    np.testing.assert_array_equal(parts.places, whole.places)
    np.testing.assert_array_equal(by_places, whole.places)
    expected, found = whole.corrected(errors, 0), np.empty(n, np.float32)
    for first in range(0, n, 41):
        whole.corrected(errors[first : first + 41], first, found[first : first + 41])
    np.testing.assert_array_equal(found, expected)
    for start in range(0, n, 50):
        arguments = read_only(whole.places), whole._keys, np.float32(0.5), read_only(errors), 0
        kernels.read_errors(*arguments, start, min(n, start + 50), found)
    np.testing.assert_array_equal(found, expected)


@few
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.data())
def test_top_positions_are_the_first_of_the_largest(values: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values)))
    found = top_positions(np.array(values, np.float32), k).tolist()
    assert found == naive.top([Fraction(v) for v in values], k)


# -- storage and arguments ------------------------------------------------------------------------------


def test_a_loaded_state_goes_on_as_the_saved_one(tmp_path) -> None:
    rng = np.random.default_rng(2)
    feedback = SketchedErrorFeedback(500, compression=0.05, compressor="random_block", seed=9)
    for _ in range(3):
        feedback.step(rng.standard_normal(500))
    feedback.save(tmp_path / "state")
    loaded, copied = SketchedErrorFeedback.load(tmp_path / "state"), copy.copy(feedback)
    assert loaded == feedback == copied and loaded.n_steps == 3
    gradient = rng.standard_normal(500)
    expected = feedback.step(gradient)
    assert loaded != feedback
    np.testing.assert_array_equal(loaded.step(gradient), expected)
    np.testing.assert_array_equal(copied.step(gradient), expected)
    assert loaded == feedback == copied


@pytest.mark.slow
def test_a_process_that_has_not_imported_the_class_loads_its_files(tmp_path) -> None:
    SketchedErrorFeedback(20).save(tmp_path / "state")
    code = "import mergesketch; print(type(mergesketch.load('state')).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "SketchedErrorFeedback"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_parameters": 0}, ValueError, "n_parameters must be an integer from 1 to 4294967296, got 0"),
        ({"n_parameters": 2.0}, TypeError, "n_parameters must be an integer"),
        ({"compression": 0.0}, ValueError, r"compression must be a number in \(0, 1\], got 0.0"),
        ({"compression": 1.1}, ValueError, r"compression must be a number in \(0, 1\], got 1.1"),
        ({"memory": -0.1}, ValueError, r"memory must be a number in \(0, 1\], got -0.1"),
        ({"memory": "all"}, TypeError, "memory must be a number"),
        ({"beta": 1.5}, ValueError, r"beta must be a number in \[0, 1\], got 1.5"),
        ({"compressor": "top"}, ValueError, "compressor must be one of 'top_k', 'random_block', got 'top'"),
        ({"seed": -1}, ValueError, "seed must be an integer"),
    ],
)
def test_bad_configurations_are_refused(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        SketchedErrorFeedback(**{"n_parameters": 10, **arguments})


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (np.zeros(9), ValueError, r"gradient must have shape \(10,\), got shape \(9,\)"),
        (np.zeros((10, 1)), ValueError, r"gradient must have shape \(10,\), got shape \(10, 1\)"),
        (np.full(10, np.nan), ValueError, "gradient must be finite in float32, got nan at position 0"),
        (np.full(10, 1e39), ValueError, r"gradient must be finite in float32, got 1e\+39 at position 0"),
        (np.full(10, 1j), TypeError, "gradient must be real numbers, got dtype complex128"),
        (["a"] * 10, TypeError, "gradient must be real numbers"),
        (np.full(10, 3e38), OverflowError, "the memory would be beyond float32"),
    ],
)
def test_bad_gradients_are_refused_and_change_nothing(gradient, error, message) -> None:
    feedback = SketchedErrorFeedback(10, memory=0.1, seed=1)
    feedback.step(np.arange(10))
    before = feedback.to_bytes()
    with pytest.raises(error, match=message):
        # The second of two steps overflows if the signs of the first cancel out.
        for _ in range(100):
            feedback.step(gradient)
            before = feedback.to_bytes()
    assert feedback.to_bytes() == before


# -- ranks ----------------------------------------------------------------------------------------------

RANKS = """
import numpy as np
from mergesketch.distributed import SketchedErrorFeedback, communicator
from mergesketch.distributed.ranks.comm import Communicator
from mergesketch.errors import DistributedError

comm = communicator()
rank, size = comm.rank, comm.size
n, options = 400, dict(compression=0.05, memory=0.2, seed=3)

# Each rank's own part is that of a single process, and the update is their mean.
for compressor in ("top_k", "random_block"):
    ours = SketchedErrorFeedback(n, compressor=compressor, **options)
    single = [SketchedErrorFeedback(n, compressor=compressor, **options) for _ in range(size)]
    for number in range(4):
        every = np.random.default_rng(number).standard_normal((size, n)).astype(np.float32)
        update = ours.step(every[rank], comm)
        parts = [one.step(g, Communicator(None)) for one, g in zip(single, every)]
        np.testing.assert_allclose(update, np.mean(parts, 0, dtype=np.float64), rtol=1e-5, atol=1e-6)
        words = comm.allgather(update.tobytes())
        assert words == words[:1] * size
    np.testing.assert_array_equal(ours._arrays["memory"], single[rank]._arrays["memory"])
    k = ours.n_sent
    sent = 8 * k * (size - 1) if compressor == "top_k" else 2 * 4 * k * (size - 1) // size
    assert (ours.n_steps, ours.bytes_sent) == (4, 4 * sent)

def refused(text, feedback, gradient):
    before = feedback.to_bytes()
    try:
        feedback.step(gradient, comm)
    except DistributedError as raised:
        assert text in str(raised), raised
        message = str(raised)
    else:
        raise AssertionError(text)
    assert feedback.to_bytes() == before
    assert comm.allgather(message) == [message] * size

good, last = np.ones(n), rank == size - 1
fresh = lambda **given: SketchedErrorFeedback(n, **{**options, **given})
refused(f"rank {size - 1} failed: ValueError: gradient must be finite", fresh(),
        good * np.nan if last else good)
refused(f"rank {size - 1} failed: ValueError: gradient must have shape (400,)", fresh(),
        good[1:] if last else good)
refused("ranks must agree on the configuration and the number of steps", fresh(seed=int(last)), good)
ahead = fresh()
if last:
    ahead.step(good, Communicator(None))
refused("ranks must agree on the configuration and the number of steps", ahead, good)
print("done")
"""


@needs_mpi
def test_ranks_send_what_each_would_send_alone_and_fail_together(ranks: Ranks) -> None:
    run = ranks.run(3, RANKS)
    assert [out.strip() for out in run.stdout] == ["done"] * 3, run.stderr
