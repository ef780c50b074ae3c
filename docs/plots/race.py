"""Draw docs/images/race.svg from benchmarks/results/race.json.

Run it as ``python docs/plots/race.py``.
"""

import json

import matplotlib.pyplot as plt
from picture import ROOT, WIDTH, legend, plain_log, save


def main():
    rows = json.loads((ROOT / "benchmarks/results/race.json").read_text())["rows"]
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharey=True)
    for ax, d in zip(axes, (784, 20), strict=True):
        here = [r for r in rows if r["job"] == f"error against memory, d={d}"]
        kilobytes = [r["bytes"] / 1024 for r in here]
        ax.loglog(kilobytes, [r["Race"] for r in here], "o-", color="C0", label="Race")
        ax.loglog(
            kilobytes, [r["sample of rows"] for r in here], "s-", color="C1", label="uniform sample of rows"
        )
        ax.set(title=f"{d} features", xlabel="KB")
        plain_log(ax.xaxis, subs=(1, 3))
    plain_log(axes[0].yaxis)
    axes[0].set_ylabel("median relative error of the density")
    legend(figure, ncols=2)
    save(figure, "race")


if __name__ == "__main__":
    main()
