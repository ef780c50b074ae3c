"""Time `mergesketch dedup` as a whole command, beside a plain script with datasketch.

Both find the near-duplicates among the standard library's own sources (word 5-grams, 128 hashes, threshold
0.7). Every run is a whole process, so its start and its imports count. The first run of the command has no
compiled kernels and compiles them; the later ones load them from disk. Commands take turns, so that a busy
machine hits all alike.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from measure import parse, show, write

ROUNDS = 5

PEER = r"""
import re, sys
from pathlib import Path
from datasketch import MinHash, MinHashLSH

sets = {}
for path in Path(sys.argv[1]).rglob("*.py"):
    if "site-packages" in path.parts:
        continue
    try:
        words = re.findall(r"\w+", path.read_bytes().decode().lower())
    except UnicodeDecodeError:
        continue
    if words:
        sets[str(path)] = {" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))}
signatures = MinHash.bulk([[gram.encode() for gram in grams] for grams in sets.values()], num_perm=128)
lsh = MinHashLSH(threshold=0.7, num_perm=128)
for path, signature in zip(sets, signatures):
    lsh.insert(path, signature)
pairs = {
    tuple(sorted((path, other)))
    for path, signature in zip(sets, signatures)
    for other in lsh.query(signature)
    if other != path
}
print(len(pairs))
"""


def timed(command: list[str], cache: Path) -> tuple[float, float]:
    """Run a command; return its wall-clock and its CPU seconds."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "MERGESKETCH_QUIET": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    options = parse(__doc__, "dedup_command")
    folder = sysconfig.get_path("stdlib")
    dedup = [sys.executable, "-m", "mergesketch.distributed", "dedup", folder]
    dedup += ["--include", "*.py", "--exclude", "site-packages", "--threads", "1"]
    commands = {
        "datasketch, a plain script": [sys.executable, "-c", PEER, folder],
        "mergesketch dedup, first run": dedup,
        "mergesketch dedup": dedup,
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as warm:
        timed(dedup, Path(warm))
        for _ in range(ROUNDS):
            for name, command in commands.items():
                with tempfile.TemporaryDirectory() as empty:
                    cache = empty if name.endswith("first run") else warm
                    times[name].append(timed(command, Path(cache)))
    rows = []
    peer = statistics.median(wall for wall, _ in times["datasketch, a plain script"])
    for name, pairs in times.items():
        wall, cpu = (statistics.median(values) for values in zip(*pairs, strict=True))
        rows.append({"what": name, "seconds": wall, "CPU seconds": cpu, "times as fast": peer / wall})
    show("whole processes", rows)
    write(options.json, rows)


if __name__ == "__main__":
    main()
