"""Draw docs/images/private.svg: what private models learn at each budget, ours beside peers.

Run as ``python docs/plots/private.py``; needs matplotlib (the `docs` extra) and draws what
``benchmarks/private.py`` wrote to benchmarks/results/private.json.
"""

from __future__ import annotations

import json
from typing import Any

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, save

STYLES = {
    "mergesketch": ("#3b82f6", "-", "o"),
    "mergesketch, PStable": ("#3b82f6", "--", "s"),
    "OpenDP histograms": ("#10b981", "-", "^"),
    "diffprivlib GaussianNB": ("#f97316", "-", "v"),
    "diffprivlib LogisticRegression": ("#a855f7", "-", "D"),
    "diffprivlib LinearRegression": ("#a855f7", "--", "D"),
}
LOGISTIC = "diffprivlib LogisticRegression"


def lines(rows: list[dict[str, Any]], measure: str) -> dict[str, list[tuple[float, float, float]]]:
    """(epsilon, mean, std over runs) by method; of the two logistic regressions, the better one."""
    found: dict[str, dict[float, tuple[float, float]]] = {}
    for row in rows:
        if "epsilon" in row:
            name = LOGISTIC if row["method"].startswith(LOGISTIC) else row["method"]
            at = found.setdefault(name, {})
            at[row["epsilon"]] = max(at.get(row["epsilon"], (-1.0, 0.0)), (row[measure], row["std"]))
    return {name: [(e, *value) for e, value in sorted(at.items())] for name, at in found.items()}


def draw(axes: plt.Axes, title: str, rows: list[dict[str, Any]], measure: str) -> None:
    for name, points in lines(rows, measure).items():
        colour, line, marker = STYLES[name]
        epsilons, means, stds = zip(*points, strict=True)
        axes.errorbar(
            epsilons, means, yerr=stds, color=colour, linestyle=line, marker=marker, markersize=3.5,
            linewidth=1.4, elinewidth=0.8, label=name,
        )  # fmt: skip
    for row in rows:
        if "epsilon" not in row:
            axes.axhline(row[measure], color=GREY, linestyle=":", linewidth=1, label="without privacy")
    axes.set_xscale("log")
    axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.set(title=title, xlabel="budget, epsilon")
    if measure == "accuracy":
        axes.set(ylim=(0, 1), ylabel="accuracy")
    else:
        # Where diffprivlib errs by several standard deviations its line leaves the panel.
        axes.set(ylim=(0.5, 1.6), ylabel="error / the targets' deviation")
        axes.axhline(1.0, color=GREY, linestyle=":", linewidth=1)


def main() -> None:
    rows = json.loads((ROOT / "benchmarks" / "results" / "private.json").read_text())["rows"]
    panels = [("classification", name, "accuracy") for name in ("digits", "breast cancer", "generated")]
    panels += [("regression", name, "error") for name in ("airfoil", "generated")]
    figure, grid = plt.subplots(2, 3, figsize=(WIDTH, 5.4))
    handles = {}
    for axes, (part, data, measure) in zip(grid.flat, panels, strict=False):
        chosen = [row for row in rows if row["part"] == part and row["data"] == data]
        draw(axes, f"{data}, {chosen[0]['rows']:,} rows", chosen, measure)
        handles.update(dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True)))
    grid[1, 2].set_axis_off()
    grid[1, 2].legend(handles.values(), handles, loc="center")
    save(figure, "private")


if __name__ == "__main__":
    main()
