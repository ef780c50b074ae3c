"""Measure SampledSubspace: the loss of a small network whose gradients are projected, beside other subspaces.

The network has 784 inputs, 256 hidden units (ReLU) and 10 classes, and learns Fashion-MNIST (Debian's
`dataset-fashion-mnist`) in batches of 128 with Adam. The gradients of the first layer, a matrix of 256 x 784,
are projected on RANK directions, which change every EVERY steps. Adam's two moments of that layer are kept in
the subspace. The directions are

- "latest, longest": the longest singular vectors of the latest gradient, as in GaLore;
- "latest, drawn": singular vectors of the latest gradient, drawn in proportion to their singular values;
- "sketch, longest" and "sketch, drawn": those of `SampledSubspace`, from all gradients since the last change;
- "random": random directions;
- "all": no projection.

The learning rate of each is the best of RATES on 10,000 images that are held out from training. "overlap" is
the mean squared cosine between the subspaces before and after a change: 1 for equal ones, RANK / 784 for
random ones. "share" is the share of the gradient's squares that lies in the subspace. Each loss is the mean
over SEEDS runs with its standard error.

python benchmarks/sampled_subspace.py
"""

from __future__ import annotations

from typing import Any

import mergesketch as ms
import numpy as np
from frequent_directions import images, labels
from measure import parse, show, write

N_HIDDEN, BATCH, EPOCHS, EVERY = 256, 128, 2, 50
RANKS = (4, 16)
RATES = (0.003, 0.01, 0.03, 0.1)
SEEDS = 3
METHODS = ("latest, longest", "latest, drawn", "sketch, longest", "sketch, drawn", "random")


class Directions:
    """The directions of one method, and what changes them."""

    def __init__(self, method: str, rank: int, seed: int) -> None:
        self.method, self.rank, self.rng = method, rank, np.random.default_rng(seed)
        self.subspace = ms.SampledSubspace(784, rank, sampled="drawn" in method, seed=seed)
        self.vectors, self.overlaps = self.subspace.vectors, list[float]()

    def follow(self, gradient: np.ndarray, step: int) -> None:
        if "sketch" in self.method:
            self.subspace.update(gradient)
        if step % EVERY:
            return
        before = self.vectors
        if "sketch" in self.method:
            self.vectors = self.subspace.refresh().vectors
        elif self.method == "random":
            self.vectors = np.linalg.qr(self.rng.standard_normal((784, self.rank)))[0].T
        else:
            _, lengths, vectors = np.linalg.svd(gradient, full_matrices=False)
            chosen = np.arange(self.rank)
            if "drawn" in self.method:
                chosen = np.argsort(self.rng.exponential(size=lengths.size) / lengths)[: self.rank]
            self.vectors = vectors[chosen]
        if step:
            self.overlaps.append(float(((before @ self.vectors.T) ** 2).sum() / self.rank))


class Adam:
    """Adam for one array."""

    def __init__(self, rate: float) -> None:
        self.rate, self.m, self.v, self.t = rate, 0.0, 0.0, 0

    def step(self, g: np.ndarray) -> np.ndarray:
        self.t += 1
        self.m, self.v = 0.9 * self.m + 0.1 * g, 0.999 * self.v + 0.001 * g * g
        return self.rate * (self.m / (1 - 0.9**self.t)) / (np.sqrt(self.v / (1 - 0.999**self.t)) + 1e-8)


def train(
    data: tuple[np.ndarray, ...], method: str, rank: int, rate: float, seed: int, epochs: int
) -> dict[str, float]:
    X, y, X_test, y_test = data
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((N_HIDDEN, 784)) * np.sqrt(2 / 784)
    U = rng.standard_normal((10, N_HIDDEN)) * np.sqrt(1 / N_HIDDEN)
    first, last = Adam(rate), Adam(0.001)
    directions, step, shares = Directions(method, rank, seed), 0, []
    for _ in range(epochs):
        order = rng.permutation(len(X))
        for start in range(0, len(X) - BATCH + 1, BATCH):
            some = order[start : start + BATCH]
            hidden = np.maximum(X[some] @ W.T, 0)
            chances = softmax(hidden @ U.T)
            chances[np.arange(BATCH), y[some]] -= 1
            chances /= BATCH
            back = (chances @ U) * (hidden > 0)
            gradient = back.T @ X[some]
            U -= last.step(chances.T @ hidden)
            if method == "all":
                W -= first.step(gradient)
            else:
                directions.follow(gradient, step)
                small = gradient @ directions.vectors.T
                shares.append((small**2).sum() / max((gradient**2).sum(), 1e-300))
                W -= first.step(small) @ directions.vectors
            step += 1
    scores = np.maximum(X_test @ W.T, 0) @ U.T
    right = softmax(scores)[np.arange(len(y_test)), y_test]
    return {
        "loss": float(-np.log(np.maximum(right, 1e-300)).mean()),
        "accuracy": float((scores.argmax(1) == y_test).mean()),
        "overlap": float(np.mean(directions.overlaps)) if directions.overlaps else 1.0,
        "share": float(np.mean(shares)) if shares else 1.0,
    }


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def main() -> None:
    arguments = parse(__doc__, "sampled_subspace")
    X, X_test = (images(name).astype(np.float64) / 255 for name in ("train", "t10k"))
    mean = X.mean()
    X, X_test, y, y_test = X - mean, X_test - mean, labels("train"), labels("t10k")
    whole, held_out = (X, y, X_test, y_test), (X[10_000:], y[10_000:], X[:10_000], y[:10_000])
    rows: list[dict[str, Any]] = []
    for rank, methods in ((784, ("all",)), *((rank, METHODS) for rank in RANKS)):
        for method in methods:
            losses = {rate: train(held_out, method, min(rank, 256), rate, 99, 1)["loss"] for rate in RATES}
            rate = min(losses, key=losses.__getitem__)
            runs = [train(whole, method, min(rank, 256), rate, seed, EPOCHS) for seed in range(SEEDS)]
            loss = [run["loss"] for run in runs]
            rows.append(
                {
                    "directions": method,
                    "rank": rank,
                    "numbers of Adam, share": min(1.0, rank / 784),
                    "learning rate": rate,
                    "test loss": float(np.mean(loss)),
                    "standard error": float(np.std(loss, ddof=1) / np.sqrt(SEEDS)),
                    "test accuracy, %": 100 * float(np.mean([run["accuracy"] for run in runs])),
                    "overlap": float(np.mean([run["overlap"] for run in runs])),
                    "share of gradients": float(np.mean([run["share"] for run in runs])),
                }
            )
            print(rows[-1], flush=True)
    show("A network whose gradients are projected", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
