"""Test private releases: the noise, what it hides, and that no exact number is left."""

from __future__ import annotations

import itertools
import math
import pickle
from types import SimpleNamespace

import mergesketch
import numpy as np
import pytest
import safetensors.numpy
import xxhash
from audit import proves_more_than
from forged_files import header_of, with_header
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import PrivateRace, Race, RaceWindow
from mergesketch.lsh import SignedRandomProjection
from mergesketch.sketches.kernels import noise as noise_kernels
from mergesketch.sketches.race.noise import (
    EPSILON_UNIT,
    discrete_laplace,
    laplace_variance,
    round_epsilon,
)
from naive import private_race as naive
from toy_family import ToyFamily


def rows(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (n, 5))


# -- the noise ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sensitivity", "epsilon"), [(1, 1.0), (1, 3.0), (7, 0.5), (400, 1.0), (3, 0.1)])
def test_noise_is_discrete_laplace(sensitivity: int, epsilon: float) -> None:
    """The noise is fresh in every run, so bounds are six standard errors of one cell among few."""
    n = 200_000
    noise = discrete_laplace((n,), sensitivity, round_epsilon(epsilon))
    rate = round_epsilon(epsilon) * EPSILON_UNIT / sensitivity
    share = math.exp(-rate)
    spread = max(1, int(1 / rate))
    edges = spread * np.arange(-8, 9)
    for low, high in itertools.pairwise(edges):
        k = np.abs(np.arange(low, high))
        expected = float((share**k).sum() * (1 - share) / (1 + share))
        seen = float(((noise >= low) & (noise < high)).mean())
        assert abs(seen - expected) < 6 * math.sqrt(expected * (1 - expected) / n) + 1e-9
    variance = laplace_variance(sensitivity, epsilon)
    assert abs(noise.mean()) < 6 * math.sqrt(variance / n)
    # The fourth central moment of a Laplace variable is six times its squared variance.
    assert abs(noise.var() / variance - 1) < 6 * math.sqrt(6 / n) + 6 / n


def law_of(scale: float) -> tuple[float, float, float]:
    """Return, for noise of a scale, the probability of 0, and mean and variance of the magnitude."""
    q = math.exp(-1.0 / scale)
    mean = 2 * q / (1 - q * q)
    return (1 - q) / (1 + q), mean, 2 * q / (1 - q) ** 2 - mean**2


@pytest.mark.slow
@pytest.mark.parametrize("buffer", [None, (2, 1), (0, 3)])
@pytest.mark.parametrize("epsilon", [6.0, 1.25, 0.1])
def test_every_number_of_a_release_has_the_law(
    epsilon: float, buffer: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last number has it too, whatever number of words is asked for: no draw starts again."""
    if buffer is not None:
        for name, size in zip(("_WORDS_A_NUMBER", "_SPARE_WORDS"), buffer, strict=True):
            monkeypatch.setattr(f"mergesketch.sketches.race.noise.{name}", size)
    n = 6000
    noise = np.stack([discrete_laplace((3, 4), 2, round_epsilon(epsilon)) for _ in range(n)]).reshape(n, -1)
    zero, mean, variance = law_of(2 / epsilon)
    assert (np.abs((noise == 0).mean(axis=0) - zero) < 6 * math.sqrt(zero * (1 - zero) / n)).all()
    assert (np.abs(np.abs(noise).mean(axis=0) - mean) < 6 * math.sqrt(variance / n)).all()
    assert (np.abs(noise.mean(axis=0)) < 6 * math.sqrt(laplace_variance(2, epsilon) / n)).all()


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40), st.lists(st.integers(1, 9)))
def test_a_draw_goes_on_where_its_words_ran_out(
    seed: int, numerator: int, denominator: int, sizes: list[int]
) -> None:
    """The same words give the same numbers, in any portions."""
    words = np.random.default_rng(seed).integers(0, 2**64, 400, dtype=np.uint64)
    stream = iter(words.tolist())
    expected = [naive.discrete_laplace(stream, numerator, denominator) for _ in range(4)]
    out = np.zeros(4, np.int64)
    at, held, done = 0, words[:0], 0
    for size in itertools.chain(sizes, itertools.repeat(3)):
        held = np.append(held, words[at : at + size])
        at += size
        done, first = noise_kernels.discrete_laplace(held, numerator, denominator, done, 4, out)
        held = held[first:]
        if done == 4:
            break
    assert out.tolist() == expected


def test_noise_of_a_single_counter_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tail of 50 scales takes more words than are asked for at once, and is returned unchanged."""
    # Offset 0; its coin; fifty turns of a coin that shows true; one that shows false; the sign.
    stream = iter([0, 0, *(0, 0, 1) * 50, 0, 1, 0, *[0] * 1000])

    def urandom(n: int) -> bytes:
        return np.array(list(itertools.islice(stream, n // 8)), np.uint64).tobytes()

    monkeypatch.setattr("mergesketch.sketches.race.noise.os", SimpleNamespace(urandom=urandom))
    assert discrete_laplace((1,), 7, 1 << 24).tolist() == [350]


def test_noise_comes_anew_each_time_and_is_independent() -> None:
    a, b = discrete_laplace((50_000,), 50, 1 << 24), discrete_laplace((50_000,), 50, 1 << 24)
    for left, right in ((a, b), (a[1:], a[:-1])):
        assert abs(np.corrcoef(left, right)[0, 1]) < 6 / math.sqrt(len(left))
    np.random.seed(0)  # noqa: NPY002 - a seeded generator must make no difference
    first = discrete_laplace((100,), 1000, 1 << 24)
    np.random.seed(0)  # noqa: NPY002
    assert (first != discrete_laplace((100,), 1000, 1 << 24)).any()


# -- the audit ------------------------------------------------------------------------------------


def audited(release, n_hashes: int = 1, epsilon: float = 1.0, n: int = 4000) -> bool:
    """Check if releases with and without one record prove that more than epsilon was spent.

    The sum, over repetitions, of the counters of the record distinguishes the two best: the likelihood ratio
    of Laplace noise rises with each of them.
    """
    family = ToyFamily(5, n_hashes, n_buckets=4)
    X, record = rows(0, 30), rows(1, 1)
    codes = family.hash(record)[0]
    sketches = [Race(family).update(X).update(record), Race(family).update(X)]
    samples = [
        np.array([release(race, epsilon)[np.arange(n_hashes), codes].sum() for _ in range(n)])
        for race in sketches
    ]
    return proves_more_than(epsilon, *samples)


def noisy(race: Race, sensitivity: int, epsilon: float) -> np.ndarray:
    counts = race.state["counts"].array
    return counts + discrete_laplace(counts.shape, sensitivity, round_epsilon(epsilon))


@pytest.mark.slow
@pytest.mark.parametrize("n_hashes", [1, 8])
def test_one_record_changes_no_likelihood_by_more_than_the_budget(n_hashes: int) -> None:
    assert not audited(lambda race, epsilon: race.release(epsilon).counts, n_hashes)
    assert not audited(lambda race, epsilon: race.release(epsilon).counts, n_hashes, 0.5)


@pytest.mark.slow
def test_the_audit_catches_noise_divided_by_the_number_of_rows() -> None:
    """The paper's public code has this mistake: noise of scale R / (epsilon N) protects nothing."""
    for n_hashes in (1, 8):
        assert audited(
            lambda race, epsilon: noisy(race, race.family.n_hashes, epsilon * race.total), n_hashes
        )


@pytest.mark.slow
def test_the_audit_catches_lesser_mistakes() -> None:
    """Half the noise, a budget for each repetition, and noise of a known seed are noticed."""
    assert audited(lambda race, epsilon: noisy(race, 1, 2 * epsilon))
    assert audited(lambda race, epsilon: noisy(race, 1, epsilon), n_hashes=8)
    known = discrete_laplace((1, 4), 1, 1 << 24)
    assert audited(lambda race, epsilon: race.state["counts"].array + known)


def test_all_repetitions_share_one_budget() -> None:
    """A record moves a counter of each repetition, so each gets noise of R times the scale of one."""
    family = ToyFamily(5, 20, n_buckets=4, seed=3)
    release = Race(family).release(0.5, record_weight=3)
    assert release.noise_std == pytest.approx(math.sqrt(laplace_variance(60, 0.5)))
    noise = np.concatenate([Race(family).release(0.5, record_weight=3).counts for _ in range(400)]).astype(
        float
    )
    assert abs(noise.var() / laplace_variance(60, 0.5) - 1) < 6 * math.sqrt(6 / noise.size)


# -- what is released -----------------------------------------------------------------------------


def test_no_exact_counter_is_left() -> None:
    """No form of a release contains a row count of 123,457 or counters made from it."""
    n = 123_457
    family = ToyFamily(5, 3, n_buckets=4)
    race = Race(family).update(np.zeros((n, 5), int))
    # The noise is so large that a noisy counter equals the exact one once in 10^7 runs.
    release = race.release(2.0**-20)
    assert race.total == n
    assert release.n_updates == 1
    exact = int(n).to_bytes(4, "little")
    for stored in (
        release.to_bytes(),
        pickle.dumps(release),
        repr(release).encode(),
        str(release.__dict__).encode(),
    ):
        assert exact not in stored
        assert str(n).encode() not in stored
    assert exact in race.to_bytes()
    assert not np.shares_memory(release.counts, race.state["counts"].array)


def test_estimates_are_near_the_exact_ones(tmp_path) -> None:
    rng = np.random.default_rng(2)
    X, Q = rng.standard_normal((20_000, 6)) + 1.0, rng.standard_normal((40, 6)) + 1.0
    family = SignedRandomProjection(6, 60, power=4, seed=1)
    race = Race(family).update(X)
    release = race.release(1.0)
    noise = release.noise_std / math.sqrt(60)
    # Chance is 0 here, so release and race differ by the mean of 60 independent noises.
    assert (np.abs(release.query(Q) - race.query(Q)) < 6 * noise).all()
    assert abs(release.total - 20_000) < 6 * release.noise_std * math.sqrt(16 / 60)
    sums, std = release.query(Q, return_std=True)
    assert (np.abs(sums - family.kernel(Q, X).sum(axis=1)) < 6 * std).all()
    release.save(tmp_path / "r")
    assert mergesketch.load(tmp_path / "r") == release


def test_merging_composes_budgets() -> None:
    family = ToyFamily(5, 30, seed=4)
    a = Race(family).update(rows(5, 900)).release(0.5)
    b = Race(family).update(rows(6, 600)).release(0.25)
    both = a | b
    assert (both.epsilon, both.epsilon_if_disjoint, both.n_updates) == (0.75, 0.5, 2)
    np.testing.assert_array_equal(both.counts, a.counts + b.counts)
    assert both.noise_std == pytest.approx(math.hypot(a.noise_std, b.noise_std))
    assert "0.75" not in repr(PrivateRace(family))


def test_several_outputs_are_released_together() -> None:
    family = ToyFamily(5, 30, seed=4)
    labels = np.eye(3, dtype=int)[np.random.default_rng(7).integers(0, 3, 3000)]
    race = Race(family, n_outputs=3).update(rows(8, 3000), labels)
    release = race.release(2.0)
    assert release.counts.shape == (30, 4, 3)
    assert (np.abs(release.total - race.total) < 6 * release.noise_std * math.sqrt(4 / 30)).all()


# -- weights --------------------------------------------------------------------------------------


def weighed(*weights: int) -> Race:
    return Race(ToyFamily(5, 6)).update(rows(1, len(weights)), list(weights))


HEAVY = {
    "a weight": lambda: weighed(1, 5, 2),
    "a negative one": lambda: weighed(1, -5, 2),
    "merged in": lambda: weighed(1) | weighed(5),
    "subtracted": lambda: weighed(1).subtract(weighed(5)),
    "taken out again": lambda: (weighed(5, 1) | weighed(2)).subtract(weighed(5, 1)),
    "in an earlier batch": lambda: weighed(5).update(rows(2, 9)),
    "copied": lambda: weighed(5).copy(),
    "saved": lambda: Race.from_bytes(weighed(5).to_bytes()),
    "pickled": lambda: pickle.loads(pickle.dumps(weighed(5))),
    "over outputs": lambda: Race(ToyFamily(5, 6), n_outputs=3).update(rows(1, 2), [[1, -3, 1], [1, 0, 3]]),
    "in a window": lambda: RaceWindow(ToyFamily(5, 6), 3).update(rows(1, 3), [1, 5, 2], pane=1).race(),
    "in a window merged": lambda: (
        RaceWindow(ToyFamily(5, 6), 3).update(rows(1, 1), [5], pane=1)
        | RaceWindow(ToyFamily(5, 6), 3).update(rows(1, 1), [2], pane=3)
    ).race(),
}


@pytest.mark.parametrize("race", HEAVY.values(), ids=HEAVY.keys())
def test_a_release_pays_for_the_heaviest_row(race) -> None:
    sketch = race()
    with pytest.raises(ValueError, match="record_weight must be at least the largest weight of a row, 5"):
        sketch.release(1.0)
    with pytest.raises(ValueError, match=r"at least the largest weight of a row, 5 .*, got 4"):
        sketch.release(1.0, record_weight=4)
    assert sketch.release(1.0, record_weight=5).noise_std == pytest.approx(
        math.sqrt(laplace_variance(30, 1.0))
    )
    assert sketch.release(1.0, check_weights=False).epsilon == 1.0


def test_what_no_row_weighs_need_not_be_paid_for() -> None:
    """Rows weigh 1 and 0, there are none, or heavy ones have left a window or were never in it."""
    for race in (
        weighed(1, 1, -1, 0),
        weighed(0),
        Race(ToyFamily(5, 6)),
        Race(ToyFamily(5, 6)).update(rows(0, 9)),
    ):
        assert race.release(1.0).epsilon == 1.0
    window = RaceWindow(ToyFamily(5, 6), 3).update(rows(1, 2), [1, 5], pane=0).update(rows(1, 1), pane=3)
    window.update(rows(2, 1), [9], pane=0)  # too late for the window
    assert window.race().release(1.0).epsilon == 1.0


def test_weights_beyond_all_counting_are_refused() -> None:
    race = Race(ToyFamily(5, 2), n_outputs=4).update(rows(0, 1), [[2**61] * 4])
    with pytest.raises(ValueError, match=r"does not know .* or cannot count"):
        race.release(1.0, record_weight=1 << 31)


@pytest.mark.parametrize(
    "make",
    [lambda: weighed(1, 1), lambda: RaceWindow(ToyFamily(5, 6), 3).update(rows(1, 2))],
    ids=["whole0", "whole1"],
)
def test_files_from_before_weights_were_kept(make, tmp_path) -> None:
    """They are read as before; whoever vouches for the weights can release them."""
    whole = make()
    data = whole.to_bytes()
    header = header_of(data)
    names = sorted(set(header) - {"__metadata__", "largest_weight", "largest_weights"})
    arrays = {name: whole.state[name].array for name in names}
    old = safetensors.numpy.save(arrays, metadata=header["__metadata__"])
    header = header_of(old)
    digest = xxhash.xxh3_64(b"".join(arrays[name].tobytes() for name in names)).hexdigest()
    header["__metadata__"]["data_xxh3"] = digest
    (tmp_path / "old").write_bytes(with_header(old, header))
    for mmap in (False, True):
        loaded = mergesketch.load(tmp_path / "old", mmap=mmap)
        assert type(loaded) is type(whole) and loaded == whole
        for race in (loaded, loaded | whole, loaded.copy()):
            race = race.race() if isinstance(race, RaceWindow) else race
            with pytest.raises(ValueError, match="which this Race does not know"):
                race.release(1.0)
            assert race.release(1.0, check_weights=False).epsilon == 1.0
        np.testing.assert_array_equal(loaded.query(rows(3, 4)), whole.query(rows(3, 4)))
    # Unknown weights leave the window together with their pane.
    if isinstance(whole, RaceWindow):
        assert loaded.update(rows(0, 1), pane=5).race().release(1.0).epsilon == 1.0


# -- bad input ------------------------------------------------------------------------------------


def test_bad_arguments() -> None:
    race = Race(ToyFamily(5, 10)).update(rows(0, 10))
    for bad in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="epsilon must be a number in"):
            race.release(bad)
    with pytest.raises(ValueError, match="epsilon must lie from"):
        race.release(1e-9)
    with pytest.raises(TypeError, match="epsilon must be a number in"):
        race.release("1")
    with pytest.raises(ValueError, match="record_weight must be an integer from 1"):
        race.release(1.0, record_weight=0)
    with pytest.raises(ValueError, match="release needs integer counters"):
        Race(ToyFamily(5, 10), dtype="float").release(1.0)
    with pytest.raises(ValueError, match="the scale of the noise, is too large"):
        race.release(2.0**-24, record_weight=1 << 31)
    with pytest.raises(TypeError, match="PrivateRace takes no rows"):
        race.release(1.0).update(rows(0, 2))
    with pytest.raises(TypeError, match="PrivateRace cannot subtract"):
        race.release(1.0).subtract(race.release(1.0))


def test_an_empty_sketch_is_released_like_any_other() -> None:
    release = Race(ToyFamily(5, 10)).release(1.0)
    assert release.counts.any()
    assert abs(release.total) < 6 * release.noise_std * math.sqrt(4 / 10)
