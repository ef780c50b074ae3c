"""Test DistributedSlideClassifier: the model of one process on any number of ranks, bytes, and failures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mergesketch import SlideClassifier
from mergesketch.distributed import DistributedSlideClassifier
from mergesketch.sketches.learned.slide_sums import added, nodes_of, sum_of_nodes, sums_of_nodes
from ranks import Ranks, needs_mpi, run_apart
from sklearn.utils.estimator_checks import parametrize_with_checks

#: Rows of three labels at most, and functions that compare models.
DATA = """
import numpy as np
import pytest
from mergesketch import SlideClassifier
from mergesketch.distributed import DistributedSlideClassifier, communicator
from mergesketch.errors import DistributedError
from scipy.sparse import csr_matrix

comm = communicator()
rank, size = comm.rank, comm.size
rng = np.random.default_rng(4)
n, n_labels = 90, 40
lists = [sorted(set(rng.integers(0, n_labels, rng.integers(0, 4)).tolist())) for _ in range(n)]
X = csr_matrix(rng.standard_normal((n, 12)) * (rng.random((n, 12)) < 0.4))
# The first rank has no rows if there are others.
cuts = [0] * min(size, 2) + np.sort(rng.integers(1, n, max(size - 2, 0))).tolist() + [n]
mine = np.arange(cuts[rank], cuts[rank + 1])

def of(Y, chosen):
    if not len(chosen):
        return None
    return [Y[i] for i in chosen] if isinstance(Y, list) else Y[chosen]

def rows(chosen):
    return X[chosen] if len(chosen) else None

def arrays(model):
    network = model.network_
    found = [*network.hidden.weights.matrices, network.hidden.weights.steps]
    return found + [array for part in network.ranges for array in part.arrays]

def same(ours, theirs):
    assert len(arrays(ours)) == len(arrays(theirs))
    for a, b in zip(arrays(ours), arrays(theirs)):
        np.testing.assert_array_equal(a, b)
    for name in ("loss_curve_", "mean_labels_", "is_multilabel_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
"""

SAME = (
    DATA
    + """
def check(Y, n_ranges, **given):
    given = {"n_epochs": 2, "batch_size": 16, "rebuild_interval": 2, **given}
    one = SlideClassifier(n_ranges=n_ranges, **given).fit(X, Y)
    model = DistributedSlideClassifier(**given).fit(rows(mine), of(Y, mine))
    same(model.gather(), one)
    for ours, theirs in ((model, one), (model.gather(), one)):
        k = min(4, len(one.classes_))
        some = rows(mine) if ours is model else X
        at = mine if ours is model else np.arange(n)
        assert ours.top_k(some, k).tolist() == one.top_k(X, k)[at].tolist()
    return model, one

def predictions(model, one, Y):
    np.testing.assert_array_equal(model.top_k(rows(mine), 3, search="tables"),
                                  one.top_k(X, 3, search="tables")[mine])
    labels, chances = model.top_k_proba(rows(mine), 3)
    expected, their_chances = one.top_k_proba(X, 3)
    np.testing.assert_array_equal(labels, expected[mine])
    np.testing.assert_allclose(chances, their_chances[mine], rtol=1e-12)
    np.testing.assert_array_equal(model.predict_proba(rows(mine)), one.predict_proba(X)[mine])
    found, expected = model.predict(rows(mine)), one.predict(X)[mine]
    assert (found != expected).nnz == 0 if one.is_multilabel_ else (found == expected).all()
    for k in (1, 3):
        ours, theirs = model.precision_at_k(rows(mine), of(Y, mine), k), one.precision_at_k(X, Y, k)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    np.testing.assert_allclose(model.score(rows(mine), of(Y, mine)), one.score(X, Y), rtol=1e-12)

model, one = check(lists, 8, n_hidden=19, sparsity=0.5, n_hashes=8, power=3)
predictions(model, one, lists)
# A rank may pass what it likes of the queries, and the same rows, too.
assert model.top_k(X, 2).tolist() == one.top_k(X, 2).tolist()

# Training goes on in the same way: over the ranks, on the gathered model, and in one process.
more = model.gather().partial_fit(X[:33], lists[:33])
share = [np.arange(33)[np.arange(33) % 2 == 0], np.arange(33)[np.arange(33) % 2 == 1]]
if size > 1:
    order = np.concatenate(share)
    more = model.gather().partial_fit(X[order], [lists[i] for i in order])
    share = share + [np.arange(0)] * (size - 2)
    model.partial_fit(rows(share[rank]), of(lists, share[rank]))
else:
    model.partial_fit(X[:33], lists[:33])
same(model.gather(), more)

# All kinds of sampling and of weights, few hidden units, and rows that every rank has.
matrix = csr_matrix([[label in own for label in range(n_labels)] for own in lists]).astype(int)
check(matrix, 8, n_hidden=2, sparsity=0.3, weights="bfloat16", negatives="frequency")
check(matrix, 8, n_hidden=17, sparsity=0.3, weights="bfloat16", n_hashes=4, power=3)
uniform = dict(n_hidden=5, sparsity=0.2, negatives="uniform", n_epochs=1, batch_size=32)
shared = DistributedSlideClassifier(**uniform).fit(X, lists, shared=True)
same(shared.gather(), check(lists, 8, **uniform)[1])

# Classes of which a rank has some, and fewer labels than ranks.
y = np.array(["ham", "egg", "tea"])[np.arange(n) // 5 % 3]
model, one = check(y, 3, n_hidden=6)
assert model.gather().predict(X).tolist() == one.predict(X).tolist()
print("done", len(model.network_.ranges), model.bytes_sent_)
"""
)


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", [1, 2, 3, 4])
def test_models_do_not_depend_on_the_number_of_ranks(ranks: Ranks, n_ranks: int) -> None:
    run = ranks.run(n_ranks, SAME, timeout=300.0)
    found = [out.split() for out in run.stdout]
    assert [words[:1] for words in found] == [["done"]] * n_ranks, run.stderr
    assert (
        sorted(int(words[1]) for words in found)
        == {1: [3], 2: [1, 2], 3: [1, 1, 1], 4: [0, 1, 1, 1]}[n_ranks]
    )
    assert all((int(words[2]) > 0) == (n_ranks > 1) for words in found)


BYTES = (
    DATA
    + """
B, H, R, L, steps = 30, 10, 8, 4, 3
given = dict(n_hidden=H, n_epochs=1, batch_size=B, sparsity=0.5, n_hashes=L, power=3)
model = DistributedSlideClassifier(**given).fit(X, lists, shared=True)
units, ranges = H // size, R // size
others = size - 1
step = 4 * B * units * others            # activations
step += 2 * (B // size) * L * others     # codes
step += 2 * 4 * B * others // size       # maxima of rows
step += 2 * 8 * (B // size) * others     # normalisers: parts to their owners, and sums to all
step += 4 * B * units * others           # gradients
step += 8 * others if rank == others else 8  # the loss: to the last rank, and from it
assert model.bytes_sent_ == steps * step, (model.bytes_sent_, steps * step)
own = DistributedSlideClassifier(**given).fit(rows(mine), of(lists, mine))
entries = X[mine].nnz if len(mine) else 0
words = entries * 2 + sum(len(lists[i]) for i in mine) + 2 * len(mine) + steps
assert own.bytes_sent_ == steps * step + 4 * words * others
print("done")
"""
)


@needs_mpi
def test_bytes_are_those_of_what_a_batch_touches(ranks: Ranks) -> None:
    run = ranks.run(2, BYTES)
    assert [out.strip() for out in run.stdout] == ["done"] * 2, run.stderr


REFUSED = (
    DATA
    + """
from mergesketch.sketches.learned.slide_layers import OutputLayer

def refuses(call, match, model=None):
    before = None if model is None else (dict(vars(model)), [a.copy() for a in arrays(model)])
    with pytest.raises(DistributedError, match=match) as caught:
        call()
    assert len(set(comm.allgather(str(caught.value)))) == 1, "ranks got different messages"
    if model is not None:
        assert vars(model) == before[0]
        for a, b in zip(arrays(model), before[1]):
            np.testing.assert_array_equal(a, b)

X = X.toarray()
given = dict(n_hidden=4, n_epochs=1, batch_size=16, sparsity=0.5, n_hashes=4, power=3)
fitted = DistributedSlideClassifier(**given).fit(X, lists)
few, some = X[:9], lists[:9]
for odd in range(size):
    is_odd = rank == odd
    new = DistributedSlideClassifier(**given)
    low, high = (odd, (odd + 1) % size) if odd == 0 else (0, odd)
    for model in (new, fitted):
        own = model if model is fitted else None
        bad = few[:, :5] if is_odd else few
        for fit in (model.fit, model.partial_fit):
            options = {} if fit == model.fit or own else {"n_labels": n_labels}
            if not (own and fit == model.partial_fit):
                refuses(lambda: fit(bad, some, **options),
                        "ranks must agree on the number of features of X: rank 0 has", own)
            refuses(lambda: fit(few * np.nan if is_odd else few, some, **options),
                    f"rank {odd} failed: ValueError: Input X contains NaN", own)
            refuses(lambda: fit(few, None if is_odd else some, **options),
                    f"rank {odd} failed: ValueError: .*y is None", own)
            refuses(lambda: fit(few, some[:8] if is_odd else some, **options),
                    f"rank {odd} failed: ValueError: Y must have 9 rows", own)
            refuses(lambda: fit(few, some, shared=1 if is_odd else False, **options),
                    f"rank {odd} failed: TypeError: shared must be", own)
            refuses(lambda: fit(few, some, shared=is_odd, **options), "ranks must agree on shared", own)
            refuses(lambda: fit(few + is_odd, some, shared=True, **options), "agree on the rows and lab", own)
            refuses(lambda: fit(None, None, **options), "X must have at least one row on at least one", own)
    refuses(lambda: fitted.partial_fit(few[:, :5] if is_odd else few, some),
            f"rank {odd} failed: ValueError: X has 5 features", fitted)
    refuses(lambda: fitted.partial_fit(few, [[n_labels]] * 9 if is_odd else some),
            f"rank {odd} failed: ValueError: .* label ids from 0 to 39, got 40", fitted)
    refuses(lambda: new.fit(few, np.arange(9) if is_odd else some), "ranks must agree on the kind of Y")
    refuses(lambda: new.fit(few, list("abcabcabc") if is_odd else np.arange(9)), "on the kind of classes")
    refuses(lambda: new.fit(few, np.eye(9, 8 + is_odd)), "ranks must agree on n_labels, or the number of col")
    refuses(lambda: new.partial_fit(few, np.arange(9), np.arange(9 + is_odd)), "ranks must agree on classes")
    refuses(lambda: new.partial_fit(few, np.arange(9), None if is_odd else np.arange(9)),
            f"rank {odd} failed: ValueError: classes must be given")
    for name, value in (("learning_rate", 0.1), ("n_epochs", 7), ("random_state", 3), ("batch_size", 5)):
        changed = DistributedSlideClassifier(**{**given, name: value} if is_odd else given)
        refuses(lambda: changed.fit(few, some), f"agree on parameters: .* differ in {name}")
    changed = DistributedSlideClassifier(**{**given, "n_hidden": 0} if is_odd else given)
    refuses(lambda: changed.fit(few, some), f"rank {odd} failed: ValueError: n_hidden must be")
    bad = few[:, :5] if is_odd else few
    for call in (fitted.predict, fitted.predict_proba, lambda X: fitted.top_k(X, 2),
                 lambda X: fitted.precision_at_k(X, some), lambda X: fitted.score(X, some)):
        refuses(lambda: call(bad), f"rank {odd} failed: ValueError: X has 5 features", fitted)
    refuses(lambda: fitted.top_k(few, 2 + is_odd), "ranks must agree on k, search and", fitted)
    refuses(lambda: fitted.top_k(few, 0 if is_odd else 2), f"rank {odd} failed: .*: k must be", fitted)
    way = "trees" if is_odd else "exact"
    refuses(lambda: fitted.top_k(few, 2, search=way), f"rank {odd} failed: .*: search must be one", fitted)
    # A fault in the middle of a step, on one rank.
    sound = OutputLayer.update
    def faulty(*arguments):
        raise MemoryError("no room")
    if is_odd:
        OutputLayer.update = faulty
    before = dict(vars(fitted))
    refuses(lambda: fitted.fit(X, lists), f"rank {odd} failed: MemoryError: no room", fitted)
    OutputLayer.update = sound
# Rows with which steps might overflow are refused before the first step, and labels must be there.
steep = DistributedSlideClassifier(n_hidden=8, n_epochs=3)
refuses(lambda: steep.fit(np.full((20, 3000), 3e38), np.arange(20) % 2), "X must be scaled")
assert not hasattr(steep, "classes_")
refuses(lambda: steep.fit(np.ones((20, 3)), [[]] * 20, n_labels=5), "Y must have a label of at least one")
refuses(lambda: fitted.partial_fit(3e38 * np.ones((2, X.shape[1])), lists[:2]), "X must be scaled", fitted)
refuses(lambda: fitted.predict_proba(3e38 * np.ones((2, X.shape[1]))), "X must be scaled", fitted)
with pytest.raises(TypeError, match="cannot be pickled: pickle what its gather"):
    import pickle
    pickle.dumps(fitted)
same(pickle.loads(pickle.dumps(fitted.gather())), fitted.gather())
print("done")
"""
)


@pytest.mark.slow
@needs_mpi
def test_all_ranks_refuse_what_one_refuses(ranks: Ranks) -> None:
    run = ranks.run(3, REFUSED, timeout=300.0)
    assert [out.strip() for out in run.stdout] == ["done"] * 3, run.stderr


ENDING = (
    DATA
    + """
from mergesketch.distributed.learning.rank_network import RankNetwork
sound = RankNetwork.train
def faulty(self, batch):
    if self.step == 2 and rank == 1:
        raise KeyError("a rank ends")
    return sound(self, batch)
RankNetwork.train = faulty
DistributedSlideClassifier(n_hidden=4, sparsity=0.5, n_epochs=50, batch_size=16).fit(X, lists)
print("not reached")
"""
)


@needs_mpi
@pytest.mark.slow
def test_a_rank_that_raises_between_steps_ends_all_ranks() -> None:
    # The hook of the tests would end the ranks before mpiexec has passed on the message.
    hook = "import sys\nsys.excepthook = sys.__excepthook__\n"
    ran = run_apart(3, hook + ENDING.replace("import pytest\n", ""))
    assert ran.returncode != 0 and "a rank ends" in ran.stderr
    assert not any("not reached" in out for out in ran.stdout)


@given(st.integers(1, 20), st.data())
def test_sums_do_not_depend_on_who_has_which_range(n: int, data: st.DataObject) -> None:
    arrays = [np.array([x]) for x in np.random.default_rng(n).standard_normal(n) * 10.0 ** np.arange(n)]
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=5)))
    bounds = [0, *cuts, n]
    nodes = {}
    for a, b in pairwise(bounds):
        own = sums_of_nodes(arrays[a:b], a, n)
        assert list(own) == nodes_of(a, b, n) and not own.keys() & nodes.keys()
        assert len(own) <= 2 * n.bit_length()
        nodes.update(own)
    assert sum_of_nodes(nodes, n) == added(arrays)
    exact = np.sum(np.concatenate(arrays).astype(np.longdouble))
    np.testing.assert_allclose(float(added(arrays)[0]), float(exact), rtol=1e-9)


def test_parameters_are_those_of_one_process() -> None:
    parameters = DistributedSlideClassifier().get_params()
    assert parameters.pop("comm") is None and parameters.pop("n_ranges") == "auto"
    assert {**parameters, "n_ranges": 1} == SlideClassifier().get_params()


@pytest.mark.slow
@parametrize_with_checks([DistributedSlideClassifier(n_hidden=16, learning_rate=0.05, n_epochs=8)])
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)
