"""Merging over ranks beside MPI's own all-reduce of the same bytes: ``mpiexec -n 4 python ...``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch.distributed import Communicator, communicator, merge_over_ranks

#: (rows, counters a row, dtype): 64 KiB, 1 MiB and 64 MiB of int32, 128 MiB of int64.
SIZES = [(4, 1 << 12, "int32"), (4, 1 << 16, "int32"), (4, 1 << 22, "int32"), (4, 1 << 22, "int64")]
REPEATS = 11


def main() -> None:
    options = parse(__doc__ or "", "merge_over_ranks")
    comm = communicator()
    if comm.size == 1:
        raise SystemExit("start it with mpiexec -n 4")
    rows = [compare(comm, *size) for size in SIZES]
    if comm.rank == 0:
        show("merge_over_ranks beside MPI's Allreduce (minimum seconds)", rows)
        write(options.json, rows)


def compare(comm: Communicator, n_rows: int, width: int, dtype: str) -> dict[str, Any]:
    from mpi4py import MPI

    sketch = mergesketch.CountMinSketch(n_rows, width)
    # One count beyond 32 bits widens the table.
    sketch.update([1], [1 << 32 if dtype == "int64" else 1])
    array = sketch.state["counts"].array.copy()
    assert array.dtype == dtype
    other = np.empty_like(array)
    stored = sketch.to_bytes()

    def loaded() -> Any:
        # The bounds of its counters are not known yet: merging must look at them all.
        return mergesketch.CountMinSketch.from_bytes(stored)

    def updated() -> Any:
        return loaded().update([1])

    def ones() -> Any:
        array[:] = 1
        return array

    best = minima(
        {
            "merge_s": (updated, merge_over_ranks),
            "merge_loaded_s": (loaded, merge_over_ranks),
            "in_place_s": (ones, lambda a: comm.mpi.Allreduce(MPI.IN_PLACE, a, MPI.SUM)),
            "two_buffers_s": (ones, lambda a: comm.mpi.Allreduce(a, other, MPI.SUM)),
        },
        comm,
    )
    peer = min(best["in_place_s"], best["two_buffers_s"])
    return {
        "MiB": array.nbytes / 2**20,
        "dtype": dtype,
        "ranks": comm.size,
        **best,
        "ratio": best["merge_s"] / peer,
        "loaded ratio": best["merge_loaded_s"] / peer,
    }


def minima(
    ways: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]], comm: Communicator
) -> dict[str, float]:
    """Return the least seconds of each way, which take turns; the slowest rank counts."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, (prepare, way) in ways.items():
            prepared = prepare()
            comm.barrier()
            start = time.perf_counter()
            way(prepared)
            times[name].append(max(comm.allgather(time.perf_counter() - start)))
    return {name: min(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
