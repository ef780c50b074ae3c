"""Compare NeighbourGraph with hnswlib, faiss's HNSW, PyNNDescent and LSHIndex, and measure hops of searches.

"search": word vectors of GloVe, token vectors of WordLlama and images of Fashion-MNIST, of which 1,000 are
the queries and others the rows; the truth is the 10 rows at the smallest angles. "lists": the share of the 10
nearest rows that the graph itself has for a row. "alone": queries one at a time. "sphere": rows uniform on
the sphere S^d, whose greedy search is what the theory of Prokhorenkova and Shekhovtsov (2020) is about. All
searches begin at the same row, and the queries are 1,000 further points. "structured": rows that are equal,
one-hot or in tight clusters. A query is a row, and the row that is found first must be as near as the nearest
one.

All run on one thread. Times are processor times: of one build, and the least of two runs of all queries in
one batch. Peers that are not installed are left out. Without options all parts are measured, which takes
some minutes; with `--only` one part, whose rows replace those of the result file.
"""

import argparse
import importlib.util
import json
import time
import warnings
from functools import partial

import mergesketch
import numpy as np
from measure import RESULTS, show, write
from mergesketch import lsh
from vector_codes import sets

K, QUERIES, SAMPLE = 10, 1000, 1000
ROWS = {"glove": 20_000, "wordllama": 20_000, "fashion": 10_000}
EFFORTS = (12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
#: The dimensions of spheres, and the numbers of rows on them.
SPHERES = {2: (1000, 10_000, 100_000)} | dict.fromkeys((4, 8, 16), (1000, 10_000))
PARTS = ("search", "alone", "sphere", "structured")


def spent(function, times=1):
    """Return the least processor time of some calls, and the last result."""
    took = []
    for _ in range(times):
        start = time.process_time()
        result = function()
        took.append(time.process_time() - start)
    return min(took), result


def installed(package):
    if importlib.util.find_spec(package) is None:
        print(f"{package} is not installed: left out")
        return False
    return True


def tables(rows, n_hashes=8):
    """Return a family with a bucket for about every 50 rows."""
    return lsh.SignedRandomProjection(
        rows.shape[1], n_hashes, power=max(4, round(np.log2(len(rows) / 50))), seed=1
    )


def nearest(rows, queries, k=K):
    return np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :k]


def recall(found, truth):
    return float(np.mean([len({*a} & {*b}) for a, b in zip(found.tolist(), truth.tolist(), strict=True)])) / K


# -- search -----------------------------------------------------------------------------------------


def ours(rows, k):
    empty = mergesketch.NeighbourGraph(tables(rows), k)
    seconds, graph = spent(lambda: empty.copy().update(rows))
    graph.search(rows[:2])
    for ef in EFFORTS:
        yield f"n_neighbors={k}", f"ef={ef}", seconds, lambda Q, ef=ef: graph.search(Q, K, ef=ef).ids, graph


def hnswlib_index(rows, m, ef_construction):
    import hnswlib

    index = hnswlib.Index("cosine", rows.shape[1])
    index.init_index(len(rows), M=m, ef_construction=ef_construction, random_seed=1)
    index.set_num_threads(1)
    seconds, _ = spent(lambda: index.add_items(rows))
    for ef in EFFORTS:

        def ask(Q, ef=ef):
            index.set_ef(ef)
            return index.knn_query(Q, K, num_threads=1)[0]

        yield f"M={m}, ef_construction={ef_construction}", f"ef={ef}", seconds, ask, None


def faiss_hnsw(rows, m):
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(rows.shape[1], m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    seconds, _ = spent(lambda: index.add(rows))
    for ef in EFFORTS:

        def ask(Q, ef=ef):
            index.hnsw.efSearch = ef
            return index.search(Q, K)[1]

        yield f"M={m}, efConstruction=100", f"ef={ef}", seconds, ask, None


def pynndescent_index(rows):
    import pynndescent

    def build(X):
        index = pynndescent.NNDescent(X, metric="cosine", n_neighbors=32, random_state=1, n_jobs=1)
        index.prepare()
        return index

    build(rows[:2000]).query(rows[:10], K)
    seconds, index = spent(lambda: build(rows))
    for epsilon in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3):
        ask = lambda Q, e=epsilon: index.query(Q, K, epsilon=e)[0]  # noqa: E731
        yield "n_neighbors=32", f"epsilon={epsilon}", seconds, ask, index


def lsh_index(rows):
    n_hashes = 20
    index = mergesketch.LSHIndex(tables(rows, n_hashes), capacity=128)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, _ = spent(lambda: index.update(rows))
    for n_probes in (1, 2, 4, 8, 16, 32, 64):
        ask = lambda Q, p=n_probes: index.search(Q, rows, K, n_probes=p).ids  # noqa: E731
        yield f"{n_hashes} tables", f"n_probes={n_probes}", seconds, ask, None


def contestants(rows):
    yield "NeighbourGraph", ours(rows, 32)
    yield "NeighbourGraph", ours(rows, 48)
    if installed("hnswlib"):
        yield "hnswlib", hnswlib_index(rows, 16, 100)
    if installed("faiss"):
        yield "faiss IndexHNSWFlat", faiss_hnsw(rows, 16)
    if installed("pynndescent"):
        yield "PyNNDescent", pynndescent_index(rows)
    yield "LSHIndex.search", lsh_index(rows)


def search():
    for name, everything, _ in sets():
        if name not in ROWS:
            continue
        order = np.random.default_rng(0).permutation(len(everything))
        rows = np.ascontiguousarray(everything[order[: ROWS[name]]])
        queries = np.ascontiguousarray(everything[order[ROWS[name] : ROWS[name] + QUERIES]])
        truth = nearest(rows, queries)
        sample = np.random.default_rng(1).choice(len(rows), SAMPLE, replace=False)
        of_sample = nearest(rows, rows[sample], K + 1)
        others = np.array(
            [[i for i in ids if i != own][:K] for ids, own in zip(of_sample, sample, strict=True)]
        )
        shape = f"{name}, {len(rows):,} x {rows.shape[1]}"
        for structure, runs in contestants(rows):
            for settings, effort, seconds, ask, graph in runs:
                took, found = spent(partial(ask, queries), 2)
                row = {
                    "what": "search", "set": shape, "structure": structure, "settings": settings,
                    "effort": effort, "build s": seconds, "recall@10": recall(found, truth),
                    "us a query": 1e6 * took / QUERIES,
                }  # fmt: skip
                if isinstance(graph, mergesketch.NeighbourGraph):
                    visits = graph.visits(queries, ef=int(effort[3:]))
                    row |= {"hops": float(visits.hops.mean()), "distances": float(visits.distances.mean())}
                yield row
                if row["recall@10"] > 0.995:
                    break
            if graph is not None:
                took, lists = spent(lambda graph=graph: lists_of(graph))
                yield {
                    "what": "lists", "set": shape, "structure": structure, "settings": settings,
                    "build s": seconds, "recall@10": recall(lists[sample], others), "s to read": took,
                }  # fmt: skip


def lists_of(graph):
    """Return the ids of the 10 nearest other rows that a graph has listed for each row."""
    if isinstance(graph, mergesketch.NeighbourGraph):
        return graph.neighbors(K).ids
    ids = graph.neighbor_graph[0]
    others = np.argsort(ids == np.arange(len(ids))[:, None], axis=1, kind="stable")
    return np.take_along_axis(ids, others, axis=1)[:, :K]


def alone():
    """Yield the times of queries one at a time, where calls from Python cost more than the search."""
    rows = np.random.default_rng(0).standard_normal((10_000, 32)).astype(np.float32)
    for structure, ask in asked(rows):
        ask(rows[:1])
        took, _ = spent(lambda ask=ask: [ask(rows[i : i + 1]) for i in range(200)], 3)
        batch, _ = spent(partial(ask, rows[:200]), 3)
        yield {
            "what": "alone", "structure": structure, "us a query, one at a time": 1e6 * took / 200,
            "us a query of 200": 1e6 * batch / 200,
        }  # fmt: skip


# -- the theory's setting ---------------------------------------------------------------------------


def sphere():
    for d, sizes in SPHERES.items():
        for n in sizes:
            points = np.random.default_rng(d).standard_normal((n + QUERIES, d + 1)).astype(np.float32)
            points /= np.linalg.norm(points, axis=1, keepdims=True)
            rows, queries = points[:n], points[n:]
            truth = nearest(rows, queries, 1)[:, 0]
            for n_long in (0, 8):
                graph = mergesketch.NeighbourGraph(
                    tables(rows), 32, n_links=64, n_long_links=n_long, diversify=False, entry="fixed", seed=1
                ).update(rows)
                for ef in (1, 16):
                    visits = graph.visits(queries, ef=ef)
                    yield {
                        "what": "sphere", "d": d, "n": n, "long links": n_long, "ef": ef,
                        "hops": float(visits.hops.mean()), "distances": float(visits.distances.mean()),
                        "nearest found": float(np.mean(graph.search(queries, 1, ef=ef).ids[:, 0] == truth)),
                        "n**(1/d)": n ** (1 / d),
                    }  # fmt: skip


# -- structured rows --------------------------------------------------------------------------------


def structures():
    """Yield names, rows and the numbers of the rows that are queries."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20_000, 32)).astype(np.float32)
    rows[:5000] = rows[0]
    yield "20,000 rows, of which 5,000 are equal", rows, np.arange(5000, 6000)
    yield "2,000 one-hot rows", np.eye(2000, dtype=np.float32), np.arange(1000)
    centres = rng.standard_normal((2000, 32))
    rows = np.repeat(centres, 10, axis=0) + 0.001 * rng.standard_normal((20_000, 32))
    yield "2,000 tight clusters of 10 rows", rows.astype(np.float32), np.arange(1000)
    rows = rng.standard_normal((10_000, 32)).astype(np.float32)
    rows[::2] = np.eye(32)[rng.integers(0, 32, 5000)]
    yield "10,000 rows, of which half are 32 one-hot rows", rows, np.arange(1, 2001, 2)


def asked(rows):
    """Yield structures of rows, and functions that search them with an effort of 64."""
    graph = mergesketch.NeighbourGraph(tables(rows), 32).update(rows)
    yield "NeighbourGraph", lambda Q: graph.search(Q, K, ef=64).ids
    if installed("hnswlib"):
        import hnswlib

        index = hnswlib.Index("cosine", rows.shape[1])
        index.init_index(len(rows), M=16, ef_construction=100, random_seed=1)
        index.add_items(rows, num_threads=1)
        index.set_ef(64)
        yield "hnswlib", lambda Q: index.knn_query(Q, K, num_threads=1)[0]


def structured():
    for name, rows, numbers in structures():
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        queries = unit[numbers]
        products = queries @ unit.T
        limits = -np.partition(-products, K - 1, axis=1)[:, K - 1]
        for structure, ask in asked(rows):
            found = np.asarray(ask(queries))
            near = np.take_along_axis(products, np.maximum(found, 0).astype(np.int64), axis=1)
            yield {
                "what": "structured", "set": name, "structure": structure,
                "own row first": float(np.mean(near[:, 0] > 1 - 1e-6)),
                "recall@10": float(np.mean((near >= limits[:, None] - 1e-6) & (found >= 0))),
            }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--json", type=type(RESULTS), default=RESULTS / "neighbour_graph.json")
    arguments = parser.parse_args()
    mergesketch.set_num_threads(1)
    rows = (
        json.loads(arguments.json.read_text())["rows"] if arguments.only and arguments.json.exists() else []
    )
    for part in PARTS:
        if arguments.only in (None, part):
            names = (part, "lists") if part == "search" else (part,)
            rows = [row for row in rows if row["what"] not in names]
            new = []
            for row in globals()[part]():
                print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
                new.append(row)
            rows += new
            for name in names:
                show(name, [row for row in new if row["what"] == name])
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
