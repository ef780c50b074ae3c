"""Draw docs/images/storm.svg from benchmarks/results/storm.json: python docs/plots/storm.py"""

import json

import matplotlib.pyplot as plt
from picture import ROOT, save

METHODS = {"STORM": "o-", "sample of rows": "s--", "count-sketch": "^:"}


def main():
    rows = json.loads((ROOT / "benchmarks/results/storm.json").read_text())["rows"]
    rows = [r for r in rows if r.get("data", "").startswith("test RMSE")]
    sets = list(dict.fromkeys(r["data"] for r in rows))
    figure, axes = plt.subplots(1, len(sets), figsize=(3.6 * len(sets), 3.6), squeeze=False)
    for ax, name in zip(axes[0], sets, strict=True):
        here = [r for r in rows if r["data"] == name]
        for method, style in METHODS.items():
            kilobytes = [r["bytes"] / 1024 for r in here]
            ax.semilogx(kilobytes, [100 * (r[method] - 1) for r in here], style, label=method, markersize=4)
        ax.set(title=name.rsplit(", ", 1)[1], xlabel="KB")
        ax.grid(alpha=0.3)
    axes[0, 0].set_ylabel("test error above least squares', %")
    axes[0, 0].legend(frameon=False)
    figure.tight_layout()
    save(figure, "storm")


if __name__ == "__main__":
    main()
