"""The common parts of benchmarks: timing, the machine it ran on, a table and a JSON file.

A benchmark measures ours and the peer's in one run and reports the ratio, for absolute figures drift
with the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def seconds(function: Callable[[], Any], repeats: int = 5, warmups: int = 1) -> float:
    """Median wall-clock seconds of `repeats` calls, after `warmups` that are not counted."""
    for _ in range(warmups):
        function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


#: Seconds between two calls: threads of OpenBLAS spin for 25 ms in case there is more to do.
REST = 0.05


def best_of(
    functions: dict[str, Callable[[], Any]], repeats: int = 5, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Least seconds of each, run in turn, so that a busy machine hits all alike, and each after a rest.

    On a busy machine long functions still lose more than short ones: `time.process_time` as the clock leaves
    out what other processes take.
    """
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            time.sleep(REST)
            start = clock()
            function()
            best[name] = min(best[name], clock() - start)
    return best


def machine() -> dict[str, Any]:
    """Processor, cores and versions: what a figure means nothing without."""
    cpu = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = names[0] if names else cpu
    versions = {}
    peers = ("rensa", "datasketch", "scikit-learn", "falconn", "faiss-cpu", "hnswlib", "pyod", "datasketches")
    peers += ("marisa-trie", "ddsketch", "dawg2", "zstandard", "zipnn", "lmzip", "pcodec", "constriction")
    peers += ("torch", "omikuji", "pynndescent", "bm25s")
    for package in ("numpy", "numba", "scipy", "mpi4py", "mpich", *peers):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "date": date.today().isoformat(),
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": versions,
    }


def show(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print rows of equal keys as an aligned table."""
    print(f"\n{title}")
    if not rows:
        return
    columns = list(rows[0])
    cells = [[cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(c), *(len(row[i]) for row in cells)) for i, c in enumerate(columns)]
    print("  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)))
    for row in cells:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)))


def cell(value: Any) -> str:
    """Return a value as a person reads it."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def parse(description: str, name: str, **flags: str) -> argparse.Namespace:
    """Read the options that all benchmarks share, ``--json PATH`` (results/NAME.json), and `flags`."""
    parser = argparse.ArgumentParser(description=description)
    for flag, told in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=told)
    parser.add_argument("--json", type=Path, default=RESULTS / f"{name}.json", help="where results go")
    return parser.parse_args()


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows and the machine as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), "rows": list(rows)}, indent=1) + "\n")
