"""Draw docs/images/scale.svg: what the model of examples/scale_on_paper.py says of more nodes."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from picture import GREY, WIDTH, save

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from scale_on_paper import Cluster, deduplication_seconds, merging_seconds


def draw(axes: plt.Axes, seconds, nodes: np.ndarray, title: str) -> list[dict[str, float]]:
    """Draw a line for each part."""
    parts = [seconds(Cluster(int(n), 32, 10e9 / 8, 50e-6, 2e9)) for n in nodes]
    for name in parts[0]:
        axes.loglog(nodes, [part[name] for part in parts], linewidth=1.2, label=name)
    axes.set(title=title, xlabel="nodes of 32 cores", ylabel="seconds")
    return parts


def main() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 5))
    nodes = np.unique(np.geomspace(2, 10_000, 25).astype(int))
    draw(left, merging_seconds, nodes, "Merging a sketch")
    nodes = np.unique(np.geomspace(100, 10_000, 17).astype(int))
    steps = draw(right, deduplication_seconds, nodes, "De-duplicating 10¹¹ documents")
    total = np.array([sum(step.values()) for step in steps])
    right.loglog(nodes, total, color=GREY, linewidth=2.5, label="all of it")
    right.loglog(nodes, total[0] * nodes[0] / nodes, color=GREY, linestyle=":", label="perfect scaling")
    for axes in (left, right):
        axes.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    save(figure, "scale")


if __name__ == "__main__":
    main()
