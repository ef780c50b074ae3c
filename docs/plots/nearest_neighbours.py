"""Draw docs/images/nearest_neighbours.svg from benchmarks/results/search.json."""

import json

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, legend, save

#: Method, as the start of its name, to how it is drawn.
STYLES = {
    "search, SRP, 10": ("mergesketch, SRP, 10 tables", "C0", "o-"),
    "search, SRP, 50": ("mergesketch, SRP, 50 tables", "C0", "s--"),
    "search, cross-polytope, 10": ("mergesketch, cross-polytope, 10 tables", "C2", "o-"),
    "search, cross-polytope, 50": ("mergesketch, cross-polytope, 50 tables", "C2", "s--"),
    "query, ": ("mergesketch, counts alone", "C4", "^-"),
    "FALCONN, 10": ("FALCONN, 10 tables", "C3", "o-"),
    "FALCONN, 50": ("FALCONN, 50 tables", "C3", "s--"),
    "faiss IndexLSH": ("faiss IndexLSH", "C1", "^"),
    "faiss Flat": ("faiss Flat", GREY, "D"),
    "HNSW": ("HNSW", "C9", "x-"),
}


def draw(ax, rows, title):
    for start, (label, color, style) in STYLES.items():
        points = sorted((r["recall@10"], r["queries/s"]) for r in rows if r["method"].startswith(start))
        if points:
            ax.plot(*zip(*points, strict=True), style, color=color, label=label, markersize=4)
    ax.set(title=title, xlabel="recall@10", ylabel="queries/s", yscale="log")


def main():
    rows = json.loads((ROOT / "benchmarks/results/search.json").read_text())["rows"]
    rows = [r for r in rows if "recall@10" in r]
    sets = list(dict.fromkeys(r["set"] for r in rows))
    figure, axes = plt.subplots(len(sets), 2, figsize=(WIDTH, 3.2 * len(sets) + 1), squeeze=False)
    for line, name in zip(axes, sets, strict=True):
        for ax, threads in zip(line, (1, 4), strict=True):
            here = [r for r in rows if r["set"] == name and r["threads"] == threads]
            draw(ax, here, f"{name}, {threads} thread{'s' if threads > 1 else ''}")
    legend(figure, ncols=2)
    save(figure, "nearest_neighbours")


if __name__ == "__main__":
    main()
