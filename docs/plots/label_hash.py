"""Draw docs/images/label_hash.svg: labels in buckets, and precision against memory."""

import json

import matplotlib.pyplot as plt
import numpy as np
from mergesketch.sketches.learned.label_buckets import buckets_of_labels
from picture import GREY, ROOT, WIDTH, legend, plain_log, save

LABELS, BUCKETS, SHOWN = 12, 5, 3


def draw_buckets(ax):
    """Draw a row of buckets for each hash function, with the numbers of the labels in them."""
    tables = buckets_of_labels(np.arange(LABELS), 3, BUCKETS, 22)
    for r, table in enumerate(tables):
        for b in range(BUCKETS):
            inside = np.flatnonzero(table == b)
            box = {"xy": (b, 2 - r), "width": 0.92, "height": 0.8}
            if SHOWN in inside:
                ax.add_patch(plt.Rectangle(**box, facecolor="C0", alpha=0.35))
            ax.add_patch(plt.Rectangle(**box, facecolor="none", edgecolor=GREY))
            labels = " ".join(map(str, inside))
            ax.text(b + 0.46, 2.4 - r, labels, ha="center", va="center", fontsize=8, color=GREY)
    ax.set_yticks([2.4, 1.4, 0.4], ["$h_1$", "$h_2$", "$h_3$"])
    ax.set_xticks([])
    ax.set(xlim=(-0.1, BUCKETS + 0.05), ylim=(-0.1, 3.0), title=f"{LABELS} labels; buckets of label {SHOWN}")
    ax.grid(visible=False)
    for side in ax.spines.values():
        side.set_visible(False)


def main():
    figure, (buckets, precision) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    draw_buckets(buckets)
    rows = json.loads((ROOT / "benchmarks/results/label_hash.json").read_text())["rows"]
    rows = [r for r in rows if "method" in r]
    styles = {
        "LabelHash, indicator, min": ("C0", "o", "LabelHash, minimum"),
        "LabelHash, indicator, mean": ("C1", "s", "LabelHash, mean"),
        "one hash function, indicator": (GREY, "x", "one hash function"),
        "one-vs-rest": ("C3", "D", "one-vs-rest"),
        "omikuji": ("C2", "^", "omikuji"),
    }
    for method, (colour, marker, label) in styles.items():
        here = [r for r in rows if r["method"] == method]
        if here:
            sizes, values = ([r[key] for r in here] for key in ("MB", "precision@5"))
            precision.plot(sizes, values, marker, color=colour, label=label, markersize=5)
    precision.set(title="dependencies of Debian's packages", xlabel="MB", ylabel="precision@5", xscale="log")
    plain_log(precision.xaxis, (1, 2, 5))
    legend(figure, ncols=3)
    save(figure, "label_hash")


if __name__ == "__main__":
    main()
