"""Draw docs/images/sparse_all_reduce.svg: owners by range and by hash, and bytes against density."""

import json

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from picture import GREY, ROOT, WIDTH, plain_log, save

WAYS = {"ours": "C0", "by range": "C1", "all-gather": "C2", "dense": GREY}
RESULTS = ROOT / "benchmarks" / "results"


def rows(name):
    return json.loads((RESULTS / f"{name}.json").read_text())["rows"]


def owners(axes):
    """Draw ids numbered by frequency, a batch that touches the first of them most, and the owners' loads."""
    p, n = 4, 32
    rng = np.random.default_rng(5)
    # Some ids that a batch touches, most of them among the first.
    touched = rng.random(n) < 1.25 / (1 + 0.16 * np.arange(n))
    turns = rng.integers(0, p, n // p)
    ways = {"by range": np.arange(n) * p // n, "by hash": (np.arange(n) + np.repeat(turns, p)) % p}
    for y, (name, owner) in zip((3.0, 0.0), ways.items(), strict=True):
        axes.text(-0.4, y + 0.5, name, ha="right", va="center", color=GREY)
        for i in range(n):
            colour = f"C{owner[i]}"
            style = {"facecolor": colour} if touched[i] else {"facecolor": "none", "alpha": 0.5}
            axes.add_patch(Rectangle((i, y), 0.86, 1, edgecolor=colour, linewidth=0.8, **style))
        loads = np.bincount(owner[touched], minlength=p)
        for rank, load in enumerate(loads):
            axes.text(
                rank * n / p + 0.2,
                y - 0.75,
                f"rank {rank}: {load} ids",
                color=f"C{rank}",
                fontsize=8,
                va="center",
            )
    axes.text(
        0, 4.9, "ids numbered by frequency; filled: those that the batches touch", color=GREY, va="center"
    )
    axes.set(xlim=(-5.5, n), ylim=(-1.5, 5.4))
    axes.set_axis_off()


def lines(axes, x, ways):
    """Draw a line for each way."""
    for name, y in ways.items():
        label = "sparse_all_reduce" if name == "ours" else name
        axes.loglog(x, y, "o-", color=WAYS[name], markersize=3, label=label)


def sent(axes, p):
    found = [
        r for r in rows("sparse_all_reduce") if (r["ranks"], r["ids"], r["columns"]) == (p, "uniform", 1)
    ]
    lines(axes, [100 * r["density"] for r in found], {n: [r[f"{n}, MB"] for r in found] for n in WAYS})
    plain_log(axes.xaxis, subs=(1,))
    plain_log(axes.yaxis, subs=(1,))
    axes.set(title=f"{p} ranks, 2 million numbers", xlabel="% of the numbers that are not zero")


def main():
    figure, axes = plt.subplot_mosaic(
        [["top", "top"], ["left", "right"]], figsize=(WIDTH, 5.2), height_ratios=(1, 1.5)
    )
    owners(axes["top"])
    sent(axes["left"], 2)
    sent(axes["right"], 4)
    axes["left"].set_ylabel("MB that the busiest rank sends")
    axes["left"].legend(loc="lower right")
    axes["right"].sharey(axes["left"])
    save(figure, "sparse_all_reduce")


if __name__ == "__main__":
    main()
