"""Test FrequentDirections against its naive twin, and its bound on structured matrices."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import FrequentDirections
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.counts import frequent_directions
from naive import frequent_directions as naive


def matrices() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((400, 30))
    return {
        "noise": noise,
        "decaying": noise * np.geomspace(10, 1e-3, 30),
        "low rank": noise[:, :3] @ rng.standard_normal((3, 30)),
        "one-hot": np.eye(30)[rng.integers(0, 30, 400)],
        "few entries": noise * (rng.random((400, 30)) < 0.05),
        "one row, repeated": np.tile(noise[:1], (400, 1)),
        "zeros": np.zeros((400, 30)),
        "one long row": np.concatenate([noise[:200], 1e8 * noise[:1], noise[200:]]),
        "far from the origin": noise + 1000.0,
        "tiny": noise * 1e-120,
        "huge": noise * 1e120,
        "sorted": noise[np.argsort((noise**2).sum(axis=1))] * np.linspace(0, 5, 400)[:, None],
    }


def missing(X: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Return the least and the largest eigenvalue of X.T X - B.T B."""
    values = np.linalg.eigvalsh(X.T @ X - rows.T @ rows)
    return float(values[0]), float(values[-1])


@given(
    st.integers(1, 6).flatmap(
        lambda d: st.lists(st.lists(st.integers(-9, 9), min_size=d, max_size=d), min_size=1, max_size=20)
    ),
    st.integers(1, 3),
    st.integers(0, 20),
)
@settings(max_examples=50, deadline=None)
def test_it_equals_its_naive_twin(rows: list[list[int]], n_directions: int, cut: int) -> None:
    X = np.array(rows, float)
    d = X.shape[1]
    sketches = [FrequentDirections(d, n_directions).update(part) for part in (X, X[:cut], X[cut:])]
    naives = [naive.sketch_rows(part, n_directions) for part in (X, X[:cut], X[cut:])]
    for sketch, (expected, lost) in zip(sketches, naives, strict=True):
        found = sketch.rows()
        np.testing.assert_allclose(found.T @ found, expected.T @ expected, rtol=1e-9, atol=1e-9)
        assert sketch.error == pytest.approx(lost, rel=1e-9, abs=1e-9)
    merged = sketches[1].merge(sketches[2])
    expected, lost = naive.merge(naives[1][0], naives[2][0], n_directions)
    found = merged.rows()
    np.testing.assert_allclose(found.T @ found, expected.T @ expected, rtol=1e-9, atol=1e-9)
    assert merged.error == pytest.approx(lost + naives[1][1] + naives[2][1], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", matrices())
@pytest.mark.parametrize("n_directions", [1, 4, 29, 40])
def test_the_error_covers_and_keeps_its_bound(name: str, n_directions: int) -> None:
    X = matrices()[name]
    whole = FrequentDirections(30, n_directions).update(X)
    parts = [FrequentDirections(30, n_directions).update(part) for part in np.array_split(X, 5)]
    squares = np.linalg.svd(X, compute_uv=False) ** 2
    rounding = 1e-11 * squares.sum()
    # The sum of the squares of all singular values after the k-th, shared by l + 1 - k.
    bound = min(
        squares[k:].sum() / (n_directions + 1 - k) for k in range(min(n_directions, squares.size) + 1)
    )
    for sketch in (whole, parts[0].copy().merge(parts[1:]), sum(parts[::-1])):
        low, high = missing(X, sketch.rows())
        assert -rounding <= low and high <= sketch.error + rounding
        # What the error includes for rounding, in each of the shrinks.
        allowed = (len(X) / n_directions + 5) * 8 * np.finfo(float).eps * (8 * n_directions + 30)
        assert sketch.error <= bound + allowed * squares.sum()
        assert sketch.squared_norm == pytest.approx((X * X).sum(), rel=1e-12)
        assert len(sketch.rows()) <= 2 * n_directions
        asked = np.random.default_rng(1).standard_normal((20, 30))
        exact, found = ((asked @ X.T) ** 2).sum(axis=1), sketch.query(asked)
        slack = (sketch.error + rounding) * (asked**2).sum(axis=1)
        assert (found <= exact + rounding * 100).all() and (exact <= found + slack).all()


def test_directions_are_the_principal_ones_where_nothing_is_lost() -> None:
    X = matrices()["low rank"]
    sketch = FrequentDirections(30, 5).update(X)
    vectors, lengths = sketch.directions()
    _, exact, expected = np.linalg.svd(X, full_matrices=False)
    np.testing.assert_allclose(lengths, exact[:3], rtol=1e-9)
    np.testing.assert_allclose(np.abs((vectors * expected[:3]).sum(axis=1)), 1.0, rtol=1e-9)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-12)
    assert (np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1) > 0).all()
    assert len(sketch.directions(2).vectors) == 2
    vectors[:] = 0.0  # The caller's copy.
    assert sketch.directions().vectors.any()
    nothing = FrequentDirections(4, 2)
    assert nothing.directions().vectors.shape == (0, 4) and nothing.error == nothing.squared_norm == 0.0
    assert nothing.update(np.zeros((3, 4))).directions().lengths.size == 0


def test_directions_follow_updates_and_merges() -> None:
    sketch = FrequentDirections(2, 2).update([[1.0, 0.0]])
    assert sketch.directions().lengths.tolist() == [1.0]
    sketch.update([[0.0, 3.0]])
    assert sketch.directions().lengths.tolist() == [3.0, 1.0]
    sketch.merge(FrequentDirections(2, 2).update([[4.0, 0.0]]))
    np.testing.assert_allclose(sketch.directions().lengths, [17**0.5, 3.0])


def test_draws_have_the_probabilities_of_successive_draws_without_replacement() -> None:
    lengths = np.array([4.0, 2.0, 1.0, 1.0])
    sketch = FrequentDirections(4, 4).update(np.diag(lengths))
    n = 4000
    drawn = [sketch.sample_directions(2, seed=seed) for seed in range(n)]
    counts = sum(np.abs(one.vectors).round().sum(axis=0) for one in drawn)
    p = lengths / lengths.sum()
    expected = p + sum(p[j] * p / (1 - p[j]) * (np.arange(4) != j) for j in range(4))
    assert (np.abs(counts / n - expected) < 6 * np.sqrt(expected * (1 - expected) / n)).all()
    for one in drawn[:20]:
        np.testing.assert_allclose(one.vectors @ one.vectors.T, np.eye(2), atol=1e-12)
        assert one.lengths[0] >= one.lengths[1]
    assert len(sketch.sample_directions(8).vectors) == 4
    again = FrequentDirections.from_bytes(sketch.to_bytes()).sample_directions(2, seed=5)
    assert (again.vectors == drawn[5].vectors).all()


def test_sparse_float32_and_many_columns() -> None:
    X = matrices()["few entries"].astype(np.float32)
    sketch = FrequentDirections(30, 5).update(X)
    assert sketch == FrequentDirections(30, 5).update(scipy.sparse.csr_matrix(X))
    assert sketch == FrequentDirections(30, 5).update(X[:137]).update(X[137:].tolist())
    wide = scipy.sparse.csr_matrix(([1.0, 2.0, 3.0], ([0, 1, 2], [5, 99_999, 7])), (3, 100_000))
    found = FrequentDirections(100_000, 1).update(wide)
    assert found.error == pytest.approx(1.0) and found.squared_norm == 14.0


def test_for_error_holds_for_the_worst_matrix() -> None:
    for share in (0.5, 0.26, 0.05):
        sketch = FrequentDirections.for_error(100, share)
        # All singular values are equal: no matrix has a larger error.
        sketch.update(np.eye(100)).update(np.eye(100))
        assert sketch.error <= share * sketch.squared_norm
        smaller = FrequentDirections(100, max(1, sketch.n_directions - 1))
        assert smaller.n_directions == 1 or 1 / (smaller.n_directions + 1) > share
    assert FrequentDirections.for_error(3, 0.01).n_directions == 3
    for bad in (0.0, 1.0, -1.0, np.nan, "a", True):
        with pytest.raises((TypeError, ValueError), match="relative_error"):
            FrequentDirections.for_error(3, bad)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="n_features must be"):
        FrequentDirections(0)
    with pytest.raises(ValueError, match=r"2 \* n_directions \* n_features must be at most"):
        FrequentDirections(1 << 20, 1 << 10)
    sketch = FrequentDirections(2, 2)
    for k in (0, 5, 1.5):
        with pytest.raises((TypeError, ValueError), match="k must be"):
            sketch.directions(k)
        with pytest.raises((TypeError, ValueError), match="k must be"):
            sketch.sample_directions(k)
    with pytest.raises(ValueError, match="X must lie within 1e"):
        sketch.update([[1.0, -1e141]])
    with pytest.raises(TypeError, match="cannot subtract"):
        sketch.subtract(sketch)
    assert sketch == FrequentDirections(2, 2)


def test_files_that_no_sketch_has_written_are_refused() -> None:
    sketch = FrequentDirections(2, 2).update([[1.0, 2.0]])
    for name, value in {"n_rows": 2, "rows": np.nan, "lost": -1.0, "squares": np.inf}.items():
        twin = sketch.copy()
        twin._arrays[name][...] = value
        with pytest.raises(SketchFormatError, match=name):
            FrequentDirections.from_bytes(twin.to_bytes())


@pytest.mark.parametrize("seed", range(6))
def test_no_length_is_too_long_where_nothing_is_lost(seed: int) -> None:
    """Numbers are compared exactly, because rounding alone decides."""
    rng = np.random.default_rng(seed)
    A = rng.integers(-99, 100, (60, 3)) @ rng.integers(-99, 100, (3, 8))
    sketch = FrequentDirections(8, 4).update(A)
    products = [[sum(Fraction(int(x)) * int(y) for x, y in zip(a, b, strict=True)) for b in A.T] for a in A.T]
    rows = [[Fraction(float(x)) for x in row] for row in sketch.rows()]
    for j in range(8):
        found = sum(row[j] ** 2 for row in rows)
        assert found <= products[j][j] <= found + Fraction(sketch.error)


def test_the_error_covers_rounding_of_many_columns() -> None:
    d, c = 1 << 18, 0.7
    rows = np.zeros((2, d))
    rows[0, : d // 2], rows[1, d // 2 :] = c, c
    sketch = FrequentDirections(d, 1)
    for _ in range(8):
        sketch.update(rows)
    left = sum(Fraction(float(row[-1])) ** 2 for row in sketch.rows()) * (d // 2)
    assert 8 * Fraction(c) ** 2 * (d // 2) - left <= Fraction(sketch.error)


def test_parts_of_few_rows_are_equal_to_the_whole() -> None:
    A = np.random.default_rng(0).standard_normal((20, 7))
    whole = FrequentDirections(7, 16).update(A)
    for cut in range(20):
        assert FrequentDirections(7, 16).update(A[:cut]) | FrequentDirections(7, 16).update(A[cut:]) == whole


def test_an_interrupt_ends_a_long_update_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(10))

    def interrupt() -> None:
        if next(calls) == 5:
            raise KeyboardInterrupt

    sketch = FrequentDirections(3, 2).update(np.eye(3))
    before = sketch.copy()
    monkeypatch.setattr(frequent_directions, "check_interrupt", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sketch.update(np.random.default_rng(0).standard_normal((500, 3)))
    assert sketch == before and sketch.squared_norm == before.squared_norm and sketch.n_updates == 3
