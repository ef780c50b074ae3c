"""Soft collisions: the naive twin, the limit of hard collisions, the expectation, and what is refused."""

from __future__ import annotations

from typing import Any

import fake_cupy
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mergesketch import SoftCollisions, VectorCodes
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from mergesketch.lsh import PStable, SignedRandomProjection
from naive import soft_collisions as naive
from structured_rows import MAKERS

cupy = fake_cupy.install()

#: All tests but those of the naive twin take rows of this width.
D = 20


def rows_of(n: int, d: int = D, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def make(n_hashes: int = 12, power: int = 4, tau: float = 0.3, seed: int = 1) -> SoftCollisions:
    return SoftCollisions(SignedRandomProjection(D, n_hashes, power=power, seed=seed), tau)


# -- what scores are ------------------------------------------------------------------------------


@given(
    hnp.arrays(np.float64, (3, 5), elements=st.floats(-5, 5) | st.sampled_from([0.0, 1.0, 1.0])),
    st.integers(1, 5),
    st.sampled_from([0.01, 0.3, 2.0]),
    st.integers(0, 5),
)
@settings(max_examples=25)
def test_scores_equal_the_naive_twin(X: np.ndarray, power: int, tau: float, seed: int) -> None:
    family = SignedRandomProjection(5, 4, power=power, seed=seed)
    norms = np.array([0.0, 1.0, 2.5])
    soft = SoftCollisions(family, tau).update(X, norms=norms)
    vectors = soft._vectors.T.astype(np.float64).reshape(power, 4, 5).swapaxes(0, 1)
    expected = naive.scores(X[::-1], X, vectors, tau, norms)
    np.testing.assert_allclose(soft.scores(X[::-1]), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("power", [1, 8, 10])
def test_probabilities_of_a_table_sum_to_one(power: int) -> None:
    soft = make(6, power)
    tables = soft._tables(soft._read_queries(np.vstack([rows_of(3), np.zeros((1, D)), 1e6 * rows_of(1)])))
    assert tables.shape == (5, 6, 1 << power) and tables.min() >= 0.0
    np.testing.assert_allclose(tables.sum(axis=2, dtype=np.float64), 1.0, rtol=1e-5)
    # A query of zeros prefers no code.
    assert (tables[3] == 0.5**power).all()


@pytest.mark.parametrize("power", [3, 9])
def test_small_tau_counts_hard_collisions(power: int) -> None:
    X, Q = rows_of(50), rows_of(6, seed=1)
    soft = make(30, power, tau=1e-8).update(X)
    codes, asked = soft.family.hash(X), soft.family.hash(Q)
    np.testing.assert_array_equal(soft.scores(Q), (asked[:, None] == codes[None]).sum(axis=2))


@pytest.mark.parametrize("name", [*MAKERS, "normal"])
def test_scores_have_their_expectation(name: str) -> None:
    n_tables, power, tau = 4000, 2, 0.2
    made = MAKERS[name](3, D, 3) if name in MAKERS else rows_of(3)
    Q = np.vstack([made[:1], rows_of(1, seed=5)])
    scores = make(n_tables, power, tau).update(made).scores(Q) / n_tables
    for q in range(2):
        length = float(np.linalg.norm(Q[q]))
        for j in range(3):
            cosine = float(Q[q] @ made[j]) / length / float(np.linalg.norm(made[j]))
            expected = naive.expected_score(min(cosine, 1.0), length, power, tau, D)
            # Tables are independent, and each adds a number p in [0, 1], of variance below E(p) (1 - E(p)).
            error = np.sqrt(expected * (1.0 - expected) / n_tables)
            assert abs(scores[q, j] - expected) < 6.0 * error


def test_scores_fall_with_the_angle() -> None:
    angles = np.linspace(0.0, np.pi, 9)
    keys = np.zeros((9, D))
    keys[:, 0], keys[:, 1] = np.cos(angles), np.sin(angles)
    scores = make(2000, 4).update(keys).scores(5.0 * keys[:1])[0]
    # Neighbours differ by many standard errors.
    assert (np.diff(scores) < 0.0).all()
    # Lengths of keys have no effect.
    np.testing.assert_array_equal(scores, make(2000, 4).update(7.0 * keys).scores(5.0 * keys[:1])[0])


# -- ranks, some keys, batches --------------------------------------------------------------------


@pytest.mark.parametrize("norms", [None, np.arange(300) % 5 + 0.5])
def test_ranks_and_some_keys_have_the_scores_of_all_keys(norms: np.ndarray | None) -> None:
    X, Q = np.vstack([rows_of(200), rows_of(100)]), rows_of(9, seed=1)
    soft = make().update(X, norms=norms)
    scores = soft.scores(Q)
    order = np.argsort(-scores, axis=1, kind="stable")
    for k in (1, 30, 300):
        found = soft.search(Q, k)
        np.testing.assert_array_equal(found.ids, order[:, :k])
        np.testing.assert_array_equal(found.distances, np.take_along_axis(scores, order[:, :k], 1))
    np.testing.assert_array_equal(soft.scores(Q, order), np.take_along_axis(scores, order, 1))
    np.testing.assert_array_equal(soft.scores(Q, [5, 5, 0]), scores[:, [5, 5, 0]])
    np.testing.assert_array_equal(np.vstack([soft.scores(q[None]) for q in Q]), scores)


def test_blocks_of_queries_have_the_scores_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from mergesketch.sketches.neighbours import soft_collisions as module

    X, Q = rows_of(50), rows_of(9, seed=1)
    soft = make().update(X)
    scores, found, some = soft.scores(Q), soft.search(Q, 7), soft.scores(Q, np.arange(18).reshape(9, 2))
    monkeypatch.setattr(module, "_ENTRIES", 4 * 12 * 16)
    np.testing.assert_array_equal(soft.scores(Q), scores)
    np.testing.assert_array_equal(soft.search(Q, 7).ids, found.ids)
    np.testing.assert_array_equal(soft.scores(Q, np.arange(18).reshape(9, 2)), some)


def test_soft_scores_find_the_nearest_keys_that_hard_collisions_miss() -> None:
    X = rows_of(500)
    Q = X[:40] + 0.8 * rows_of(40, seed=1)
    hits = [
        (make(30, 8, tau).update(X).search(Q, 1).ids[:, 0] == np.arange(40)).mean() for tau in (1e-8, 0.3)
    ]
    assert hits[1] > hits[0] + 0.1


def test_vector_codes_take_the_same_calls() -> None:
    X = rows_of(30)
    for made in (make(), VectorCodes(D, 4)):
        made.update(X[:20]).update(X[20:])
        assert made.scores(X[:3]).shape == (3, 30) and made.scores(X[:3], [1, 2]).shape == (3, 2)
        assert made.search(X[:3], 2).ids[:, 0].tolist() == [0, 1, 2]


# -- updates, merging, files ----------------------------------------------------------------------


def test_forms_and_dtypes_give_equal_codes() -> None:
    X = np.random.default_rng(0).integers(-8, 9, (15, D)).astype(np.float64)
    expected = make().update(X)
    given: list[Any] = [X.astype(dtype) for dtype in ("f4", "f2", ">f8", "i1")]
    given += [np.asfortranarray(X), X.tolist(), scipy.sparse.csr_matrix(X)]
    for rows in given:
        assert make().update(rows) == expected
        np.testing.assert_array_equal(expected.scores(rows), expected.scores(X))


def test_codes_of_parts_are_those_of_the_whole() -> None:
    X, norms = rows_of(41), np.arange(41) / 7
    empty = make()
    whole = empty.copy().update(X, norms=norms)
    parts = [empty.copy().update(X[a:b], norms=norms[a:b]) for a, b in ((0, 7), (7, 41))]
    assert parts[0] | parts[1] == whole
    grown = empty.copy()
    for i in range(0, 41, 3):
        grown.update(X[i : i + 3], norms=norms[i : i + 3])
    assert grown == whole and grown.update(X[:0]) == whole and grown.empty_like() == empty
    assert grown.merge(grown) == whole.copy().update(X, norms=norms) and len(grown) == 82
    assert SoftCollisions.from_bytes(whole.to_bytes()) == whole
    # A copy that grows leaves the keys that both have.
    before = whole.to_bytes()
    whole.copy().update(X, norms=norms)
    assert whole.to_bytes() == before


def test_merges_by_ids_depend_on_no_order() -> None:
    X, ids = rows_of(30), np.random.default_rng(1).permutation(1000)[:30]
    norms = ids + 1.0
    parts = [make().update(X[i::3], ids[i::3], norms=norms[i::3]) for i in range(3)]
    a, b, c = parts
    merged = a | b | c
    assert merged == c | (b | a) == make().update(X, ids, norms=norms)
    np.testing.assert_array_equal(merged.ids, np.sort(ids))
    np.testing.assert_array_equal(merged._arrays["norms"], np.sort(ids) + 1.0)
    assert set(merged.search(X, 30).ids[0]) == set(ids)
    with pytest.raises(IncompatibleSketchError, match="ids must be distinct"):
        a | a
    before = a.copy()
    for wrong in (ids[:1], [0.5], [-1], [1, 2], [2**63]):
        with pytest.raises(ValueError, match=r"^ids must be"):
            a.update(X[:1], wrong, norms=[1.0])
    for wrong in ([1.0, 2.0], [-1.0], [np.nan], [np.inf], [1e39], 3.0):
        with pytest.raises(ValueError, match=r"^norms must"):
            a.update(X[:1], [2000], norms=wrong)
    with pytest.raises(ValueError, match="ids must be given for all rows or for none"):
        a.update(X, norms=norms)
    with pytest.raises(ValueError, match="norms must be given for all rows or for none"):
        a.update(X[:1], [2000])
    with pytest.raises(IncompatibleSketchError, match="for all rows or for none"):
        a | make().update(X)
    assert a == before


def test_others_do_not_merge() -> None:
    for other in (make(tau=0.2), make(seed=2), make(power=5), VectorCodes(D), 3):
        with pytest.raises(IncompatibleSketchError):
            make().merge(other)  # type: ignore[arg-type]


def test_a_mapped_file_is_searched_and_grows_in_memory(tmp_path: Any) -> None:
    X = rows_of(40)
    soft = make().update(X)
    soft.save(tmp_path / "soft")
    mapped = SoftCollisions.load(tmp_path / "soft", mmap=True)
    np.testing.assert_array_equal(mapped.search(X, 3).ids, soft.search(X, 3).ids)
    assert mapped.update(X) == soft.copy().update(X)
    assert SoftCollisions.load(tmp_path / "soft") == soft


def test_forged_files_are_refused() -> None:
    soft = make(power=4).update(rows_of(4), [1, 2, 3, 4], norms=np.ones(4))
    forged: list[tuple[str, Any]] = [
        ("codes", np.full((4, 12), 16, np.uint8)),
        ("codes", np.zeros((4, 11), np.uint8)),
        ("norms", np.full(4, np.nan, np.float32)),
        ("norms", np.full(4, -1.0, np.float32)),
        ("norms", np.ones(3, np.float32)),
        ("ids", np.array([1, 2, 2, 4])),
    ]
    for name, array in forged:
        copy = soft.copy()
        copy._arrays[name] = array
        with pytest.raises(SketchFormatError, match=name):
            SoftCollisions.from_bytes(copy.to_bytes())


# -- what is refused ------------------------------------------------------------------------------


def test_wrong_parameters_are_refused() -> None:
    families: list[Any] = [
        3,
        PStable(D, 4, width=1.0),
        SignedRandomProjection(D, 4, power=17),
        SignedRandomProjection(1, 1025, power=16),
        SignedRandomProjection(D, 4, power=4, n_buckets=8),
        SignedRandomProjection(None, 4),
        SignedRandomProjection(D, 4, projection="hadamard"),
    ]
    for family in families:
        with pytest.raises((TypeError, ValueError), match=r"^family must"):
            SoftCollisions(family)
    for tau in (0.0, -1.0, np.nan, np.inf, "1", True):
        with pytest.raises((TypeError, ValueError), match=r"^tau must"):
            make(tau=tau)  # type: ignore[arg-type]


def test_wrong_queries_are_refused() -> None:
    soft, Q = make().update(rows_of(4)), rows_of(2)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"Q": rows_of(2, 4)}, "Q"),
        ({"Q": np.full((1, D), np.nan)}, "Q"),
        ({"Q": Q, "rows": [4]}, "rows"),
        ({"Q": Q, "rows": [-1]}, "rows"),
        ({"Q": Q, "rows": [0.5]}, "rows"),
        ({"Q": Q, "rows": [[1]]}, "rows"),
    ]
    for arguments, name in wrong:
        with pytest.raises((TypeError, ValueError), match=f"^{name} must"):
            soft.scores(**arguments)
    with pytest.raises(ValueError, match=r"^k must"):
        soft.search(Q, 0)
    with pytest.raises(ValueError, match=r"^X must"):
        soft.update(rows_of(1, 4))


def test_without_keys_none_are_found() -> None:
    soft = make()
    assert soft.scores(rows_of(2)).shape == (2, 0)
    found = soft.update(np.zeros((0, D))).search(rows_of(2), 2)
    assert found.ids.tolist() == [[-1, -1]] * 2 and (found.distances == -np.inf).all()
    assert soft.search(np.zeros((0, D))).ids.shape == (0, 10)


def test_long_queries_are_scored() -> None:
    X = rows_of(20)
    soft = make().update(X)
    longest = X / np.abs(X).max(axis=1, keepdims=True) * np.finfo(np.float64).max
    expected = soft.scores(1e30 * X)
    np.testing.assert_array_equal(soft.scores(longest), expected)
    np.testing.assert_array_equal(soft.scores(1e200 * X), expected)
    assert (soft.scores(np.full((1, D), 5e-324)) == 12 / 16).all()


# -- on a GPU -------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_a_gpu_has_the_codes_and_scores_of_the_cpu() -> None:
    X, ids, norms = rows_of(60), np.random.default_rng(1).permutation(60), np.arange(60) + 0.5
    here = make().update(X, ids, norms=norms)
    there = make().to("gpu").update(cupy.asarray(X[:30]), ids[:30], norms=norms[:30])
    there.merge(make().update(X[30:], ids[30:], norms=norms[30:]))
    assert there.device == "gpu" and there == here and there.empty_like().device == "gpu"
    Q = cupy.asarray(X[:5])
    np.testing.assert_allclose(there.scores(Q).get(), here.scores(X[:5]), rtol=1e-6)
    np.testing.assert_allclose(there.scores(Q, [3, 1]).get(), here.scores(X[:5], [3, 1]), rtol=1e-6)
    np.testing.assert_array_equal(there.search(Q, 4).ids.get(), here.search(X[:5], 4).ids)
    for call in (here.update, here.scores):
        with pytest.raises(TypeError, match="lies on the GPU"):
            call(Q)
