"""Train a click model on generated data whose truth is known, over shared parameters and other small tables.

An example has one id of each of 6 fields, drawn by Zipf's law (exponent 1.05) from 100 to 50,000 ids. The
truth is logistic: a constant, a number for each id, and the inner products of all pairs of ids, which have
vectors of 4 columns. The model is a factorisation machine of the same form with rows of 16 columns, trained
on one pass over 500,000 examples, as recommenders are. "AUC" and log loss are those of 100,000 further
examples; "truth" scores them by the logits that drew the clicks. Compression counts the floats of the
table. Every method has the same optimiser, and the better of two learning rates, chosen on further data
with a seed of its own. ± is the standard error over the seeds, each with data of its own.
"""

import functools

import numpy as np
import torch
from parameter_sharing import SEEDS, compare, summarised

FIELDS = (50_000, 20_000, 10_000, 2_000, 500, 100)
D, RANK, STD, BATCH = 16, 4, 0.05, 2048
TRAIN, TEST, SIGMA, EXPONENT = 500_000, 100_000, 1.5, 1.05


class Clicks:
    """Examples of one seed, in which ids are numbered by their frequency over all fields."""

    def __init__(self, seed, fields):
        rng = np.random.default_rng(seed)
        columns, start = [], 0
        for n in fields:
            weights = 1.0 / np.arange(1, n + 1) ** EXPONENT
            columns.append(start + rng.choice(n, TRAIN + TEST, p=weights / weights.sum()))
            start += n
        ids = np.stack(columns, axis=1)
        alone, vectors = rng.standard_normal(start), rng.standard_normal((start, RANK))
        summed = vectors[ids[:, 0]]
        squared = np.square(summed).sum(axis=1)
        linear = alone[ids].sum(axis=1)
        for column in ids.T[1:]:
            summed = summed + vectors[column]
            squared += np.square(vectors[column]).sum(axis=1)
        pairs = (np.square(summed).sum(axis=1) - squared) / 2
        # Half of the variance is due to single ids, half to pairs.
        logits = SIGMA * (linear / linear.std() + pairs / pairs.std()) / np.sqrt(2) - 1.0
        clicked = rng.random(len(logits)) < 1.0 / (1.0 + np.exp(-logits))
        counts = np.bincount(ids[:TRAIN].ravel(), minlength=start)
        rank = np.empty(start, np.int64)
        rank[np.argsort(-counts, kind="stable")] = np.arange(start)
        self.n = start
        self.ids = torch.tensor(rank[ids])
        self.clicked = torch.tensor(clicked, dtype=torch.float32)
        self.truth = torch.tensor(logits[TRAIN:], dtype=torch.float32)


@functools.lru_cache(maxsize=5)
def clicks(seed, fields=FIELDS):
    """Return the data of a seed, which all tables share."""
    return Clicks(seed, fields)


class Machine(torch.nn.Module):
    """A factorisation machine: the first column counts alone, the others in pairs."""

    def __init__(self, table):
        super().__init__()
        self.table, self.constant = table, torch.nn.Parameter(torch.zeros(()))

    def forward(self, ids):
        rows = self.table(ids)
        alone, vectors = rows[..., 0].sum(1), rows[..., 1:]
        pairs = (vectors.sum(1).square() - vectors.square().sum(1)).sum(1) / 2
        return self.constant + alone + pairs


def scores(logits, clicked):
    rank = torch.empty(len(logits), dtype=torch.float64)
    rank[logits.argsort()] = torch.arange(1, len(logits) + 1, dtype=torch.float64)
    ones = clicked.sum().item()
    area = (rank[clicked > 0].sum().item() - ones * (ones + 1) / 2) / (ones * (len(clicked) - ones))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, clicked).item()
    return {"AUC": area, "log loss": loss}


class Experiment:
    name, metric, rates = "parameter_sharing_clicks", "log loss", (0.007, 0.015)
    fields, d, std = FIELDS, D, STD

    @property
    def sizes(self):
        return (sum(self.fields),)

    def first_rows(self):
        truth = []
        for seed in SEEDS:
            data = clicks(seed, self.fields)
            truth.append(scores(data.truth, data.clicked[TRAIN:]))
        yield {"table": "truth", "compression": 0, "parameters": 0, "rate": 0} | summarised(truth)

    def run(self, tables, rate, seed):
        data, machine = clicks(seed, self.fields), Machine(tables[0])
        optimiser = torch.optim.Adam(machine.parameters(), rate, fused=True)
        tables[0].trained_by(optimiser)
        for start in range(0, TRAIN, BATCH):
            at = slice(start, min(start + BATCH, TRAIN))
            logits = machine(data.ids[at])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, data.clicked[at])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            return scores(machine(data.ids[TRAIN:]), data.clicked[TRAIN:])


if __name__ == "__main__":
    compare(__doc__, Experiment())
