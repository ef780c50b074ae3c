"""Measure STORM against memory: test errors at equal bytes, compared with other uses of the same bytes.

Regression: the test RMSE over that of least squares on all training rows, a mean over ten splits (80 % of the
rows for training). The peers get the same bytes: a uniform sample of rows (float32), count-sketch regression
(Clarkson and Woodruff 2013: rows added with random signs into fewer rows, float32), and the exact sums of
products (float32), whose bytes are fixed. Classification: test accuracy, compared with logistic regression on
all rows, and on a sample of the same bytes. Rare classes: how many of their test rows are found, and the log
loss, compared with linear discriminant analysis of all rows.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import StormClassifier, StormRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

AIRFOIL = Path(__file__).parents[2] / "shared" / "data" / "airfoil.tsv"
BYTES, SPLITS = (4096, 16_384, 65_536, 262_144), 10


def housing(n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Return eight skewed, correlated features and a target with interactions, as in sets of housing data."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 8)) @ rng.standard_normal((8, 8)) / 3
    X[:, :3] = np.exp(X[:, :3] / 2)
    return X, X @ rng.standard_normal(8) + 0.3 * X[:, 0] * X[:, 1] + rng.standard_normal(n)


def skewed(n: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    """Return five features and a log-normal target; rows with large targets are long vectors."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, 5))
    return X, np.exp(X @ [0.3, 0.2, 0.0, -0.1, 0.05] + rng.standard_normal(n))


def regression_sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    sets = {"diabetes": load_diabetes(return_X_y=True), "housing-like": housing(), "skewed target": skewed()}
    if AIRFOIL.exists():
        table = np.loadtxt(AIRFOIL, skiprows=1)
        sets = {"airfoil": (table[:, :-1], table[:, -1]), **sets}
    return sets


def split(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.random.default_rng(seed).permutation(n)
    return rows[: n * 4 // 5], rows[n * 4 // 5 :]


def error(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean((model.predict(X) - y) ** 2)))


def count_sketch(X: np.ndarray, y: np.ndarray, n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n_rows rows of features and target: sums of rows with a constant feature and random signs."""
    rng = np.random.default_rng(seed)
    full = np.column_stack([np.ones(len(X)), X, y]) * rng.choice([-1.0, 1.0], len(X))[:, None]
    out = np.zeros((n_rows, full.shape[1]))
    np.add.at(out, rng.integers(0, n_rows, len(X)), full)
    return out[:, :-1], out[:, -1]


def regression() -> list[dict[str, Any]]:
    rows = []
    for name, (X, y) in regression_sets().items():
        for n_bytes in BYTES:
            found: dict[str, list[float]] = {}
            for seed in range(SPLITS):
                train, test = split(len(X), seed)
                A, b, T, u = X[train], y[train], X[test], y[test]
                whole = error(LinearRegression().fit(A, b), T, u)
                ours = StormRegressor(n_bytes=n_bytes, random_state=seed).fit(A, b)
                kept = min(len(A), max(2, n_bytes // (4 * (A.shape[1] + 1))))
                few = np.random.default_rng(seed).choice(len(A), kept, replace=False)
                sampled = LinearRegression().fit(A[few], b[few])
                center, scale = A.mean(axis=0), np.maximum(A.std(axis=0), 1e-12)
                n_rows = max(2, n_bytes // (4 * (A.shape[1] + 2)))
                theta = np.linalg.lstsq(*count_sketch((A - center) / scale, b, n_rows, seed), rcond=None)[0]
                values = theta[0] + ((T - center) / scale) @ theta[1:]
                for method, value in (
                    ("STORM", error(ours, T, u)),
                    ("sample of rows", error(sampled, T, u)),
                    ("count-sketch", float(np.sqrt(np.mean((values - u) ** 2)))),
                ):
                    found.setdefault(method, []).append(value / whole)
                least = LinearRegression().fit(A, b).predict(T)
                slope = float(np.polyfit(least, ours.predict(T), 1)[0])
                found.setdefault("STORM, slope of its predictions over least squares'", []).append(slope)
            d = X.shape[1] + 2
            rows.append(
                {
                    "data": f"test RMSE over least squares', {name}",
                    "bytes": n_bytes,
                    **{method: float(np.mean(values)) for method, values in found.items()},
                    "exact sums of products, bytes": 4 * d * (d + 1) // 2,
                    "all rows, bytes": 4 * X.size + 4 * len(X),
                }
            )
    return rows


def clipping() -> list[dict[str, Any]]:
    """Measure the effect on least squares of clipping a tenth of the rows, without any sketch."""
    rows = []
    for name, (X, y) in regression_sets().items():
        Z = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X)), (y - y.mean()) / y.std()])
        lengths = np.linalg.norm(Z, axis=1)
        short = Z * np.minimum(1.0, np.quantile(lengths, 0.9) / lengths)[:, None]
        whole, shrunk = (np.linalg.lstsq(A[:, :-1], A[:, -1], rcond=None)[0] for A in (Z, short))
        slope = np.polyfit(Z[:, :-1] @ whole, Z[:, :-1] @ shrunk, 1)[0]
        rows.append(
            {"data": f"slope of least squares of rows of which a tenth is clipped, {name}", "slope": slope}
        )
    return rows


def classification() -> list[dict[str, Any]]:
    rows = []
    for name, load in (("breast cancer", load_breast_cancer), ("digits", load_digits)):
        X, y = load(return_X_y=True)
        for n_bytes in BYTES:
            found: dict[str, list[float]] = {}
            for seed in range(SPLITS):
                train, test = split(len(X), seed)
                A, b, T, u = X[train], y[train], X[test], y[test]
                kept = min(len(A), max(2, n_bytes // (4 * (A.shape[1] + 1))))
                few = np.random.default_rng(seed).choice(len(A), kept, replace=False)
                models = {
                    "STORM": StormClassifier(n_bytes=n_bytes, random_state=seed).fit(A, b),
                    "logistic regression, all rows": logistic().fit(A, b),
                }
                for method, model in models.items():
                    found.setdefault(method, []).append(float(model.score(T, u)))
                one = len(np.unique(b[few])) == 1
                score = (
                    float((u == b[few][0]).mean())
                    if one
                    else float(logistic().fit(A[few], b[few]).score(T, u))
                )
                found.setdefault("logistic regression, sample of rows", []).append(score)
            rows.append(
                {
                    "data": f"test accuracy, {name}",
                    "bytes": n_bytes,
                    **{method: float(np.mean(values)) for method, values in found.items()},
                }
            )
    return rows


def two_classes(share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two normal classes with one covariance in six features, four deviations apart."""
    rng = np.random.default_rng(seed)
    y = (rng.random(40_000) < share).astype(int)
    mixing = rng.standard_normal((6, 6)) / np.sqrt(6) + np.eye(6)
    apart = rng.standard_normal(6)
    apart *= 4.0 / np.sqrt(apart @ np.linalg.solve(mixing.T @ mixing, apart))
    return rng.standard_normal((len(y), 6)) @ mixing + y[:, None] * apart, y


def one_digit(share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the digits, of which the eights are one class, and a part of these is left out."""
    X, y = load_digits(return_X_y=True)
    eights, others = np.flatnonzero(y == 8), np.flatnonzero(y != 8)
    kept = np.random.default_rng(seed).permutation(eights)[: round(share / (1 - share) * len(others))]
    rows = np.random.default_rng(seed).permutation(np.concatenate([others, kept]))
    return X[rows], (y[rows] == 8).astype(int)


def rare_classes() -> list[dict[str, Any]]:
    rows = []
    for name, make, shares in (
        ("normal classes", two_classes, (0.5, 0.05, 0.02, 0.005)),
        ("eights among digits", one_digit, (0.09, 0.05, 0.02)),
    ):
        for share in shares:
            for n_bytes in (16_384, 65_536, 262_144):
                found: dict[str, list[float]] = {}
                for seed in range(SPLITS):
                    X, y = make(share, seed)
                    half = len(X) // 2
                    for method, model in (
                        ("STORM", StormClassifier(n_bytes=n_bytes, random_state=seed)),
                        ("discriminant analysis", LinearDiscriminantAnalysis()),
                    ):
                        model.fit(X[:half], y[:half])
                        hits = model.predict(X[half:])[y[half:] == 1] == 1
                        loss = log_loss(y[half:], model.predict_proba(X[half:]))
                        found.setdefault(f"recall, {method}", []).extend(hits)
                        found.setdefault(f"log loss, {method}", []).append(loss)
                rows.append(
                    {
                        "data": f"rare class, {name}",
                        "share": share,
                        "bytes": n_bytes,
                        **{method: float(np.mean(values)) for method, values in found.items()},
                    }
                )
    return rows


def logistic() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def speed() -> list[dict[str, Any]]:
    X, y = housing(200_000)
    rows = []
    for threads in (1, 4):
        mergesketch.set_num_threads(threads)
        model = StormRegressor(n_bytes=65_536).fit(X[:1000], y[:1000])
        start = time.perf_counter()
        model.partial_fit(X, y)
        rows.append(
            {
                "job": "learn 8 features, 64 KB",
                "threads": threads,
                "rows/s": len(X) / (time.perf_counter() - start),
            }
        )
    return rows


def main() -> None:
    arguments = parse(__doc__, "storm")
    before = mergesketch.get_num_threads()
    # The warnings are about too few counters, which this script measures.
    warnings.filterwarnings("ignore", module=__name__)
    try:
        regressed, clipped = regression(), clipping()
        classified, rare, learnt = classification(), rare_classes(), speed()
    finally:
        mergesketch.set_num_threads(before)
    show("Regression", regressed)
    show("Clipping", clipped)
    show("Classification", classified)
    show("Rare classes", rare)
    show("Speed", learnt)
    write(arguments.json, regressed + clipped + classified + rare + learnt)


if __name__ == "__main__":
    main()
