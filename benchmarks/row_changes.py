"""Rows that leave an index: LSHIndex.remove beside faiss, hnswlib and datasketch, and what full buckets keep.

The first table has the milliseconds of processor time of a removal from an index of 100,000 rows of 64
features, on one thread. "Scan" searches all buckets for the ids, and "rows" passes the rows. hnswlib only
marks rows, and needs a call for each. The sets are 20,000 of 100 tokens, in 14 bands of 9 values. Ours and
the peers take turns; the figures are the least of three.

The second table has the share of the entries that full buckets have dropped, after so many times the number
of rows were replaced by new ones under new ids. Buckets have room for 64 rows. There are 200 rows for each
bucket ("crowded"), 45 ("nearly full") or 20 ("roomy").
"""

import time
import warnings

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import LSHIndex
from mergesketch.errors import FullBucketsWarning
from mergesketch.lsh import MinHash, SignedRandomProjection

ROWS, FEATURES, SETS = 100_000, 64, 20_000
COUNTS, REPEATS = (1, 100, 10_000), 3


def least(ways, n):
    """Yield the least milliseconds in which each way removes ids; each makes its index anew."""
    for make in ways.values():
        make()(np.arange(1))  # compiles
    found = {name: {"method": name} for name in ways}
    for count in COUNTS:
        best = dict.fromkeys(ways, float("inf"))
        for repeat in range(REPEATS):
            ids = np.random.default_rng(repeat).permutation(n)[:count]
            for name, make in ways.items():
                remove = make()
                start = time.process_time()
                remove(ids)
                best[name] = min(best[name], time.process_time() - start)
        for name, seconds in best.items():
            found[name][f"{count:,} rows: ms"] = 1e3 * seconds
    yield from found.values()


def of_vectors():
    import faiss
    import hnswlib

    faiss.omp_set_num_threads(1)
    X = np.random.default_rng(0).standard_normal((ROWS, FEATURES)).astype(np.float32)
    family = SignedRandomProjection(FEATURES, 10, power=13, seed=1)
    whole = LSHIndex(family, capacity=64).update(X)
    lists = faiss.IndexIVFFlat(faiss.IndexFlatL2(FEATURES), FEATURES, 256)
    lists.train(X[:20_000])
    lists.add(X)
    graph = hnswlib.Index(space="l2", dim=FEATURES)
    graph.init_index(max_elements=ROWS, M=8, ef_construction=20)
    graph.add_items(X)
    marked = set()

    def scan():
        index = whole.copy()
        return lambda ids: index.remove(ids)

    def rows():
        index = whole.copy()
        return lambda ids: index.remove(ids, X[ids])

    def ivf():
        index = faiss.clone_index(lists)
        return lambda ids: index.remove_ids(ids)

    def hnsw():
        for number in marked:
            graph.unmark_deleted(number)
        marked.clear()

        def remove(ids):
            for number in ids.tolist():
                graph.mark_deleted(number)
            marked.update(ids.tolist())

        return remove

    return least(
        {
            "LSHIndex, scan": scan,
            "LSHIndex, rows": rows,
            "faiss IVFFlat, remove_ids": ivf,
            "hnswlib, mark_deleted": hnsw,
        },
        ROWS,
    )


def of_sets():
    import datasketch

    tokens = np.random.default_rng(0).integers(0, 10**9, (SETS, 100))
    sets = list(tokens)
    whole = LSHIndex(MinHash(14, power=9, n_buckets=2**15), capacity=16).update(sets)
    signatures = MinHash(126).signatures(sets)
    made = [
        datasketch.MinHash(num_perm=126, hashvalues=row.astype(np.uint64), scheme="legacy")
        for row in signatures
    ]
    peer = datasketch.MinHashLSH(num_perm=126, params=(14, 9))
    for number, one in enumerate(made):
        peer.insert(number, one)
    gone = []

    def scan():
        index = whole.copy()
        return lambda ids: index.remove(ids)

    def rows():
        index = whole.copy()
        return lambda ids: index.remove(ids, [sets[i] for i in ids.tolist()])

    def bands():
        for number in gone:
            peer.insert(number, made[number])
        gone.clear()

        def remove(ids):
            for number in ids.tolist():
                peer.remove(number)
            gone.extend(ids.tolist())

        return remove

    return least(
        {"LSHIndex of sets, scan": scan, "LSHIndex of sets, rows": rows, "datasketch MinHashLSH": bands}, SETS
    )


def of_churn():
    """Replace rows step by step, and return the dropped share of the entries."""
    rng = np.random.default_rng(1)
    for name, n in (("crowded", 200 << 5), ("nearly full", 45 << 5), ("roomy", 20 << 5)):
        for way in ("scan", "rows"):
            family = SignedRandomProjection(FEATURES, 10, power=5, seed=2)
            X = rng.standard_normal((n, FEATURES))
            index, row = LSHIndex(family, capacity=64).update(X), {"buckets": name, "removed by": way}
            step = n // 20
            for done in range(101):
                if done in (0, 20, 40, 100):
                    row[f"replaced {done // 20} times"] = index.overflow
                ids = np.arange(done * step, done * step + step)
                # An id that all tables have dropped is only known by its row.
                old, X = X[:step], np.concatenate([X[step:], rng.standard_normal((step, FEATURES))])
                index.remove(ids, old if way == "rows" else None, missing="ignore").update(X[-step:])
            yield row


def main():
    arguments = parse(__doc__, "row_changes")
    mergesketch.set_num_threads(1)
    warnings.simplefilter("ignore", FullBucketsWarning)
    found = [*of_vectors(), *of_sets()]
    show(__doc__.splitlines()[0], found)
    dropped = list(of_churn())
    show("Dropped share", dropped)
    write(arguments.json, [*found, *dropped])


if __name__ == "__main__":
    main()
