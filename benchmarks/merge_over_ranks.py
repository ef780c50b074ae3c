"""merge_over_ranks beside MPI's own all-reduce of the same bytes. Run under ``mpiexec -n 4``.

The floor is MPI's: the same buffer, all-reduced in place. What comes on top is agreeing on the
configuration and bounding the counters, one read of the array.
"""

import time

import mergesketch
import numpy as np
from measure import parse, show, write
from mergesketch.distributed import communicator, merge_over_ranks
from mpi4py import MPI

MEBIBYTES = (1, 16, 64, 256)


def main() -> None:
    options = parse(__doc__, "merge_over_ranks")
    comm = communicator()
    rows = []
    for size in MEBIBYTES:
        sketch = mergesketch.CountMinSketch(n_rows=4, n_buckets=size * 2**20 // 16)
        sketch.update(np.arange(100_000) + comm.rank)
        array = sketch.state["counts"].array.copy()
        times: dict[str, list[float]] = {"MPI": [], "ours": []}
        # Taken in turn, so that both see the same noise; a fresh sketch each time, its bounds unknown.
        for _ in range(11):
            ours, theirs = sketch.copy(), array.copy()
            for name, run in (
                ("MPI", lambda theirs=theirs: MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, theirs, MPI.SUM)),
                ("ours", lambda ours=ours: merge_over_ranks(ours)),
            ):
                comm.barrier()
                start = time.perf_counter()
                run()
                times[name].append(max(comm.allgather(time.perf_counter() - start)))
        mpi, mine = (float(np.median(times[name][1:])) for name in ("MPI", "ours"))
        rows.append({"MiB": size, "ranks": comm.size, "MPI s": mpi, "ours s": mine, "ratio": mine / mpi})
    if comm.rank == 0:
        show("merge_over_ranks", rows)
        write(options.json, rows)


if __name__ == "__main__":
    main()
