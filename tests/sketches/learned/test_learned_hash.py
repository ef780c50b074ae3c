"""Trained hyperplanes: the naive twins of pairs and losses, what is learned, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LearnedHash, LSHIndex
from mergesketch.lsh import LearnedProjection, SignedRandomProjection
from mergesketch.lsh.support.backend import read_only
from mergesketch.sketches.kernels import learned_hash as kernels
from naive import learned_hash as naive

EXAMPLES = settings(max_examples=max(10, settings.default.max_examples // 4))


@EXAMPLES
@given(st.integers(0, 2**32), st.integers(0, 12), st.integers(1, 15), st.integers(1, 3), st.integers(1, 4))
def test_pairs_are_those_of_the_naive_twin(
    seed: int, n: int, n_neurons: int, tables: int, n_wrong: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, neurons = (rng.integers(0, 4, (size, tables)).astype(np.uint32) for size in (n, n_neurons))
    labels = [np.flatnonzero(rng.random(n_neurons) < 0.3).tolist() for _ in range(n)]
    members = np.argsort(neurons.T, axis=1, kind="stable").astype(np.int32)
    counts = np.stack([np.bincount(column, minlength=4) for column in neurons.T])
    places = np.concatenate([np.zeros((tables, 1), np.int64), np.cumsum(counts, axis=1)], axis=1)
    indptr = np.cumsum([0, *map(len, labels)])
    items = np.array([j for some in labels for j in some], np.int32)
    found, sizes = np.full(items.size, 9, np.uint8), np.zeros(n, np.int64)
    wrong, seen = np.full((n, n_wrong), 99, np.int32), np.full(n_neurons, -1, np.int64)
    half = n // 2
    for start, stop in ((half, n), (0, half)):
        seen[:] = -1
        arguments = (rows, members, places, read_only(indptr), read_only(items), np.uint64(seed), start, stop)
        kernels.find_pairs(*arguments, seen, found, wrong, sizes)
    expected = naive.pairs(rows, neurons, labels, seed, n_wrong)
    assert found.tolist() == [is_there for some in expected[0] for is_there in some]
    assert [[j for j in some if j >= 0] for some in wrong.tolist()] == expected[1]
    assert sizes.tolist() == expected[2]


@pytest.mark.parametrize("kind", ["codes", "tables"])
@pytest.mark.parametrize("sign", [1, -1])
def test_losses_and_gradients_are_those_of_the_definition(kind: str, sign: int) -> None:
    """The derivative is compared with differences of the naive loss."""
    rng = np.random.default_rng(5)
    tables, power, d, how = 3, 2, 5, 0.7
    planes = rng.standard_normal((tables * power, d))
    X, W = (rng.standard_normal((4, d)).astype(np.float32) for _ in range(2))
    rows, neurons = np.array([0, 3, 1], np.int32), np.array([2, 2, 0], np.int32)
    signs, turned = np.full(3, sign, np.int8), np.ascontiguousarray(planes.T, np.float32)
    left, right, slopes = (np.empty((3, tables * power), np.float32) for _ in range(3))
    losses, gradients = np.empty(3), np.zeros(planes.shape, np.float32)
    kernels.relaxed_codes(X, rows, turned, 0, 3, left)
    kernels.relaxed_codes(W, neurons, turned, 0, 3, right)
    if kind == "codes":
        kernels.slopes_of_codes(left, right, signs, how, 0, 3, slopes, losses)
    else:
        kernels.slopes_of_tables(left, right, signs, power, how, 0, 3, slopes, losses)
    kernels.add_pair_gradients(X, rows, W, neurons, left, right, slopes, 0, len(planes), gradients)

    def total(planes: np.ndarray) -> float:
        return sum(
            naive.loss(planes, X[i].astype(float), W[j].astype(float), sign, kind, how, power)
            for i, j in zip(rows, neurons, strict=True)
        )

    assert losses.sum() == pytest.approx(total(planes), rel=1e-5)
    step = 1e-6
    for at in np.ndindex(planes.shape):
        moved = np.zeros(planes.shape)
        moved[at] = step
        slope = (total(planes + moved) - total(planes - moved)) / (2 * step)
        assert gradients[at] == pytest.approx(slope, rel=1e-4, abs=1e-5), at


def layer(n: int = 600, n_neurons: int = 200, d: int = 12, seed: int = 0) -> tuple[Any, Any, Any]:
    """Return neurons, rows near one neuron each in half of the features, and the neurons as labels."""
    rng = np.random.default_rng(seed)
    neurons = rng.standard_normal((n_neurons, d))
    labels = rng.integers(0, n_neurons, n)
    X = rng.standard_normal((n, d))
    X[:, : d // 2] = neurons[labels, : d // 2] + 0.3 * X[:, : d // 2]
    return neurons, X, scipy.sparse.csr_array((np.ones(n), (np.arange(n), labels)), shape=(n, n_neurons))


def recall_and_size(family: Any, neurons: Any, X: Any, Y: Any) -> tuple[float, float]:
    shared = (family.hash(X)[:, None, :] == family.hash(neurons)[None]).any(axis=2)
    return float(shared[Y.nonzero()].mean()), float(shared.sum(axis=1).mean())


def small(**others: Any) -> LearnedHash:
    return LearnedHash(n_hashes=4, power=4, n_rounds=6, seed=1, **others)


def test_learned_tables_find_more_labels_of_new_rows_among_fewer_candidates() -> None:
    neurons, X, Y = layer(n=1500)
    learned = LearnedHash(6, 4, n_rounds=12, batch_size=128, seed=1).fit(neurons, X[:1100], Y[:1100])
    recall, size = recall_and_size(learned.family, neurons, X[1100:], Y[1100:])
    # Eight random tables have more candidates than the six that are trained.
    drawn = [
        recall_and_size(SignedRandomProjection(12, 8, power=4, seed=seed), neurons, X[1100:], Y[1100:])
        for seed in range(20)
    ]
    random_recall, random_size = np.mean(drawn, axis=0)
    spread = np.std([one for one, _ in drawn], ddof=1)
    assert recall > random_recall + 3 * spread
    assert size < random_size
    first, last = learned.rounds[0], learned.rounds[-1]
    assert (first.n_positive, first.n_negative <= 4 * 1100) == (1100, True)
    assert last.recall > first.recall


def test_what_a_round_tells_is_true_of_the_tables() -> None:
    neurons, X, Y = layer(n=80)
    learned = LearnedHash(n_hashes=3, power=3, n_rounds=1, seed=4).fit(neurons, X, Y)
    more = LearnedHash(n_hashes=3, power=3, n_rounds=2, seed=4).fit(neurons, X, Y)
    assert more.rounds[0] == learned.rounds[0]
    recall, size = recall_and_size(learned.family, neurons, X, Y)
    assert (more.rounds[1].recall, more.rounds[1].candidates) == (recall, size)
    missed = LearnedHash(n_hashes=3, power=3, loss="codes", n_rounds=1, seed=4).fit(neurons, X, Y)
    assert missed.rounds[0].n_positive == round(80 * (1.0 - missed.rounds[0].recall))


def test_training_depends_on_the_seed_alone() -> None:
    neurons, X, Y = layer(n=300)
    before = mergesketch.get_num_threads()
    try:
        made = []
        for threads in (1, 3):
            mergesketch.set_num_threads(threads)
            made.append(small().fit(neurons, X, Y))
    finally:
        mergesketch.set_num_threads(before)
    assert made[0].family == made[1].family
    assert made[0].rounds == made[1].rounds
    assert LearnedHash(4, 4, n_rounds=6, seed=2).fit(neurons, X, Y).family != made[0].family
    # Directions alone count, in any container.
    twice = small().fit(scipy.sparse.csc_matrix(4 * neurons), np.asfortranarray(0.5 * X), Y.toarray() * 3)
    assert twice.family == made[0].family


def test_a_family_works_in_an_index_and_its_files() -> None:
    neurons, X, Y = layer(n=200)
    learned = small(metric="angle").fit(neurons, X, Y)
    assert learned.family.metric == "angle"
    loads = learned.loads(neurons)
    assert loads.shape == (4, 16)
    assert loads.sum(axis=1).tolist() == [200] * 4
    index = LSHIndex(learned.family, capacity=int(loads.max()))
    parts = index.copy().update(neurons[:90]), index.copy().update(neurons[90:], first_id=90)
    whole = mergesketch.from_bytes(index.copy().update(neurons).to_bytes())
    assert parts[0] | parts[1] == whole
    assert isinstance(whole, LSHIndex)
    assert whole.family == learned.family
    shared = (learned.family.hash(X)[:, None, :] == learned.family.hash(neurons)[None]).sum(axis=2)
    counts = whole.query(X, k=1).counts
    assert counts[:, 0].tolist() == shared.max(axis=1).tolist()
    np.testing.assert_allclose(
        whole.kernel_estimate(counts), learned.family.kernel(X, neurons).max(1)[:, None]
    )
    with pytest.raises(TypeError, match="not random"):
        whole.distance_estimate(counts)
    other = LSHIndex(LearnedHash(4, 4, n_rounds=1, metric="angle").fit(neurons, X, Y).family)
    with pytest.raises(mergesketch.errors.IncompatibleSketchError, match="vectors"):
        other.merge(LSHIndex(learned.family))


def test_training_goes_on_from_a_family() -> None:
    neurons, X, Y = layer(n=200)
    first = small().fit(neurons, X, Y).family
    again = small().fit(neurons, X, Y, start=first)
    assert again.rounds[0].recall == recall_and_size(first, neurons, X, Y)[0]
    with pytest.raises(ValueError, match="start must have 4 hashes"):
        small().fit(neurons, X, Y, start=LearnedProjection(np.eye(12)))
    with pytest.raises(TypeError, match="start must be a LearnedProjection"):
        small().fit(neurons, X, Y, start=SignedRandomProjection(12))  # type: ignore[arg-type]


def test_equal_parameters_and_equal_results_are_equal() -> None:
    neurons, X, Y = layer(n=50)
    learned = small().fit(neurons, X, Y)
    assert learned == copy.deepcopy(learned) == small().fit(neurons, X, Y)
    assert learned != small()
    assert learned != small().fit(neurons, X[::-1], Y)
    assert small() == small()


def test_bad_arguments_are_refused_and_change_nothing() -> None:
    neurons, X, Y = layer(n=50)
    learned = small()
    with pytest.raises(ValueError, match="call fit"):
        learned.family  # noqa: B018
    with pytest.raises(ValueError, match="call fit"):
        learned.loads(neurons)
    learned.fit(neurons, X, Y)
    family = learned.family
    nan = np.where(np.arange(12) == 3, np.nan, X)
    for match, arguments in {
        "^neurons must have 12": (neurons[:, :5], X, Y),
        "^neurons must have at least": (neurons[:0], X, Y[:, :0]),
        "^X must be finite": (neurons, nan, Y),
        "^Y must have 50 rows": (neurons, X, Y[:9]),
        "^Y must be an indicator matrix": (neurons[:1], X, np.arange(50)[:, None] % 5),
        "^Y must have 200 columns": (neurons, X, Y[:, :9]),
        "^Y must have numbers of at least 0": (neurons, X, -Y),
        "^Y must have a label": (neurons, X, 0 * Y),
    }.items():
        with pytest.raises(ValueError, match=match):
            learned.fit(*arguments)
    with pytest.raises(ValueError, match="at most 180,224 numbers"):
        LearnedHash(300, 16).fit(np.ones((2, 100)), np.ones((1, 100)), [[1, 0]])
    assert learned.family is family
    for name, value in {
        "n_hashes": 0, "power": 17, "loss": "hinge", "n_rounds": True, "n_negatives": 0, "batch_size": 0,
        "negative_weight": 0.0, "learning_rate": np.nan, "metric": "jaccard", "seed": -1,
    }.items():  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=f"^{name} must"):
            LearnedHash(**{name: value})
    with pytest.raises(AttributeError, match="cannot change"):
        learned.power = 5


def test_rows_of_zeros_and_one_neuron() -> None:
    learned = small().fit(np.zeros((1, 3)), np.zeros((2, 3)), [[1], [0]])
    assert learned.rounds[-1].recall == 1.0
    assert np.isfinite(learned.family.vectors).all()
