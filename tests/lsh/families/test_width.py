"""Test families that take their number of features from the first rows, and sketches over them."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy
from mergesketch import (
    AceSketch,
    LSHIndex,
    MergeableSketch,
    NadarayaWatsonSketch,
    Race,
    RaceWindow,
    RepresenterSketch,
    private_classifier,
)
from mergesketch.errors import IncompatibleSketchError
from mergesketch.lsh import (
    CrossPolytope,
    HashFamily,
    InnerProduct,
    PStable,
    SignedRandomProjection,
    WinnerTakeAll,
    family_from_config,
)
from ranks import Ranks, needs_mpi

RNG = np.random.default_rng(0)
ROWS, WIDER = RNG.standard_normal((40, 16)), RNG.standard_normal((40, 20))

MAKERS: dict[str, Callable[[int | None], HashFamily]] = {
    "signs": lambda d: SignedRandomProjection(d, 6, power=4, seed=3),
    "Hadamard": lambda d: SignedRandomProjection(d, 6, power=4, projection="hadamard"),
    "p-stable": lambda d: PStable(d, 6, width=4.0, n_buckets=64),
    "cross-polytope": lambda d: CrossPolytope(d, 6, dimension=16),
    "inner product": lambda d: InnerProduct(d, 6, max_norm=10.0, power=4),
    "winners": lambda d: WinnerTakeAll(d, 6),
}
every_family = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)

SKETCHES: dict[str, tuple[Callable[[HashFamily], Any], Callable[[np.ndarray], tuple[Any, ...]]]] = {
    "LSHIndex": (lambda f: LSHIndex(f, capacity=50), lambda X: (X, np.arange(len(X)))),
    "Race": (Race, lambda X: (X,)),
    "RaceWindow": (lambda f: RaceWindow(f, 3), lambda X: (X,)),
    "AceSketch": (AceSketch, lambda X: (X,)),
    "NadarayaWatsonSketch": (NadarayaWatsonSketch, lambda X: (X, X[:, 0])),
    "RepresenterSketch": (lambda f: RepresenterSketch(f, 1), lambda X: (X, X[:, :1])),
}
every_sketch = pytest.mark.parametrize(("over", "batch"), SKETCHES.values(), ids=SKETCHES)


def signs(n_features: int | None = None) -> SignedRandomProjection:
    return SignedRandomProjection(n_features, 5, power=3, seed=1)


# -- families -------------------------------------------------------------------------------------


@every_family
def test_a_family_takes_the_number_of_features_for_a_call(make: Callable[[int | None], HashFamily]) -> None:
    family, fixed = make(None), make(16)
    assert not family.is_fixed
    assert fixed.is_fixed
    assert family != fixed
    for X in (ROWS, ROWS.tolist(), scipy.sparse.csr_array(ROWS)):
        np.testing.assert_array_equal(family.hash(X), fixed.hash(ROWS))
        np.testing.assert_array_equal(family.hash_query(X), fixed.hash_query(ROWS))
    np.testing.assert_array_equal(family.hash(X=WIDER), make(20).hash(WIDER))
    np.testing.assert_allclose(family.kernel(ROWS, ROWS), fixed.kernel(ROWS, ROWS))
    with pytest.raises(ValueError, match="Y must have 16 columns, got 20"):
        family.kernel(ROWS, WIDER)
    if type(fixed).probe is not HashFamily.probe:
        np.testing.assert_array_equal(family.probe(ROWS, 3), fixed.probe(ROWS, 3))
    # It has not changed, and stays without a number in copies, pickles and configurations.
    assert getattr(family, "n_features") is None  # noqa: B009
    for other in (
        copy.deepcopy(family),
        pickle.loads(pickle.dumps(family)),
        family_from_config(family.config()),
    ):
        assert other == family
    assert family.for_rows(ROWS) == fixed
    assert fixed.for_rows(WIDER) is fixed
    assert family.fixed_like(fixed) == fixed


@every_family
def test_no_rows_fix_nothing(make: Callable[[int | None], HashFamily]) -> None:
    family = make(None)
    for width in (0, 3, 16, 300):
        none = np.zeros((0, width))
        assert family.hash(none).shape == (0, 6)
        assert family.for_rows(none) is family
    with pytest.raises(ValueError, match="Q must be finite"):
        family.hash_query([[np.nan, 1.0]])


def test_rows_that_the_other_arguments_do_not_allow_are_refused() -> None:
    with pytest.raises(ValueError, match="group_size must be at most n_features, 3, got 8"):
        WinnerTakeAll(n_hashes=4).hash(ROWS[:, :3])
    with pytest.raises(ValueError, match="dimension must be an integer from 2 to 256"):
        CrossPolytope(n_hashes=4, dimension=512).hash(ROWS)
    with pytest.raises(ValueError, match="dimension must be given if n_features is None"):
        CrossPolytope(n_hashes=4)
    with pytest.raises(ValueError, match="n_features of this CrossPolytope is None until rows are hashed"):
        CrossPolytope(dimension=16).collision_probability(0.5)
    assert WinnerTakeAll(None, 4).fixed_like(WinnerTakeAll(3, 4, group_size=2)).n_features is None


def test_sparse_projections_still_take_rows_of_any_width() -> None:
    family = SignedRandomProjection(None, 8, power=4, projection="sparse")
    assert family.is_fixed
    race = Race(family).update(ROWS).update(WIDER)
    assert race.family is family
    assert InnerProduct(None, 8, max_norm=1.0, projection="sparse").is_fixed


def test_rows_that_were_read_by_another_family_must_have_the_width() -> None:
    rows = signs().read_rows(WIDER)
    with pytest.raises(ValueError, match="X must have 16 columns, got 20"):
        signs(16).hash(rows)


# -- sketches -------------------------------------------------------------------------------------


@every_sketch
def test_a_sketch_takes_the_number_of_its_first_rows(over: Any, batch: Any, tmp_path: Path) -> None:
    family = signs()
    empty, whole = over(family), over(signs(16)).update(*batch(ROWS))
    first, second = batch(ROWS[:15]), tuple(part[15:] for part in batch(ROWS))
    assert empty.update(*batch(np.zeros((0, 7)))).family is family
    empty.save(tmp_path / "empty")
    for sketch in (
        empty.copy(),
        empty.empty_like(),
        copy.deepcopy(empty),
        pickle.loads(pickle.dumps(empty)),
        mergesketch.load(tmp_path / "empty"),
        type(empty).from_bytes(empty.to_bytes()),
        empty.to("cpu"),
    ):
        assert sketch == empty
        sketch.update(*first).update(*second)
        assert sketch == whole
        with pytest.raises(ValueError, match="X must have 16 columns, got 20"):
            sketch.update(*batch(WIDER))
        assert sketch == whole
    # The family belongs to the caller, and the first sketch, too, is as it was.
    assert family.n_features is None
    assert empty.family is family
    assert family in (empty.family, signs())


@every_sketch
def test_parts_without_rows_merge(over: Any, batch: Any) -> None:
    empty, part, other = (
        over(signs()),
        over(signs()).update(*batch(ROWS)),
        over(signs()).update(*batch(WIDER)),
    )
    for merged in (empty | part, part | empty, empty.copy().merge(empty, part), part.copy().merge(empty)):
        assert merged == part
        assert merged.family == signs(16)
    assert empty | empty == empty
    assert not (empty | empty).family.is_fixed
    for sketch, others in (
        (part, (other,)),
        (empty, (part, other)),
        (empty, (other, empty, part)),
    ):
        before = sketch.copy()
        with pytest.raises(
            IncompatibleSketchError, match=r"differ in family\.n_features: (16|20) here, (16|20)"
        ):
            sketch.merge(*others)
        assert sketch == before
    with pytest.raises(IncompatibleSketchError, match=r"differ in family\.seed"):
        over(SignedRandomProjection(None, 5, power=3, seed=2)).merge(part)


@every_sketch
def test_a_refused_batch_fixes_nothing(over: Any, batch: Any) -> None:
    bad = ROWS.copy()
    bad[-1, 2] = np.nan
    allocated = over(signs())
    allocated.to_bytes()
    for sketch in (over(signs()), allocated):
        with pytest.raises(ValueError, match="X"):
            sketch.update(*batch(bad))
        assert sketch == over(signs())
        sketch.update(*batch(WIDER))
        assert sketch.family == signs(20)


def test_subtraction_takes_the_number_too() -> None:
    part = Race(signs()).update(ROWS)
    assert part.copy().subtract(Race(signs())) == part
    negative = Race(signs()).subtract(part)
    assert negative.family == signs(16)
    assert negative.merge(part).n_updates == 0


def test_queries_of_a_sketch_without_rows_fix_nothing() -> None:
    index, race = LSHIndex(signs()), Race(signs())
    assert (index.query(ROWS, k=2).ids == -1).all()
    assert (index.search(WIDER, WIDER, k=2).ids == -1).all()
    assert (race.query(ROWS) == 0.0).all()
    assert not index.family.is_fixed
    assert not race.family.is_fixed


def test_threads_that_fix_one_sketch_agree() -> None:
    for _ in range(20):
        sketch, barrier = Race(signs()), threading.Barrier(4)
        refused: list[int] = []

        def update(
            X: np.ndarray, sketch: MergeableSketch = sketch, barrier: Any = barrier, refused: Any = refused
        ) -> None:
            barrier.wait()
            try:
                sketch.update(X)
            except ValueError:
                refused.append(X.shape[1])

        threads = [threading.Thread(target=update, args=(X,)) for X in (ROWS, WIDER, ROWS, WIDER)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Two of the four are refused, all of one width.
        assert len(refused) == 2
        assert len(set(refused)) == 1
        assert {sketch.family.n_features, *refused} == {16, 20}  # type: ignore[attr-defined]
        assert sketch.n_updates == 80


def test_private_models_need_the_number() -> None:
    with pytest.raises(TypeError, match="family must be of dense rows of known width"):
        private_classifier(
            ROWS, np.arange(40) % 2, epsilon=1.0, low=-9.0, high=9.0, family=signs(), classes=[0, 1]
        )


OVER_RANKS = """
import numpy as np
import pytest
from mergesketch import LSHIndex, Race
from mergesketch.distributed import DistributedIndex, communicator, merge_over_ranks
from mergesketch.errors import DistributedError, IncompatibleSketchError
from mergesketch.lsh import SignedRandomProjection

comm = communicator()
rank, size = comm.rank, comm.size
X = np.random.default_rng(0).standard_normal((30, 6))
free, fixed = SignedRandomProjection(n_hashes=8, power=3), SignedRandomProjection(6, 8, power=3)

# The first rank has no rows.
ours = X[rank - 1 :: size - 1] if rank else X[:0]
race = Race(free)
if rank:
    race.update(ours)
assert merge_over_ranks(race) == Race(fixed).update(X)
assert not merge_over_ranks(Race(free)).family.is_fixed

differing = Race(free).update(np.ones((1, 3 + rank)))
with pytest.raises(IncompatibleSketchError, match="family.n_features: 3 here, 4 there"):
    merge_over_ranks(differing)
assert differing.family.n_features == 3 + rank

index = DistributedIndex(free, capacity=40)
assert index.add(None).n_rows == 0
with pytest.raises((IncompatibleSketchError, DistributedError)):
    index.add(np.ones((1, 3 + rank)))
assert not index.family.is_fixed
ids = np.arange(30)[rank - 1 :: size - 1] if rank else []
index.add(ours if rank else None, ids=ids)
assert index.family == fixed
assert merge_over_ranks(index.local.copy()) == LSHIndex(fixed, capacity=40).add(X)
assert (index.query(X, k=1).ids[:, 0] >= 0).all()
print("done")
"""


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", [2, 3])
def test_a_rank_without_rows_takes_part(ranks: Ranks, n_ranks: int) -> None:
    ran = ranks.run(n_ranks, OVER_RANKS)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * n_ranks
