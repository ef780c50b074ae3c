"""Codes of vectors: the naive twin, the bias and the standard error, and what is refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mergesketch import VectorCodes
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from naive import vector_codes as naive
from structured_rows import MAKERS, few_entries

METRICS = ("inner_product", "cosine", "sqeuclidean")
#: All tests take these widths, and float64, so that few kernels are compiled.
WIDTHS = (1, 3, 50, 64, 130, 256, 300)


def rows_of(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def exact(Q: np.ndarray, X: np.ndarray, metric: str) -> np.ndarray:
    if metric == "sqeuclidean":
        return ((Q[:, None] - X[None]) ** 2).sum(axis=2)
    products = Q @ X.T
    if metric == "cosine":
        lengths = np.linalg.norm(Q, axis=1)[:, None] * np.linalg.norm(X, axis=1)
        return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return products


# -- the naive twin -------------------------------------------------------------------------------


@pytest.mark.parametrize("d", WIDTHS)
def test_rotations_are_orthogonal_and_equal_the_naive_twin(d: int) -> None:
    codes, size = VectorCodes(d, seed=3), -(-d // 64) * 64
    matrix = naive.rotation(*codes._rotation, size)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-5)
    # A query of 16 bits shows the rotated row.
    row = rows_of(1, d, 1)
    queries = codes._round(row, "inner_product", 16)
    rotated = np.array(naive.decode_query(queries.planes[0])) * queries.terms[0, 1]
    np.testing.assert_allclose(rotated, matrix[:, :d] @ row[0], atol=np.abs(row).max() * 1e-3)


@given(
    hnp.arrays(np.float64, (2, 70), elements=st.floats(-5, 5) | st.sampled_from([0.0, 1.0, 1.0])),
    st.integers(1, 8),
    st.sampled_from([4, 8, 12]),
    st.integers(0, 5),
)
@settings(max_examples=15)
def test_scores_equal_the_naive_twin(X: np.ndarray, bits: int, query_bits: int, seed: int) -> None:
    codes = VectorCodes(70, bits, seed=seed).update(X)
    queries = codes._round(X[::-1], "inner_product", query_bits)
    matrix = naive.rotation(*codes._rotation, 128)
    scores = codes.scores(X[::-1], query_bits=query_bits)
    for i in range(2):
        codeword = naive.decode(codes._arrays["codes"][i], bits)
        if not X[i].any():
            assert not scores[:, i].any()
            continue
        for q in range(2):
            rounded = np.array(naive.decode_query(queries.planes[q])) * queries.terms[q, 1]
            expected = naive.estimate(matrix[:, :70] @ X[i], X[1 - q], codeword, rounded)
            np.testing.assert_allclose(scores[q, i], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_codewords_are_nearly_the_best(bits: int) -> None:
    X = np.vstack([rows_of(3, 64), np.eye(64)[:1], np.ones((1, 64))])
    codes = VectorCodes(64, bits, seed=2).update(X)
    rotated = X @ naive.rotation(*codes._rotation, 64).T
    for i in range(len(X)):
        codeword = np.array(naive.decode(codes._arrays["codes"][i], bits), np.float64)
        lost = naive.best_cosine(rotated[i], bits) - naive.cosine(rotated[i], codeword)
        assert -1e-6 < lost < 0.002


def test_ranks_and_some_rows_have_the_scores_of_all_rows() -> None:
    X, Q = rows_of(700, 130), rows_of(9, 130, 1)
    codes = VectorCodes(130, 2, center=X[0], seed=1).update(X)
    for metric in METRICS:
        scores = codes.scores(Q, metric=metric)
        order = np.argsort(scores if metric == "sqeuclidean" else -scores, axis=1, kind="stable")[:, :20]
        found = codes.search(Q, 20, metric=metric)
        np.testing.assert_array_equal(found.ids, order)
        np.testing.assert_array_equal(found.distances, np.take_along_axis(scores, order, 1))
        some, std = codes.scores(Q, order, metric=metric, return_std=True)
        np.testing.assert_array_equal(some, found.distances)
        every = codes.scores(Q, metric=metric, return_std=True)[1]
        np.testing.assert_array_equal(std, np.take_along_axis(every, order, 1))
        np.testing.assert_array_equal(codes.scores(Q, [5, 5, 0], metric=metric), scores[:, [5, 5, 0]])


# -- bias and standard error ----------------------------------------------------------------------


@pytest.mark.parametrize("d", [64, 300])
@pytest.mark.parametrize("bits", [1, 3])
def test_estimates_have_no_bias_and_the_stated_error(bits: int, d: int) -> None:
    n_seeds = 40
    rows = [make(4, d, 1) for make in MAKERS.values()]
    X = np.vstack([*rows, rows_of(4, d), np.ones((1, d)), np.arange(d)[None] ** 2.0])
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    # The last queries are near rows, or rows themselves.
    near = X[-9:-4] + 0.5 * rows_of(5, d, 3) / np.sqrt(d)
    Q = np.vstack([rows_of(3, d, 2), np.eye(d)[:1], few_entries(2, d, 9), near, X[-3:]])
    Q = Q / np.linalg.norm(Q, axis=1, keepdims=True)
    for metric, center in (("inner_product", None), ("sqeuclidean", X.mean(axis=0)), ("cosine", X[0] / 2)):
        errors = []
        for seed in range(n_seeds):
            codes = VectorCodes(d, bits, center=center, seed=seed).update(X)
            scores, std = codes.scores(Q, metric=metric, return_std=True)
            difference = scores - exact(Q, X, metric)
            # A row that is the centre is known exactly.
            errors.append(np.divide(difference, std, out=np.zeros_like(std), where=std > 1e-7))
        z = np.array(errors)
        # The mean of n_seeds errors has a standard error of 1 / sqrt(n_seeds) at most.
        assert np.abs(z.mean(axis=0)).max() * np.sqrt(n_seeds) < 6.0
        # The squares have mean 1 at most; a square has variance 2, and errors of one seed depend on another.
        assert (z**2).mean() < 1.0 + 6.0 * np.sqrt(2.0 / n_seeds)
        assert (z[:, :3, -6:] ** 2).mean() > 0.5
        # Standard errors of rows near the query are smaller, and not much larger than the errors.
        beside = std[range(6, 11), range(len(X) - 9, len(X) - 4)]
        assert metric == "cosine" or (beside < 0.9 * std[0].max()).all()
        assert (np.abs(z) > 4.5).mean() < 1e-3


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("with_center", [True, False])
@pytest.mark.parametrize("distance", [1e3, 1e6])
def test_stated_errors_cover_far_from_the_origin(distance: float, with_center: bool, metric: str) -> None:
    # Lengths of rows, and their products with the centre, are kept as float32: an error beside that of codes.
    center = distance * rows_of(1, 64, 5)[0]
    X = center + rows_of(200, 64)
    Q = np.vstack([center + rows_of(5, 64, 1), 3.0 * center + rows_of(5, 64, 2), rows_of(5, 64, 3)])
    codes = VectorCodes(64, 8, center=center if with_center else None, seed=1).update(X)
    scores, std = codes.scores(Q, metric=metric, query_bits=16, return_std=True)
    # The last bits of float64, in which the exact numbers are computed.
    last = {"cosine": 1e-14, "sqeuclidean": 1e-14 * (Q * Q).sum(), "inner_product": 1e-14 * (X * X).sum()}
    assert (np.abs(scores - exact(Q, X, metric)) < 6.0 * std + last[metric]).all()


@pytest.mark.parametrize("d", [256, 2048])
@pytest.mark.parametrize(("bits", "query_bits"), [(1, 4), (8, 8), (8, 16)])
def test_stated_errors_cover_where_the_query_is_the_row(d: int, bits: int, query_bits: int) -> None:
    # The errors of a query and of a codeword depend on each other here, most of all for a row with one entry,
    # whose coordinates are multiples of a power of two after a Hadamard rotation.
    X = np.vstack([np.eye(d)[:10], rows_of(10, d) / np.sqrt(d)])
    for seed in range(10):
        scores, std = (
            VectorCodes(d, bits, seed=seed).update(X).scores(X, query_bits=query_bits, return_std=True)
        )
        assert (np.abs(np.diag(scores) - (X * X).sum(axis=1)) < 4.0 * np.diag(std) + 1e-6).all()


@pytest.mark.parametrize("metric", METRICS)
def test_scores_depend_on_no_batch_of_queries(metric: str) -> None:
    X, Q = rows_of(40, 50), rows_of(30, 50, 1)
    codes = VectorCodes(50, center=X.mean(axis=0)).update(X)
    single = [codes.scores(Q[i : i + 1], metric=metric)[0] for i in range(30)]
    np.testing.assert_array_equal(codes.scores(np.asfortranarray(Q), metric=metric), single)


def test_more_bits_and_query_bits_make_errors_smaller() -> None:
    X, Q = rows_of(400, 64), rows_of(20, 64, 1)
    truth = Q @ X.T
    errors = [
        np.std(VectorCodes(64, bits, seed=1).update(X).scores(Q, query_bits=query_bits) - truth)
        for bits, query_bits in ((1, 4), (2, 8), (4, 8), (8, 8), (8, 16))
    ]
    assert errors == sorted(errors, reverse=True)
    # With 8 bits, the steps of the grid are about 1/40 of the standard deviation of a coordinate.
    assert errors[-1] < 0.01 * np.std(truth)


# -- rows of all kinds ----------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e300, 1e-300, 1e30, 1e-30, 5e-324])
def test_long_and_short_rows(factor: float) -> None:
    X = rows_of(5, 50) * factor if factor > 1e-310 else np.full((5, 50), factor)
    codes = VectorCodes(50, seed=1)
    if factor == 1e300:
        with pytest.raises(ValueError, match="X must have rows whose lengths"):
            codes.update(X)
        with pytest.raises(ValueError, match="Q must have rows whose lengths"):
            codes.search(X)
        assert len(codes) == 0
        return
    scores = codes.update(X).scores(np.eye(50)[:2])
    assert np.isfinite(scores).all()
    is_kept = factor in (1e30, 1e-30)
    assert scores.any() == is_kept
    assert codes.search(X, 1).ids.tolist() == ([[i] for i in range(5)] if is_kept else [[0]] * 5)


def test_zero_rows_and_rows_at_the_centre_are_known_exactly() -> None:
    center = rows_of(1, 50)[0]
    X, Q = np.vstack([np.zeros(50), center, 2 * center]), np.vstack([rows_of(2, 50, 1), np.zeros((1, 50))])
    codes = VectorCodes(50, 2, center=center).update(X)
    scores, std = codes.scores(Q, return_std=True)
    np.testing.assert_allclose(scores[:, 1], Q @ center, rtol=1e-12)
    assert not std[:, 1].any()
    without = VectorCodes(50, 2).update(X)
    for metric in METRICS:
        scores, std = without.scores(Q, metric=metric, return_std=True)
        np.testing.assert_allclose(scores[:, 0], exact(Q, X, metric)[:, 0], rtol=1e-6)
        assert not std[:, 0].any() and np.isfinite(scores).all()


@pytest.mark.parametrize("d", [1, 4096])
def test_narrow_and_wide_rows(d: int) -> None:
    X = rows_of(30, d)
    codes = VectorCodes(d, 8, seed=1).update(X)
    scores, std = codes.scores(X, query_bits=12, return_std=True)
    assert (np.abs(scores - X @ X.T) < 6.0 * std + 1e-6).all()
    assert codes.search(X, 100).ids[:, 30:].tolist() == [[-1] * 70] * 30


def test_forms_and_dtypes_give_equal_codes() -> None:
    X = np.random.default_rng(0).integers(-8, 9, (20, 50)).astype(np.float64)
    expected = VectorCodes(50, 2).update(X)
    given: list[Any] = [X.astype(dtype) for dtype in ("f4", "f2", ">f8", "i1", "i8")]
    given += [np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X.tolist(), scipy.sparse.csr_matrix(X)]
    for rows in given:
        assert VectorCodes(50, 2).update(rows) == expected
        np.testing.assert_array_equal(expected.scores(rows), expected.scores(X))


# -- updates and merging --------------------------------------------------------------------------


def test_codes_of_parts_are_those_of_the_whole() -> None:
    X = rows_of(41, 64)
    for center in (None, X.mean(axis=0)):
        empty = VectorCodes(64, 3, center=center, seed=1)
        whole = empty.copy().update(X)
        assert empty.copy().update(X[:7]) | empty.copy().update(X[7:]) == whole
        grown = empty.copy()
        for i in range(0, 41, 3):
            grown.update(X[i : i + 3])
        assert grown == whole and grown.update(X[:0]) == whole
        assert grown.merge(grown) == empty.copy().update(X).update(X)
        assert grown.empty_like() == empty and len(whole.copy().update(X)) == 82
        assert VectorCodes.from_bytes(whole.to_bytes()) == whole
        # The copy grew, and the rows that it has in common with the original did not change.
        assert whole == empty.copy().update(X)


def test_merges_by_ids_depend_on_no_order() -> None:
    X, ids = rows_of(30, 64), np.random.default_rng(1).permutation(1000)[:30]
    parts = [VectorCodes(64).update(X[i::3], ids[i::3]) for i in range(3)]
    a, b, c = parts
    merged = a | b | c
    assert merged == c | (b | a) == VectorCodes(64).update(X, ids)
    np.testing.assert_array_equal(merged.ids, np.sort(ids))
    np.testing.assert_array_equal(merged.search(X, 1).ids[:, 0], ids)
    with pytest.raises(IncompatibleSketchError, match="ids must be distinct"):
        a | a
    before = a.copy()
    for wrong in (ids[:1], [0.5], [-1], [1, 2], [2**63]):
        with pytest.raises(ValueError, match=r"^ids must be"):
            a.update(X[:1], wrong)
    with pytest.raises(ValueError, match="for all rows or for none"):
        a.update(X)
    with pytest.raises(IncompatibleSketchError, match="for all rows or for none"):
        a | VectorCodes(64).update(X)
    assert a == before


def test_a_mapped_file_is_searched_and_grows_in_memory(tmp_path: Any) -> None:
    X = rows_of(40, 64)
    codes = VectorCodes(64, 2, center=X[0]).update(X)
    codes.save(tmp_path / "codes")
    mapped = VectorCodes.load(tmp_path / "codes", mmap=True)
    np.testing.assert_array_equal(mapped.search(X, 3).ids, codes.search(X, 3).ids)
    assert mapped.update(X) == codes.copy().update(X)
    assert VectorCodes.load(tmp_path / "codes") == codes


def test_other_codes_do_not_merge() -> None:
    codes = VectorCodes(5, 2, center=np.ones(5), seed=1)
    others = [VectorCodes(5, 2, seed=1), VectorCodes(5, 2, center=np.ones(5)), VectorCodes(6, 2, seed=1), 3]
    for other in others:
        with pytest.raises(IncompatibleSketchError):
            codes.merge(other)  # type: ignore[arg-type]


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"n_features": 0}, "n_features"),
        ({"n_features": 1 << 17}, "n_features"),
        ({"bits": 9}, "bits"),
        ({"bits": True}, "bits"),
        ({"seed": -1}, "seed"),
        ({"center": [1.0]}, "center"),
        ({"center": [1.0, np.nan]}, "center"),
        ({"center": [1e300, 0.0]}, "center"),
    ],
)
def test_wrong_parameters_are_refused(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{name} must"):
        VectorCodes(**{"n_features": 2, **arguments})


def test_wrong_queries_are_refused() -> None:
    codes, Q = VectorCodes(3).update(rows_of(4, 3)), rows_of(2, 3)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"Q": rows_of(2, 4)}, "Q"),
        ({"Q": np.full((1, 3), np.nan)}, "Q"),
        ({"Q": Q, "metric": "angle"}, "metric"),
        ({"Q": Q, "query_bits": 5}, "query_bits"),
        ({"Q": Q, "rows": [4]}, "rows"),
        ({"Q": Q, "rows": [-1]}, "rows"),
        ({"Q": Q, "rows": [0.5]}, "rows"),
        ({"Q": Q, "rows": [[1]]}, "rows"),
        ({"Q": Q, "return_std": 1}, "return_std"),
    ]
    for arguments, name in wrong:
        with pytest.raises((TypeError, ValueError), match=f"^{name} must"):
            codes.scores(**arguments)
    with pytest.raises(ValueError, match=r"^k must"):
        codes.search(Q, 0)


def test_codes_without_rows_find_none() -> None:
    codes = VectorCodes(3)
    assert codes.scores(rows_of(2, 3)).shape == (2, 0)
    assert codes.update(np.zeros((0, 3))).search(rows_of(2, 3), 2).ids.tolist() == [[-1, -1]] * 2
    assert codes.search(np.zeros((0, 3))).ids.shape == (0, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codes.search(rows_of(1, 3), 1, metric="sqeuclidean").distances.tolist() == [[np.inf]]


def test_forged_files_are_refused() -> None:
    codes = VectorCodes(3, center=np.ones(3)).update(rows_of(4, 3), [1, 2, 3, 4])
    forged: list[tuple[str, Any]] = [
        ("scales", np.full(4, np.nan, np.float32)),
        ("radii", np.full(4, -1.0, np.float32)),
        ("offsets", np.zeros(3, np.float32)),
        ("ids", np.array([1, 2, 2, 4])),
        ("center", np.ones(2)),
        ("codes", np.zeros((4, 2), np.uint64)),
    ]
    for name, array in forged:
        copy = codes.copy()
        copy._arrays[name] = array
        with pytest.raises(SketchFormatError, match=name):
            VectorCodes.from_bytes(copy.to_bytes())
