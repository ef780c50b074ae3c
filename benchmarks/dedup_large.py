"""De-duplicating a large corpus of real versions of each other, with recall against all pairs of a sample.

The corpus is the Debian package python3-azure: hundreds of megabytes of Python sources, of which many are
versions of each other. ``apt-get download`` fetches it into a temporary folder. Another package may be named
by ``--package``, or a folder of files be given, such as ``/usr/share/doc``.

Every run is a process of its own, so its peak of memory is its own. It is measured without the memory that
the process had before. Precision and recall are those of the pairs between a sample of documents and all
documents; recall only where all pairs were asked for, because groups need fewer pairs. Similar means that the
exact Jaccard similarity of the sets of 5-grams of words is at least the threshold. The sets are those of
`shingle`, and they are compared by an inverted index, without signatures.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import RESULTS, show, write
from mergesketch.distributed import DocumentSource, deduplicate, memory_per_rank
from mergesketch.lsh import shingle

SAMPLE = 300
RUNS = [
    {"threshold": threshold, "grouping": grouping, "pairs": pairs}
    for threshold in (0.7, 0.5)
    for grouping, pairs in (("connected", "groups"), ("star", "groups"), ("connected", "all"))
]


def download(package: str, folder: Path) -> Path:
    """Download a Debian package and unpack it."""
    subprocess.run(["apt-get", "download", package], check=True, cwd=folder)
    (archive,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(archive), str(folder / "files")], check=True)
    return folder / "files"


def source_of(folder: Path, pattern: str) -> DocumentSource:
    return DocumentSource(folder, include=[pattern])


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(folder: Path, pattern: str, settings: dict[str, Any]) -> dict[str, Any]:
    """De-duplicate in this process; return what was measured, without recall."""
    words = " ".join(f"word{i}" for i in range(200))
    deduplicate([words, words + " more"], **settings)
    before = peak()
    start, cpu = time.perf_counter(), time.process_time()
    source = source_of(folder, pattern)
    result = deduplicate(source, **settings)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    measured = peak() - before
    summary = source.finish()
    sample = sampled(result.ids)
    found = near_in(result, sample)
    sizes = np.diff(result.offsets)
    return {
        "row": {
            **settings,
            "documents": result.n_documents,
            "MB": summary.bytes_read / 1e6,
            "seconds": wall,
            "CPU seconds": cpu,
            "MB/s": summary.bytes_read / wall / 1e6,
            "MB/s a core": summary.bytes_read / cpu / 1e6,
            "removed": result.n_duplicates / result.n_documents,
            "removed, not copies": int((~result.keep & ~result.is_copy).sum()) / result.n_documents,
            "groups": result.n_groups,
            "largest group": int(sizes.max(initial=0)),
            "least similarity to the kept": float(result.similarity.min()),
            "similar pairs": len(result.pairs),
            "least similarity of a pair": float(result.pair_similarity.min(initial=1)),
            "uncompared": result.n_uncompared,
            "predicted MB": memory_per_rank(result.n_documents) / 1e6,
            "measured MB": measured / 1e6,
        },
        "sample": sample.tolist(),
        "found": found,
    }


def sampled(ids: np.ndarray) -> np.ndarray:
    return np.sort(np.random.default_rng(0).choice(ids, min(SAMPLE, len(ids)), replace=False))


def near_in(result: Any, sample: np.ndarray) -> list[list[int]]:
    """Return what the run has found near each document of the sample; copies stand for each other."""
    original = dict(result.copies[:, ::-1].tolist())
    copies: dict[int, list[int]] = {}
    for copy, first in original.items():
        copies.setdefault(first, [first]).append(copy)
    near: dict[int, set[int]] = {}
    for left, right in result.pairs.tolist():
        near.setdefault(left, set()).add(right)
        near.setdefault(right, set()).add(left)
    found = []
    for document in sample.tolist():
        first = original.get(document, document)
        units = {first, *near.get(first, ())}
        found.append(sorted({c for unit in units for c in copies.get(unit, [unit])} - {document}))
    return found


def exact(
    folder: Path, pattern: str, sample: np.ndarray, thresholds: set[float]
) -> tuple[dict[float, list[set[int]]], int]:
    """Compare a sample with all documents.

    Return the documents that are similar to each one of the sample, for each threshold, and the number of
    shingles in the sets of all documents.
    """
    sets: dict[int, np.ndarray] = {}
    for batch in source_of(folder, pattern).batches():
        chosen = np.flatnonzero(np.isin(batch.ids, sample))
        if len(chosen):
            part = batch.take(chosen)
            shingles = shingle((part.data, part.offsets))
            for k, document in enumerate(part.ids.tolist()):
                sets[document] = np.unique(shingles.tokens[shingles.offsets[k] : shingles.offsets[k + 1]])
    order = sample.tolist()
    sizes = np.array([len(sets[document]) for document in order])
    tokens = np.concatenate([sets[document] for document in order])
    owners = np.repeat(np.arange(len(order)), sizes)
    by_token = np.argsort(tokens, kind="stable")
    tokens, owners = tokens[by_token], owners[by_token]
    similar: dict[float, list[set[int]]] = {t: [set() for _ in order] for t in thresholds}
    total = 0
    for batch in source_of(folder, pattern).batches():
        shingles = shingle((batch.data, batch.offsets))
        for k, document in enumerate(batch.ids.tolist()):
            own = np.unique(shingles.tokens[shingles.offsets[k] : shingles.offsets[k + 1]])
            total += len(own)
            first, last = np.searchsorted(tokens, own), np.searchsorted(tokens, own, side="right")
            held = first < last
            if not held.any():
                continue
            places = np.concatenate([np.arange(a, b) for a, b in zip(first[held], last[held], strict=True)])
            common = np.bincount(owners[places], minlength=len(order))
            jaccard = common / (sizes + len(own) - common)
            for threshold, near in similar.items():
                for i in np.flatnonzero(jaccard >= threshold).tolist():
                    if order[i] != document:
                        near[i].add(document)
    return similar, total


def measured(folder: Path, pattern: str) -> list[dict[str, Any]]:
    runs = []
    for settings in RUNS:
        command = [sys.executable, __file__, str(folder), "--include", pattern, "--run", json.dumps(settings)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
        show("run", [runs[-1]["row"]])
        sys.stdout.flush()
    sample = np.array(runs[0]["sample"], dtype=np.uint64)
    truth, n_shingles = exact(folder, pattern, sample, {settings["threshold"] for settings in RUNS})
    rows = []
    for found in runs:
        row, right = found["row"], truth[found["row"]["threshold"]]
        true = sum(map(len, right))
        got = [set(near) for near in found["found"]]
        both = sum(len(near & near_truly) for near, near_truly in zip(got, right, strict=True))
        row["most for shingles, MB"] = 8 * n_shingles / 1e6
        row["similar pairs of the sample"] = true
        row["precision"] = both / max(1, sum(map(len, got)))
        if row["pairs"] == "all":
            row["recall"] = both / true if true else 1.0
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="a folder of texts in place of the package")
    parser.add_argument("--package", default="python3-azure")
    parser.add_argument("--include", default="*.py")
    parser.add_argument("--run", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, default=RESULTS / "dedup_large.json")
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run(options.folder, options.include, options.run)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or download(options.package, Path(name))
        rows = measured(folder, options.include)
    show(str(options.folder or options.package), rows)
    write(options.json, rows)


if __name__ == "__main__":
    main()
