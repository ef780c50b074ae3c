"""Measure density sketches: error against memory, and classifiers trained on synthetic rows.

Error: the mean absolute error of log densities of 2,000 new rows of a mixture of normals in two dimensions,
compared with a kernel density estimate on a uniform sample of rows of the same number of bytes. Integrals:
the integral of the densities, by Monte Carlo over the points within a width of the rows; and the standard
deviations of synthetic rows over those of real rows, for the worst feature. Both are measured at the default
size and at 2,048 buckets and cells. Synthetic rows: for each class, the number of rows drawn from a sketch is
the number of its real rows. The figure is the accuracy on real test rows of classifiers trained on synthetic
rows, over that of the same classifiers trained on real rows.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from measure import parse, seconds, show, write
from mergesketch import DensitySketch
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_moons
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity, KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

AIRFOIL = Path(__file__).parents[2] / "shared" / "data" / "airfoil.tsv"
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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


def columns() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sets = {
        "normal, 5 features": rng.standard_normal((20_000, 5)),
        "log-normal, 4 features": np.exp(rng.standard_normal((20_000, 4))),
        "breast cancer, 4 columns": load_breast_cancer().data[:, [0, 1, 3, 12]],
        "wine, 4 columns": load_wine().data[:, [0, 6, 9, 12]],
    }
    if AIRFOIL.exists():
        sets["airfoil, 4 columns"] = np.loadtxt(AIRFOIL, skiprows=1)[:, [0, 1, 4, 5]]
    return sets


def integrals() -> list[dict[str, Any]]:
    rows = []
    for name, X in columns().items():
        for sizes in ({}, {"n_buckets": 2048, "max_bins": 2048}):
            sketch = DensitySketch.for_sample(X, seed=1, **sizes).update(X)
            widths, rng = np.asarray(sketch.width), np.random.default_rng(2)
            around = rng.uniform(-1.0, 1.0, (4000, X.shape[1])) * widths
            Q = X[rng.integers(0, len(X), len(around))] + around
            drawn = np.array([(np.abs(X - q) < widths).all(axis=1).mean() for q in Q])
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                ratios = sketch.density(Q) / drawn * (2.0 * widths).prod()
            spread = sketch.sample(20_000, random_state=0).std(axis=0) / X.std(axis=0)
            rows.append(
                {
                    "data": f"integral, {name}",
                    "bytes": sketch.nbytes,
                    "cells": sketch.n_cells,
                    "integral": float(ratios.mean()),
                    "its Monte Carlo error": float(ratios.std() / np.sqrt(len(ratios))),
                    "integral of densities cut off at 0": float(np.maximum(ratios, 0).mean()),
                    "stated error, over the box of the rows": sketch.integral_error,
                    "warned": len(caught) > 0,
                    "deviation of samples over that of rows": float(spread[np.abs(spread - 1).argmax()]),
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
    found, whole, made = errors(), integrals(), synthetic()
    show("Densities", found)
    show("Integrals and deviations", whole)
    show("Classifiers of synthetic rows", made)
    write(arguments.json, found + whole + made)


if __name__ == "__main__":
    main()
