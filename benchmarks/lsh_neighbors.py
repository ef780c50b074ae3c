"""Compare LSHNeighbors with scikit-learn's KNeighborsTransformer: the time and the recall of a graph.

The rows are 50,000 of 64 features: around 500 centres ("clustered"), or a normal distribution of 8 dimensions
turned into 64 ("8 of 64"). Each estimator is fitted to them and returns the graph of 5 neighbours of 2,000
of them. Seconds are those of one run on all threads; CPU seconds add up what all threads spent, so they
depend less on what else the machine does.
"""

import time

import numpy as np
from measure import parse, show, write
from mergesketch import LSHNeighbors
from sklearn.neighbors import KNeighborsTransformer

ROWS, FEATURES, QUERIES, K = 50_000, 64, 2_000, 5


def data():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((500, FEATURES))
    yield "clustered", centres[rng.integers(0, 500, ROWS)] + 0.5 * rng.standard_normal((ROWS, FEATURES))
    plane = np.linalg.qr(rng.standard_normal((FEATURES, 8)))[0]
    yield "8 of 64", rng.standard_normal((ROWS, 8)) @ plane.T


def methods():
    yield "LSHNeighbors", LSHNeighbors(K)
    yield "LSHNeighbors, float32", LSHNeighbors(K)
    for algorithm in ("brute", "kd_tree"):
        yield (
            f"KNeighborsTransformer, {algorithm}",
            KNeighborsTransformer(n_neighbors=K, algorithm=algorithm, n_jobs=-1),
        )


def timed(function):
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    options = parse(__doc__, "lsh_neighbors")
    rows = []
    # Kernels compile in the first calls.
    for dtype in (np.float32, np.float64):
        LSHNeighbors().fit(next(data())[1][:5000].astype(dtype)).kneighbors()
    for name, X in data():
        truth = KNeighborsTransformer(n_neighbors=K, algorithm="brute").fit(X).transform(X[:QUERIES])
        exact = truth.indices.reshape(QUERIES, K + 1)
        for method, model in methods():
            Y = X.astype(np.float32) if "float32" in method else X
            _, fit, fit_cpu = timed(lambda: model.fit(Y))  # noqa: B023
            graph, ask, ask_cpu = timed(lambda: model.transform(Y[:QUERIES]))  # noqa: B023
            found = graph.indices.reshape(QUERIES, K + 1)
            recall = np.mean([np.isin(a, b).sum() - 1 for a, b in zip(exact, found, strict=True)]) / K
            rows.append(
                {
                    "rows": name,
                    "method": method,
                    "fit s": fit,
                    "fit CPU s": fit_cpu,
                    "graph s": ask,
                    "graph CPU s": ask_cpu,
                    "recall": float(recall),
                }
            )
    show(__doc__.splitlines()[0], rows)
    write(options.json, rows)


if __name__ == "__main__":
    main()
