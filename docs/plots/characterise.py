"""Draw docs/images/characterise/*.svg from benchmarks/results/characterise.json, a picture for each page."""

import itertools
import json
import textwrap

import matplotlib.pyplot as plt
from picture import GREY, NARROW, ROOT, WIDTH, legend, save

BANDS = (("2%", "98%", 0.2), ("16%", "84%", 0.4))


def draw(axes, rows):
    sizes = [row["size"] for row in rows]
    for low, high, alpha in BANDS:
        axes.fill_between(
            sizes,
            [row[low] for row in rows],
            [row[high] for row in rows],
            color="C0",
            alpha=alpha,
            linewidth=0,
            label=f"{low.rstrip('%')} to {high} of trials",
        )
    medians = [row["50%"] for row in rows]
    axes.plot(sizes, medians, "o-", color="C0", markersize=3, linewidth=1.4, label="median")
    # The bands fill the panel; where the theorem's bound is much wider, it leaves it.
    low, high = min(row["2%"] for row in rows), max(row["98%"] for row in rows)
    reach = 0.1 + 0.6 * ("bound" in rows[0])
    axes.set_ylim(low - (reach if low < 0 else 0.1) * (high - low), high + reach * (high - low))
    for theory, label in (("expected std", "1 standard error, theory"), ("bound", "bound of the theorem")):
        if theory in rows[0]:
            for sign in (1, -1) if low < 0 else (1,):
                values = [sign * row[theory] for row in rows]
                axes.plot(sizes, values, "--", color="C1", linewidth=1.2, label=label if sign == 1 else None)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,.10g}" for size in sizes])
    axes.set_xticks([], minor=True)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(title=rows[0]["sketch"], xlabel=rows[0]["varied"])
    axes.set_ylabel(textwrap.fill(rows[0]["error"], 26))


def main():
    rows = json.loads((ROOT / "benchmarks/results/characterise.json").read_text())["rows"]
    for page, of_page in itertools.groupby(rows, key=lambda row: row["page"]):
        curves = [list(c) for _, c in itertools.groupby(of_page, key=lambda r: (r["sketch"], r["error"]))]
        size = (NARROW if len(curves) == 1 else WIDTH, 3.2)
        figure, grid = plt.subplots(1, len(curves), figsize=size, squeeze=False)
        for axes, curve in zip(grid.flat, curves, strict=True):
            draw(axes, curve)
        legend(figure, ncols=2 if len(curves) == 1 else 3)
        save(figure, f"characterise/{page}")


if __name__ == "__main__":
    main()
