"""Bytes, losses and precision of DistributedSlideClassifier, and the bytes of data parallel training.

A model of 100,000 generated labels and 128 hidden units is trained by one process and by 2 and 4 ranks, with
the same seed. Each rank passes its share of the rows. Times are processor seconds of one rank, the mean of
all, on one thread. They count what MPI uses while ranks wait for others, too: the time in messages and in
waiting is also reported alone.

Data parallel training gives each rank a copy of the network and a share of each batch. Its bytes are

- for all gradients: those that an all-reduce of an array of all weights sends, which is done here;
- for touched rows only: the labels and features that the rank's share of a batch touches, with a number of 4
  bytes each, sent to all other ranks. The number of these rows is counted while such a share is trained.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import mergesketch
import numpy as np
from label_data import LabelData, generated_labels
from measure import RESULTS, show, write
from mergesketch import SlideClassifier
from mergesketch.distributed import Communicator, DistributedSlideClassifier, communicator

LABELS, ROWS, TESTED, HIDDEN, BATCH, RANGES = 100_000, 50_000, 2000, 128, 256, 8
RANKS = (2, 4)
#: All-reduces of all gradients that are timed.
REPEATS = 3

Row = dict[str, Any]


class TimedCommunicator(Communicator):
    """Ranks that count the processor seconds of messages and of waiting."""

    def __init__(self, mpi: Any) -> None:
        super().__init__(mpi)
        self.seconds, self._is_inside = 0.0, False

    def _timed(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._is_inside:
            return function(*arguments)
        self._is_inside, start = True, time.process_time()
        try:
            return function(*arguments)
        finally:
            self._is_inside, self.seconds = False, self.seconds + time.process_time() - start

    def send_receive(self, *arguments: Any) -> None:
        self._timed(super().send_receive, *arguments)

    def allreduce(self, *arguments: Any) -> None:
        self._timed(super().allreduce, *arguments)

    def allgather(self, *arguments: Any) -> Any:
        return self._timed(super().allgather, *arguments)

    def allgather_rows(self, *arguments: Any) -> Any:
        return self._timed(super().allgather_rows, *arguments)

    @contextmanager
    def agree(self) -> Iterator[None]:
        with super().agree():
            yield
            start = time.process_time()
        if not self._is_inside:
            self.seconds += time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=RESULTS / "slide_over_ranks.json")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--ranks", type=int, nargs="*", default=RANKS)
    parser.add_argument("--rank-file", help=argparse.SUPPRESS)
    options = parser.parse_args()
    mergesketch.set_num_threads(1)
    if options.rank_file:
        over_ranks(options.rows, Path(options.rank_file))
        return
    rows = [one_process(generated_labels(LABELS, options.rows, n_test=TESTED))]
    show("one process", rows)
    for n in options.ranks:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "result.json"
            launcher = Path(sys.executable).with_name("mpiexec")
            own = [sys.executable, __file__, "--rows", str(options.rows), "--rank-file", str(file)]
            subprocess.run([str(launcher), "-n", str(n), *own], check=True)
            rows.append(json.loads(file.read_text()))
        show(f"{n} ranks", rows[-1:])
        if (rows[-1]["loss"], rows[-1]["precision at 1"]) != (rows[0]["loss"], rows[0]["precision at 1"]):
            raise SystemExit("the ranks have another model than one process")
    write(options.json, rows)


def one_process(data: LabelData) -> Row:
    """Train in one process, with the ranges that the ranks share."""
    warm_up(data)
    start = time.process_time()
    model = SlideClassifier(HIDDEN, n_ranges=RANGES, batch_size=BATCH, n_epochs=1).fit(data.X, data.Y)
    seconds = time.process_time() - start
    steps = -(-data.X.shape[0] // BATCH)
    return {
        "ranks": 1,
        "steps": steps,
        "loss": model.loss_curve_[-1],
        "precision at 1": model.precision_at_k(data.X_test, data.Y_test, 1),
        "processor ms a step": 1e3 * seconds / steps,
        "of these in messages": 0.0,
        "sent kB a step": 0.0,
        "all gradients, kB": "",
        "touched rows, kB": "",
        "fewer bytes than all gradients": "",
        "all-reduce of all gradients, processor ms": "",
    }


def warm_up(data: LabelData) -> None:
    """Compile or load the kernels."""
    SlideClassifier(HIDDEN, batch_size=BATCH, n_epochs=1).fit(data.X[:BATCH], data.Y[:BATCH])


def over_ranks(n_rows: int, file: Path) -> None:
    """Train over the ranks that were started, and write what was measured."""
    comm = TimedCommunicator(communicator().mpi)
    data = generated_labels(LABELS, n_rows, n_test=TESTED)
    own = np.array_split(np.arange(n_rows), comm.size)[comm.rank]
    tested = np.array_split(np.arange(TESTED), comm.size)[comm.rank]
    X, Y = data.X[own], data.Y[own]
    warm_up(data)
    comm.barrier()
    comm.seconds = 0.0
    start = time.process_time()
    model = DistributedSlideClassifier(HIDDEN, batch_size=BATCH, n_epochs=1, comm=comm).fit(X, Y)
    seconds, steps, waiting = time.process_time() - start, model.network_.step, comm.seconds
    precision = model.precision_at_k(data.X_test[tested], data.Y_test[tested], 1)
    dense, dense_seconds = all_gradients(comm, data)
    touched = touched_rows(data, BATCH // comm.size) if comm.rank == 0 else 0
    every = comm.allgather((model.bytes_sent_, seconds, waiting, dense, dense_seconds))
    sent, seconds, waiting, dense, dense_seconds = np.mean(every, axis=0).tolist()
    if comm.rank == 0:
        found = {
            "ranks": comm.size,
            "steps": steps,
            "loss": model.loss_curve_[-1],
            "precision at 1": precision,
            "processor ms a step": 1e3 * seconds / steps,
            "of these in messages": 1e3 * waiting / steps,
            "sent kB a step": sent / steps / 1e3,
            "all gradients, kB": dense / 1e3,
            "touched rows, kB": touched * (4 * HIDDEN + 4) * (comm.size - 1) / 1e3,
            "fewer bytes than all gradients": dense * steps / sent,
            "all-reduce of all gradients, processor ms": 1e3 * dense_seconds,
        }
        file.write_text(json.dumps(found))


def all_gradients(comm: Any, data: LabelData) -> tuple[float, float]:
    """Return the bytes that a rank sends in an all-reduce of all gradients, and its processor seconds."""
    n = (data.X.shape[1] + 1 + LABELS) * HIDDEN + LABELS
    gradients, before = np.ones(n, np.float32), comm.bytes_sent
    start = time.process_time()
    for _ in range(REPEATS):
        comm.allreduce(gradients, "sum")
    seconds = (time.process_time() - start) / REPEATS
    return (comm.bytes_sent - before) / REPEATS, seconds


def touched_rows(data: LabelData, size: int) -> float:
    """Return the mean number of labels and features that a share of a batch touches in a step."""
    steps = 20
    model = SlideClassifier(HIDDEN, batch_size=size, n_epochs=1)
    model.partial_fit(data.X[: steps * size], data.Y[: steps * size])
    layers = (model.network_.hidden.weights, *(part.layer.weights for part in model.network_.ranges))
    return sum(int(weights.steps.sum()) for weights in layers) / steps


if __name__ == "__main__":
    main()
