"""Draw docs/images/learned_partition.svg: buckets of points in a plane before and after they are learned."""

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import LearnedPartition
from picture import COLOURS, GREY, WIDTH, save

N, BUCKETS = 1200, 10


def points():
    """Return points around three centres of different weight, and between them."""
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0.0], [2.2, 0.6], [0.9, 2.0]])
    chosen = rng.choice(3, N, p=[0.6, 0.25, 0.15])
    return centres[chosen] + rng.standard_normal((N, 2)) * np.array([0.75, 0.4, 0.45])[chosen, None]


def main():
    X = points()
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 3.9), height_ratios=(3, 1), sharex="row", sharey="row")
    random = np.random.default_rng(0).integers(0, BUCKETS, N)
    panels = {"random": random}
    for n_rounds in (1, 8):
        index = LearnedPartition(2, BUCKETS, n_repetitions=1, n_hidden=64, n_rounds=n_rounds, seed=2)
        title = "after 1 round" if n_rounds == 1 else f"after {n_rounds} rounds"
        panels[title] = index.fit_neighbors(X, n_neighbors=10).buckets[:, 0]
    for (title, buckets), plane, bars in zip(panels.items(), *axes, strict=True):
        plane.scatter(*X.T, s=3, rasterized=True, c=[COLOURS[bucket] for bucket in buckets])
        plane.set(title=title, aspect="equal", xticks=[], yticks=[])
        plane.grid(visible=False)
        loads = np.bincount(buckets, minlength=BUCKETS)
        bars.bar(range(BUCKETS), loads, color=COLOURS)
        bars.axhline(N / BUCKETS, color=GREY, linewidth=0.8, linestyle="--")
        bars.set(xticks=[], xlabel="buckets")
    axes[1, 0].set(ylabel="items")
    save(figure, "learned_partition")


if __name__ == "__main__":
    main()
