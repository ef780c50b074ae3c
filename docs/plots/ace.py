"""Draw docs/images/ace.svg from benchmarks/results/ace.json.

Run it as ``python docs/plots/ace.py``.
"""

import json

import matplotlib.pyplot as plt
import numpy as np
from picture import GREY, ROOT, WIDTH, legend, save

METHODS = {"ours, PStable": "C0", "ours, signs": "C9", "HBOS": "C1", "IForest": "C2", "LOF": "C3"}
NAMES = {"IForest": "isolation forest"}


def main():
    rows = json.loads((ROOT / "benchmarks/results/ace.json").read_text())["rows"]
    real = [r for r in rows if "data" in r]
    streams = [r for r in rows if "stream" in r and r["threads"] == 1]
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4), width_ratios=(3, 2))
    for i, (method, color) in enumerate(METHODS.items()):
        places = np.arange(len(real)) + 0.16 * (i - 2)
        left.bar(
            places, [r.get(method, np.nan) for r in real], 0.15, color=color, label=NAMES.get(method, method)
        )
    left.axhline(0.5, color=GREY, linewidth=0.8)
    names = [r["data"].removeprefix("AUC, ").partition(",")[0] for r in real]
    left.set_xticks(range(len(real)), names)
    left.set(ylim=(0.2, 1.0), ylabel="AUC (0.5: guessing)", title="Real data, one class made rare")
    left.grid(visible=False, axis="x")
    for i, row in enumerate(reversed(streams)):
        right.barh(i, row["learnt rows/s"], color=METHODS[row["stream"]])
    right.set_yticks([])
    right.set(xscale="log", xlabel="rows learnt a second, one thread", title="A stream of 20 features")
    right.set_xlim(1e4, 1e7)
    legend(figure, ncols=5)
    save(figure, "ace")


if __name__ == "__main__":
    main()
