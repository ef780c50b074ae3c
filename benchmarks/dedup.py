"""De-duplicating the standard library's own sources: ours beside datasketch with a regex shingler.

Word 5-grams, 128 hashes, threshold 0.7. Times include reading the files. Precision and recall are of
pairs against the exact Jaccard similarity of the sets of 5-grams, by brute force over an inverted index.
Ours runs in one process on one thread and on four, and on four ranks of one thread each; process starts
and compilation are left out on both sides.
"""

import re
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path

import mergesketch
import numpy as np
from datasketch import MinHash, MinHashLSH
from measure import parse, show, write
from mergesketch.distributed import DocumentSource, communicator, deduplicate

THRESHOLD, HASHES, SIZE, REPEATS = 0.7, 128, 5, 7
FOLDER = sysconfig.get_path("stdlib")
CHOICE = {"include": ["*.py"], "exclude": ["site-packages"]}


def ours() -> tuple[float, set[tuple[str, str]], int]:
    """Best seconds of several runs, the pairs found, and how many documents."""
    comm, times = communicator(), []
    for _ in range(REPEATS):
        comm.barrier()
        start = time.perf_counter()
        source = DocumentSource(FOLDER, comm=comm, **CHOICE)
        result = deduplicate(source, threshold=THRESHOLD, n_hashes=HASHES, comm=comm)
        times.append(time.perf_counter() - start)
    source.finish()
    return sorted(times)[len(times) // 2], expand(result, source), result.n_documents


def expand(result, source) -> set[tuple[str, str]]:
    """Return the pairs of names; copies stand for each other."""
    copies: dict[int, set[int]] = {}
    for first, other in result.copies.tolist():
        copies.setdefault(first, {first}).add(other)
    pairs = {(a, b) for group in copies.values() for a in group for b in group if a < b}
    for left, right in result.pairs.tolist():
        pairs |= {(a, b) for a in copies.get(left, {left}) for b in copies.get(right, {right})}
    ids = sorted({i for pair in pairs for i in pair})
    names = dict(zip(ids, (path for path, _ in source.name_of(ids)), strict=True))
    return {tuple(sorted((names[a], names[b]))) for a, b in pairs}


def peers(files: list[str]) -> tuple[dict[str, float], set[tuple[str, str]], dict[str, set[str]]]:
    """Return the seconds of each stage of datasketch, its pairs, and the sets of 5-grams."""
    seconds = {}
    start = time.perf_counter()
    sets = {}
    for path in files:
        try:
            text = Path(path).read_bytes().decode()
        except UnicodeDecodeError:
            continue
        words = re.findall(r"\w+", text.lower())
        grams = {" ".join(words[i : i + SIZE]) for i in range(max(1, len(words) - SIZE + 1))}
        if words:
            sets[path] = grams
    seconds["shingling"] = time.perf_counter() - start
    start = time.perf_counter()
    signatures = MinHash.bulk([[g.encode() for g in grams] for grams in sets.values()], num_perm=HASHES)
    seconds["MinHash"] = time.perf_counter() - start
    start = time.perf_counter()
    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=HASHES)
    for path, signature in zip(sets, signatures, strict=True):
        lsh.insert(path, signature)
    pairs = {
        tuple(sorted((path, other)))
        for path, signature in zip(sets, signatures, strict=True)
        for other in lsh.query(signature)
        if other != path
    }
    seconds["LSH"] = time.perf_counter() - start
    return seconds, pairs, sets


def true_pairs(sets: dict[str, set[str]]) -> set[tuple[str, str]]:
    """All pairs whose exact Jaccard similarity is at least the threshold."""
    holders: dict[str, list[str]] = {}
    for path, grams in sets.items():
        for gram in grams:
            holders.setdefault(gram, []).append(path)
    common: Counter = Counter()
    for paths in holders.values():
        for i, b in enumerate(paths):
            for a in paths[:i]:
                common[tuple(sorted((a, b)))] += 1
    return {(a, b) for (a, b), n in common.items() if n / (len(sets[a]) + len(sets[b]) - n) >= THRESHOLD}


def over_ranks(n_ranks: int) -> float:
    launcher = Path(sys.executable).with_name("mpiexec")
    command = [str(launcher), "-n", str(n_ranks), sys.executable, __file__, "--rank"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    options = parse(__doc__, "dedup")
    mergesketch.set_num_threads(4)
    ours()
    seconds, theirs, sets = peers(DocumentSource(FOLDER, **CHOICE).files)
    peer = sum(seconds.values())
    true = true_pairs(sets)
    print("datasketch, seconds:", {name: round(value, 2) for name, value in seconds.items()})
    rows = []

    def row(what: str, took: float, pairs: set[tuple[str, str]]) -> None:
        right = len(pairs & true)
        rows.append(
            {
                "what": what,
                "seconds": took,
                "ratio": peer / took,
                "pairs": len(pairs),
                "true pairs": len(true),
                "precision": right / max(1, len(pairs)),
                "recall": right / len(true),
            }
        )

    row("datasketch, regex shingles", peer, theirs)
    for threads in (1, 4):
        mergesketch.set_num_threads(threads)
        took, pairs, _ = ours()
        row(f"ours, {threads} thread{'s' * (threads > 1)}", took, pairs)
    row("ours, 4 ranks", over_ranks(4), pairs)
    show(f"{len(sets):,} documents", rows)
    write(options.json, rows)


if __name__ == "__main__":
    if "--rank" in sys.argv:
        took = max(communicator().allgather(ours()[0]))
        if communicator().rank == 0:
            print(float(np.round(took, 4)))
    else:
        main()
