"""Measure the test error of Nadaraya-Watson sketches against memory.

They are compared with exact Nadaraya-Watson regression with the same kernel over all training rows, with the
same over a uniform sample of rows of equal bytes, and with ten nearest neighbours in such a sample. Errors
are root mean squares over the standard deviation of the targets, so predicting their mean gives 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from measure import parse, seconds, show, write
from mergesketch import NadarayaWatsonSketch
from mergesketch.lsh import PStable
from sklearn.neighbors import KNeighborsRegressor

AIRFOIL = Path(__file__).parents[2] / "shared" / "data" / "airfoil.tsv"


def waves(n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (n, 2))
    return X, np.sin(3 * X[:, 0]) * np.cos(2 * X[:, 1]) + 0.1 * rng.standard_normal(n)


def kernel_mean(family: PStable, Q: np.ndarray, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    kernel = family.kernel(Q, X)
    return kernel @ y / kernel.sum(axis=1)


def main() -> None:
    arguments = parse(__doc__, "nadaraya_watson")
    sets = {"waves, 2 features": (waves(), 0.5)}
    if AIRFOIL.exists():
        table = np.loadtxt(AIRFOIL, skiprows=1)
        sets["airfoil, 5 features"] = ((table[:, :-1], table[:, -1]), 3.0)
    rows: list[dict[str, Any]] = []
    for name, ((X, y), width) in sets.items():
        order = np.random.default_rng(1).permutation(len(X))
        train, test = order[: len(X) * 4 // 5], order[len(X) * 4 // 5 :][:1000]
        X = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
        y = (y - y[train].mean()) / y[train].std()
        exact_family = PStable(X.shape[1], 1, width=width, power=4)
        exact = kernel_mean(exact_family, X[test], X[train], y[train])
        for n_hashes in (10, 30, 100, 300, 1000):
            found: dict[str, list[float]] = {"sketch": [], "sample": [], "neighbours": []}
            nbytes = 0
            for seed in range(3):
                family = PStable(X.shape[1], n_hashes, width=width, power=4, n_buckets=256, seed=seed)
                sketch = NadarayaWatsonSketch(family).update(X[train], y[train])
                nbytes = sketch.nbytes
                kept = min(len(train), max(10, nbytes // (4 * (X.shape[1] + 1))))
                few = np.random.default_rng(seed).choice(train, kept, replace=False)
                near = KNeighborsRegressor(10).fit(X[few], y[few])
                for method, values in (
                    ("sketch", sketch.predict(X[test], fill=0.0)),
                    ("sample", kernel_mean(exact_family, X[test], X[few], y[few])),
                    ("neighbours", near.predict(X[test])),
                ):
                    found[method].append(float(np.sqrt(np.mean((values - y[test]) ** 2))))
            rows.append(
                {
                    "data": name,
                    "bytes": nbytes,
                    "NadarayaWatsonSketch": float(np.mean(found["sketch"])),
                    "exact, all rows": float(np.sqrt(np.mean((exact - y[test]) ** 2))),
                    "exact, sample of rows": float(np.mean(found["sample"])),
                    "10 neighbours, sample of rows": float(np.mean(found["neighbours"])),
                    "predictions/s": len(test) / seconds(lambda sketch=sketch: sketch.predict(X[test]), 3),  # noqa: B023
                }
            )
    show("Test error against memory", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
