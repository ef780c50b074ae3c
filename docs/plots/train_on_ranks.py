"""Draw docs/images/train_on_ranks.svg: what travels in a step of training on four ranks."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from picture import GREY, WIDTH, save

RANKS, IDS = 4, 16


def strip(axes, x, y, ids, owner, label):
    """Draw the table of words with some rows filled, in the colours of their owners."""
    for i in range(IDS):
        colour = f"C{owner[i]}"
        style = {"facecolor": colour} if i in ids else {"facecolor": "none", "alpha": 0.35}
        axes.add_patch(Rectangle((x + 0.5 * i, y), 0.42, 0.9, edgecolor=colour, linewidth=0.7, **style))
    axes.text(x + 0.25 * IDS, y + 1.35, label, ha="center", va="center", color=GREY, fontsize=8)


def main():
    rng = np.random.default_rng(3)
    turns = np.repeat(rng.permutation(RANKS), RANKS)
    owner = (np.arange(IDS) + turns) % RANKS
    likely = 1 / (1 + np.arange(IDS))
    batches = [set(rng.choice(IDS, 4, replace=False, p=likely / likely.sum()).tolist()) for _ in range(RANKS)]
    every = set().union(*batches)
    figure, axes = plt.subplots(figsize=(WIDTH, 4.3))
    width = 0.5 * IDS + 1.6
    heights = (8.0, 4.0, 0.0)
    for rank in range(RANKS):
        x = rank * width
        strip(axes, x, heights[0], batches[rank], owner, f"rank {rank}: words of its batch")
        owned = {i for i in every if owner[i] == rank}
        strip(axes, x, heights[1], owned, owner, f"rank {rank} adds up")
        strip(axes, x, heights[2], every, owner, "the sum, on every rank")
    for rank in range(RANKS):
        for other in range(RANKS):
            start, end = (r * width + 0.25 * IDS for r in (rank, other))
            if any(owner[i] == other for i in batches[rank]):
                arrow(axes, (start, heights[0] - 0.2), (end, heights[1] + 1.9), f"C{other}")
            arrow(axes, (start, heights[1] - 0.2), (end, heights[2] + 1.9), f"C{rank}")
    axes.set(xlim=(-0.3, RANKS * width - 1.2), ylim=(-0.3, 9.9))
    axes.set_axis_off()
    save(figure, "train_on_ranks")


def arrow(axes, start, end, colour):
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 0.8, "alpha": 0.8}
    )


if __name__ == "__main__":
    main()
