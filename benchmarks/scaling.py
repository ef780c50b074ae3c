"""Measure how time and memory grow with the number of rows, from 10**5 to 10**8, and of ranks.

Rows are generated batch by batch, and only updates are timed, on one thread. Memory is the growth of the
process, if it is large enough to show, and the size that the configuration predicts. Each structure has a
process of its own. A bucket of the index has room for 64 ids, so its buckets overflow from 10**7 rows on.

Weak scaling: each rank adds the same number of rows to its own tables, on one thread, for numbers of ranks
up to the number of cores. Efficiency is the rows a second of a rank over those of a single rank. It falls
because of what the ranks share: the memory's bandwidth and, in a virtual machine, the processor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mergesketch as ms
import numpy as np
from measure import parse, show, write
from mergesketch.distributed import communicator, merge_over_ranks
from mergesketch.lsh import MinHash, SignedRandomProjection

SIZES = (10**5, 10**6, 10**7, 10**8)
BATCH, FEATURES, TOKENS = 100_000, 20, 47
#: The rows of a rank in weak scaling, and the number of timings.
ROWS_PER_RANK, REPEATS = 1_000_000, 5
PAGE = os.sysconf("SC_PAGE_SIZE")
#: The least bytes of a structure that show in the memory of a process.
TELLING = 10**7

#: A function that returns batch number i.
Batches = Callable[[int], Any]


def keys(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 2**64, BATCH, dtype=np.uint64)


def vectors(i: int) -> np.ndarray:
    return np.random.default_rng(i).standard_normal((BATCH, FEATURES), dtype=np.float32)


def sets(i: int) -> tuple[np.ndarray, np.ndarray]:
    """Make sets of 47 tokens, as SLASH does."""
    tokens = np.random.default_rng(i).integers(0, 2**32, BATCH * TOKENS, dtype=np.uint32)
    return tokens, np.arange(BATCH + 1) * TOKENS


def slash_index() -> ms.LSHIndex:
    return ms.LSHIndex(MinHash(16, power=4, n_buckets=1 << 18, seed=1), capacity=64)


#: For each structure, a function that makes one, and its batches.
STRUCTURES: dict[str, tuple[Callable[[], Any], Batches]] = {
    "CountMinSketch, 5 x 27,183": (lambda: ms.CountMinSketch(5, 27_183, seed=1), keys),
    "HeavyHitters, 0.001": (lambda: ms.HeavyHitters(frequency=0.001, seed=1), keys),
    "MinHashSketch, 1,024 bins": (lambda: ms.MinHashSketch(1, 1024, seed=1), keys),
    "BloomFilter of 10^8 keys": (lambda: ms.BloomFilter(capacity=10**8, error_rate=0.01, seed=1), keys),
    "Race, 100 x 256, 20 features": (
        lambda: ms.Race(SignedRandomProjection(FEATURES, 100, power=8, seed=1)),
        vectors,
    ),
    "LSHIndex, 16 tables, sets of 47": (slash_index, sets),
}


def resident() -> int:
    """Return the bytes of this process in main memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def take_in(structure: Any, batches: Iterator[Any]) -> float:
    """Return the seconds of the updates alone."""
    put = structure.add if isinstance(structure, ms.LSHIndex) else structure.update
    seconds = 0.0
    for batch in batches:
        start = time.perf_counter()
        put(batch)
        seconds += time.perf_counter() - start
    return seconds


def grow(name: str) -> list[dict[str, Any]]:
    """Return a row of results for each number of rows."""
    ms.set_num_threads(1)
    make, batch = STRUCTURES[name]
    take_in(make(), map(batch, range(2)))  # This compiles the kernels and draws the family's parameters.
    rows = []
    for n in SIZES:
        before = resident()
        structure = make()
        took = take_in(structure, map(batch, range(n // BATCH)))
        rows.append(
            {
                "structure": name,
                "rows": n,
                "ns a row": 1e9 * took / n,
                "predicted MB": structure.nbytes / 1e6,
                "measured MB": (resident() - before) / 1e6 if structure.nbytes > TELLING else "",
            }
        )
        del structure
    return rows


def index_on_this_rank() -> None:
    """Time indexing this rank's rows and merging a race; rank 0 prints the slowest rank's least seconds."""
    ms.set_num_threads(1)
    comm = communicator()
    batches = [sets(1 + comm.rank * ROWS_PER_RANK // BATCH + i) for i in range(ROWS_PER_RANK // BATCH)]
    before = resident()
    index = slash_index()
    times = []
    for _ in range(REPEATS):
        for array in index._arrays.values():
            array[...] = 0  # Touching the memory first leaves the system's work on its pages out.
        comm.barrier()
        times.append(max(comm.allgather(take_in(index, iter(batches)))))
    grown = max(comm.allgather(resident() - before))
    race = ms.Race(SignedRandomProjection(FEATURES, 100, power=8, seed=1))
    X = vectors(comm.rank)
    race.update(X)
    updated = []
    for _ in range(REPEATS):
        comm.barrier()
        own = race.empty_like()
        start = time.perf_counter()
        for _ in range(10):
            own.update(X)
        merge_over_ranks(own)
        updated.append(max(comm.allgather(time.perf_counter() - start)))
    if comm.rank == 0:
        print(json.dumps([min(times), min(updated), grown, index.nbytes]))


def over_ranks(p: int) -> list[float]:
    launcher = Path(sys.executable).with_name("mpiexec")
    command = [str(launcher), "-n", str(p), sys.executable, __file__, "--rank"]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(made.stdout)


def weak_scaling() -> list[dict[str, Any]]:
    ranks = [p for p in (1, 2, 4, 8, 16, 32, 64) if p <= len(os.sched_getaffinity(0))]
    rows: list[dict[str, Any]] = []
    alone: list[float] = []
    for p in ranks:
        indexed, updated, grown, predicted = over_ranks(p)
        alone = alone or [indexed, updated]
        rows.append(
            {
                "ranks": p,
                "indexed, rows/s": p * ROWS_PER_RANK / indexed,
                "efficiency of indexing": alone[0] / indexed,
                "Race.update and merge, rows/s": p * 10 * BATCH / updated,
                "efficiency of Race": alone[1] / updated,
                "predicted MB a rank": predicted / 1e6,
                "measured MB, largest rank": grown / 1e6,
            }
        )
    return rows


def main() -> None:
    options = parse(__doc__ or "", "scaling")
    rows = []
    for name in STRUCTURES:
        command = [sys.executable, __file__, "--grow", name]
        made = subprocess.run(command, check=True, capture_output=True, text=True)
        rows += json.loads(made.stdout)
        show(name, rows[-len(SIZES) :])
    ranks = weak_scaling()
    show("weak scaling", ranks)
    write(options.json, [*rows, *ranks])


if __name__ == "__main__":
    if "--grow" in sys.argv:
        print(json.dumps(grow(sys.argv[-1])))
    elif "--rank" in sys.argv:
        index_on_this_rank()
    else:
        main()
