"""Train a table of word vectors on several processes, which send only the rows that a batch touches.

Each rank reads its own documents. In a step it computes the gradient of its batch: a row for each word that
occurs, and a small vector for the output. `sparse_all_reduce` adds up the rows of all ranks, and a dense
all-reduce adds up the small vectors. Every rank gets the same sums, bit for bit, and makes the same step. So
all ranks keep the same model, and no weights travel.

    mpiexec -n 4 python examples/train_on_ranks.py [--steps 200] [--words 50000]

The documents are generated: words follow Zipf's law, and each word has a hidden score. A document is positive
if its scores add up to more than zero.
"""

from __future__ import annotations

import argparse
import sys
import zlib

import numpy as np
from mergesketch.distributed import Communicator, run_main, sparse_all_reduce

#: The words of a document, the columns of a word vector, the documents of a rank in a step, and the rate.
LENGTH, COLUMNS, BATCH, RATE = 20, 16, 128, 0.1


class Model:
    """The mean of a document's word vectors, and a logistic output; trained by Adagrad."""

    def __init__(self, n_words: int) -> None:
        rng = np.random.default_rng(0)
        self.table = rng.normal(0, 0.1, (n_words, COLUMNS)).astype(np.float32)
        self.output = rng.normal(0, 1, COLUMNS).astype(np.float32)
        self._squares = np.full_like(self.table, 1e-8), np.full_like(self.output, 1e-8)

    def gradients(self, words: np.ndarray, is_positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return a gradient for each word of the documents, that of the output, and the sum of losses."""
        means = self.table[words].mean(axis=1)
        margins = np.where(is_positive, 1, -1) * (means @ self.output)
        losses = np.logaddexp(0, -margins)
        slopes = np.where(is_positive, -1, 1) / (1 + np.exp(margins))
        rows = np.repeat(slopes[:, None] * self.output / LENGTH, LENGTH, axis=0)
        return rows.astype(np.float32), (slopes @ means).astype(np.float32), float(losses.sum())

    def step(self, ids: np.ndarray, rows: np.ndarray, output: np.ndarray) -> None:
        """Change the rows with these ids, and the output."""
        of_table, of_output = self._squares
        of_table[ids] += rows**2
        of_output += output**2
        self.table[ids] -= RATE * rows / np.sqrt(of_table[ids])
        self.output -= RATE * output / np.sqrt(of_output)


def documents(scores: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the words of n documents, and whether each is positive."""
    words = rng.zipf(1.2, (n, LENGTH)) % len(scores)
    return words, scores[words].sum(axis=1) > 0


def train(comm: Communicator, n_words: int, n_steps: int) -> tuple[Model, list[float], float]:
    """Return the model, which is the same on all ranks, the mean losses, and the bytes that a step sends."""
    scores = np.random.default_rng(1).standard_normal(n_words)
    rng = np.random.default_rng([2, comm.rank])  # each rank has documents of its own
    model, losses, before = Model(n_words), [], comm.bytes_sent
    for _ in range(n_steps):
        with comm.agree():  # whatever fails here on one rank stops all ranks
            words, is_positive = documents(scores, BATCH, rng)
            rows, output, loss = model.gradients(words, is_positive)
        ids, sums = sparse_all_reduce(words.ravel(), rows, comm)
        totals = np.append(output, np.float32(loss))
        comm.allreduce(totals, "sum")
        totals /= BATCH * comm.size
        model.step(ids, sums / np.float32(BATCH * comm.size), totals[:-1])
        losses.append(float(totals[-1]))
    return model, losses, (comm.bytes_sent - before) / n_steps


def positive(text: str) -> int:
    """Return an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def main(comm: Communicator) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=positive, default=200)
    parser.add_argument("--words", type=positive, default=50_000)
    options = parser.parse_args()
    model, losses, sent = train(comm, options.words, options.steps)
    comm.check_same("the trained table", zlib.crc32(model.table.tobytes()))
    if comm.rank == 0:
        dense = 2 * model.table.nbytes * (comm.size - 1) // comm.size
        print(f"{comm.size} ranks, {options.steps} steps: loss {losses[0]:.3f} -> {losses[-1]:.3f}")
        print(f"a rank sends {sent / 1e3:,.0f} kB a step; a dense all-reduce sends {dense / 1e3:,.0f} kB")


if __name__ == "__main__":
    sys.exit(run_main(main))
