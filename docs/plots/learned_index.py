"""Draw docs/images/learned_index.svg: recall against candidates of learned indexes and of others."""

import json

import matplotlib.pyplot as plt
from matplotlib.ticker import PercentFormatter
from picture import GREY, ROOT, WIDTH, legend, save

OURS = "4 x 256 buckets, K = 2"
#: Methods, with settings where there are several, and how they are drawn.
STYLES = {
    ("LearnedPartition", f"{OURS}, in 2 or more"): ("LearnedPartition, in 2 of 4", "C0", "o-"),
    ("LearnedPartition", f"{OURS}, in 1 or more"): ("LearnedPartition, in 1 of 4", "C0", "o:"),
    ("k-means", "4 x 256 centres, in 2 or more"): ("k-means, in 2 of 4", "C1", "s-"),
    ("k-means", "1 x 256 centres"): ("k-means", "C1", "s:"),
    ("faiss IVF", "256 lists"): ("faiss IVF", "C2", "^-"),
    ("random SimHash", "4 x 8 bits"): ("random SimHash, 4 tables", GREY, "x-"),
    ("most frequent labels", "the same for all queries"): ("most frequent labels", "C5", "--"),
}
#: Further methods, of which the settings with the best recall at 2 % of the items are drawn.
OTHERS = {"LearnedHash": ("LearnedHash", "C3", "D-"), "SparseCodeIndex": ("SparseCodeIndex", "C4", "v-")}


def curve(rows):
    return sorted((row["share of items"], row["recall"]) for row in rows)


def near(points, share=0.02):
    """Return the largest recall with at most this share of the items."""
    return max((recall for x, recall in points if x <= share), default=0.0)


def main():
    rows = json.loads((ROOT / "benchmarks/results/learned_index.json").read_text())["rows"]
    sets = list(dict.fromkeys(row["set"] for row in rows))
    figure, axes = plt.subplots(1, len(sets), figsize=(WIDTH, 3.4), sharey=True)
    for ax, name in zip(axes, sets, strict=True):
        here = [row for row in rows if row["set"] == name]
        for (method, settings), (label, colour, style) in STYLES.items():
            own = [row for row in here if (row["method"], row["settings"]) == (method, settings)]
            if own:
                ax.plot(*zip(*curve(own), strict=True), style, color=colour, label=label, markersize=3)
        for method, (label, colour, style) in OTHERS.items():
            settings = dict.fromkeys(row["settings"] for row in here if row["method"] == method)
            own = [row for row in here if row["method"] == method]
            curves = [curve(row for row in own if row["settings"] == s) for s in settings]
            if curves:
                best = max(curves, key=near)
                ax.plot(*zip(*best, strict=True), style, color=colour, label=label, markersize=3)
        ax.set(title=name, xscale="log", xlim=(2e-4, 0.3), ylim=(0, 1.02), xlabel="candidates, of all items")
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0].set(ylabel="recall of right items")
    legend(figure, ncols=3)
    save(figure, "learned_index")


if __name__ == "__main__":
    main()
