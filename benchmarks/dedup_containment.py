"""Documents that are contained in larger ones: what ``measure="containment"`` finds of all such pairs.

The documents are Python sources of the installed packages. All pairs with a containment of at least 0.8 are
known from the exact sets of 5-grams, as products of a sparse matrix. Recall is shown by how many times as
long the container is. "by the formula" is the mean of ``1 - (1 - j)**n_hashes`` over these pairs, where j is
their Jaccard similarity.
"""

from __future__ import annotations

import sysconfig
import time
from pathlib import Path

import mergesketch
import numpy as np
import scipy.sparse as sp
from measure import parse, show, write
from mergesketch.distributed import deduplicate
from mergesketch.lsh import shingle

DOCUMENTS, THRESHOLD = 3000, 0.8
RATIOS = ((1, 2), (2, 10), (10, 30), (30, 100), (100, np.inf))


def exact_pairs(texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs above the threshold, how many times as long the larger set is, and the Jaccards."""
    shingles = shingle(texts)
    owners = np.repeat(np.arange(len(texts)), np.diff(shingles.offsets))
    _, tokens = np.unique(shingles.tokens, return_inverse=True)
    sets = sp.csr_array((np.ones(len(owners), np.int32), (owners, tokens)))
    sets.data[:] = 1
    sizes = np.asarray(sets.sum(axis=1)).ravel()
    common = (sets @ sets.T).tocoo()
    once = common.row < common.col
    left, right, n = common.row[once], common.col[once], common.data[once]
    smaller, larger = np.minimum(sizes[left], sizes[right]), np.maximum(sizes[left], sizes[right])
    near = n >= THRESHOLD * smaller
    pairs = np.stack([left, right], axis=1)[near]
    return pairs, (larger / smaller)[near], (n / (smaller + larger - n))[near]


def main() -> None:
    options = parse(__doc__, "dedup_containment")
    mergesketch.set_num_threads(1)
    texts = []
    for path in sorted(Path(sysconfig.get_path("purelib")).rglob("*.py")):
        try:
            texts.append(path.read_bytes().decode())
        except UnicodeDecodeError:
            continue
        if len(texts) == DOCUMENTS:
            break
    texts = list(dict.fromkeys(texts))
    pairs, ratios, jaccards = exact_pairs(texts)
    rows = []
    start = time.process_time()
    deduplicate(texts, threshold=THRESHOLD)
    plain = time.process_time() - start
    for n_hashes in (128, 512):
        start = time.process_time()
        result = deduplicate(
            texts, measure="containment", threshold=THRESHOLD, n_hashes=n_hashes, pairs="all"
        )
        took = time.process_time() - start
        # Documents with the same shingles are one document, of which the first is compared.
        original = np.arange(len(texts))
        original[result.copies[:, 1].astype(np.int64)] = result.copies[:, 0]
        named = np.sort(original[pairs], axis=1)
        compared = (named == pairs).all(axis=1)
        found = set(map(tuple, result.pairs.tolist()))
        is_found = np.array([tuple(pair) in found for pair in pairs.tolist()])
        for low, high in RATIOS:
            chosen = compared & (ratios >= low) & (ratios < high)
            if chosen.any():
                rows.append(
                    {
                        "hashes": n_hashes,
                        "times as long": f"{low} to {high}" if high < np.inf else f"{low} and more",
                        "pairs": int(chosen.sum()),
                        "found": float(is_found[chosen].mean()),
                        "by the formula": float((1 - (1 - jaccards[chosen]) ** n_hashes).mean()),
                        "documents": len(texts),
                        "removed": result.n_duplicates,
                        "times the CPU seconds of Jaccard": took / plain,
                    }
                )
    show("containment", rows)
    write(options.json, rows)


if __name__ == "__main__":
    main()
