"""Compare private classification, regression and exact noise with diffprivlib and OpenDP.

Utility: accuracy on test rows (for regression, the root mean squared error over the standard deviation of
the targets, so predicting their mean gives 1) at equal epsilon, bounds and rows. Figures are means over
runs, each with its own split, noise and family seed. Peers:

- diffprivlib's GaussianNB, its LogisticRegression (the better of two scalings: rows to [-1, 1] with a norm
  bound of sqrt(d), and rows of unit length) and its LinearRegression;
- OpenDP's integer Laplace noise on histograms of features in 4 bins each, by class: a row has d counters, so
  the sensitivity is d. Naive Bayes with our smoothing predicts from them.

Ours runs with its default family, and with p-stable steps of half the width, which suit rows that lie in a
corner of their bounds. "without privacy" is scikit-learn's LogisticRegression. diffprivlib 0.6.6 does not run
with scikit-learn 1.7 or newer: install ``scikit-learn==1.6.1`` to measure it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import opendp.prelude as dp
from measure import RESULTS, show, write
from mergesketch import private_classifier, private_regressor
from mergesketch.lsh import HashFamily, PStable
from mergesketch.sketches.race.noise import discrete_laplace, round_epsilon
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

try:
    import diffprivlib.models as peers
except ImportError:  # This scikit-learn is too new.
    peers = None

dp.enable_features("contrib")
warnings.filterwarnings("ignore")
EPSILONS = (0.1, 0.3, 1.0, 3.0, 10.0)
RUNS = 5
BINS = 4


def breast_cancer() -> tuple[np.ndarray, np.ndarray, Any, Any]:
    """Return the data and public bounds: round numbers above the ranges that such measurements have."""
    X, y = load_breast_cancer(return_X_y=True)
    high = 10.0 ** np.ceil(np.log10(X.max(axis=0)))
    high = np.where(X.max(axis=0) < high / 2, high / 2, high)
    return X, y, np.zeros(30), high


def generated() -> tuple[np.ndarray, np.ndarray, Any, Any]:
    rng = np.random.default_rng(0)
    centres = 0.7 * rng.standard_normal((5, 20))
    y = rng.integers(0, 5, 20_000)
    return centres[y] + rng.standard_normal((20_000, 20)), y, -4.0, 4.0


def opendp_counters(counts: np.ndarray, scale: float) -> np.ndarray:
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64")
    return np.array(dp.m.make_laplace(*space, scale=scale)(counts.ravel().tolist())).reshape(counts.shape)


def histogram_bayes(X: np.ndarray, y: np.ndarray, Q: np.ndarray, classes: int, epsilon: float) -> np.ndarray:
    """Predict by naive Bayes over OpenDP's noisy histograms of single features, for rows in [-1, 1]."""
    d = X.shape[1]
    bins, asked = (np.clip(((rows + 1) / 2 * BINS).astype(int), 0, BINS - 1) for rows in (X, Q))
    counts = np.zeros((d, BINS, classes), np.int64)
    np.add.at(counts, (np.arange(d), bins, y[:, None]), 1)
    noisy = opendp_counters(counts, d / epsilon)
    smoothing = 1.0 + np.sqrt(2.0) * d / epsilon
    totals = np.maximum(noisy.sum(axis=1).mean(axis=0), 1.0)
    shares = np.log((np.maximum(noisy, 0) + smoothing) / (totals + BINS * smoothing))
    scores: np.ndarray = shares[np.arange(d), asked].sum(axis=1) + np.log(totals)
    return scores.argmax(axis=1)


def unit(X: np.ndarray) -> np.ndarray:
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def classifiers(
    X: np.ndarray, y: np.ndarray, Q: np.ndarray, low: Any, high: Any, epsilon: float, run: int
) -> dict[str, Callable[[], np.ndarray]]:
    classes, d = int(y.max()) + 1, X.shape[1]
    A, B = (2 * (np.clip(rows, low, high) - low) / (high - low) - 1 for rows in (X, Q))

    def ours(family: HashFamily | None) -> np.ndarray:
        public = {"classes": range(classes), "low": low, "high": high, "family": family, "seed": run}
        return private_classifier(X, y, epsilon=epsilon, **public).predict(Q)

    steps = PStable(d, max(4, round(16 * epsilon**0.5)), width=0.5 * d**0.5, power=4, n_buckets=64, seed=run)
    methods = {
        "mergesketch": lambda: ours(None),
        "mergesketch, PStable": lambda: ours(steps),
        "OpenDP histograms": lambda: histogram_bayes(A, y, B, classes, epsilon),
    }
    if peers is not None:
        logistic = peers.LogisticRegression
        methods["diffprivlib GaussianNB"] = lambda: (
            peers.GaussianNB(epsilon=epsilon, bounds=(-1, 1)).fit(A, y).predict(B)
        )
        methods["diffprivlib LogisticRegression, box"] = lambda: (
            logistic(epsilon=epsilon, data_norm=d**0.5, max_iter=300).fit(A, y).predict(B)
        )
        methods["diffprivlib LogisticRegression, unit"] = lambda: (
            logistic(epsilon=epsilon, data_norm=1.0, max_iter=300).fit(unit(A), y).predict(unit(B))
        )
    return methods


def classification() -> list[dict[str, Any]]:
    digits = (*load_digits(return_X_y=True), 0.0, 16.0)
    rows = []
    for name, (X, y, low, high) in {
        "digits": digits,
        "breast cancer": breast_cancer(),
        "generated": generated(),
    }.items():
        plain = []
        for epsilon in EPSILONS:
            right: dict[str, list[float]] = {}
            for run in range(RUNS):
                A, B, a, b = train_test_split(X, y, test_size=0.3, random_state=run)
                for method, predict in classifiers(A, a, B, low, high, epsilon, run).items():
                    right.setdefault(method, []).append(float((predict() == b).mean()))
                if epsilon == EPSILONS[0] and run < 3:
                    scale = LogisticRegression(max_iter=500)
                    half = (np.asarray(high) - low) / 2
                    plain.append(scale.fit((A - low) / half - 1, a).score((B - low) / half - 1, b))
            rows += [
                {
                    "data": name,
                    "rows": len(X),
                    "epsilon": epsilon,
                    "method": method,
                    "accuracy": round(float(np.mean(values)), 4),
                    "std": round(float(np.std(values)), 4),
                }
                for method, values in right.items()
            ]
        rows.append(
            {
                "data": name,
                "rows": len(X),
                "method": "without privacy",
                "accuracy": round(float(np.mean(plain)), 4),
            }
        )
    return rows


def regression(airfoil: Path | None) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    G = rng.uniform(-1, 1, (50_000, 6))
    wave = np.sin(3 * G[:, 0]) + G[:, 1] * G[:, 2] + 0.1 * rng.standard_normal(50_000)
    sets = {"generated": (G, wave, -np.ones(6), np.ones(6), -2.5, 2.5)}
    if airfoil is not None:
        table = np.loadtxt(airfoil, skiprows=1)
        high = np.array([20_000, 25, 0.35, 80, 0.06])
        sets["airfoil"] = (table[:, :-1], table[:, -1], np.array([0, 0, 0, 30, 0.0]), high, 100.0, 145.0)
    rows = []
    for name, (X, y, low, high, least, most) in sets.items():
        for epsilon in EPSILONS:
            errors: dict[str, list[float]] = {}
            for run in range(RUNS):
                A, B, a, b = train_test_split(X, y, test_size=0.3, random_state=run)
                ends = {"target_low": least, "target_high": most}
                model = private_regressor(A, a, epsilon=epsilon, low=low, high=high, seed=run, **ends)
                predicted = {"mergesketch": model.predict(B)}
                if peers is not None:
                    linear = peers.LinearRegression(epsilon=epsilon, bounds_X=(-1, 1), bounds_y=(least, most))
                    A, B = (2 * (rows_ - low) / (high - low) - 1 for rows_ in (A, B))
                    found = linear.fit(A, a).predict(B)
                    # Bounds are public, so the peer's predictions may be clipped to them as ours are.
                    predicted["diffprivlib LinearRegression"] = np.clip(found, least, most)
                for method, values in predicted.items():
                    error = np.sqrt(np.mean((values - b) ** 2)) / b.std()
                    errors.setdefault(method, []).append(float(error))
            rows += [
                {
                    "data": name,
                    "rows": len(X),
                    "epsilon": epsilon,
                    "method": method,
                    "error": round(float(np.mean(values)), 4),
                    "std": round(float(np.std(values)), 4),
                }
                for method, values in errors.items()
            ]
    return rows


def noise(counters: int = 100_000, sensitivity: int = 50) -> list[dict[str, Any]]:
    """Return nanoseconds a counter, the least of runs in turn; for OpenDP also from an existing list."""
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64")
    measurement, zeros = dp.m.make_laplace(*space, scale=float(sensitivity)), [0] * counters
    units = round_epsilon(1.0)

    def ours(threads: int) -> Callable[[], Any]:
        def run() -> None:
            mergesketch.set_num_threads(threads)
            discrete_laplace((counters,), sensitivity, units)

        return run

    ways = {"mergesketch, 1 thread": ours(1), "mergesketch, 4 threads": ours(4)}
    ways["OpenDP integer Laplace"] = lambda: measurement(zeros)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(8):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    peer = best["OpenDP integer Laplace"]
    return [
        {"way": name, "ns_a_counter": round(1e9 * took / counters, 1), "speedup": round(peer / took, 1)}
        for name, took in best.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=RESULTS / "private.json", help="file of the results")
    parser.add_argument("--airfoil", type=Path, help="UCI airfoil self-noise data, as a TSV file")
    arguments = parser.parse_args()
    rows = {
        "noise": noise(),
        "regression": regression(arguments.airfoil),
        "classification": classification(),
    }
    for title, part in rows.items():
        show(title, part)
    write(arguments.json, [{"part": title, **row} for title, part in rows.items() for row in part])


if __name__ == "__main__":
    main()
