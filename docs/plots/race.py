"""Draw docs/images/race.svg from benchmarks/results/race.json: python docs/plots/race.py"""

import json

import matplotlib.pyplot as plt
from picture import ROOT, save


def main():
    rows = json.loads((ROOT / "benchmarks/results/race.json").read_text())["rows"]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for ax, d in zip(axes, (784, 20), strict=True):
        here = [r for r in rows if r["job"] == f"error against memory, d={d}"]
        kilobytes = [r["bytes"] / 1024 for r in here]
        ax.loglog(kilobytes, [r["Race"] for r in here], "o-", color="C0", label="Race")
        ax.loglog(
            kilobytes, [r["sample of rows"] for r in here], "s-", color="C1", label="uniform sample of rows"
        )
        ax.set(title=f"{d} features", xlabel="KB")
        ax.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("median relative error of the density")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    save(figure, "race")


if __name__ == "__main__":
    main()
