"""Bytes and times of sparse_all_reduce against density, beside MPI's dense all-reduce and other ways.

Each of 2 and 4 ranks has two million float32 numbers, alone or in rows of 64. A share of the numbers or rows
is not zero. Their ids are drawn uniformly, or without replacement with weights 1, 1/2, 1/3, ... (Zipf's law),
as for words that are numbered by frequency. The other ways are

- dense: the numbers are written into an array of zeros, for `MPI.Allreduce`;
- by range: each rank owns an equal range of ids, which travel as int32 both ways;
- all-gather: every rank gets the ids and values of all ranks, and adds them up itself.

Bytes are those that the busiest rank sends or receives, whichever is more. Messages of a few bytes, by which
ranks agree, are not counted. Times are processor milliseconds of a rank, the mean of all ranks, least of
several runs. They include the waiting for other ranks, in which MPI uses the processor; for ours, the time
outside of messages is also reported alone. Four ranks share two cores here. All ranks are on one machine, so
no network is measured; `sparse_all_reduce_scale.py` has a model of one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import mergesketch
import numpy as np
from measure import RESULTS, show, write
from mergesketch.distributed import Communicator, communicator, sparse_all_reduce
from mergesketch.distributed.learning.swapping import swap
from slide_over_ranks import TimedCommunicator

N, RANKS, REPEATS = 2_000_000, (2, 4), 7
DENSITIES = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0)

Row = dict[str, Any]


class BusyCommunicator(TimedCommunicator):
    """Ranks that also count the bytes of arrays that they receive."""

    def __init__(self, mpi: Any) -> None:
        super().__init__(mpi)
        self.bytes_received = 0

    def send_receive(self, outgoing: Any, destination: int, incoming: Any, source: int) -> None:
        super().send_receive(outgoing, destination, incoming, source)
        self.bytes_received += incoming.nbytes

    def allgather_rows(self, rows: Any) -> Any:
        every = super().allgather_rows(rows)
        self.bytes_received += every.nbytes - rows.nbytes
        return every

    def allreduce(self, array: Any, reduction: str) -> None:
        super().allreduce(array, reduction)
        self.bytes_received += 2 * array.nbytes * (self.size - 1) // self.size


def draw(pattern: str, shape: tuple[int, ...], density: float, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids and values of a rank, for a dense array of this shape."""
    rng, n_ids = np.random.default_rng(rank), shape[0]
    # The largest keys are a draw without replacement with these weights (Gumbel's trick).
    keys = rng.gumbel(size=n_ids) - (np.log1p(np.arange(n_ids)) if pattern == "Zipf" else 0.0)
    n = round(density * n_ids)
    ids = np.sort(np.argpartition(keys, n_ids - n)[n_ids - n :]) if n < n_ids else np.arange(n_ids)
    return ids, rng.integers(-1000, 1000, (n, *shape[1:])).astype(np.float32)


def added(ids: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    firsts = np.flatnonzero(np.diff(ids, prepend=-1))
    return ids[firsts], np.add.reduceat(values[order], firsts)


def dense(ids: np.ndarray, values: np.ndarray, comm: Communicator) -> np.ndarray:
    columns = values.shape[1:]
    array = np.zeros((N // int(np.prod(columns)), *columns), np.float32)
    array[ids] = values
    comm.allreduce(array, "sum")
    return array


def by_range(ids: np.ndarray, values: np.ndarray, comm: Communicator) -> tuple[np.ndarray, np.ndarray]:
    n_ids = N // int(np.prod(values.shape[1:]))
    cuts = np.searchsorted(ids, n_ids * np.arange(1, comm.size) // comm.size)
    sent = np.split(ids.astype(np.int32), cuts)
    sizes = [np.empty(1, np.int64) for _ in range(comm.size)]
    swap(comm, [np.array([len(part)]) for part in sent], sizes)
    found = [np.empty(int(size[0]), np.int32) for size in sizes]
    theirs = [np.empty((int(size[0]), *values.shape[1:]), np.float32) for size in sizes]
    swap(comm, sent, found)
    swap(comm, np.split(values, cuts), theirs)
    own, sums = added(np.concatenate(found), np.concatenate(theirs))
    return comm.allgather_rows(own), comm.allgather_rows(sums)


def all_gather(ids: np.ndarray, values: np.ndarray, comm: Communicator) -> tuple[np.ndarray, np.ndarray]:
    return added(comm.allgather_rows(ids.astype(np.int32)), comm.allgather_rows(values))


WAYS: dict[str, Callable[..., Any]] = {
    "ours": sparse_all_reduce,
    "dense": dense,
    "by range": by_range,
    "all-gather": all_gather,
}


def measure(ids: np.ndarray, values: np.ndarray, shape: tuple[int, ...], comm: BusyCommunicator) -> Row:
    """Return the bytes and times of each way."""
    expected = dense(ids, values, comm)
    megabytes, milliseconds, union = {}, {}, 0
    for name, way in WAYS.items():
        times = []
        for _ in range(REPEATS):
            comm.barrier()
            comm.bytes_sent = comm.bytes_received = 0
            comm.seconds, start = 0.0, time.process_time()
            result = way(ids, values, comm)
            took = time.process_time() - start
            times.append(np.mean(comm.allgather((took, took - comm.seconds)), axis=0))
        busiest = max(comm.allgather(max(comm.bytes_sent, comm.bytes_received)))
        megabytes[f"{name}, MB"] = busiest / 1e6
        milliseconds[f"{name}, ms"], alone = (1e3 * np.min(times, axis=0)).tolist()
        if name == "ours":
            milliseconds["ours without messages, ms"] = alone
        if name != "dense":
            union = len(result[0])
            np.testing.assert_array_equal(result[1], expected[result[0]])
            assert np.count_nonzero(expected) == np.count_nonzero(result[1])
    return {"density of the sum": union / shape[0], **megabytes, **milliseconds}


def over_ranks(file: Path) -> None:
    """Measure over the ranks that were started; rank 0 writes the rows."""
    comm = BusyCommunicator(communicator().mpi)
    found: list[Row] = []
    for pattern, columns in (("uniform", 1), ("Zipf", 1), ("Zipf", 64)):
        shape = (N,) if columns == 1 else (N // columns, columns)
        for density in DENSITIES:
            if density * shape[0] >= 10:
                ids, values = draw(pattern, shape, density, comm.rank)
                head = {"ranks": comm.size, "ids": pattern, "columns": columns, "density": density}
                found.append({**head, **measure(ids, values, shape, comm)})
    if comm.rank == 0:
        file.write_text(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=RESULTS / "sparse_all_reduce.json")
    parser.add_argument("--rank-file", help=argparse.SUPPRESS)
    options = parser.parse_args()
    mergesketch.set_num_threads(1)
    if options.rank_file:
        over_ranks(Path(options.rank_file))
        return
    rows: list[Row] = []
    for n in RANKS:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "result.json"
            launcher = Path(sys.executable).with_name("mpiexec")
            own = [sys.executable, __file__, "--rank-file", str(file)]
            subprocess.run([str(launcher), "-n", str(n), *own], check=True)
            rows += json.loads(file.read_text())
        show(f"{n} ranks", [row for row in rows if row["ranks"] == n])
    write(options.json, rows)


if __name__ == "__main__":
    main()
