"""Draw docs/images/learned_hash.svg: bucket loads before and after training, and recall by candidates."""

import matplotlib.pyplot as plt
import numpy as np
from learned_curves import draw_recalls
from mergesketch import LearnedHash, SignedRandomProjection
from picture import GREY, WIDTH, legend, save

OURS = {
    ("LearnedHash", "16 x 8 bits"): ("LearnedHash", "C0"),
    ("LearnedHash, loss of codes", "16 x 8 bits"): ("loss of codes", "C1"),
}


def layer(n, rng):
    """Return neurons, and rows that resemble theirs in twelve features of 32."""
    neurons, labels = rng.standard_normal((500, 32)), rng.integers(0, 500, n)
    X = rng.standard_normal((n, 32))
    X[:, :12] = neurons[labels, :12] + 0.3 * X[:, :12]
    Y = np.zeros((n, 500), bool)
    Y[np.arange(n), labels] = True
    return neurons, X, Y


def main():
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.0))
    neurons, X, Y = layer(3000, np.random.default_rng(0))
    learned = LearnedHash(n_hashes=8, power=5, seed=1).fit(neurons, X, Y)
    random = SignedRandomProjection(32, 8, power=5, seed=1)
    codes = random.hash(neurons)
    before = np.stack([np.bincount(codes[:, h], minlength=32) for h in range(8)])
    for loads, label, colour in (
        (before, "random planes", GREY),
        (learned.loads(neurons), "LearnedHash", "C0"),
    ):
        axes[0].plot(np.sort(loads, axis=1)[:, ::-1].mean(axis=0), color=colour, label=label)
    axes[0].set(title="500 neurons in 32 buckets", xlabel="buckets by load", ylabel="neurons", ylim=(0, None))
    draw_recalls(axes[1], "debian labels", OURS)
    draw_recalls(axes[2], "glove", OURS)
    axes[1].set_ylabel("recall")
    legend(figure, ncols=6)
    save(figure, "learned_hash")


if __name__ == "__main__":
    main()
