"""Test rounds of LabelHash over ranks: the same means as in one process, and failures."""

from __future__ import annotations

import numpy as np
import pytest
from ranks import Ranks, needs_mpi

pytest.importorskip("sklearn")

from mergesketch import LabelHash
from mergesketch.distributed import average_over_ranks
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import SGDClassifier

X, y = np.random.default_rng(0).standard_normal((60, 4)), np.arange(60) % 20


def model() -> LabelHash:
    return LabelHash(SGDClassifier(loss="log_loss", random_state=0), n_repetitions=2, n_buckets=8)


def test_one_rank_has_its_own_model() -> None:
    alone = model().partial_fit(X, y)
    before = alone.decision_function(X)
    assert average_over_ranks(alone, n_rows=60) is alone and alone.n_rows_ == 60
    np.testing.assert_array_equal(alone.decision_function(X), before)


def test_what_is_no_fitted_model_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="model must be a LabelHash, got SGDClassifier"):
        average_over_ranks(SGDClassifier())  # type: ignore[type-var]
    with pytest.raises(NotFittedError):
        average_over_ranks(model())
    fitted = model().partial_fit(X, y)
    for n_rows, error in ((0, ValueError), (-1.0, ValueError), (np.nan, ValueError), ("many", TypeError)):
        with pytest.raises(error, match="n_rows must be a number"):
            average_over_ranks(fitted, n_rows=n_rows)  # type: ignore[arg-type]


RANKS = """
import pickle
import numpy as np
from mergesketch import LabelHash
from mergesketch.distributed import average_over_ranks, communicator
from mergesketch.errors import DistributedError, IncompatibleSketchError
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

comm = communicator()
rank, size = comm.rank, comm.size
rng = np.random.default_rng(0)
centres = rng.standard_normal((20, 30))
y = rng.integers(0, 20, 300)
X = centres[y] + 0.3 * rng.standard_normal((300, 30))
# Each rank has labels of its own, and another number of rows.
parts = [np.flatnonzero(y < 8), np.flatnonzero(y >= 8)]
weights = [part.size for part in parts]
new = lambda solver, **given: LabelHash(solver, **{"n_repetitions": 2, "n_buckets": 8, **given})
sgd = SGDClassifier(loss="log_loss", random_state=0)

for solver, rounds in ((sgd, 20), (MLPClassifier((4,), random_state=0), 1)):
    ours, server = new(solver), None
    for number in range(rounds):
        before = comm.bytes_sent
        average_over_ranks(ours.partial_fit(X[parts[rank]], y[parts[rank]]), weights[rank], comm)
        sent = comm.bytes_sent - before
        trained = [new(solver) if server is None else LabelHash.average([server]) for _ in parts]
        trained = [one.partial_fit(X[part], y[part]) for one, part in zip(trained, parts)]
        server = LabelHash.average(trained, weights=weights)
        if number == 0:
            found, expected = ours.decision_function(X), server.decision_function(X)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
            assert ours.n_rows_ == server.n_rows_ == 300 and (ours.classes_ == np.arange(20)).all()
            # Two ranks send half of the parameters twice.
            assert sent == ours.nbytes - ours.buckets_.nbytes
    if rounds > 1:
        assert ours.score(X, y) > 0.8
    words = comm.allgather(ours.decision_function(X).tobytes())
    assert words == words[:1] * size

def refused(error, text, model, **given):
    before = pickle.dumps(model)
    try:
        average_over_ranks(model, comm=comm, **given)
    except error as raised:
        message = str(raised)
        assert text in message, message
    else:
        raise AssertionError(text)
    assert pickle.dumps(model) == before
    assert comm.allgather(message) == [message] * size

fitted = new(sgd).partial_fit(X, y)
refused(DistributedError, "rank 1 failed: ValueError: n_rows must be a number", fitted, n_rows=1 - rank)
refused(DistributedError, "rank 1 failed: NotFittedError", new(sgd) if rank else fitted)
refused(IncompatibleSketchError, "differ in n_buckets: 8 here, 9 there",
        new(sgd, n_buckets=8 + rank).partial_fit(X, y))
refused(IncompatibleSketchError, "differ in the type of their labels",
        new(sgd).partial_fit(X, y.astype(str) if rank else y))
print("done")
"""


@needs_mpi
def test_rounds_over_ranks_are_those_of_one_process(ranks: Ranks) -> None:
    run = ranks.run(2, RANKS)
    assert [out.strip() for out in run.stdout] == ["done"] * 2, run.stderr
