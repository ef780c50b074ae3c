"""Draw docs/images/loss_aware_grid.svg, in part from benchmarks/results/loss_aware_grid.json.

Run it as ``python docs/plots/loss_aware_grid.py``.
"""

import json

import matplotlib.pyplot as plt
import numpy as np
from mergesketch.sketches.kernels import grid_fitting
from picture import ROOT, WIDTH, legend, save

STYLES = {
    "round to nearest, min-max": "C1s-",
    "GPTQ, min-max": "C2^-",
    "k-means": "C9v-",
    "LossAwareGrid": "C0o-",
}


def grids(ax):
    rng = np.random.default_rng(1)
    weights = np.sort(rng.standard_normal(80))
    # The inputs of weights above 0 are larger here.
    importances = np.where(weights > 0.0, 1.0, 0.05) * rng.uniform(0.3, 1.0, weights.size)
    ax.vlines(weights, 0, importances, color="C0", linewidth=1)
    for height, (label, colour, given) in zip(
        (1.12, 1.47),
        (("k-means", "C9", np.ones_like(weights)), ("k-means with importances", "C0", importances)),
        strict=True,
    ):
        points = np.zeros((1, 8), np.float32)
        grid_fitting.place_free_grids(weights[None], given[None], 0, 1, points)
        ax.plot(points[0], np.full(8, height), "|", color=colour, markersize=11, markeredgewidth=2.5)
        ax.annotate(label, (-2.6, height + 0.1), color=colour, fontsize=8)
    ax.set(title="weights of a row, and grids of 8 points", xlabel="weight", ylabel="importance")
    ax.set(ylim=(0, 1.75), yticks=[0, 0.5, 1.0])


def errors(ax):
    rows = json.loads((ROOT / "benchmarks/results/loss_aware_grid.json").read_text())["rows"]
    for method, style in STYLES.items():
        row = next(r for r in rows if r.get("relative error of outputs") == method)
        bits = (2, 3, 4)
        ax.semilogy(bits, [row[f"{b} bits"] for b in bits], style, markersize=4, label=method)
    ax.set(title="layers of MiniLM", xlabel="bits a weight", ylabel="relative error of outputs")
    ax.set_xticks(bits)


def main():
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    grids(axes[0])
    errors(axes[1])
    legend(figure, ncols=4)
    save(figure, "loss_aware_grid")


if __name__ == "__main__":
    main()
