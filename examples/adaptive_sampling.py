"""Train a network on rows that are drawn by their sketched loss, and on rows that are drawn uniformly.

This example shows importance sampling with kernel regression (`NadarayaWatsonSketch`). After some time, the
loss of a network is high on few rows, and most steps use rows that the network has already learnt. It would
be slow to compute the loss of every row with the network. Instead, the sketch gets the losses of each
training batch, and older losses count less. It predicts the losses of all other rows from the losses of
similar rows. Rows are then drawn in proportion to the predicted losses (selective training, as in Jiang et
al. 2019).

Use it if many rows are almost copies of each other. If all rows are different, it gains nothing. With
--unbiased, rows that are drawn more frequently get a smaller weight. Then the mean gradient is equal to the
one of uniform sampling, and its noise is smaller (Katharopoulos and Fleuret 2018). This helps only if noise
slows the training down.

Both ways of drawing rows make the same number of steps, and the example compares the losses after them. A
step with the sketch takes more time, because the sketch needs some. Compare times as well if your steps are
as cheap as those of this small network.

    python examples/adaptive_sampling.py [--rounds 40] [--data mnist.npz] [--unbiased] [--plot loss.svg]

The data is an .npz file with `images` and `labels`. The default are the digits of scikit-learn, with many
copies of some of them. The copies have a little noise. So many rows are learnt soon, and few rows are hard.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from mergesketch import NadarayaWatsonSketch
from mergesketch.lsh import SignedRandomProjection

BATCH, HIDDEN, RATE = 64, 512, 0.1
#: Rows are drawn in proportion to this power of the predicted loss, because kernel means are closer to the
#: overall mean than the losses are.
SHARPNESS = 2.0
#: Batches between two predictions of the sketch.
ROUND = 200


def digits(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return 10,000 rows: all digits once, and many copies of 100 of them, each with a little noise."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("the digits need scikit-learn: pip install scikit-learn, or give --data") from None

    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    rows = np.concatenate([np.arange(len(X)), rng.choice(100, 10_000 - len(X))])
    X = X[rows] / 16.0 + 0.05 * rng.standard_normal((len(rows), X.shape[1]))
    order = rng.permutation(len(rows))
    return X[order].astype(np.float32), y[rows][order]


class Network:
    """Two layers, ReLU and softmax, trained by plain gradient descent."""

    def __init__(self, n_features: int, n_classes: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.W1 = (rng.standard_normal((n_features, HIDDEN)) * (2 / n_features) ** 0.5).astype(np.float32)
        self.W2 = (rng.standard_normal((HIDDEN, n_classes)) * (2 / HIDDEN) ** 0.5).astype(np.float32)
        self.b1, self.b2 = np.zeros(HIDDEN, np.float32), np.zeros(n_classes, np.float32)

    def forward(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hidden = np.maximum(X @ self.W1 + self.b1, 0)
        scores = hidden @ self.W2 + self.b2
        scores -= scores.max(axis=1, keepdims=True)
        return hidden, scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))

    def losses(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        return -self.forward(X)[1][np.arange(len(y)), y]

    def step(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Make one step of gradient descent on weighted rows, and return their losses before it."""
        hidden, logs = self.forward(X)
        losses = -logs[np.arange(len(y)), y]
        error = np.exp(logs)
        error[np.arange(len(y)), y] -= 1
        error *= (weights / len(y))[:, None].astype(np.float32)
        back = (error @ self.W2.T) * (hidden > 0)
        self.W2 -= RATE * hidden.T @ error
        self.b2 -= RATE * error.sum(axis=0)
        self.W1 -= RATE * X.T @ back
        self.b1 -= RATE * back.sum(axis=0)
        return losses


def train(
    X: np.ndarray,
    y: np.ndarray,
    *,
    sketched: bool,
    rounds: int,
    unbiased: bool = False,
    seed: int = 0,
) -> list[tuple[int, float]]:
    """Train for some rounds of `ROUND` steps, and return (steps, mean loss of all rows) after each round."""
    rng = np.random.default_rng(seed)
    network = Network(X.shape[1], int(y.max()) + 1, seed)
    family = SignedRandomProjection(X.shape[1], 60, power=10, projection="hadamard", seed=seed)
    sketch = NadarayaWatsonSketch(family, half_life=2.0 * ROUND)
    centred = X - X[:1000].mean(axis=0)  # Angles separate rows only around a centre.
    chances = np.full(len(X), 1 / len(X))
    history = []
    for step in range(0, rounds * ROUND, ROUND):
        if sketched and step:
            predicted = sketch.predict(centred, fill=np.nan)
            known = np.isfinite(predicted)
            predicted[~known] = predicted[known].mean() if known.any() else 1.0
            # A fifth of all draws stays uniform, so that no row is never drawn.
            chances = np.maximum(predicted, 0) ** SHARPNESS
            chances = 0.2 / len(X) + 0.8 * chances / chances.sum()
        seen, losses = [], []
        for rows in rng.choice(len(X), (ROUND, BATCH), p=chances):
            weights = 1 / (len(X) * chances[rows]) if unbiased else np.ones(len(rows))
            losses.append(network.step(X[rows], y[rows], weights))
            seen.append(rows)
        if sketched:
            times = np.repeat(np.arange(step, step + ROUND), BATCH).astype(float)
            sketch.update(centred[np.concatenate(seen)], np.concatenate(losses), time=times)
        history.append((step + ROUND, float(network.losses(X, y).mean())))
    return history


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=40,
        help=f"rounds of training, of {ROUND} steps, in each of the two ways (default: 40)",
    )
    parser.add_argument(
        "--data", type=Path, help=".npz file with images and labels (default: digits of scikit-learn)"
    )
    parser.add_argument(
        "--unbiased", action="store_true", help="weigh rows inversely to the chance of drawing them"
    )
    parser.add_argument("--plot", type=Path, help="draw loss against steps into this file (needs matplotlib)")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"argument --rounds: must be at least 1, got {arguments.rounds}")
    if arguments.data is None:
        X, y = digits()
    else:
        try:
            with np.load(arguments.data) as arrays:
                X, y = (
                    arrays["images"].reshape(len(arrays["images"]), -1) / np.float32(255),
                    arrays["labels"].astype(int),
                )
        except (OSError, ValueError, KeyError) as error:
            parser.error(f"argument --data: {error}")
    histories = {}
    for name, sketched in (("uniform", False), ("by sketched loss", True)):
        histories[name] = train(X, y, sketched=sketched, rounds=arguments.rounds, unbiased=arguments.unbiased)
        steps, loss = histories[name][-1]
        print(f"{name:18s} {steps:6,} steps, mean loss of all rows {loss:.5f}")
    if arguments.plot is not None:
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(5, 3.8))
        for name, history in histories.items():
            steps, losses = zip(*history, strict=True)
            axes.semilogy(steps, losses, label=name)
        axes.set(xlabel="steps", ylabel="mean loss of all rows")
        axes.legend(frameon=False)
        figure.tight_layout()
        figure.savefig(arguments.plot)


if __name__ == "__main__":
    main()
