"""Draw docs/images/bloom_signatures.svg from benchmarks/results/overlaps.json."""

import json

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, legend, plain_log, save

COLORS = {"Bloom": "C0", "MinHash + HLL": "C1", "MinHash, exact sizes": "C2"}


def main():
    rows = json.loads((ROOT / "benchmarks/results/overlaps.json").read_text())["rows"]
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.3))
    for axis, hops in zip(axes, (1, 2), strict=False):
        here = [row for row in rows if row.get("hops") == hops]
        for name, color in COLORS.items():
            axis.loglog(
                [r["bits a node"] / 8 for r in here], [r[name] for r in here], "o-", color=color, label=name
            )
        ticks = [row["bits a node"] // 8 for row in here]
        axis.set_xticks(ticks, [str(t) for t in ticks])
        axis.set_xticks([], minor=True)
        axis.set_xlabel("bytes a node")
        axis.set_title(f"Cora, shared within\n{hops} hop{'s' * (hops > 1)}")
        plain_log(axis.yaxis)
    axes[0].set_ylabel("root mean square error, nodes")
    here = [row for row in rows if "shared" in row]
    for name in ("Bloom", "MinHash + HLL"):
        key = f"{name}, relative error"
        known = [row for row in here if key in row]  # none where all estimates are NaN
        axes[2].loglog(
            [row["size"] for row in known], [row[key] for row in known], "o-", color=COLORS[name], label=name
        )
    axes[2].axvline(2048, color=GREY, linewidth=1, linestyle=":")
    axes[2].text(1900, 4, "as many as bits", fontsize=8, ha="right")
    axes[2].set_xlabel("neighbours of either node")
    axes[2].set_ylabel("relative error")
    axes[2].set_title("A tenth is shared,\n256 bytes a node")
    plain_log(axes[2].xaxis, subs=(1,))
    plain_log(axes[2].yaxis)
    legend(figure, ncols=3)
    save(figure, "bloom_signatures")


if __name__ == "__main__":
    main()
