"""RACE beside the bare matrix product that its hashes need, and beside exact kernel densities.

Updates: rows a second of `Race.update` against the product of the same rows and directions alone, in
blocks, on the same threads. Queries: `Race.density` against exact densities of the same kernel by a matrix
product over all rows, that product alone, and scikit-learn's KernelDensity where it is installed. Streams:
updates of small rows beside DataSketches' density sketch, and of a window of 24 panes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from mergesketch import Race, RaceWindow
from mergesketch.lsh import SignedRandomProjection
from threadpoolctl import threadpool_limits

BLOCK = 2048


def product(X: np.ndarray, directions: np.ndarray) -> None:
    """Measure the product alone; its output is reused, so that no fresh memory is touched."""
    out = np.empty((BLOCK, directions.shape[1]), dtype=np.float32)
    for start in range(0, len(X), BLOCK):
        block = X[start : start + BLOCK]
        np.matmul(block, directions, out=out[: len(block)])


def updates(d: int, n_hashes: int, power: int, n: int, projection: str) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)).astype(np.float32)
    directions = rng.standard_normal((d, n_hashes * power)).astype(np.float32)
    family = SignedRandomProjection(
        n_features=d, n_hashes=n_hashes, power=power, projection=projection, seed=1
    )
    rows = []
    for threads in (1, 4):
        mergesketch.set_num_threads(threads)
        race = Race(family)
        with threadpool_limits(threads, user_api="blas"):
            took = best_of(
                {
                    "product": lambda: product(X, directions),
                    "hash": lambda: family.hash(X),
                    "update": lambda race=race: race.update(X),
                }
            )
        rows.append(
            {
                "job": f"update d={d}, {n_hashes} x {power} bits, {projection}",
                "threads": threads,
                "ours rows/s": n / took["update"],
                "hash alone rows/s": n / took["hash"],
                "product rows/s": n / took["product"],
                "ours time / product's": took["update"] / took["product"],
            }
        )
    return rows


def clusters(rng: np.random.Generator, centres: np.ndarray, n: int) -> np.ndarray:
    picked = centres[rng.integers(0, len(centres), n)]
    return (picked + 0.35 * rng.standard_normal(picked.shape)).astype(np.float32)


def unit(X: np.ndarray) -> np.ndarray:
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def exact_densities(Q: np.ndarray, X: np.ndarray, power: int) -> np.ndarray:
    """Mean over rows of (1 - angle / pi) ** power, by one matrix product; X of unit length."""
    kernel = np.clip(unit(Q) @ X.T, -1.0, 1.0)
    np.arccos(kernel, out=kernel)
    kernel *= -1.0 / np.pi
    kernel += 1.0
    for _ in range(power.bit_length() - 1):  # powers of two
        np.square(kernel, out=kernel)
    return kernel.mean(axis=1)


def densities(n: int, d: int, settings: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Kernel densities at the error that so many repetitions give, beside exact ones."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((50, d))
    X, Q = clusters(rng, centres, n), clusters(rng, centres, 4000)
    unit_X = unit(X)
    rows = []
    for n_hashes, power in settings:
        family = SignedRandomProjection(
            n_features=d, n_hashes=n_hashes, power=power, projection="hadamard", n_buckets=256, seed=1
        )
        race = Race(family).update(X)
        exact = exact_densities(Q[:400], unit_X, power)
        error = np.abs(race.density(Q[:400]) - exact) / exact
        some = Q[:100]
        for threads in (1, 4):
            mergesketch.set_num_threads(threads)
            functions: dict[str, Callable[[], Any]] = {
                "ours": lambda race=race: race.density(Q),
                "exact": lambda some=some, power=power: exact_densities(some, unit_X, power),
                "product": lambda some=some: some @ X.T,
            }
            with threadpool_limits(threads, user_api="blas"):
                took = best_of(functions, 3)
            ours, theirs = len(Q) / took["ours"], len(some) / took["exact"]
            rows.append(
                {
                    "job": f"density n={n:,}, d={d}, {n_hashes} x {power} bits",
                    "threads": threads,
                    "ours q/s": ours,
                    "exact q/s": theirs,
                    "ratio": ours / theirs,
                    "ratio to the product alone": ours / (len(some) / took["product"]),
                    "bytes": race.nbytes,
                    "median relative error": float(np.median(error[exact > 10 / n])),
                    "least density x n": float(exact.min() * n),
                }
            )
    try:
        from sklearn.neighbors import KernelDensity
    except ImportError:
        return rows
    model = KernelDensity(bandwidth=float(np.sqrt(d))).fit(X)
    took = best_of({"sklearn": lambda: model.score_samples(Q[:5])}, 1)
    for row in rows:
        row["scikit-learn q/s"] = 5 / took["sklearn"]
        row["ratio to scikit-learn"] = row["ours q/s"] * took["sklearn"] / 5
    return rows


def streams() -> list[dict[str, Any]]:
    """Measure updates from Python beside DataSketches' density sketch, d=20, and what a window adds."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((200_000, 20)).astype(np.float32)
    family = SignedRandomProjection(n_features=20, n_hashes=100, power=8, seed=1)
    rows: list[dict[str, Any]] = []
    theirs = None
    try:
        from datasketches import GaussianKernel, density_sketch
    except ImportError:
        print("datasketches is not installed")
    else:

        def fill() -> None:
            sketch = density_sketch(1000, 20, GaussianKernel())
            for row in X[:5000]:
                sketch.update(row)

        theirs = 5000 / best_of({"theirs": fill}, 2)["theirs"]
    for threads in (1, 4):
        mergesketch.set_num_threads(threads)
        race, window = Race(family), RaceWindow(family, n_panes=24)
        panes = np.arange(len(X)) * 48 // len(X)
        took = best_of(
            {
                "race": lambda race=race: race.update(X),
                "window": lambda window=window, panes=panes: window.empty_like().update(X, pane=panes),
            },
            3,
        )
        for name in ("race", "window"):
            row = {
                "job": f"stream of d=20, 100 x 8 bits, {name}",
                "threads": threads,
                "ours rows/s": len(X) / took[name],
            }
            if theirs is not None:
                row["density_sketch rows/s"] = theirs
                row["ratio"] = row["ours rows/s"] / theirs
            rows.append(row)
    return rows


def errors_against_memory() -> list[dict[str, Any]]:
    """Median relative error of densities beside that of a uniform sample of rows of as many bytes."""
    rows = []
    for d, power, n in ((784, 8, 60_000), (20, 8, 60_000)):
        rng = np.random.default_rng(0)
        centres = rng.standard_normal((50, d))
        X, Q = clusters(rng, centres, n), clusters(rng, centres, 300)
        exact = exact_densities(Q, unit(X), power)
        for n_hashes in (8, 16, 32, 64, 128, 256, 512, 1024):
            ours, theirs, nbytes = [], [], 0
            for seed in range(5):
                race = Race(
                    SignedRandomProjection(d, n_hashes, power=power, projection="hadamard", seed=seed)
                ).update(X)
                nbytes = race.state["counts"].array.nbytes
                ours.append(np.abs(race.density(Q) - exact) / exact)
                kept = X[rng.choice(n, max(1, nbytes // (4 * d)), replace=False)]
                theirs.append(np.abs(exact_densities(Q, unit(kept), power) - exact) / exact)
            rows.append(
                {
                    "job": f"error against memory, d={d}",
                    "bytes": nbytes,
                    "Race": float(np.median(ours)),
                    "sample of rows": float(np.median(theirs)),
                }
            )
    return rows


def main() -> None:
    arguments = parse(__doc__, "race")
    before = mergesketch.get_num_threads()
    try:
        rows = updates(784, 500, 8, 8_192, "gaussian") + updates(784, 500, 8, 8_192, "hadamard")
        rows += updates(20, 200, 4, 131_072, "gaussian")
        show("Updates", rows)
        queries = densities(60_000, 784, [(100, 8), (700, 16)])
        show("Kernel densities", queries)
        streamed = streams()
        show("Streams", streamed)
        remembered = errors_against_memory()
        show("Error against memory", remembered)
    finally:
        mergesketch.set_num_threads(before)
    write(arguments.json, rows + queries + streamed + remembered)


if __name__ == "__main__":
    main()
