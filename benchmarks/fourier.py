"""Errors of FourierSketch beside samples of rows, DEANN's idea, and private releases of RACE.

Densities: the median relative error of Gaussian kernel densities at rows that were not taken in, over five
seeds, with the bytes that answer queries and the microseconds of a query, on one thread in batches of 200.
The width is such that the mean density is 0.1 or 0.01. A sample keeps its rows in float32. "near + sample" is
the idea of DEANN (Karppa, Aumueller and Pagh 2022): an index finds near rows, whose kernels are added up
exactly, and a random sample stands for the others; it keeps all rows, and its times are those of a prototype
in NumPy.

Releases: errors of densities at equal epsilon and bytes, each against the exact density of its own kernel,
whose widths give equal mean densities. Of the splits of the bytes into repetitions and buckets, and of the
numbers of components, the one with the least error counts for each method. Classification: accuracy with one
release for each class, at equal epsilon and public bounds; the rule of the width and of the components of
FourierSketch was chosen on these two sets, and `private_classifier` has its defaults. MNIST is read from
../shared/data where it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from mergesketch import FourierSketch, LSHIndex, Race, private_classifier
from mergesketch.lsh import PStable
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import train_test_split

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist_t10k.npz"
SEEDS, N_QUERIES = 5, 200
EPSILONS = (0.1, 0.3, 1.0, 3.0)
RELEASE_BYTES = 16_384
#: The sizes that are measured. Samples of more bytes take as long as many components.
COMPONENTS = (64, 256, 1024, 4096)
SAMPLE_BYTES = (1024, 4096, 16_384, 65_536, 262_144, 1 << 20)
SAMPLES_BESIDE = (50, 200, 1000)
#: The index: tables, buckets, ids of a bucket, and the near rows of a query.
TABLES, BUCKETS, CAPACITY, NEAR = 4, 4096, 64, 50


def data() -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    centres = 2.0 * rng.standard_normal((50, 20))
    rows = centres[rng.integers(0, 50, 20_000)] + rng.standard_normal((20_000, 20))
    yield "50 generated clusters", rows.astype(np.float32)
    if MNIST.exists():
        images = np.load(MNIST)["images"].reshape(-1, 784)
        yield "MNIST", rng.permutation(images).astype(np.float32) / 255


def gaussian(Q: np.ndarray, X: np.ndarray, width: float) -> np.ndarray:
    return np.exp(euclidean_distances(Q, X, squared=True) / (-2.0 * width * width))


def width_of_density(mean: Callable[[float], float], density: float) -> float:
    """Find the width that gives a mean density, by bisection."""
    low, high = 1e-3, 1e3
    for _ in range(40):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if mean(middle) < density else (low, middle)
    return float(low)


class Densities:
    """Queries and rows, and the ways to estimate the densities; each returns a function that asks for all."""

    def __init__(self, Q: np.ndarray, X: np.ndarray, width: float) -> None:
        self.Q, self.X, self.width = Q, X, width
        self.n, self.d = X.shape
        self.exact = gaussian(Q, X, width).mean(axis=1)

    def fourier(self, m: int, projection: str, seed: int) -> Callable[[], Any]:
        sketch = FourierSketch(self.d, m, self.width, projection=projection, seed=seed).update(self.X)
        return lambda: sketch.density(self.Q)

    def sample(self, k: int, seed: int) -> Callable[[], Any]:
        kept = self.X[np.random.default_rng(seed).choice(self.n, k, replace=False)]
        return lambda: gaussian(self.Q, kept, self.width).mean(axis=1)

    def near(self, k: int, seed: int) -> Callable[[], Any]:
        family = PStable(self.d, TABLES, width=2.0 * self.width, power=10, n_buckets=BUCKETS, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of full buckets: most rows are near at a mean density of 0.1
            index = LSHIndex(family, capacity=CAPACITY, seed=seed).update(self.X)
        others = np.random.default_rng(seed).choice(self.n, k, replace=False)
        sampled = self.X[others]

        def ask() -> np.ndarray:
            found = index.search(self.Q, self.X, NEAR)
            kernels = np.exp(found.distances**2 / (-2.0 * self.width**2))
            held = found.ids >= 0
            rest = gaussian(self.Q, sampled, self.width)
            left = (others[None, :, None] != found.ids[:, None, :]).all(axis=2)
            means = (rest * left).sum(axis=1) / np.maximum(1, left.sum(axis=1))
            sums = np.where(held, kernels, 0.0).sum(axis=1) + (self.n - held.sum(axis=1)) * means
            return sums / self.n

        return ask


def densities(name: str, rows: np.ndarray, density: float) -> list[dict[str, Any]]:
    Q, X = rows[:N_QUERIES], rows[N_QUERIES:]
    n, d = X.shape
    ways = Densities(Q, X, width_of_density(lambda w: float(gaussian(Q, X[:2000], w).mean()), density))
    # The rows, and the ids and counts of the tables.
    index_bytes = 4 * d * n + TABLES * BUCKETS * (4 * CAPACITY + 4)
    jobs: list[tuple[str, int, int, Callable[[int], Any]]] = []
    for m in COMPONENTS:
        jobs += [
            ("FourierSketch, independent", m, 16 * m, partial(ways.fourier, m, "independent")),
            ("FourierSketch, orthogonal", m, 16 * m, partial(ways.fourier, m, "orthogonal")),
            ("FourierSketch, hadamard", m, 16 * m, partial(ways.fourier, m, "hadamard")),
        ]
    for k in (nbytes // (4 * d) for nbytes in SAMPLE_BYTES if nbytes >= 4 * d):
        jobs.append(("sample of rows", k, 4 * d * k, partial(ways.sample, k)))
    jobs += [("near + sample", k, index_bytes, partial(ways.near, k)) for k in SAMPLES_BESIDE]
    found: list[dict[str, Any]] = []
    for method, size, nbytes, make in jobs:
        errors, times = [], []
        for seed in range(SEEDS):
            ask = make(seed)
            errors.append(np.abs(ask() - ways.exact) / ways.exact)
            times.append(best_of({method: ask}, repeats=3)[method])
        found.append(
            {
                "rows": name,
                "features": d,
                "mean density": density,
                "method": method,
                "size": size,
                "bytes": nbytes,
                "us a query": min(times) / len(Q) * 1e6,
                "median relative error": float(np.median(errors)),
            }
        )
    return found


def releases(name: str, rows: np.ndarray, density: float) -> list[dict[str, Any]]:
    Q, X = rows[:N_QUERIES], rows[N_QUERIES:]
    d, found = X.shape[1], []
    width = width_of_density(lambda w: float(gaussian(Q, X[:2000], w).mean()), density)
    exact = gaussian(Q, X, width).mean(axis=1)
    step = width_of_density(
        lambda w: float(PStable(d, 1, width=w, power=4).kernel(Q, X[:2000]).mean()), density
    )
    exact_steps = PStable(d, 1, width=step, power=4).kernel(Q, X).mean(axis=1)
    for epsilon in EPSILONS:
        error: dict[str, dict[str, float]] = {"FourierSketch": {}, "Race": {}}
        for m in (16, 64, 256, RELEASE_BYTES // 16):
            errors = []
            for seed in range(SEEDS):
                sketch = FourierSketch(d, m, width, projection="hadamard", seed=seed)
                release = sketch.update(X).release(epsilon)
                errors.append(np.abs(release.density(Q) - exact) / exact)
            error["FourierSketch"][f"{m} components"] = float(np.median(errors))
        for R in (4, 8, 16, 32, 64):
            W, errors = RELEASE_BYTES // (8 * R), []
            for seed in range(SEEDS):
                family = PStable(d, R, width=step, power=4, n_buckets=W, seed=seed)
                release = Race(family).update(X).release(epsilon)
                errors.append(np.abs(release.density(Q) - exact_steps) / exact_steps)
            error["Race"][f"{R} x {W} counters"] = float(np.median(errors))
        best = {method: min(sizes, key=sizes.__getitem__) for method, sizes in error.items()}
        found.append(
            {
                "release of": name,
                "n": len(X),
                "mean density": density,
                "epsilon": epsilon,
                "FourierSketch": error["FourierSketch"][best["FourierSketch"]],
                "with": best["FourierSketch"],
                "Race": error["Race"][best["Race"]],
                "and": best["Race"],
            }
        )
    return found


def classification() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    centres = 0.7 * rng.standard_normal((5, 20))
    labels = rng.integers(0, 5, 20_000)
    sets = {
        "digits": (*load_digits(return_X_y=True), 0.0, 16.0),
        "generated": (centres[labels] + rng.standard_normal((20_000, 20)), labels, -4.0, 4.0),
    }
    found = []
    for name, (X, y, low, high) in sets.items():
        d, n_classes = X.shape[1], int(y.max()) + 1
        for epsilon in (*EPSILONS, 10.0):
            ours, race = [], []
            for run in range(SEEDS):
                A, B, a, b = train_test_split(X, y, test_size=0.25, random_state=run, stratify=y)
                Z, asked = (2.0 * (np.clip(rows, low, high) - low) / (high - low) - 1.0 for rows in (A, B))
                m = min(256, max(8, round(0.1 * epsilon * len(A) / n_classes)))
                width = 0.3 * d**0.5
                # A row has one class, so all classes share the budget.
                sums = [
                    FourierSketch(d, m, width, projection="hadamard", seed=run)
                    .update(Z[a == c])
                    .release(epsilon)
                    .query(asked)
                    for c in range(n_classes)
                ]
                ours.append((np.argmax(sums, axis=0) == b).mean())
                public = {"classes": range(n_classes), "low": low, "high": high, "seed": run}
                race.append((private_classifier(A, a, epsilon=epsilon, **public).predict(B) == b).mean())
            found.append(
                {
                    "classification of": name,
                    "rows": len(A),
                    "epsilon": epsilon,
                    "FourierSketch": float(np.mean(ours)),
                    "private_classifier": float(np.mean(race)),
                }
            )
    return found


def main() -> None:
    arguments = parse(__doc__, "fourier")
    mergesketch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name, X in data():
        for density in (0.1, 0.01):
            found = densities(name, X, density)
            show(name, found)
            rows += found
        released = releases(name, X, 0.1)
        show("releases", released)
        rows += released
    accuracy = classification()
    show("classification", accuracy)
    write(arguments.json, rows + accuracy)


if __name__ == "__main__":
    main()
