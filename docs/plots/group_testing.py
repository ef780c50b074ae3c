"""Draw docs/images/group_testing.svg from benchmarks/results/group_testing.json."""

import json

import matplotlib.pyplot as plt
from picture import ROOT, WIDTH, legend, save

DESIGNS = {
    "Bloom": ("C0", "o-"),
    "constant column": ("C1", "s--"),
    "Bernoulli": ("C2", "^--"),
    "Bloom, scomp": ("C7", "v:"),
}


def main():
    rows = json.loads((ROOT / "benchmarks/results/group_testing.json").read_text())["rows"]
    sizes = sorted({row["n"] for row in rows})
    shown = (0.01, 0.02, 0.05)
    figure, axes = plt.subplots(len(sizes), len(shown), figsize=(WIDTH, 6.5), sharex=True, sharey=True)
    for line, n in zip(axes, sizes, strict=True):
        for axis, prevalence in zip(line, shown, strict=True):
            here = [row for row in rows if row["n"] == n and row["prevalence"] == prevalence]
            for design, (color, style) in DESIGNS.items():
                points = [(r["tests / n"], r["missed"]) for r in here if r.get("design") == design]
                axis.plot(*zip(*points, strict=True), style, color=color, label=design, markersize=4)
            dorfman = next(row for row in here if row.get("design") == "Dorfman")
            axis.plot(
                dorfman["tests / n"],
                dorfman["missed"],
                "*",
                color="C3",
                markersize=11,
                label="Dorfman, two rounds",
            )
            axis.set_title(f"{n:,} samples, {prevalence:.0%} positive")
    for axis in axes[-1]:
        axis.set_xlabel("tests / samples")
    axes[1][0].set_ylabel("share of positive samples missed, at 0.5 % of false alarms")
    legend(figure, ncols=5)
    save(figure, "group_testing")


if __name__ == "__main__":
    main()
