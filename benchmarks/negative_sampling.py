"""Compare samplers of negative classes for a softmax: bias and variance of gradients, and training.

The data are Debian's packages and their dependencies (`label_data.debian_labels`): 7,058 labels; and 20,000
rows of 20,000 generated labels (`label_data.generated_labels`). The network has a hidden layer of 128 units,
whose inputs are words, and a softmax over all labels, in which the labels of a row share its mass.

"gradients": for test rows of Debian and the network that the whole softmax has trained, 100 samples a row
are drawn many times, and the gradient of the hidden units that `sampled_softmax` gives is compared with that
of the whole softmax. Bias and standard deviation are relative to the length of that, and root mean squares
over the rows. "median" are those of the middle row. "plain" is the bias without correction.

"training": networks are trained with each sampler for some epochs from the same parameters, with Adam of the
same learning rate. Seconds are processor time of one thread, all of sampling and changing the index included.
"p@1" is the share of test rows whose best label is right; "loss" is that of the whole softmax on test rows.
"shared" samples are the same for all rows of a batch.

The query of "LSH-embedding" is the hidden units of a row, that of "LSH-label" the weights of its label.
"softmax" draws from the exact softmax, which costs more than to compute it: it shows what can be reached.

"costs": microseconds of processor time for a query, of 1,000 queries, beside `LSHIndex.query` for as many
ids and the floor: one pass over the ids in the buckets, by NumPy's sum of 1,000 rows of so many integers.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import mergesketch
import numpy as np
import torch
from debian import NEEDED
from label_data import LabelData, debian_labels, generated_labels
from measure import best_of, parse, show, write
from mergesketch import LSHIndex, LSHSampler, sampled_softmax, sampled_softmax_loss
from mergesketch.lsh import SignedRandomProjection

HIDDEN, BATCH, RATE = 128, 256, 3e-3
#: Epochs of both data sets, and labels and rows of the generated one.
EPOCHS, GENERATED = (2, 2), (20_000, 20_000)
#: Draws of a row, and distinct ids that the rows of a batch share, about.
DRAWS, SHARED = 100, 512
#: Test rows whose gradients are compared, and draws of each.
ROWS, REPEATS = 100, 200
TABLES, POWER, CAPACITY = 100, 12, 64
#: The index is changed after the first of these steps, and after intervals that grow by this factor.
FIRST_CHANGE, GROWTH = 20, 1.2

#: The samplers that are trained with, for each data set.
DEBIAN = (
    "uniform",
    "uniform, shared",
    "log-uniform",
    "frequency",
    "frequency, shared",
    "LSH-label, half uniform",
    "LSH-label, half frequency",
    "LSH-embedding, half uniform",
    "LSH-embedding, half frequency",
    "LSH-embedding, half frequency, shared",
)
MANY_LABELS = (
    "uniform",
    "uniform, shared",
    "frequency",
    "frequency, shared",
    "LSH-embedding, half uniform",
    "LSH-embedding, half frequency",
)

Row = dict[str, Any]


# -- the network ------------------------------------------------------------------------------------


class Network(torch.nn.Module):
    """Words, hidden units, labels."""

    def __init__(self, data: LabelData) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = torch.nn.EmbeddingBag(data.X.shape[1], HIDDEN, mode="sum")
        torch.nn.init.normal_(self.words.weight, std=0.1)
        # The last column is the bias of the label.
        W = torch.randn(data.Y.shape[1], HIDDEN + 1) * 0.05
        W[:, -1] = 0.0
        self.labels = torch.nn.Parameter(W)

    def hidden(self, X: Any) -> torch.Tensor:
        indices, offsets = (torch.tensor(part.astype(np.int64)) for part in (X.indices, X.indptr[:-1]))
        h = torch.relu(self.words(indices, offsets, per_sample_weights=torch.tensor(X.data)))
        return torch.cat([h, torch.ones(len(h), 1)], 1)


def whole_loss(logits: torch.Tensor, Y: Any) -> torch.Tensor:
    """Return the mean loss of the softmax over all labels."""
    rows = np.repeat(np.arange(Y.shape[0]), np.diff(Y.indptr))
    mass = torch.tensor(1.0 / np.diff(Y.indptr)[rows], dtype=torch.float32)
    log_p = torch.log_softmax(logits, 1)
    return -(log_p[rows, Y.indices.astype(np.int64)] * mass).sum() / Y.shape[0]


def padded(Y: Any) -> np.ndarray:
    """Return the labels of each row, and then -1."""
    sizes = np.diff(Y.indptr)
    out = np.full((Y.shape[0], max(1, sizes.max(initial=0))), -1, np.int64)
    out[np.arange(out.shape[1]) < sizes[:, None]] = Y.indices
    return out


def evaluate(network: Network, data: LabelData) -> tuple[float, float]:
    with torch.no_grad():
        logits = network.hidden(data.X_test) @ network.labels.T
        loss = whole_loss(logits, data.Y_test).item()
        best = logits.argmax(1).numpy().copy()
    return float(np.asarray(data.Y_test[np.arange(len(best)), best]).mean()), loss


# -- samplers ---------------------------------------------------------------------------------------


class Weighted:
    """Draw labels with replacement by fixed weights; what is given as probability is the expected number."""

    def __init__(self, weights: np.ndarray) -> None:
        self.p = weights / weights.sum()
        self.upto = np.cumsum(self.p)
        self.rng = np.random.default_rng(0)

    def draw(self, *shape: int) -> tuple[np.ndarray, np.ndarray]:
        ids = np.minimum(np.searchsorted(self.upto, self.rng.random(shape)), len(self.p) - 1)
        return ids, shape[-1] * self.p[ids]

    def rows(self, h: np.ndarray, targets: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.draw(len(h), DRAWS)

    def shared(self, h: np.ndarray, targets: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.draw(SHARED)

    def change(self, labels: np.ndarray, touched: np.ndarray) -> None:
        pass


class Hashed:
    """Draw labels by an `LSHSampler`; the query is the row or its first label."""

    def __init__(self, labels: np.ndarray, share: float, weights: Any, by_label: bool = False) -> None:
        self.n, self.by_label = len(labels), by_label
        self.centre = labels.mean(0)
        family = SignedRandomProjection(labels.shape[1], TABLES, power=POWER, seed=1)
        self.index = LSHIndex(family, capacity=CAPACITY).update(self.centred(labels))
        ids = np.arange(self.n)
        self.sampler = LSHSampler(self.index, uniform=share, ids=ids, weights=weights, seed=1)

    def centred(self, labels: np.ndarray) -> np.ndarray:
        # A softmax is the same if a vector is subtracted from all labels; their angles differ more then.
        return labels - self.centre

    def queries(self, h: np.ndarray, targets: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return self.centred(labels[targets[:, 0]]) if self.by_label else h

    def rows(self, h: np.ndarray, targets: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.sampler.sample(self.queries(h, targets, labels), DRAWS, exclude=targets)

    def shared(self, h: np.ndarray, targets: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.sampler.sample_shared(self.queries(h, targets, labels), SHARED // len(h))

    def change(self, labels: np.ndarray, touched: np.ndarray) -> None:
        self.centre = labels.mean(0)
        self.sampler.replace(np.arange(self.n), self.centred(labels))


def samplers(labels: np.ndarray, frequency: np.ndarray) -> dict[str, Callable[[], Any]]:
    rank = np.empty(len(frequency), np.int64)
    rank[np.argsort(-frequency, kind="stable")] = np.arange(len(frequency))
    often = np.maximum(frequency, 1.0)
    return {
        "uniform": lambda: Weighted(np.ones(len(often))),
        "log-uniform": lambda: Weighted(np.log((rank + 2) / (rank + 1))),
        "frequency": lambda: Weighted(often),
        "LSH-label, half uniform": lambda: Hashed(labels, 0.5, None, by_label=True),
        "LSH-label, half frequency": lambda: Hashed(labels, 0.5, often, by_label=True),
        "LSH-embedding, 1/10 uniform": lambda: Hashed(labels, 0.1, None),
        "LSH-embedding, half uniform": lambda: Hashed(labels, 0.5, None),
        "LSH-embedding, half frequency": lambda: Hashed(labels, 0.5, often),
    }


# -- gradients --------------------------------------------------------------------------------------


def errors(draw: Any, h: np.ndarray, W: np.ndarray, target: int) -> tuple[float, float, float]:
    """Return relative squared bias and variance of corrected gradients of h, and of plain bias."""
    logits = W @ h
    exact = np.exp(logits - logits.max())
    exact /= exact.sum()
    exact[target] -= 1.0
    truth = exact @ W
    ids, p = draw()
    n, there = len(ids), ids >= 0
    of = np.column_stack([np.full(n, logits[target]), logits[ids]])
    scale, found = float(truth @ truth), []
    for shares in (p, np.ones_like(p)):
        g = sampled_softmax(of, ids, shares, np.full(n, target)).gradients
        G = g[:, :1] * W[target] + np.einsum("nk,nkd->nd", np.where(there, g[:, 1:], 0.0), W[ids])
        mean = G.mean(axis=0)
        variance = float(G.var(axis=0, ddof=1).sum())
        # The error of the mean adds to its squared distance.
        found.append((max(0.0, float(((mean - truth) ** 2).sum()) - variance / n) / scale, variance / scale))
    return found[0][0], found[0][1], found[1][0]


def gradients(network: Network, data: LabelData, frequency: np.ndarray) -> list[Row]:
    with torch.no_grad():
        H = network.hidden(data.X_test).numpy().astype(np.float64)
    W = network.labels.detach().numpy()
    chosen = np.random.default_rng(0).choice(len(H), ROWS, replace=False)
    targets = padded(data.Y_test)[chosen][:, 0]
    W64, found = W.astype(np.float64), []

    def softmax_draws(h: np.ndarray) -> Any:
        logits = W64 @ h
        return Weighted(np.exp(logits - logits.max())).draw(REPEATS, DRAWS)

    def parts_of(draw: Callable[..., Any]) -> list[tuple[float, float, float]]:
        return [
            errors(partial(draw, h, int(y)), h, W64, int(y)) for h, y in zip(H[chosen], targets, strict=True)
        ]

    def by(sampler: Any, h: np.ndarray, target: int) -> Any:
        return sampler.rows(np.tile(h, (REPEATS, 1)), np.full((REPEATS, 1), target), W)

    draws = {name: partial(by, make()) for name, make in samplers(W, frequency).items()}
    for name, draw in {**draws, "softmax": lambda h, _: softmax_draws(h)}.items():
        parts = parts_of(draw)
        bias, variance, plain = np.sqrt(np.mean(parts, axis=0))
        middle = np.sqrt(np.median(parts, axis=0))
        found.append(
            {
                "sampler": name,
                "bias": float(bias),
                "deviation": float(variance),
                "median bias": float(middle[0]),
                "median deviation": float(middle[1]),
                "plain bias": float(plain),
            }
        )
        show("gradients", found[-1:])
    return found


# -- training ---------------------------------------------------------------------------------------


def train(
    data: LabelData, source: str, name: str, sampler: Any, is_shared: bool, epochs: float
) -> tuple[Network, list[Row]]:
    """Train a network; return it, and what it reached after each half of an epoch."""
    network, rng = Network(data), np.random.default_rng(1)
    optimizer = torch.optim.Adam(network.parameters(), RATE, fused=True)
    n, spent, steps, found = data.X.shape[0], 0.0, 0, []
    per_epoch = -(-n // BATCH)
    change_at, interval = FIRST_CHANGE, float(FIRST_CHANGE)
    W = network.labels
    order = np.empty(0, np.int64)
    while steps < epochs * per_epoch:
        if steps % per_epoch == 0:
            order = rng.permutation(n)
        at = steps % per_epoch * BATCH
        rows = order[at : at + BATCH]
        X, Y = data.X[rows], data.Y[rows]
        start = time.process_time()
        h = network.hidden(X)
        if sampler is None:
            loss = whole_loss(h @ W.T, Y)
        else:
            targets, here = padded(Y), W.detach().numpy()
            ask = sampler.shared if is_shared else sampler.rows
            ids, p = ask(h.detach().numpy(), targets, here)
            # Most rows have few targets, and a few have many.
            at_rows, at_columns = map(torch.tensor, np.nonzero(targets >= 0))
            own = (W[torch.tensor(Y.indices.astype(np.int64))] * h[at_rows]).sum(1)
            of_targets = torch.zeros(targets.shape).index_put((at_rows, at_columns), own)
            chosen = W[torch.tensor(np.maximum(ids, 0))]
            of_ids = h @ chosen.T if is_shared else torch.bmm(chosen, h[:, :, None])[:, :, 0]
            loss = sampled_softmax_loss(torch.cat([of_targets, of_ids], 1), ids, p, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if sampler is not None and steps >= change_at:
            sampler.change(W.detach().numpy(), ids)
            interval *= GROWTH
            change_at = steps + int(interval)
        spent += time.process_time() - start
        if steps % (per_epoch // 2) == 0:
            p1, test_loss = evaluate(network, data)
            row = {"data": source, "training": name, "epochs": round(steps / per_epoch, 1)}
            found.append({**row, "seconds": round(spent, 2), "p@1": p1, "loss": test_loss})
    show(f"{source}: {name}", found[-1:])
    return network, found


def compare(
    source: str, data: LabelData, epochs: float, wanted: tuple[str, ...]
) -> tuple[Network, list[Row]]:
    """Train with the whole softmax, and with the samplers of some names."""
    network, rows = train(data, source, "whole softmax", None, False, epochs)
    new = Network(data).labels.detach().numpy()
    for name, make in samplers(new, np.asarray(data.Y.sum(0)).ravel()).items():
        for is_shared in (False, True):
            full = f"{name}, shared" if is_shared else name
            if full in wanted:
                rows += train(data, source, full, make(), is_shared, epochs)[1]
    return network, rows


def costs() -> list[Row]:
    X = np.random.default_rng(0).standard_normal((10_000, 64)).astype(np.float32)
    Q, exclude, found = X[:1000], np.arange(1000), []
    for power, capacity in ((12, 16), (9, 64), (6, 512)):
        family = SignedRandomProjection(64, 50, power=power, seed=1)
        index = LSHIndex(family, capacity=capacity).update(X)
        sampler = LSHSampler(index, ids=np.arange(len(X)), seed=1)
        inside = float(index.query(Q[:100], 50 * capacity).counts.sum(axis=1).mean())
        read = np.ones((1000, round(inside)), np.uint32)
        calls = {
            "one pass": lambda read=read: read.sum(axis=1),
            "hashes": lambda family=family: family.hash_query(Q),
            "LSHIndex.query": lambda index=index: index.query(Q, 100),
            "10 draws": lambda sampler=sampler: sampler.sample(Q, 10),
            "100 draws": lambda sampler=sampler: sampler.sample(Q, 100),
            "100 draws, one excluded": lambda sampler=sampler: sampler.sample(Q, 100, exclude=exclude),
        }
        times = best_of(calls, 5, time.process_time)
        found.append({"ids in buckets": round(inside), **{name: 1e3 * t for name, t in times.items()}})
    show("costs, microseconds a query", found)
    return found


def main() -> None:
    flags = {
        "quick": "half an epoch, and no result file",
        "rest": "all but Debian's data, whose results stay",
    }
    arguments = parse(__doc__ or "", "negative_sampling", **flags)
    torch.set_num_threads(1)
    mergesketch.set_num_threads(1)
    epochs = (0.5, 0.5) if arguments.quick else EPOCHS
    if arguments.rest:
        rows = [
            r for r in json.loads(arguments.json.read_text())["rows"] if r.get("data", "Debian") == "Debian"
        ]
        rows = [r for r in rows if "ids in buckets" not in r]
    else:
        data = debian_labels()
        if data is None:
            raise SystemExit(NEEDED)
        network, rows = compare("Debian", data, epochs[0], DEBIAN)
        rows += gradients(network, data, np.asarray(data.Y.sum(0)).ravel())
    rows += costs()
    rows += compare("generated", generated_labels(*GENERATED), epochs[1], MANY_LABELS)[1]
    if not arguments.quick:
        write(arguments.json, rows)


if __name__ == "__main__":
    main()
