"""The recipe of the README for an index, on 100,000 clustered vectors of 384 features.

The vectors resemble embeddings: unit vectors in 1,000 clusters of unequal sizes and widths, whose variance
falls from feature to feature. `suggest` gets 2,000 of them and the least cosine of the neighbours that are to
be found, and the index has the parameters that it returns. Recall@10 is the share of the ten nearest rows
that `search` finds for 1,000 further vectors. Comparing them with all rows by a matrix product is the peer.
Times are those of one thread.
"""

import time

import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from threadpoolctl import threadpool_limits

ROWS, QUERIES, FEATURES, CLUSTERS, SAMPLE, K, SEED = 100_000, 1_000, 384, 1_000, 2_000, 10, 1
#: Number of queries whose times are measured, in turns with those of the peer.
FEW = 250
#: Least cosines, and bytes that the index may take.
ASKED = ((0.8, 100_000_000), (0.8, 200_000_000), (0.85, None), (0.8, None), (0.75, None))


def clustered(n: int, features: int, clusters: int, seed: int) -> np.ndarray:
    """Return n unit vectors in clusters, as float32 in random order."""
    rng = np.random.default_rng(seed)
    scale = (1.0 + np.arange(features)) ** -0.5

    def unit(X: np.ndarray) -> np.ndarray:
        return X / np.linalg.norm(X, axis=1, keepdims=True)

    centres = unit(rng.standard_normal((clusters, features)) * scale)
    sizes = rng.lognormal(size=clusters)
    picked = rng.choice(clusters, n, p=sizes / sizes.sum())
    noise = unit(rng.standard_normal((n, features)) * scale)
    return unit(centres[picked] + noise * rng.uniform(0.3, 0.8, (n, 1))).astype(np.float32)


def clock(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def exact(Q: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of the ten nearest rows, in any order, and the cosine of the tenth."""
    cosines = Q @ X.T
    near = np.argpartition(-cosines, K, axis=1)[:, :K]
    return near, np.take_along_axis(cosines, near, axis=1).min(axis=1)


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(truth, found, strict=True)]))


def with_suggested(
    X: np.ndarray, Q: np.ndarray, truth: np.ndarray, min_cosine: float, memory: int | None
) -> dict:
    """Follow the recipe; return what was suggested and measured."""

    def suggest():
        return mergesketch.suggest(n_rows=len(X), sample=X[:SAMPLE], min_cosine=min_cosine, memory=memory)

    suggest()
    took, plan = clock(suggest)
    plan.index(seed=SEED).add(X[:100]).search(Q[:5], X, k=K, n_probes=plan.n_probes)
    built, index = clock(lambda: plan.index(seed=SEED).add(X))
    ids, _ = index.search(Q, X, k=K, n_probes=plan.n_probes)
    few = Q[:FEW]
    best = best_of(
        {
            "search": lambda: index.search(few, X, k=K, n_probes=plan.n_probes),
            "exact": lambda: exact(few, X),
        }
    )
    return {
        "min_cosine": min_cosine,
        "memory limit, MB": memory and memory / 1e6,
        "tables": plan.n_hashes,
        "bits": plan.power,
        "buckets": plan.n_buckets,
        "capacity": plan.capacity,
        "probes": plan.n_probes,
        "recall@10": recall(ids, truth),
        "recall, predicted at min_cosine": plan.recall,
        "overflow": index.overflow,
        "memory, MB": index.nbytes / 1e6,
        "suggest s": took,
        "build s": built,
        "query us": best["search"] / FEW * 1e6,
        "exact query us": best["exact"] / FEW * 1e6,
        "times as fast as exact": best["exact"] / best["search"],
    }


def main() -> None:
    options = parse(__doc__, "index_recipe")
    mergesketch.set_num_threads(1)
    X = clustered(ROWS + QUERIES, FEATURES, CLUSTERS, seed=0)
    X, Q = X[:ROWS], X[ROWS:]
    truth, tenth = exact(Q, X)
    data = {
        "what": "data",
        "rows": ROWS,
        "features": FEATURES,
        "median cosine of the tenth": float(np.median(tenth)),
        "queries whose tenth has a cosine of 0.8": float((tenth >= 0.8).mean()),
        "data, MB": X.nbytes / 1e6,
    }
    with threadpool_limits(1, user_api="blas"):
        rows = [with_suggested(X, Q, truth, *asked) for asked in ASKED]
    show("The rows", [data])
    show("The recipe", rows)
    write(options.json, [data, *rows])


if __name__ == "__main__":
    main()
