"""Compare LSHIndex with FALCONN, faiss and HNSW: recall@10 against queries a second.

"clustered": 200,000 rows of 128 features around 2,000 centres, which are directions of normal vectors. A row
is a random centre plus normal noise of total variance 1/4, scaled to length 1. "patches": 200,000 patches of
28 x 28 pixels at random places of scikit-learn's two sample photographs in grey, minus their mean and scaled
to length 1. Queries are 2,000 (500) further rows of the same kind. The truth is the exact 10 nearest rows by
angle. "search" ranks candidates exactly; "query" uses counts alone. FALCONN gets one query at a time, which
is all that it takes; the others get one batch. Queries/s is the best of three runs, on the given number of
threads.

The last table finds near-duplicates of sets; see benchmarks/index.py. A peer that is not installed is left
out. FALCONN 1.3.1 has no wheel and does not build as it is: give its setup.py the headers of pybind11 2.11
and ``-std=c++14``.
"""

import importlib
import time

import index as of_sets
import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import LSHIndex, lsh

K, ROWS, SEED = 10, 200_000, 1
THREADS = (1, 4)


def clustered():
    rng = np.random.default_rng(0)
    centres = unit(rng.standard_normal((2_000, 128)))
    n = ROWS + 2_000
    noise = 0.5 / np.sqrt(128) * rng.standard_normal((n, 128))
    rows = unit(centres[rng.integers(0, len(centres), n)] + noise).astype(np.float32)
    return rows[:ROWS], rows[ROWS:]


def patches():
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    size, n = 28, ROWS + 500
    parts = []
    for photo in load_sample_images().images:
        windows = np.lib.stride_tricks.sliding_window_view(photo.mean(axis=2), (size, size))
        places = rng.choice(windows.shape[0] * windows.shape[1], n // 2, replace=False)
        down, across = np.divmod(places, windows.shape[1])
        parts.append(windows[down, across].reshape(-1, size * size))
    rows = rng.permutation(np.concatenate(parts))
    rows = unit(rows - rows.mean(axis=1, keepdims=True)).astype(np.float32)
    return rows[:ROWS], rows[ROWS:]


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def nearest(rows, queries):
    """Return the exact nearest rows of each query."""
    return np.argpartition(-(queries @ rows.T), K, axis=1)[:, :K]


def recall(found, truth):
    return float(
        np.mean([len(set(a) & set(b)) for a, b in zip(found, truth.tolist(), strict=True)]) / truth.shape[1]
    )


def best(function, times=3):
    took = []
    for _ in range(times):
        start = time.perf_counter()
        result = function()
        took.append(time.perf_counter() - start)
    return min(took), result


def row(name, method, settings, threads, build, took, n_queries, found, truth, size):
    return {
        "set": name,
        "method": method,
        "settings": settings,
        "threads": threads,
        "rows/s": build,
        "queries/s": n_queries / took,
        "recall@10": recall(found, truth),
        "memory, MB": size / 1e6 if size else None,
    }


# -- ours -----------------------------------------------------------------------------------------


def families(width):
    """Return names, families, capacities, and the (probes, candidates) to search or probes to count with."""
    SRP, Cross, cross = lsh.SignedRandomProjection, lsh.CrossPolytope, {"power": 2, "dimension": 64}
    if width < 200:
        few = [(4, 100), (8, 200), (16, 200), (32, 400)]
        many = [(1, 200), (2, 200), (2, 400), (4, 400)]
        power, capacity = 14, 64
    else:
        # Patches lie in few buckets, which need more room.
        few = [(4, 1_000), (16, 2_000), (16, 4_000), (32, 8_000)]
        power, capacity = 12, 2_048
    cross["n_buckets"] = 1 << power
    yield "SRP, 10 tables", SRP(width, 10, power=power, seed=SEED), capacity, few, []
    yield "cross-polytope, 10 tables", Cross(width, 10, **cross, seed=SEED), capacity, few, []
    if width < 200:
        yield "SRP, 50 tables", SRP(width, 50, power=power, seed=SEED), capacity, many, []
        yield "cross-polytope, 50 tables", Cross(width, 50, **cross, seed=SEED), capacity, many, []
    yield "SRP, 13 tables of 1,024", SRP(width, 13, power=10, seed=SEED), 448, [], [1, 4, 16]


def ours(name, rows, queries, truth):
    results = []
    # Each thread should have some hundreds of queries.
    asked = np.tile(queries, (2, 1))
    for label, family, capacity, searches, counts in families(rows.shape[1]):
        small = LSHIndex(family, capacity=capacity).add(rows[:10])
        for n_probes in (1, 2):
            small.search(queries[:20], rows, K, n_probes=n_probes)
            small.query(queries[:20], K, n_probes=n_probes)
        print(f"{name}: {label}", flush=True)
        for threads in THREADS:
            mergesketch.set_num_threads(threads)
            took, index = best(lambda: LSHIndex(family, capacity=capacity).add(rows), 2)  # noqa: B023
            shared = (threads, len(rows) / took)
            for n_probes, n_candidates in searches:
                how = {"n_candidates": n_candidates, "n_probes": n_probes}
                took, found = best(lambda: index.search(asked, rows, K, **how))  # noqa: B023
                settings = f"{n_probes} probes, {n_candidates} candidates"
                found = found.ids[: len(queries)].tolist()
                results.append(
                    row(
                        name,
                        f"search, {label}",
                        settings,
                        *shared,
                        took,
                        len(asked),
                        found,
                        truth,
                        index.nbytes,
                    )
                )
            for n_probes in counts:
                took, found = best(lambda: index.query(asked, K, n_probes=n_probes))  # noqa: B023
                found = found.ids[: len(queries)].tolist()
                settings = f"{n_probes} probes"
                results.append(
                    row(
                        name,
                        f"query, {label}",
                        settings,
                        *shared,
                        took,
                        len(asked),
                        found,
                        truth,
                        index.nbytes,
                    )
                )
    return results


# -- peers ----------------------------------------------------------------------------------------


def by_falconn(name, rows, queries, truth):
    import falconn

    results = []
    # FALCONN takes minutes to build fifty tables of wide rows.
    many = [(50, (50, 100, 200))] if rows.shape[1] < 200 else []
    for tables, probes in [(10, (40, 80, 160, 320)), *many]:
        parameters = falconn.get_default_parameters(len(rows), rows.shape[1])
        parameters.l, parameters.num_setup_threads = tables, 1
        falconn.compute_number_of_hash_functions(18, parameters)
        index = falconn.LSHIndex(parameters)
        took, _ = best(lambda: index.setup(rows), 1)  # noqa: B023
        asking = index.construct_query_object()
        build = len(rows) / took
        for n_probes in probes:
            asking.set_num_probes(n_probes)
            took, found = best(lambda: [asking.find_k_nearest_neighbors(q, K) for q in queries])  # noqa: B023
            method = f"FALCONN, {tables} tables"
            settings = f"{n_probes} probes in all"
            results.append(row(name, method, settings, 1, build, took, len(queries), found, truth, None))
    return results


def by_faiss(name, rows, queries, truth):
    import faiss

    results = []
    width = rows.shape[1]
    for threads in THREADS:
        faiss.omp_set_num_threads(threads)
        for bits, again in ((1024, 0), (128, 100)):
            index = faiss.IndexLSH(width, bits)
            index.train(rows)
            took, _ = best(lambda: index.add(rows), 1)  # noqa: B023

            def ask(index=index, again=again):
                found = index.search(queries, again or K)[1]
                if not again:
                    return found
                products = np.einsum("qd,qcd->qc", queries, rows[found])
                return np.take_along_axis(found, np.argsort(-products, axis=1)[:, :K], axis=1)

            asked, found = best(ask)
            settings = f"{bits} bits, {again} re-ranked" if again else f"{bits} bits"
            shared = (threads, len(rows) / took, asked, len(queries), found.tolist(), truth)
            results.append(row(name, "faiss IndexLSH", settings, *shared, len(rows) * bits // 8))
        flat = faiss.IndexFlatIP(width)
        took, _ = best(lambda: flat.add(rows), 1)  # noqa: B023
        asked, found = best(lambda: flat.search(queries, K)[1])  # noqa: B023
        shared = (threads, len(rows) / took, asked, len(queries), found.tolist(), truth)
        results.append(row(name, "faiss Flat, exact", "", *shared, None))
    return results


def by_hnswlib(name, rows, queries, truth):
    import hnswlib

    index = hnswlib.Index("ip", rows.shape[1])
    index.init_index(len(rows), M=32, ef_construction=64)
    took, _ = best(lambda: index.add_items(rows, num_threads=4), 1)
    results = []
    for threads in THREADS:
        for ef in (16, 64, 128):
            index.set_ef(ef)
            asked, found = best(lambda: index.knn_query(queries, K, num_threads=threads)[0])  # noqa: B023
            shared = (threads, len(rows) / took, asked, len(queries), found.tolist(), truth, None)
            results.append(row(name, "HNSW, built on 4 threads", f"M 32, ef {ef}", *shared))
    return results


PEERS = {"falconn": by_falconn, "faiss": by_faiss, "hnswlib": by_hnswlib}


# -- sets -----------------------------------------------------------------------------------------


def near_duplicates():
    """Measure ours, which ranks by Jaccard similarity, and the peers, which return unranked candidates."""
    tokens, offsets = of_sets.near_duplicates()
    half = of_sets.SETS // 2
    queries = tokens[offsets[half] :], offsets[half:] - offsets[half]
    family = lsh.MinHash(of_sets.BANDS, power=8, n_buckets=2**18, seed=of_sets.SEED)
    results = []
    LSHIndex(family, capacity=8).add([[1, 2]]).search([[1, 2]], [np.array([1, 2])], 1)
    for threads in THREADS:
        mergesketch.set_num_threads(threads)
        took, index = best(lambda: LSHIndex(family, capacity=8).add((tokens, offsets)), 2)
        # The nearest set of a copy is the copy itself, and the next is its original.
        asked, found = best(lambda: index.search(queries, (tokens, offsets), 2))  # noqa: B023
        share = float((found.ids == np.arange(half)[:, None]).any(axis=1).mean())
        results.append(
            {
                "method": "search, MinHash",
                "threads": threads,
                "sets/s": of_sets.SETS / took,
                "queries/s": half / asked,
                "recall": share,
            }
        )
    for name, peer in (("rensa", of_sets.by_rensa), ("datasketch", of_sets.by_datasketch)):
        if installed(name):
            hashing, inserting, asking, share, _ = peer(tokens, offsets)
            results.append(
                {
                    "method": name,
                    "threads": 1,
                    "sets/s": of_sets.SETS / (hashing + inserting),
                    "queries/s": half / asking,
                    "recall": share,
                }
            )
    return results


def installed(name):
    try:
        importlib.import_module(name)
    except ImportError:
        print(f"{name}: not installed")
        return False
    return True


def main():
    options = parse(__doc__, "search")
    before = mergesketch.get_num_threads()
    results = []
    peers = {name: run for name, run in PEERS.items() if installed(name)}
    for name, make in (("clustered", clustered), ("patches", patches)):
        rows, queries = make()
        truth = nearest(rows, queries)
        here = ours(name, rows, queries, truth)
        for peer, run in peers.items():
            print(f"{name}: {peer}", flush=True)
            here += run(name, rows, queries, truth)
        show(f"{name}: {len(rows):,} rows of {rows.shape[1]} features", here)
        results += here
        write(options.json, results)
    sets = near_duplicates()
    show("100,000 sets, half of them near-duplicates of the others", sets)
    mergesketch.set_num_threads(before)
    write(options.json, results + sets)


if __name__ == "__main__":
    main()
