"""Factorise which package of Debian depends on which, over shared parameters and other small tables.

A package and a label (what it depends on) each have a row of 16 columns. Their inner product, plus the
logarithm of the label's frequency, scores the pair. The frequencies are known to every method and not
counted. Training tells the label of a pair from 128 others, which are drawn by their frequencies. Of 2,500
packages with at least three dependencies one is held out. All labels are ranked without the known
dependencies of the package: "hit@10" is the share of held-out labels among the first 10. "AUC" is the share
of labels behind the held-out one. Compression counts the floats of both tables. Every method has the same
optimiser and learning rate, which is the best of the full table. ± is the standard error over the seeds.
"""

import debian
import numpy as np
import torch
from parameter_sharing import compare

D, STD, EPOCHS, BATCH, NEGATIVES, HELD = 16, 0.1, 5, 4096, 128, 2500


def by_frequency(ids):
    """Return the ids numbered anew, the most frequent first."""
    counts = np.bincount(ids)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return rank[ids]


class Data:
    def __init__(self, pairs, seed=0):
        rng = np.random.default_rng(seed)
        packages, labels = by_frequency(pairs[:, 0]), by_frequency(pairs[:, 1])
        self.n = int(packages.max()) + 1, int(labels.max()) + 1
        # One pair of each chosen package, whose label another package depends on, too.
        order = rng.permutation(len(packages))
        _, first = np.unique(packages[order], return_index=True)
        first = order[first]
        counts = np.bincount(packages), np.bincount(labels)
        first = first[(counts[0][packages[first]] >= 3) & (counts[1][labels[first]] >= 5)]
        held = rng.choice(first, 2 * HELD, replace=False)
        self.known = np.delete(np.arange(len(packages)), held)
        self.packages, self.labels = torch.tensor(packages), torch.tensor(labels)
        self.parts = {"test": held[:HELD], "validation": held[HELD:]}
        frequency = np.bincount(labels[self.known], minlength=self.n[1])
        self.log_frequency = torch.tensor(
            np.log(np.maximum(frequency, 1) / len(self.known)), dtype=torch.float32
        )
        of_package = {}
        for package, label in zip(packages[self.known], labels[self.known], strict=True):
            of_package.setdefault(int(package), []).append(int(label))
        self.of_package = of_package


def train(tables, data, rate, seed):
    rng = np.random.default_rng(seed)
    # Tables that share an array have it once.
    optimiser = torch.optim.Adam(torch.nn.ModuleList(tables).parameters(), rate, fused=True)
    for _ in range(EPOCHS):
        order = rng.permutation(data.known)
        for start in range(0, len(order), BATCH):
            at = torch.tensor(order[start : start + BATCH])
            package, label = data.packages[at], data.labels[at]
            drawn = data.labels[torch.tensor(rng.choice(data.known, NEGATIVES))]
            row, mine, others = tables[0](package), tables[1](label), tables[1](drawn)
            # A negative that is the label itself is none.
            negatives = (row @ others.T).masked_fill(label[:, None] == drawn, -torch.inf)
            positive = (row * mine).sum(1)
            everything = torch.logaddexp(positive, negatives.logsumexp(1))
            loss = (everything - positive).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


@torch.no_grad()
def measured(tables, data, part):
    """Return hit@10, nDCG@10 and AUC of a part."""
    items = tables[1](torch.arange(data.n[1]))
    ranks = []
    for at in np.array_split(data.parts[part], 16):
        packages, labels = data.packages[at], data.labels[at]
        scores = torch.addmm(data.log_frequency, tables[0](packages), items.T)
        mine = scores[torch.arange(len(at)), labels]
        for row, package in enumerate(packages.tolist()):
            scores[row, data.of_package[package]] = -torch.inf
        # Half of those with an equal score count as better.
        better = (scores > mine[:, None]).sum(1) + 0.5 * ((scores == mine[:, None]).sum(1) - 1)
        ranks.append(better)
    rank = torch.cat(ranks).numpy()
    hit = rank < 10
    found = {
        "hit@10": hit.mean(),
        "nDCG@10": (hit / np.log2(rank + 2)).mean(),
        "AUC": 1 - rank.mean() / data.n[1],
    }
    return {name: float(value) for name, value in found.items()}


class Experiment:
    name, metric, rates = "parameter_sharing_debian", "nDCG@10", (0.01,)
    d, std = D, STD

    def __init__(self, pairs):
        self.data = Data(pairs)
        self.sizes = self.data.n

    def first_rows(self):
        # Every package gets the most frequent labels that it is not known to depend on.
        popular = [lambda ids: torch.zeros(len(ids), 1)] * 2
        row = {"table": "frequencies alone", "compression": 0, "parameters": 0, "rate": 0}
        yield row | measured(popular, self.data, "test")

    def run(self, tables, rate, seed):
        train(tables, self.data, rate, seed)
        return measured(tables, self.data, "test" if seed else "validation")


if __name__ == "__main__":
    read = debian.dependencies()
    if read is None:
        print(f"{debian.NEEDED}: nothing is measured")
    else:
        compare(__doc__, Experiment(read[0]), seeds=(1, 2, 3))
