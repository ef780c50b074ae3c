"""Compare AceDetector() with isolation forest, LOF, HBOS and ECOD on data of many kinds, as they are.

No method gets scaled columns or other parameters than its defaults. The figure is the AUC of the scores of
all rows, the mean of three draws. Times are of a million rows of 20 features, on two threads at most, beside
IsolationForest and KernelDensity.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import AceDetector, RaceDensity
from sklearn import datasets
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KernelDensity, LocalOutlierFactor

DRAWS, ROWS, FEATURES, ASKED = 3, 1_000_000, 20, 100_000
MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist_t10k.npz"
Labelled = tuple[str, np.ndarray, np.ndarray]


def joined(name: str, normal: np.ndarray, odd: np.ndarray) -> Labelled:
    return name, np.vstack([normal, odd]).astype(float), np.arange(len(normal) + len(odd)) >= len(normal)


def rare(name: str, X: np.ndarray, y: np.ndarray, which: int, n: int, rng: np.random.Generator) -> Labelled:
    """Return the rows of all classes but one, and n of that one."""
    return joined(name, X[y != which], X[rng.choice(np.flatnonzero(y == which), n, replace=False)])


def only(name: str, X: np.ndarray, y: np.ndarray, which: int, n: int, rng: np.random.Generator) -> Labelled:
    """Return the rows of one class, and n of the others."""
    return joined(name, X[y == which], X[rng.choice(np.flatnonzero(y != which), n, replace=False)])


def real(rng: np.random.Generator) -> Iterator[Labelled]:
    X, y = datasets.load_wine(return_X_y=True)
    for which in range(3):
        yield rare(f"wine, 8 of class {which}", X, y, which, 8, rng)
    X, y = datasets.load_breast_cancer(return_X_y=True)
    yield rare("breast cancer, 20 malignant", X, y, 0, 20, rng)
    X, y = datasets.load_iris(return_X_y=True)
    yield rare("iris, 6 of class 0", X, y, 0, 6, rng)
    yield rare("iris, 6 of class 2", X, y, 2, 6, rng)
    X, y = datasets.load_digits(return_X_y=True)
    yield rare("digits, 20 fours", X, y, 4, 20, rng)
    yield only("digits, zeros and 10 others", X, y, 0, 10, rng)
    yield only("digits, eights and 10 others", X, y, 8, 10, rng)
    if MNIST.exists():
        images, y = np.load(MNIST).values()
        some = rng.choice(len(y), 2000, replace=False)
        X, y = images.reshape(len(images), -1)[some], y[some]
        yield rare("MNIST, 25 zeros", X, y, 0, 25, rng)
        yield only("MNIST, ones and 10 others", X, y, 1, 10, rng)
        yield only("MNIST, sevens and 10 others", X, y, 7, 10, rng)


def made(rng: np.random.Generator) -> Iterator[Labelled]:
    normal = rng.standard_normal
    for d, reach in ((2, 14), (6, 13)):
        centres = rng.uniform(-10, 10, (5, d))
        X = centres[rng.integers(0, 5, 1000)] + normal((1000, d))
        yield joined(f"clusters in {d} dimensions, and uniform", X, rng.uniform(-reach, reach, (30, d)))
    angles = rng.uniform(0, 2 * np.pi, 1000)
    X = np.column_stack([np.cos(angles), np.sin(angles)]) * 5 + normal((1000, 2)) * 0.3
    yield joined("a ring, and inside of it", X, normal((20, 2)) * 0.8)
    yield joined("heavy tails", rng.standard_t(2, (1000, 8)), normal((40, 8)) * 6)
    scales = 10.0 ** rng.uniform(-6, 6, 10)
    yield joined("scales from 1e-6 to 1e6", normal((1000, 10)) * scales, normal((30, 10)) * 3 * scales)
    X, odd = normal((1000, 12)), normal((30, 12)) * 3
    X[:, 6:], odd[:, 6:] = 7.0, 7.0
    yield joined("half of the columns constant", X, odd)
    odd = normal((20, 8))
    odd[np.arange(20), rng.integers(0, 8, 20)] = 1e6
    yield joined("one value a million away", normal((1000, 8)), odd)
    shares, odd_shares = [0.4, 0.3, 0.2, 0.08, 0.02], [0.05, 0.05, 0.1, 0.4, 0.4]
    chosen = rng.choice(5, (1500, 4), p=shares), rng.choice(5, (30, 4), p=odd_shares)
    yield joined("one-hot, rare categories", *(np.eye(5)[c].reshape(len(c), -1) for c in chosen))
    counts = rng.poisson([1, 5, 20, 100, 3], (1500, 5)), rng.poisson([4, 12, 35, 140, 9], (30, 5))
    yield joined("counts", *counts)
    yield joined("20 rows", normal((18, 4)), normal((2, 4)) * 4)
    X = normal((1500, 12))
    X[:, 6:] = X[:, :6] + 0.3 * normal((1500, 6))
    yield joined("correlations broken", X, normal((30, 12)))
    yield joined("log-normal", np.exp(normal((1500, 6)) * 1.5), np.exp(normal((30, 6)) * 1.5 + 2.0))
    few = [
        np.where(rng.random((n, 10)) < empty, 0.0, rng.exponential(size=(n, 10)))
        for n, empty in ((1500, 0.9), (30, 0.5))
    ]
    yield joined("mostly zeros", *few)


def methods() -> dict[str, Callable[[np.ndarray, int], np.ndarray]]:
    """Return what gives high scores to outliers."""

    def neighbours(X: np.ndarray, seed: int) -> np.ndarray:
        return -LocalOutlierFactor(min(20, len(X) - 1)).fit(X).negative_outlier_factor_

    found = {
        "AceDetector": lambda X, seed: -AceDetector(random_state=seed).fit(X).score_samples(X),
        "isolation forest": lambda X, seed: -IsolationForest(random_state=seed).fit(X).score_samples(X),
        "LOF": neighbours,
    }
    try:
        from pyod.models.ecod import ECOD
        from pyod.models.hbos import HBOS
    except ImportError:
        print("pyod is not installed")
        return found
    return found | {
        "HBOS": lambda X, seed: HBOS().fit(X).decision_scores_,
        "ECOD": lambda X, seed: ECOD().fit(X).decision_scores_,
    }


def areas() -> list[dict[str, Any]]:
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        for name, X, odd in (*real(rng), *made(rng)):
            for method, score in methods().items():
                auc = float(roc_auc_score(odd, score(X, seed)))
                found.setdefault(name, {}).setdefault(method, []).append(auc)
    rows = [
        {"data": name, **{method: float(np.mean(aucs)) for method, aucs in each.items()}}
        for name, each in found.items()
    ]
    means = {method: float(np.mean([row[method] for row in rows])) for method in methods()}
    return [*rows, {"data": "mean", **means}]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def times() -> list[dict[str, Any]]:
    mergesketch.set_num_threads(2)
    X = np.random.default_rng(0).standard_normal((ROWS, FEATURES))
    asked = X[:ASKED]
    AceDetector().fit(X[:1000]).predict(X[:1000])
    RaceDensity().fit(X[:1000]).score_samples(X[:1000])
    rows = []

    def add(job: str, n: int, ours: Callable[[], Any], peer: Callable[[], Any], name: str, m: int) -> Any:
        (own, made), (theirs, peers) = timed(ours), timed(peer)
        rows.append(
            {
                "job": job,
                "ours, s": own,
                "peer": name,
                "peer, s": theirs * n / m,
                "times as fast": theirs * n / m / own,
            }
        )
        return made, peers

    forest = "IsolationForest"
    ours, theirs = add(
        "fit", ROWS, lambda: AceDetector().fit(X), lambda: IsolationForest().fit(X), forest, ROWS
    )
    add(
        "score 100,000 rows",
        ASKED,
        lambda: ours.score_samples(asked),
        lambda: theirs.score_samples(asked),
        forest,
        ASKED,
    )
    add(
        "fit, contamination=0.01",
        ROWS,
        lambda: AceDetector(contamination=0.01).fit(X),
        lambda: IsolationForest(contamination=0.01).fit(X),
        forest,
        ROWS,
    )
    density = "KernelDensity"
    ours, theirs = add(
        "fit", ROWS, lambda: RaceDensity().fit(X), lambda: KernelDensity().fit(X), density, ROWS
    )
    add(
        "score 100,000 rows (peer: 20, scaled up)",
        ASKED,
        lambda: ours.score_samples(asked),
        lambda: theirs.score_samples(asked[:20]),
        density,
        20,
    )
    return rows


def main() -> None:
    arguments = parse(__doc__, "outliers")
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    found = areas()
    show("AUC", found)
    before = mergesketch.get_num_threads()
    try:
        measured = times()
    finally:
        mergesketch.set_num_threads(before)
    show("A million rows of 20 features", measured)
    write(arguments.json, found + measured)


if __name__ == "__main__":
    main()
