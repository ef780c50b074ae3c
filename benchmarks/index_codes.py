"""Compare an LSHIndex with vector codes with scans of codes: recall@10 against bytes a row and queries/s.

The sets of rows and queries, and the processor time of a query, are those of benchmarks/vector_codes.py, on
one thread. No structure keeps the rows. Bytes a row are those of the codes and of the index's tables, which
have room for 99 % of the entries. "1 table" is one cross-polytope table of few large buckets, so that the
tables take few bytes. "10 tables" have buckets of about 12 rows. For "clustered", IndexLSH has 1,024 and
4,096 bits too, and the peers of the other sets are in results/vector_codes.json.
"""

from functools import partial

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch import LSHIndex, VectorCodes
from mergesketch.lsh import CrossPolytope
from search import K, nearest, recall
from vector_codes import best, contestants, named, sets

SEED = 1
#: The bits of codes of an index, and its (probes, candidates).
BITS = (2, 4, 7)
ONE_TABLE, TEN_TABLES = ((16, None), (32, None), (48, None)), ((8, 200), (16, 400))


def indexes(rows):
    """Yield a name, an index and its (probes, candidates)."""
    n, width = rows.shape
    size = 64 if width <= 64 else 128
    yield "1 table", filled(CrossPolytope(width, 1, power=1, dimension=size, seed=SEED), rows), ONE_TABLE
    buckets = 1 << round(np.log2(n / 12))
    family = CrossPolytope(width, 10, power=2, dimension=64, n_buckets=buckets, seed=SEED)
    yield "10 tables", filled(family, rows), TEN_TABLES


def filled(family, rows):
    """Return an index with room for 99 % of the entries."""
    loads = np.concatenate([np.bincount(table, minlength=family.n_buckets) for table in family.hash(rows).T])
    capacity = 16
    while np.maximum(loads - capacity, 0).sum() > 0.01 * loads.sum():
        capacity += max(1, capacity // 20)
    return LSHIndex(family, capacity=capacity, seed=SEED).update(rows)


def ours(rows):
    """Yield the structure, its settings, its bytes, and a function that searches."""
    codes = {
        bits: VectorCodes(rows.shape[1], bits, seed=1).update(rows) for bits in sorted({*range(1, 9), *BITS})
    }
    for bits, held in codes.items():
        yield "VectorCodes", named(bits), held.nbytes, lambda Q, c=held: c.search(Q, K, metric="cosine").ids
    for name, index, settings in indexes(rows):
        for bits in BITS:
            for n_probes, most in settings:
                text = f"{named(bits)}, {n_probes} probes" + (f", {most} candidates" if most else "")
                search = partial(index.search, rows=codes[bits], k=K, n_candidates=most, n_probes=n_probes)
                size = codes[bits].nbytes + index.nbytes
                yield f"LSHIndex with codes, {name}", text, size, lambda Q, ask=search: ask(Q).ids


def peers(rows, name):
    """Yield the same for the peers."""
    try:
        import faiss
    except ImportError:
        print("faiss is not installed: left out")
        return
    faiss.omp_set_num_threads(1)
    for bits in (256, 1024, 4096) if name == "clustered" else (256, 1024):
        index = faiss.IndexLSH(rows.shape[1], bits, True)
        index.add(rows)
        size = index.code_size * len(rows)
        yield "faiss IndexLSH", f"{bits} bits a row", size, lambda Q, i=index: i.search(Q, K)[1]
    if name == "clustered":
        for structure, settings, measure in contestants(rows):
            if structure not in ("VectorCodes", "faiss IndexLSH"):
                size, _, ask = measure()
                yield structure, settings, size * len(rows), ask


def main():
    arguments = parse(__doc__, "index_codes")
    mergesketch.set_num_threads(1)
    results = []
    for name, rows, queries in sets():
        truth, before = nearest(rows, queries), len(results)
        for make in (ours, partial(peers, name=name)):
            for structure, settings, size, ask in make(rows):
                # The first call compiles.
                ask(queries[:2])
                took, found = best(lambda ask=ask, Q=queries: ask(Q), 2)
                results.append(
                    {
                        "set": f"{name}, {len(rows):,} x {rows.shape[1]}",
                        "structure": structure,
                        "settings": settings,
                        "bytes a row": round(size / len(rows), 1),
                        "recall@10": recall(found.tolist(), truth),
                        "queries/s": len(queries) / took,
                    }
                )
                print({k: v for k, v in results[-1].items() if k != "set"}, flush=True)
        show(name, results[before:])
        write(arguments.json, results)


if __name__ == "__main__":
    main()
