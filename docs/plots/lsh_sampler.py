"""Draw docs/images/lsh_sampler.svg: the probability of each label around a query, and errors of gradients."""

import json

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import LSHIndex, LSHSampler
from mergesketch.lsh import SignedRandomProjection
from picture import GREY, ROOT, WIDTH, legend, save

#: The colour of each group of samplers.
COLOURS = {"LSH-embedding": "C0", "LSH-label": "C4", "softmax": GREY}


def labels(axes):
    rng = np.random.default_rng(5)
    W = rng.standard_normal((200, 2))
    family = SignedRandomProjection(2, 30, power=4, seed=2)
    index = LSHIndex(family, capacity=128).update(W)
    query = np.array([[1.0, 0.5]])
    q = LSHSampler(index, uniform=0.2).probabilities(query, np.arange(200))[0]
    axes.scatter(*W.T, s=4 + 4000 * (q - q.min()), color="C0", alpha=0.6, linewidths=0)
    axes.annotate(
        "", 1.6 * query[0], (0, 0), arrowprops={"arrowstyle": "->", "color": "C1", "linewidth": 1.6}
    )
    axes.text(*(2.4 * query[0]), "query", color="C1")
    axes.set(title="200 labels, larger where a draw is likelier", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])


def errors(axes):
    found = json.loads((ROOT / "benchmarks/results/negative_sampling.json").read_text())["rows"]
    found = [r for r in found if "sampler" in r]
    for at, r in enumerate(reversed(found)):
        colour = COLOURS.get(r["sampler"].split(",")[0], "C1")
        axes.barh(at + 0.2, r["bias"], 0.38, color=colour)
        axes.barh(at - 0.2, r["deviation"], 0.38, color=colour, alpha=0.45)
    axes.set_yticks(range(len(found)), [r["sampler"] for r in reversed(found)])
    axes.barh([0], [0], color=GREY, label="bias")
    axes.barh([0], [0], color=GREY, alpha=0.45, label="standard deviation")
    axes.set(title="gradients from 100 draws", xlabel="relative to the length of the gradient")
    axes.grid(axis="y", visible=False)


def main():
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4), width_ratios=(1, 1.1))
    labels(left)
    errors(right)
    legend(figure, ncols=2)
    save(figure, "lsh_sampler")


if __name__ == "__main__":
    main()
