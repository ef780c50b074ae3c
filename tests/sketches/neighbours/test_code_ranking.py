"""Test LSHIndex.search with vector codes: the order of their estimates, ids, parts, files and refusals."""

from __future__ import annotations

from typing import Any

import mergesketch
import numpy as np
import pytest
from coded_family import Coded
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LSHIndex, VectorCodes
from mergesketch.lsh import CrossPolytope, PStable, SignedRandomProjection
from mergesketch.sketches.neighbours import code_ranking
from naive import index as naive

#: What is estimated for each metric, and the distance of an estimate.
METRICS: dict[str, tuple[str, Any]] = {
    "angle": ("cosine", lambda cosines: np.arccos(np.clip(cosines, -1.0, 1.0))),
    "euclidean": ("sqeuclidean", lambda squares: np.sqrt(np.maximum(squares, 0.0))),
    "inner_product": ("inner_product", lambda products: products),
}


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(0, 40),
    bits=st.sampled_from([1, 3]),
    n_probes=st.integers(1, 3),
    capacity=st.integers(1, 30),
    n_candidates=st.none() | st.integers(1, 30),
    k=st.integers(1, 8) | st.just(60),
    numbering=st.sampled_from(["from 0", "from 1000", "with gaps"]),
    scored=st.sampled_from([1, 20, 1 << 16]),
    seed=st.integers(0, 2**32),
)
def test_candidates_come_in_the_order_of_their_estimates(
    metric: str,
    n: int,
    bits: int,
    n_probes: int,
    capacity: int,
    n_candidates: int | None,
    k: int,
    numbering: str,
    scored: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    # Rows repeat, so that estimates are equal; some are zeros.
    rows = (rng.integers(-2, 3, (n, 9)) * (rng.random((n, 1)) < 0.9))[rng.integers(0, max(n, 1), n)]
    Q = rng.standard_normal((3, 9))
    gaps = np.sort(rng.choice(10_000, n, replace=False))
    ids = {"from 0": np.arange(n), "from 1000": np.arange(n) + 1000, "with gaps": gaps}[numbering]
    index = LSHIndex(Coded(3, 4, metric), capacity=capacity, seed=seed).add(rows, ids)
    codes = VectorCodes(9, bits, seed=1).update(rows, None if numbering == "from 0" else ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_ranking, "_SCORED", scored)
        found = index.search(Q, codes, k, n_candidates=n_candidates, n_probes=n_probes)
    assert found.ids.shape == found.distances.shape == (3, k)
    kept = naive.kept_by(index, index.family.hash(rows), ids.tolist())
    estimated, in_units = METRICS[metric]
    scores = codes.scores(Q, metric=estimated)
    nearest_first = 1.0 if metric == "euclidean" else -1.0
    for i, probes in enumerate(index.family.probe(Q, n_probes).tolist()):
        keys = dict(zip(ids.tolist(), nearest_first * scores[i], strict=True))
        want_ids, want_keys = naive.index_search(kept, probes, n_candidates, keys, k)  # type: ignore[arg-type]
        assert found.ids[i].tolist() == want_ids
        n_found = sum(number >= 0 for number in want_ids)
        want = in_units(nearest_first * np.array(want_keys[:n_found]))
        np.testing.assert_allclose(found.distances[i, :n_found], want, rtol=1e-15)
        assert (found.distances[i, n_found:] == (-np.inf if metric == "inner_product" else np.inf)).all()


def clusters(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return rows of 64 features around 50 centres."""
    rows = rng.standard_normal((50, 64))[rng.integers(0, 50, n)] + 0.5 * rng.standard_normal((n, 64))
    return rows.astype(np.float32)


@pytest.mark.parametrize(
    "family",
    [
        SignedRandomProjection(64, 12, power=6, seed=2),
        CrossPolytope(64, 12, dimension=32, seed=2),
        PStable(64, 12, p=2, width=9.0, power=2, n_buckets=64, seed=2),
    ],
    ids=lambda family: type(family).__name__,
)
def test_more_bits_come_closer_to_the_rows(family: Any) -> None:
    rng = np.random.default_rng(0)
    rows = clusters(rng, 2000)
    Q = rows[:100] + 0.3 * rng.standard_normal((100, 64))
    index = LSHIndex(family, capacity=256).update(rows)
    exact = index.search(Q, rows, 10)
    shares = []
    for bits in (1, 4, 8):
        found = index.search(Q, VectorCodes(64, bits, seed=1).update(rows), 10)
        shares.append(np.mean([np.isin(a, b).mean() for a, b in zip(found.ids, exact.ids, strict=True)]))
    assert shares[0] < shares[1] < shares[2]
    assert shares[1] > 0.75
    assert shares[2] > 0.95
    # The last ones are of 8 bits, whose standard error is about a hundredth of the distances.
    np.testing.assert_allclose(found.distances, exact.distances, rtol=0.05)


def test_parts_files_and_threads_change_nothing(tmp_path: Any) -> None:
    rng = np.random.default_rng(1)
    rows, deal = clusters(rng, 3000), rng.integers(0, 3, 3000)
    family, center = SignedRandomProjection(64, 8, power=6, seed=2), rows.mean(axis=0)
    index, codes = LSHIndex(family, capacity=300), VectorCodes(64, 2, center=center)
    parts = [np.flatnonzero(deal == part) for part in range(3)]
    indexes = [index.empty_like().update(rows[own], own) for own in parts]
    shards = [codes.empty_like().update(rows[own], own) for own in parts]
    whole = index.empty_like().update(rows), codes.empty_like().update(rows)
    want = whole[0].search(rows[:200], whole[1], 7, n_candidates=100, n_probes=3)
    merged = indexes[2] | indexes[0] | indexes[1], shards[1] | shards[2] | shards[0]
    for one, name in zip(merged, ("index", "codes"), strict=True):
        one.save(tmp_path / name)
    mapped = LSHIndex.load(tmp_path / "index", mmap=True), VectorCodes.load(tmp_path / "codes", mmap=True)
    before = mergesketch.get_num_threads()
    try:
        for threads in (1, 3):
            mergesketch.set_num_threads(threads)
            for with_index, with_codes in (whole, merged, mapped):
                found = with_index.search(rows[:200], with_codes, 7, n_candidates=100, n_probes=3)
                np.testing.assert_array_equal(found.ids, want.ids)
                np.testing.assert_array_equal(found.distances, want.distances)
    finally:
        mergesketch.set_num_threads(before)
    assert mapped == merged == (whole[0], shards[0] | shards[1] | shards[2])


def test_missing_neighbours_are_marked() -> None:
    rows = np.eye(2, 5)
    codes = VectorCodes(5).update(rows)
    for metric, none in (("angle", np.inf), ("euclidean", np.inf), ("inner_product", -np.inf)):
        found = LSHIndex(Coded(2, 1, metric)).add(rows).search(rows[:1], codes, 4)
        assert found.ids.tolist() == [[0, 1, -1, -1]]
        assert found.distances[0, 2:].tolist() == [none, none]
        empty = LSHIndex(Coded(2, 1, metric)).search(rows, VectorCodes(5), 1)
        assert empty.ids.tolist() == [[-1], [-1]]
    assert LSHIndex(Coded(2, 1, "angle")).add(rows).search(rows[:0], codes, 4).ids.shape == (0, 4)


@pytest.mark.slow
def test_ids_beyond_32_bits() -> None:
    rows = np.eye(3, 5)
    ids = np.array([5, 2**40, 2**62])
    index = LSHIndex(Coded(2, 1, "angle"), wide_ids=True).add(rows, ids)
    found = index.search(rows, VectorCodes(5, 4).update(rows, ids), 1)
    assert found.ids[:, 0].tolist() == ids.tolist()


@pytest.mark.parametrize(
    ("metric", "codes", "error", "message"),
    [
        ("cityblock", VectorCodes(4), TypeError, "rows must be the rows themselves for Coded .*'cityblock'"),
        ("jaccard", VectorCodes(4), TypeError, "rows must be the rows themselves for Coded"),
        ("rank", VectorCodes(4), TypeError, "has no distance to rank rows by"),
        ("angle", VectorCodes(5), ValueError, "rows must have 4 columns, as the queries, got codes of 5"),
        ("angle", VectorCodes(4), ValueError, "a row for each id found, got codes of 0 rows and none of id"),
        (
            "angle",
            VectorCodes(4).update(np.ones((2, 4))),
            ValueError,
            "a row for each id found, got codes of 2 rows and none of id 2",
        ),
        (
            "euclidean",
            VectorCodes(4).update(np.ones((3, 4)), [0, 2, 5]),
            ValueError,
            "a row for each id found, got codes of 3 rows and none of id 1",
        ),
        (
            "euclidean",
            VectorCodes(4).update(np.ones((3, 4)), [1, 2, 3]),
            ValueError,
            "a row for each id found, got codes of 3 rows and none of id 0",
        ),
    ],
)
def test_codes_are_refused(metric: str, codes: VectorCodes, error: type[Exception], message: str) -> None:
    index = LSHIndex(Coded(2, 1, metric)).add(np.zeros((3, 4)))
    with pytest.raises(error, match=message):
        index.search(np.ones((1, 4)), codes)
