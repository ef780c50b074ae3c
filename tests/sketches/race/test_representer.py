"""Test RepresenterSketch: functions kept in counters, fitted to the exact and to the sketched kernel."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse
from mergesketch import Race, RepresenterSketch
from mergesketch.lsh import InnerProduct, MinHash, PStable, SignedRandomProjection
from toy_family import ToyFamily


def model(X: np.ndarray) -> np.ndarray:
    return np.column_stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2], np.ones(len(X))])


def rows(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.5, 1.5, (n, 4))


def test_a_kernel_expansion_is_estimated_as_its_standard_error_says() -> None:
    family = SignedRandomProjection(4, 3000, power=3, seed=1)
    X, Q = rows(0, 200), rows(1, 50)
    a = np.random.default_rng(2).standard_normal((200, 3))
    sketch = RepresenterSketch(family, 3, precision="float64").update(X, a)
    values, std = sketch.query(Q, return_std=True)
    assert (np.abs(values - family.kernel(Q, X) @ a) < 6 * std).all()
    np.testing.assert_array_equal(values, sketch.decision_function(Q))
    np.testing.assert_array_equal(values, Race(family, dtype="float", n_outputs=3).update(X, a).query(Q))
    single = RepresenterSketch(family, 3).update(X, a)
    np.testing.assert_allclose(single.query(Q), values, atol=1e-4)
    assert single.nbytes < 0.51 * sketch.nbytes
    np.testing.assert_array_equal(sketch.predict(Q), values.argmax(axis=1))


@pytest.mark.parametrize(
    "family", [PStable(4, 60, width=3.0, power=2, n_buckets=64, seed=3), ToyFamily(5, 30)]
)
def test_fitted_coefficients_solve_the_sketched_system(family) -> None:
    """The sketch's values at the anchors, plus ridge times the coefficients, are the outputs."""
    X = rows(4, 150) if isinstance(family, PStable) else np.random.default_rng(4).integers(0, 4, (150, 5))
    outputs = model(X.astype(float))
    ridge = 0.05
    sketch = RepresenterSketch.fit(outputs, X, family=family, ridge=ridge, precision="float64")
    # The same system, dense: collisions of all pairs of anchors, chance taken off.
    codes = family.hash(X)
    kernel = (codes[:, None] == codes[None]).mean(axis=2)
    kernel = (kernel - family.chance_collision) / (1 - family.chance_collision)
    a = np.linalg.solve(kernel + ridge * np.eye(150), outputs)
    np.testing.assert_allclose(sketch.decision_function(X), kernel @ a, atol=2e-3)
    np.testing.assert_allclose(sketch.decision_function(X) + ridge * a, outputs, atol=2e-3)


@pytest.mark.slow
def test_fitting_the_sketched_kernel_errs_less_at_equal_size() -> None:
    X, Q = rows(5, 1500), rows(6, 300)
    errors: dict[str, list[float]] = {"sketched": [], "exact": []}
    for seed in range(3):
        family = PStable(4, 40, width=4.0, n_buckets=64, seed=seed)
        for kernel, found in errors.items():
            sketch = RepresenterSketch.fit(model(X), X, family=family, kernel=kernel, ridge=1e-2)
            found.append(float(np.abs(sketch.decision_function(Q) - model(Q)).mean()))
    assert max(errors["sketched"]) < min(errors["exact"])
    assert max(errors["sketched"]) < 0.3


def structured(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "one-hot": np.eye(8)[rng.integers(0, 8, n)],
        "few entries": (rng.random((n, 8)) < 0.25) * rng.exponential(size=(n, 8)),
        "grid": rng.integers(0, 3, (n, 8)) / 2.0,
        "repeated": rng.normal(size=(4, 8))[rng.choice(4, n, p=[0.7, 0.2, 0.08, 0.02])],
        "skewed": np.exp(rng.standard_normal((n, 8))),
    }


@pytest.mark.parametrize("name", structured(1))
def test_expansions_of_structured_rows_are_estimated_without_bias(name: str) -> None:
    X = structured(120)[name]
    a = np.random.default_rng(1).standard_normal((120, 2))
    Q = X[:10]
    found = np.array(
        [
            RepresenterSketch(family, 2, precision="float64").update(X, a).decision_function(Q)
            for family in (PStable(8, 40, width=3.0, power=2, n_buckets=32, seed=s) for s in range(60))
        ]
    )
    expected = PStable(8, 40, width=3.0, power=2, n_buckets=32).kernel(Q, X) @ a
    error = found.std(axis=0, ddof=1) / np.sqrt(60)
    # Six standard errors of Student's t with 59 degrees of freedom; rows that are equal do not err.
    assert (np.abs(found.mean(axis=0) - expected) < 6.9 * error + 1e-9).all()


def test_a_fit_that_does_not_end_says_so() -> None:
    X = np.repeat(rows(10, 400), 2, axis=0)
    outputs = np.random.default_rng(11).standard_normal(800)  # equal rows, unequal outputs
    family = PStable(4, 30, n_buckets=64)
    with pytest.warns(UserWarning, match="fit leaves 0.[0-9]+ of the outputs .* got ridge=1e-09"):
        RepresenterSketch.fit(outputs, X, family=family, ridge=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RepresenterSketch.fit(outputs, X, family=family, ridge=0.1)


def test_functions_of_parts_add() -> None:
    family = PStable(4, 50, width=3.0, n_buckets=64, seed=1)
    X, Q = rows(7, 300), rows(8, 20)
    parts = [
        RepresenterSketch.fit(model(X[half]), X[half], family=family, precision="float64")
        for half in (np.s_[:150], np.s_[150:])
    ]
    both = parts[0] | parts[1]
    np.testing.assert_allclose(
        both.decision_function(Q), sum(p.decision_function(Q) for p in parts), atol=1e-9
    )


def test_rows_of_every_kind_and_anchors() -> None:
    sets = [np.random.default_rng(i).choice(30, 6, replace=False) for i in range(80)]
    outputs = np.array([len(set(s.tolist()) & set(range(10))) for s in sets], float)
    family = MinHash(200, n_buckets=256, seed=1)
    for rows_ in (sets, (np.concatenate(sets), np.arange(81) * 6)):
        sketch = RepresenterSketch.fit(outputs, rows_, family=family, n_anchors=60, seed=2)
        assert sketch.n_updates == 60
        assert np.corrcoef(sketch.decision_function(rows_)[:, 0], outputs)[0, 1] > 0.9
    X = scipy.sparse.csr_array(rows(9, 100))
    sparse = RepresenterSketch.fit(model(X.toarray()), X, family=PStable(4, 30, n_buckets=64), n_anchors=50)
    dense = RepresenterSketch.fit(
        model(X.toarray()), X.toarray(), family=PStable(4, 30, n_buckets=64), n_anchors=50
    )
    assert sparse == dense
    asymmetric = InnerProduct(4, 200, max_norm=3.0, power=2, seed=1)
    exact = RepresenterSketch.fit(model(rows(9, 100)), rows(9, 100), family=asymmetric, kernel="exact")
    assert exact.n_updates == 100
    assert exact.operations_per_query == 600


def test_bad_arguments() -> None:
    family, X = PStable(4, 10, n_buckets=16), rows(0, 5)
    good = model(X)
    fit = RepresenterSketch.fit
    with pytest.raises(ValueError, match=r"model_outputs must have shape \(5,\) or \(5, n_outputs\)"):
        fit(good[:4], X, family=family)
    with pytest.raises(ValueError, match="model_outputs must have shape"):
        fit(good[:0], X[:0], family=family)
    with pytest.raises(ValueError, match="model_outputs must be finite"):
        fit(np.where(good > 0.9, np.nan, good), X, family=family)
    with pytest.raises(TypeError, match="model_outputs must hold real numbers"):
        fit(np.full((5, 2), "a"), X, family=family)
    with pytest.raises(ValueError, match="ridge must be a number in"):
        fit(good, X, family=family, ridge=0.0)
    with pytest.raises(ValueError, match="kernel must be one of 'sketched', 'exact'"):
        fit(good, X, family=family, kernel="rbf")
    with pytest.raises(ValueError, match="n_anchors must be an integer of at least 1"):
        fit(good, X, family=family, n_anchors=0)
    with pytest.raises(ValueError, match='InnerProduct does not; pass kernel="exact"'):
        fit(good, X, family=InnerProduct(4, 50, max_norm=3.0))
    with pytest.raises(ValueError, match="precision must be one of"):
        RepresenterSketch(family, 2, precision="float16")
    with pytest.raises(ValueError, match="n_outputs must be an integer from 1"):
        RepresenterSketch(family, 0)
    with pytest.raises(ValueError, match="X must have 4 columns"):
        fit(good, X[:, :3], family=family)
