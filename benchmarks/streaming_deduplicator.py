"""Measure StreamingDeduplicator: what it removes from real sources beside exact grouping, memory and time.

The documents are Python sources of the standard library and of installed packages. One in eleven is a planted
copy in which 0 to 6 % of the words are replaced. Exact grouping is `deduplicate` with twice the hashes and
exact verification, which keeps the first document of each group. A false removal is a document that the
stream removes and exact grouping does not. Its bound is the sum, over the earlier documents, of the
probability that they share a band, by the exact similarities of a sample of the documents.

The baseline for memory and time is a Python set of the same 64-bit keys for each band. Its bytes are those of
the sets and of the integers in them. Keys are given, so shingling and MinHash do not count in either.
"""

from __future__ import annotations

import random
import sys
import sysconfig
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import scipy.sparse
from measure import parse, show, write
from mergesketch import StreamingDeduplicator
from mergesketch.distributed import deduplicate
from mergesketch.lsh import shingle

THRESHOLD, N_FILES, N_SAMPLED, N_KEYS = 0.7, 8000, 500, 100_000


def sources() -> list[bytes]:
    """Return sources of at most 200 kB and planted near-copies of a tenth of them, in random order."""
    rng = random.Random(1)
    folders = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib")}
    paths = sorted({path.resolve() for folder in folders for path in folder.rglob("*.py")})
    paths = [path for path in paths if path.stat().st_size < 200_000]
    documents = [path.read_bytes() for path in rng.sample(paths, min(N_FILES, len(paths)))]
    for original in rng.sample(documents, len(documents) // 10):
        words, share = original.decode(errors="replace").split(), rng.uniform(0.0, 0.06)
        for i in rng.sample(range(len(words)), int(share * len(words))):
            words[i] = f"changed{i}"
        documents.append(" ".join(words).encode())
    rng.shuffle(documents)
    return documents


def bound_of_false_removals(
    documents: list[bytes], removed: set[int], sketch: StreamingDeduplicator
) -> tuple[set[int], float]:
    """Return a sample of the documents that are to stay, and the bound of its false removals."""
    shingles = shingle(documents)
    tokens, columns = np.unique(shingles.tokens, return_inverse=True)
    shape = len(documents), tokens.size
    sets = scipy.sparse.csr_array((np.ones(columns.size, np.int32), columns, shingles.offsets), shape=shape)
    sets.sum_duplicates()
    sets.data[:] = 1
    sizes = np.diff(sets.indptr)
    staying = [i for i in range(len(documents)) if i not in removed and sizes[i]]
    sample = sorted(random.Random(2).sample(staying, min(N_SAMPLED, len(staying))))
    transposed, bound = sets.T.tocsr(), 0.0
    for i in sample:
        common = (sets[[i]] @ transposed).tocoo()
        earlier = common.coords[1] < i
        both = common.data[earlier]
        union = sizes[i] + sizes[common.coords[1][earlier]] - both
        bound += min(1.0, float(sketch.removal_probability(both / union).sum()) + sketch.error_rate)
    return set(sample), bound


def removals() -> list[dict[str, Any]]:
    documents = sources()
    exact = deduplicate(documents, threshold=THRESHOLD, n_hashes=256)
    removed = {int(i) for a, b in pairwise(exact.offsets.tolist()) for i in exact.members[a + 1 : b]}
    sketch = StreamingDeduplicator(THRESHOLD, len(documents))
    sketch.copy().admit(documents[:99])  # This compiles.
    start = time.perf_counter()
    found = set(np.flatnonzero(~sketch.admit(documents)).tolist())
    took = time.perf_counter() - start
    sample, bound = bound_of_false_removals(documents, removed, sketch)
    return [
        {
            "documents": len(documents),
            "MB": sum(map(len, documents)) / 1e6,
            "removed by exact grouping": len(removed),
            "of these found": len(found & removed) / len(removed),
            "false removals": len(found - removed) / len(documents),
            "documents in the sample": len(sample),
            "false in the sample": len((found - removed) & sample),
            "bound in the sample": bound,
            "bytes a document": sketch.nbytes / len(documents),
            "us a document": 1e6 * took / len(documents),
        }
    ]


def keys_alone() -> list[dict[str, Any]]:
    """Measure filters and sets of random keys, as those of documents without duplicates are."""
    sketch = StreamingDeduplicator(THRESHOLD, N_KEYS)
    keys = np.random.default_rng(0).integers(0, 2**64, (sketch.bands, N_KEYS), dtype=np.uint64)
    sketch.copy().admit_keys(keys[:, :99])
    times = []
    for _ in range(3):
        ours = sketch.copy()
        ours.state["filters"].array.fill(0)  # Pages of new memory are touched before the time is taken.
        start = time.perf_counter()
        ours.admit_keys(keys)
        times.append(time.perf_counter() - start)
    lists, theirs = [band.tolist() for band in keys], []
    for _ in range(3):
        start = time.perf_counter()
        sets: list[set[int]] = [set() for _ in lists]
        for document in zip(*lists, strict=True):
            any(key in known for key, known in zip(document, sets, strict=True))
            for key, known in zip(document, sets, strict=True):
                known.add(key)
        theirs.append(time.perf_counter() - start)
    n_bytes = sum(sys.getsizeof(known) + sum(map(sys.getsizeof, known)) for known in sets)
    return [
        {"keys in": what, "bytes a document": size / N_KEYS, "ns a document": 1e9 * took / N_KEYS}
        for what, size, took in (
            ("Bloom filters", sketch.nbytes, min(times)),
            ("Python sets", n_bytes, min(theirs)),
        )
    ]


def main() -> None:
    arguments = parse((__doc__ or "").splitlines()[0], "streaming_deduplicator")
    mergesketch.set_num_threads(1)
    rows = removals()
    show("documents", rows)
    alone = keys_alone()
    show("keys", alone)
    write(arguments.json, rows + alone)


if __name__ == "__main__":
    main()
