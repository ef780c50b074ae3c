"""Draw docs/images/storm.svg from benchmarks/results/storm.json.

Run it as ``python docs/plots/storm.py``.
"""

import json

import matplotlib.pyplot as plt
from picture import ROOT, WIDTH, legend, plain_log, save

METHODS = {"STORM": "o-", "sample of rows": "s--", "count-sketch": "^:"}


def main():
    rows = json.loads((ROOT / "benchmarks/results/storm.json").read_text())["rows"]
    rows = [r for r in rows if r.get("data", "").startswith("test RMSE")]
    sets = list(dict.fromkeys(r["data"] for r in rows))
    figure, axes = plt.subplots(1, len(sets), figsize=(WIDTH, 3.3), squeeze=False)
    for ax, name in zip(axes[0], sets, strict=True):
        here = [r for r in rows if r["data"] == name]
        for method, style in METHODS.items():
            kilobytes = [r["bytes"] / 1024 for r in here]
            ax.semilogx(kilobytes, [100 * (r[method] - 1) for r in here], style, label=method, markersize=4)
        ax.set(title=name.rsplit(", ", 1)[1], xlabel="KB")
        plain_log(ax.xaxis, subs=(1, 4))
    axes[0, 0].set_ylabel("test error over least squares', %")
    legend(figure, ncols=3)
    save(figure, "storm")


if __name__ == "__main__":
    main()
