"""Draw docs/images/active_units.svg, in part from benchmarks/results/active_units.json.

Run it as ``python docs/plots/active_units.py``.
"""

import json

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import ActiveUnits, SecondMoments
from picture import GREY, ROOT, WIDTH, save

STYLES = {
    "exact": (GREY, "s-", "the strongest"),
    "low rank, d / 8": ("C0", "o-", "low rank"),
    "codes, 4 bits": ("C2", "^-", "codes, 4 bits"),
    "the same units": ("C1", "v-", "always the same"),
}
INPUTS, UNITS, SELECTED = 10, 40, 10


def units(ax):
    """Draw which units are active for some inputs, and which ones are selected."""
    rng = np.random.default_rng(2)
    W, bias = rng.standard_normal((UNITS, 24)), rng.uniform(-6.0, -3.0, UNITS)
    X = rng.standard_normal((2000, 6)) @ rng.standard_normal((6, 24)) / 2.0
    predictor = ActiveUnits(W, bias, SecondMoments(24).update(X[:1900]), rank=4)
    X = X[-INPUTS:]
    active, chosen = X @ W.T + bias > 0.0, predictor.select(X, SELECTED)
    rows, columns = np.nonzero(active)
    ax.scatter(columns, rows, 14, marker="s", color="C0", label="active")
    for row, selected in enumerate(chosen):
        ax.scatter(
            selected,
            np.full(SELECTED, row),
            34,
            marker="s",
            facecolors="none",
            edgecolors="C1",
            label=None if row else "selected",
        )
    ax.set(title="units of a layer, for 10 inputs", xlabel="unit", ylabel="input", ylim=(INPUTS - 0.4, -0.6))
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.22))


def errors(ax):
    rows = json.loads((ROOT / "benchmarks/results/active_units.json").read_text())["rows"]
    rows = [row for row in rows if next(iter(row)).startswith("ReLU")]
    for name, (colour, style, label) in STYLES.items():
        row = next(row for row in rows if next(iter(row.values())) == name)
        values = [row[f"error, 1/{s}"] for s in (2, 4, 10)]
        ax.semilogy((0, 1, 2), values, style, color=colour, markersize=4, label=label)
    ax.set_xticks((0, 1, 2), ("1/2", "1/4", "1/10"))
    ax.set(title="a ReLU layer, Fashion-MNIST", xlabel="units computed", ylabel="relative error of outputs")
    ax.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.22))


def main():
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    units(left)
    errors(right)
    save(figure, "active_units")


if __name__ == "__main__":
    main()
