"""Compare WeightedMinHash with datasketch's, for 128 hashes of rows of about 100 weights.

Ours reads a sparse matrix, and datasketch reads dense rows, which are prepared beforehand. Our random numbers
are drawn once for a feature of some thousand rows, so rows that share features are faster. The errors of both
are those of rows and of copies of them with changed weights, at similarities of about 0.6.

    python benchmarks/weighted_minhash.py
"""

from __future__ import annotations

import os
from typing import Any

import mergesketch
import numpy as np
import scipy.sparse
from measure import parse, seconds, show, write
from mergesketch.lsh import WeightedMinHash

try:
    from datasketch import WeightedMinHashGenerator
except ImportError:
    WeightedMinHashGenerator = None

ROWS, WEIGHTS, HASHES, THEIR_ROWS = 10_000, 100, 128, 60


def rows_of(rng: np.random.Generator, n_features: int, zipf: bool) -> scipy.sparse.csr_array:
    """Return rows of WEIGHTS drawn features; the weights of a feature that is drawn twice are added."""
    chances = 1.0 / np.arange(1, n_features + 1) if zipf else np.ones(n_features)
    features = rng.choice(n_features, ROWS * WEIGHTS, p=chances / chances.sum())
    entries = rng.exponential(size=ROWS * WEIGHTS), (np.repeat(np.arange(ROWS), WEIGHTS), features)
    return scipy.sparse.coo_array(entries, shape=(ROWS, n_features)).tocsr()


def rms(codes: np.ndarray, exact: np.ndarray) -> float:
    """Return the error of the share of equal codes of row i of the first half and row i of the second."""
    left, right = codes.reshape(2, len(exact), HASHES, -1)
    return float(np.sqrt(np.mean(((left == right).all(axis=2).mean(axis=1) - exact) ** 2)))


def measure(name: str, X: scipy.sparse.csr_array, rng: np.random.Generator) -> dict[str, Any]:
    family = WeightedMinHash(HASHES, seed=1)
    some = X[:THEIR_ROWS].toarray()
    some = np.concatenate([some, some * rng.uniform(0.2, 1.0, some.shape)])
    exact = np.diagonal(family.kernel(some[:THEIR_ROWS], some[THEIR_ROWS:]))
    row: dict[str, Any] = {"rows": name, "weights": X.nnz, "hashes": HASHES}
    before = mergesketch.get_num_threads()
    for threads in (1, len(os.sched_getaffinity(0))):
        mergesketch.set_num_threads(threads)
        taken = min(seconds(lambda: family.hash(X), 1) for _ in range(3))
        row[f"rows/s, {threads} threads"] = ROWS / taken
        if threads == 1:
            row["ns a weight and hash"] = taken * 1e9 / X.nnz / HASHES
    mergesketch.set_num_threads(before)
    row["RMS error of theory"] = float(np.sqrt(np.mean(exact * (1 - exact) / HASHES)))
    row["RMS error"] = rms(family.hash(some), exact)
    if WeightedMinHashGenerator is not None:
        generator = WeightedMinHashGenerator(X.shape[1], HASHES)
        taken = min(seconds(lambda: [generator.minhash(x) for x in some[:THEIR_ROWS]], 1) for _ in range(3))
        theirs = np.array([generator.minhash(x).hashvalues for x in some])
        row |= {
            "datasketch rows/s": THEIR_ROWS / taken,
            "its RMS error": rms(theirs, exact),
            "ratio, 1 thread": row["rows/s, 1 threads"] * taken / THEIR_ROWS,
        }
    return row


def main() -> None:
    arguments = parse(__doc__ or "", "weighted_minhash")
    rng = np.random.default_rng(0)
    rows = [
        measure("of 1,000 features", rows_of(rng, 1000, False), rng),
        measure("of 10,000 features", rows_of(rng, 10_000, False), rng),
        measure("of 50,000 features, Zipf", rows_of(rng, 50_000, True), rng),
        measure("of 50,000 features", rows_of(rng, 50_000, False), rng),
    ]
    show("WeightedMinHash", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
