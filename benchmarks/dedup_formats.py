"""De-duplicating one corpus from files of each format, beside datasketch, rensa and text-dedup.

The corpus is the Python sources below a folder, by default those of the installed packages, as JSON lines,
gzip of these, Zstandard, Parquet and text files. All files are in the page cache. Word 5-grams, 128 hashes,
threshold 0.7, exact verification, with grouping.

Ours runs in this process, warm: formats take turns, and medians are given. A rate is megabytes of text for a
second; "MB/s a core" divides by the CPU seconds of the run on one thread, so that other processes on the
machine hardly change it. The first rows are the floor: the texts lie in memory, and the reading alone. Peers
are whole processes that read the JSON lines, once each, because they take minutes; ours as a whole process
stands beside them. They may be installed for another interpreter: ``--peers PATH``.

A million documents costs the CPU seconds on one thread times `DOLLARS` for a core-hour.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mergesketch
import pyarrow as pa
import pyarrow.parquet as pq
from measure import RESULTS, show, write
from mergesketch.distributed import DocumentSource, deduplicate

ROUNDS = 5
#: The price of a core-hour that is assumed: about that of a virtual processor on demand, in 2026.
DOLLARS = 0.05

WORDS = r"""
import json, re, sys
def sets():
    with open(sys.argv[1], encoding="utf-8") as lines:
        for i, line in enumerate(lines):
            words = re.findall(r"\w+", json.loads(line)["text"].lower())
            if words:
                yield i, {" ".join(words[k : k + 5]) for k in range(max(1, len(words) - 4))}
"""

DATASKETCH = (
    WORDS
    + r"""
from datasketch import MinHash, MinHashLSH
lsh, removed = MinHashLSH(threshold=0.7, num_perm=128), 0
for i, grams in sets():
    signature = MinHash(num_perm=128)
    signature.update_batch([gram.encode() for gram in grams])
    removed += bool(lsh.query(signature))
    lsh.insert(i, signature)
print(removed)
"""
)

RENSA = (
    WORDS
    + r"""
from rensa import RMinHash, RMinHashDeduplicator
removed, found = 0, RMinHashDeduplicator(threshold=0.7, num_perm=128, use_lsh=True, num_bands=16, seed=1)
for i, grams in sets():
    signature = RMinHash(num_perm=128, seed=1)
    signature.update(list(grams))
    removed += not found.add(str(i), signature)
print(removed)
"""
)


def write_corpus(folder: Path, source: Path, size: int) -> tuple[list[str], dict[str, Path]]:
    """Write the same documents in each format; return them and the paths."""
    texts: list[str] = []
    total = 0
    for path in sorted(source.rglob("*.py")):
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        texts.append(text)
        total += len(text)
        if total > size:
            break
    paths = {name: folder / f"c.{name}" for name in ("jsonl", "jsonl.gz", "jsonl.zst", "parquet")}
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)).encode()
    paths["jsonl"].write_bytes(lines)
    paths["jsonl.gz"].write_bytes(gzip.compress(lines, 6))
    try:
        import zstandard
    except ImportError:
        del paths["jsonl.zst"]
    else:
        paths["jsonl.zst"].write_bytes(zstandard.compress(lines, 3))
    pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), paths["parquet"])
    paths["text files"] = folder / "texts"
    paths["text files"].mkdir()
    for i, text in enumerate(texts):
        (paths["text files"] / f"{i:06}.txt").write_bytes(text.encode())
    return texts, paths


def stored_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()))


def read(path: Path) -> None:
    for _ in DocumentSource(path).batches():
        pass


def timed(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return the wall-clock and the CPU seconds of a call, and its result."""
    start, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - start, time.process_time() - cpu, result


def whole(command: list[str]) -> tuple[float, float, str]:
    """Return the wall-clock and the CPU seconds of a process, and its output."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall, cpu, done.stdout + done.stderr


def medians(runs: list[tuple[float, float, Any]]) -> tuple[float, float]:
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)


def ours(texts: list[str], paths: dict[str, Path]) -> list[dict[str, Any]]:
    n_bytes = sum(len(text.encode()) for text in texts)
    column = pa.array(texts, pa.large_string())
    jobs: dict[tuple[str, str], Callable[[], Any]] = {
        ("texts in memory", "all"): lambda: deduplicate(column),
    }
    for name, path in paths.items():
        jobs[name, "reading alone"] = lambda path=path: read(path)
        jobs[name, "all"] = lambda path=path: deduplicate(DocumentSource(path))
    rows = []
    for threads in (1, 2):
        mergesketch.set_num_threads(threads)
        runs: dict[tuple[str, str], list[Any]] = {job: [] for job in jobs}
        for k in range(ROUNDS + 1):
            for job, function in jobs.items():
                if k:
                    runs[job].append(timed(function))
                elif threads == 1:
                    function()
        for (name, what), found in runs.items():
            if what != "all" and threads > 1:
                continue
            wall, cpu = medians(found)
            result = found[-1][2]
            rows.append(
                {
                    "input": name,
                    "what": what,
                    "threads": threads,
                    "MB stored": stored_bytes(paths[name]) / 1e6 if name in paths else n_bytes / 1e6,
                    "seconds": wall,
                    "CPU seconds": cpu,
                    "MB/s": n_bytes / wall / 1e6,
                    "MB/s a core": n_bytes / cpu / 1e6,
                    "duplicates": "" if result is None else result.n_duplicates,
                    "documents/s a core": len(texts) / cpu,
                }
            )
            if threads == 1 and what == "all":
                rows[-1]["dollars a million documents"] = 1e6 * cpu / len(texts) * DOLLARS / 3600
    return rows


def commands(paths: dict[str, Path], folder: Path, python: str) -> dict[str, list[str]]:
    """Return the peers that are installed, and ours."""
    path = str(paths["jsonl"])
    groups = str(folder / "groups.jsonl")
    dedup = [sys.executable, "-m", "mergesketch.distributed", "dedup", path, "--threads", "1", "-o", groups]
    text_dedup = [python, "-m", "text_dedup.minhash", "--path", "json", "--data_files", path]
    text_dedup += ["--split", "train", "--cache_dir", str(folder / "cache"), "--output", str(folder / "out")]
    text_dedup += ["--column", "text", "--num_perm", "128", "--ngram", "5", "--threshold", "0.7"]
    text_dedup += ["--hash_func", "xxh3", "--num_proc", "1", "--min_length", "1", "--batch_size", "1000"]
    peers = {
        "datasketch, a script": ("datasketch", [python, "-c", DATASKETCH, path]),
        "rensa, a script": ("rensa", [python, "-c", RENSA, path]),
        "text-dedup, its command": ("text_dedup", text_dedup),
    }
    found = {"mergesketch dedup": dedup}
    for name, (module, command) in peers.items():
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0:
            found[name] = command
    return found


def removed(output: str, n_documents: int) -> int:
    """Return the documents that a process says it has removed."""
    saved = re.findall(r"Saving the dataset[^|]*\|[^|]*\| (\d+)/", output)
    if saved:  # text-dedup
        return n_documents - int(saved[-1])
    return int(re.findall(r"^(?:duplicates +)?([\d,]+)", output, flags=re.MULTILINE)[-1].replace(",", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--mb", type=float, default=100, help="megabytes of text")
    parser.add_argument("--peers", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--json", type=Path, default=RESULTS / "dedup_formats.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts, paths = write_corpus(folder, options.folder, int(options.mb * 1e6))
        n_bytes = sum(len(text.encode()) for text in texts)
        rows = ours(texts, paths)
        show(f"{len(texts):,} documents, {n_bytes / 1e6:.0f} MB of text", rows)
        processes = []
        os.environ["MERGESKETCH_QUIET"] = "1"
        # Kernels are compiled and the peers' files are in the page cache before anything is timed.
        whole(commands(paths, folder, options.peers)["mergesketch dedup"])
        for what, command in commands(paths, folder, options.peers).items():
            wall, cpu, output = whole(command)
            count = removed(output, len(texts))
            print(what, f"{wall:.1f} s, {count:,} removed", flush=True)
            processes.append({"process": what, "seconds": wall, "CPU seconds": cpu, "removed": count})
        for process in processes:
            process["MB/s a core"] = n_bytes / process["CPU seconds"] / 1e6
            process["documents/s a core"] = len(texts) / process["CPU seconds"]
            process["times the CPU seconds of ours"] = process["CPU seconds"] / processes[0]["CPU seconds"]
            process["dollars a million documents"] = (
                1e6 * process["CPU seconds"] / len(texts) * DOLLARS / 3600
            )
        show("whole processes", processes)
        corpus = {"documents": len(texts), "MB": n_bytes / 1e6, "dollars a core-hour": DOLLARS}
        write(options.json, [*rows, *processes, corpus])


if __name__ == "__main__":
    main()
