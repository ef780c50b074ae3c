"""Density sketches: error against memory, and classifiers trained on synthetic rows.

Error: mean absolute error of log densities of 2,000 fresh rows of a mixture of normals in two dimensions,
beside a kernel density estimate on a uniform sample of rows of as many bytes. Synthetic rows: for each
class as many rows are drawn from a sketch as it has real ones; accuracy on real test rows of classifiers
trained on them, over that of the same ones trained on real rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from measure import parse, seconds, show, write
from mergesketch import DensitySketch
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_digits, make_moons
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity, KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

CENTRES, SPREADS = np.array([[0.0, 0.0], [3.0, 1.0], [-2.0, 3.0]]), (1.0, 0.5, 0.7)


def mixture(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 3, n)
    return CENTRES[which] + np.array(SPREADS)[which, None] * rng.standard_normal((n, 2))


def true_density(Q: np.ndarray) -> np.ndarray:
    parts = [multivariate_normal(c, s * s).pdf(Q) for c, s in zip(CENTRES, SPREADS, strict=True)]
    return np.mean(parts, axis=0)


def errors() -> list[dict[str, Any]]:
    X, Q = mixture(200_000, 0), mixture(2000, 1)
    truth = np.log(true_density(Q))
    floor = np.log(1e-5)
    rows = []
    for n_buckets in (256, 1024, 4096, 16_384):
        sketch = DensitySketch.for_sample(
            X[:5000], n_expected=len(X), n_buckets=n_buckets, max_bins=64, seed=1
        )
        took = seconds(lambda sketch=sketch: sketch.empty_like().update(X), 1, 1)
        sketch.update(X)
        ours = np.log(np.maximum(sketch.density(Q), 1e-5))
        kept = max(10, sketch.nbytes // 8)
        sample = X[np.random.default_rng(2).choice(len(X), min(kept, len(X)), replace=False)]
        bandwidth = 0.6 * len(sample) ** (-1 / 6)
        theirs = np.maximum(KernelDensity(bandwidth=bandwidth).fit(sample).score_samples(Q), floor)
        rows.append(
            {
                "job": "error of log density, 2 features, 200,000 rows",
                "bytes": sketch.nbytes,
                "DensitySketch": float(np.abs(ours - truth).mean()),
                "kernel density of a sample": float(np.abs(theirs - truth).mean()),
                "rows/s": len(X) / took,
            }
        )
    return rows


def synthetic() -> list[dict[str, Any]]:
    digits, kinds = load_digits(return_X_y=True)
    cancer, benign = load_breast_cancer(return_X_y=True)
    sets = {
        "digits, 16 components": (PCA(16, random_state=0).fit_transform(digits), kinds),
        "breast cancer": (StandardScaler().fit_transform(cancer), benign),
        "moons": make_moons(2000, noise=0.15, random_state=0),
    }
    rows = []
    for name, (X, y) in sets.items():
        train, test, labels, truth = train_test_split(X, y, random_state=0, stratify=y)
        drawn, drawn_labels, nbytes = [], [], 0
        for kind in np.unique(y):
            own = train[labels == kind]
            sketch = DensitySketch.for_sample(own, seed=1).update(own)
            drawn.append(sketch.sample(len(own), random_state=0))
            drawn_labels += [kind] * len(own)
            nbytes += sketch.nbytes
        for model in (SVC(), KNeighborsClassifier(), LogisticRegression(max_iter=2000)):
            real = model.fit(train, labels).score(test, truth)
            made = model.fit(np.concatenate(drawn), drawn_labels).score(test, truth)
            rows.append(
                {
                    "data": name,
                    "classifier": type(model).__name__,
                    "accuracy, real rows": float(real),
                    "accuracy, synthetic rows": float(made),
                    "ratio": float(made / real),
                    "bytes": nbytes,
                }
            )
    return rows


def main() -> None:
    arguments = parse(__doc__, "density")
    found, made = errors(), synthetic()
    show("Densities", found)
    show("Classifiers of synthetic rows", made)
    write(arguments.json, found + made)


if __name__ == "__main__":
    main()
