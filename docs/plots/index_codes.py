"""Draw docs/images/index_codes.svg: recall against bytes a row of all that keep no rows."""

import json

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, legend, plain_log, save

#: Structures, as the start of their names, and how they are drawn.
STYLES = {
    "VectorCodes": ("VectorCodes, 1 to 8 bits", "C0", "o-"),
    "LSHIndex with codes, 1 table": ("LSHIndex with codes, 1 table", "C2", "s--"),
    "LSHIndex with codes, 10 tables": ("LSHIndex with codes, 10 tables", "C2", "D:"),
    "faiss IndexRaBitQ": ("faiss IndexRaBitQ", "C3", "x-"),
    "faiss IndexLSH": ("faiss IndexLSH", "C1", "^-"),
    "faiss IndexPQFastScan": ("faiss IndexPQFastScan", "C4", "v"),
    "usearch exact": ("usearch, exact", GREY, "P"),
}


def results(name):
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["rows"]


def of_structure(rows, start):
    """Return the best recall for each number of bytes."""
    points = {}
    for r in rows:
        name = r["structure"]
        # Fast scans have the recall of the same codes.
        if name == start and "centred" not in r["settings"]:
            size = r["bytes a row"]
            points[size] = max(points.get(size, 0.0), r["recall@10"])
    return sorted(points.items())


def main():
    ours = results("index_codes")
    sets = list(dict.fromkeys(r["set"] for r in ours))
    rows = ours + [r for r in results("vector_codes") if r["structure"] != "VectorCodes" and r["set"] in sets]
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 6.2), sharey=True)
    for ax, name in zip(axes.flat, sets, strict=True):
        here = [r for r in rows if r["set"] == name]
        for start, (label, colour, style) in STYLES.items():
            points = of_structure(here, start)
            if points:
                ax.plot(*zip(*points, strict=True), style, color=colour, label=label, markersize=4)
        ax.set(title=name, xscale="log", xlabel="bytes a row", ylabel="recall@10", ylim=(0, 1.02))
        low, high = ax.get_xlim()
        # Axes of three powers of ten have room for these alone.
        plain_log(ax.xaxis, (1,) if high > 1000 * low else (1, 2, 5))
    legend(figure, ncols=3)
    save(figure, "index_codes")


if __name__ == "__main__":
    main()
