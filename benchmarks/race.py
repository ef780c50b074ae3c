"""RACE beside the bare matrix product that its hashes need, and beside exact kernel densities.

Updates: rows a second of `Race.update` against the product of the same rows and directions alone, in
blocks, on the same threads. Queries: `Race.density` against exact densities by a matrix product over all
rows, and scikit-learn's KernelDensity where it is installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import Race
from mergesketch.lsh import SignedRandomProjection
from threadpoolctl import threadpool_limits

BLOCK = 2048


def best_of(functions: dict[str, Callable[[], Any]], repeats: int = 5) -> dict[str, float]:
    """Least seconds of each, run in turn, so that a busy machine hits all alike."""
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def product(X: np.ndarray, directions: np.ndarray) -> None:
    """The product alone, its output reused, so that no fresh memory is paid for."""
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


def densities(n: int, d: int, n_hashes: int, power: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((50, d))
    X, Q = clusters(rng, centres, n), clusters(rng, centres, 1000)
    rows = []
    for projection in ("gaussian", "hadamard"):
        family = SignedRandomProjection(
            n_features=d, n_hashes=n_hashes, power=power, projection=projection, seed=1
        )
        race = Race(family).update(X)
        exact = np.concatenate([family.kernel(part, X).mean(axis=1) for part in np.array_split(Q[:200], 4)])
        error = np.abs(race.density(Q[:200]) - exact) / exact
        some = Q[:100]
        for threads in (1, 4):
            mergesketch.set_num_threads(threads)
            functions: dict[str, Callable[[], Any]] = {
                "ours": lambda race=race: race.density(Q),
                "exact": lambda some=some: (some @ X.T).mean(axis=1),
            }
            with threadpool_limits(threads, user_api="blas"):
                took = best_of(functions, 3)
            rows.append(
                {
                    "job": f"density n={n:,}, d={d}, {n_hashes} x {power} bits, {projection}",
                    "threads": threads,
                    "ours q/s": len(Q) / took["ours"],
                    "product over all rows q/s": len(some) / took["exact"],
                    "ratio": len(Q) / took["ours"] / (len(some) / took["exact"]),
                    "median relative error": float(np.median(error[exact > 10 / n])),
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
    return rows


def main() -> None:
    arguments = parse(__doc__, "race")
    before = mergesketch.get_num_threads()
    try:
        rows = updates(784, 500, 8, 8_192, "gaussian") + updates(784, 500, 8, 8_192, "hadamard")
        rows += updates(20, 200, 4, 131_072, "gaussian")
        show("Updates", rows)
        queries = densities(60_000, 784, 500, 8)
        show("Kernel densities", queries)
    finally:
        mergesketch.set_num_threads(before)
    write(arguments.json, rows + queries)


if __name__ == "__main__":
    main()
