"""Errors of RACE on real rows beside those of a uniform sample of rows of as many bytes.

Median relative error of kernel densities (signed random projections, power 8) at rows that were not taken
in, over five seeds. MNIST is read from ../shared/data where it is; the other rows are scikit-learn's own. A
sample keeps its rows in float32, and sizes end where it would hold half of all rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measure import parse, show, write
from mergesketch import Race
from mergesketch.lsh import SignedRandomProjection
from race import exact_densities, unit

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist_t10k.npz"
POWER, N_QUERIES, N_SEEDS = 8, 200, 5


def real_rows() -> Iterator[tuple[str, np.ndarray]]:
    """Return sets of rows by name."""
    if MNIST.exists():
        images = np.load(MNIST)["images"].astype(np.float32)
        yield "MNIST, raw", images
        yield "MNIST, centred", images - images.mean(axis=0)
    else:
        print(f"{MNIST} is not there")
    try:
        from sklearn import datasets
    except ImportError:
        print("scikit-learn is not installed")
        return
    photograph = datasets.load_sample_image("china.jpg").mean(axis=2)
    patches = np.lib.stride_tricks.sliding_window_view(photograph, (28, 28))[::6, ::6].reshape(-1, 784)
    yield "patches of a photograph, raw", patches.astype(np.float32)
    yield "patches of a photograph, each centred", patches - patches.mean(axis=1, keepdims=True)
    yield "digits, raw", datasets.load_digits().data
    for name in ("digits", "breast_cancer", "diabetes", "wine"):
        X = getattr(datasets, f"load_{name}")().data
        yield f"{name.replace('_', ' ')}, standardised", (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-9)


def errors(name: str, rows: np.ndarray) -> list[dict[str, Any]]:
    """Measure the two errors at growing memory."""
    rng = np.random.default_rng(0)
    rows = rows[np.argsort(rng.random(len(rows)))].astype(np.float32)
    rows = rows[np.linalg.norm(rows, axis=1) > 0]
    n_queries = min(N_QUERIES, len(rows) // 5)
    Q, X = rows[:n_queries], rows[n_queries:]
    exact = exact_densities(Q, unit(X), POWER)
    found = []
    for n_hashes in (2, 4, 8, 16, 32, 64, 128, 256, 512):
        nbytes = 4 * n_hashes * 2**POWER
        n_kept = nbytes // (4 * X.shape[1])
        if 2 * n_kept > len(X):
            break
        ours, theirs = [], []
        for seed in range(N_SEEDS):
            family = SignedRandomProjection(X.shape[1], n_hashes, power=POWER, seed=seed)
            ours.append(np.abs(Race(family).update(X).density(Q) - exact) / exact)
            kept = X[rng.choice(len(X), max(1, n_kept), replace=False)]
            theirs.append(np.abs(exact_densities(Q, unit(kept), POWER) - exact) / exact)
        race, sample = float(np.median(ours)), float(np.median(theirs))
        found.append(
            {
                "rows": name,
                "n": len(X),
                "features": X.shape[1],
                "bytes": nbytes,
                "Race": race,
                "sample of rows": sample,
                "sample / Race": sample / race,
            }
        )
    return found


def main() -> None:
    arguments = parse(__doc__, "race_errors")
    rows = []
    for name, X in real_rows():
        found = errors(name, X)
        show(name, found)
        rows += found
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
