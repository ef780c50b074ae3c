"""Measure FrequentDirections: its error and its time, beside the exact products and other sketches.

The rows are the 60,000 images of Fashion-MNIST (Debian's `dataset-fashion-mnist`), 784 columns, with the
column means subtracted. The error is the largest eigenvalue in magnitude of A.T A - B.T B,
over the sum of the squares of all entries. The other sketches have as many numbers: rows drawn with
probabilities proportional to their squared lengths, random combinations of rows (a Gaussian projection), and
scikit-learn's IncrementalPCA in batches of the same memory. The best matrix of l rows is the exact one's.

"late direction" has rows that were generated: 1,000 rows of noise, and then 20,000 rows along one further
direction. Each is short, and all of them together are most of the matrix.

python benchmarks/frequent_directions.py
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mergesketch as ms
import numpy as np
from measure import parse, show, write

FASHION = Path("/usr/share/datasets/fashion-mnist")
SEEDS = 3
#: Sizes of sketches, in directions. A sketch of l directions has room for 2 l rows.
SIZES = (8, 16, 32, 64, 128)


def images(name: str) -> np.ndarray:
    with gzip.open(FASHION / f"{name}-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)


def labels(name: str) -> np.ndarray:
    with gzip.open(FASHION / f"{name}-labels-idx1-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=8)


def drawn_rows(X: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return n rows that were drawn by their squared lengths, scaled so that products are unbiased."""
    rng, squares = np.random.default_rng(seed), (X * X).sum(axis=1)
    share = squares / squares.sum()
    drawn = rng.choice(len(X), n, p=share)
    return X[drawn] / np.sqrt(n * share[drawn])[:, None]


def combined_rows(X: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return n random combinations of all rows."""
    rng, out = np.random.default_rng(seed), np.zeros((n, X.shape[1]))
    for part in np.array_split(X, 60):
        out += rng.standard_normal((n, len(part))) @ part / np.sqrt(n)
    return out


def incremental_pca(X: np.ndarray, n: int) -> np.ndarray:
    """Return the components of scikit-learn's IncrementalPCA as rows, in the memory of 2 n rows."""
    from sklearn.decomposition import IncrementalPCA

    fitted = IncrementalPCA(n, batch_size=n).fit(X)
    return fitted.singular_values_[:, None] * fitted.components_


def best(X: np.ndarray, n: int) -> np.ndarray:
    values, vectors = np.linalg.eigh(X.T @ X)
    return np.sqrt(values[::-1][:n])[:, None] * vectors[:, ::-1].T[:n]


def merged(X: np.ndarray, n: int, n_parts: int) -> ms.FrequentDirections:
    parts = [ms.FrequentDirections(784, n).update(part) for part in np.array_split(X, n_parts)]
    return sum(parts[1:], start=parts[0])


def late_direction() -> np.ndarray:
    rng, X = np.random.default_rng(0), np.zeros((21_000, 784))
    X[:1000, :200] = rng.standard_normal((1000, 200))
    X[1000:, 783] = 0.5 + 0.1 * rng.random(20_000)
    return X


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    found = function()
    return found, time.process_time() - start


def rows(name: str, X: np.ndarray, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    products, squares, out = X.T @ X, float((X * X).sum()), []
    _, exact = timed(lambda: X.T @ X)

    def measured(method: str, n: int, makes: list[Callable[[], Any]]) -> None:
        errors, times, told = [], [], []
        for make in makes:
            found, spent = timed(make)
            if isinstance(found, ms.FrequentDirections):
                told.append(found.error / squares)
                found = found.rows()
            difference = np.linalg.eigvalsh(products - found.T @ found)
            errors.append(max(-difference[0], difference[-1]) / squares)
            times.append(spent)
        row = {
            "rows": name,
            "method": method,
            "directions": n,
            "kB": 2 * n * 784 * 8 / 1000,
            "error, % of all squares": 100 * float(np.mean(errors)),
            "us a row": 1e6 * min(times) / len(X),
        }
        if told:
            row["error it tells, %"] = 100 * float(np.mean(told))
        out.append(row)
        print(row, flush=True)

    for n in sizes:
        measured("FrequentDirections", n, [lambda n=n: ms.FrequentDirections(784, n).update(X)])
        measured("FrequentDirections, 16 parts merged", n, [lambda n=n: merged(X, n, 16)])
        measured("best matrix of as many rows", n, [lambda n=n: best(X, n)])
        measured("IncrementalPCA", n, [lambda n=n: incremental_pca(X, n)])
        for method, other in (("drawn rows", drawn_rows), ("random combinations", combined_rows)):
            measured(method, n, [lambda n=n, s=s, o=other: o(X, 2 * n, s) for s in range(SEEDS)])
    out.append(
        {
            "rows": name,
            "method": "exact products",
            "directions": 784,
            "kB": 784 * 784 * 8 / 1000,
            "error, % of all squares": 0.0,
            "us a row": 1e6 * exact / len(X),
        }
    )
    return out


def main() -> None:
    arguments = parse(__doc__, "frequent_directions")
    X = images("train").astype(np.float64) / 255
    found = rows("Fashion-MNIST", X - X.mean(axis=0), SIZES)
    found += rows("late direction", late_direction(), (16, 64))
    show("Errors of matrix sketches", found)
    write(arguments.json, found)


if __name__ == "__main__":
    main()
