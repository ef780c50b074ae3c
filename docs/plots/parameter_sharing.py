"""Draw docs/images/parameter_sharing.svg: how accuracy falls with compression, for each kind of table."""

import json

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, legend, plain_log, save

#: Tables, and how they are drawn.
STYLES = {
    "fewer columns": ("C1", "^-"),
    "frequent ids only": ("C5", "v-"),
    "hashing of ids": (GREY, "x:"),
    "quotient-remainder, product": ("C3", "P:"),
    "deep hash embeddings": ("C4", "d:"),
    "RobeMap, blocks of a row": ("C0", "o-"),
    "CyclicMap, frequent ids first": ("C2", "s-"),
    "frequent ids, others hashed": ("C6", "*-"),
}
PANELS = {
    "clicks": ("clicks, generated", "AUC", "truth", "AUC of the truth"),
    "debian": ("dependencies of Debian's packages", "hit@10", "frequencies alone", "frequencies alone"),
}


def results(name):
    return json.loads((ROOT / f"benchmarks/results/parameter_sharing_{name}.json").read_text())["rows"]


def main():
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6))
    for ax, (name, (title, metric, other, label)) in zip(axes, PANELS.items(), strict=True):
        rows = results(name)
        for table, (colour, style) in STYLES.items():
            here = [r for r in rows if r["table"] == table]
            if here:
                x, y, e = ([r[k] for r in here] for k in ("compression", metric, f"{metric} ±"))
                ax.errorbar(x, y, e, fmt=style, color=colour, label=table, markersize=4, linewidth=1.2)
        full = next(r[metric] for r in rows if r["table"] == "full table")
        ax.axhline(full, color=GREY, linewidth=1)
        ax.annotate("full table", (1000, full), color=GREY, ha="right", va="bottom", fontsize=8)
        if name == "debian":
            least = next(r[metric] for r in rows if r["table"] == other)
            ax.axhline(least, color=GREY, linewidth=1, linestyle="--")
            ax.annotate(label, (1000, least), color=GREY, ha="right", va="bottom", fontsize=8)
        ax.set(title=title, xscale="log", xlabel="compression", ylabel=metric)
        plain_log(ax.xaxis, (1,))
    legend(figure, ncols=3)
    save(figure, "parameter_sharing")


if __name__ == "__main__":
    main()
