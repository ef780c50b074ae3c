"""Draw docs/images/home/*.svg, three comparisons with other libraries, from committed results.

Run it as ``python docs/plots/home.py``. Each picture is as wide as the screen of a phone, and its title says
which direction is better.
"""

import json
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from picture import NARROW, ROOT, plain_log, save

OURS, PEER = "C0", "C7"


def rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of a result file."""
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["rows"]


def bars(axes: Axes, values: dict[str, float], ours: str, unit: str) -> None:
    """Draw a bar for each name, with its value at the end, and ours in another colour."""
    colours = [OURS if name.startswith(ours) else PEER for name in values]
    axes.barh(range(len(values)), list(values.values()), color=colours, height=0.65)
    for place, value in enumerate(values.values()):
        end = f"{value:,.3g} {unit}".rstrip()
        axes.annotate(end, (value, place), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.28 * max(values.values()))
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def near_duplicates() -> None:
    """Draw the seconds for the near-duplicates of 31 MB of source code."""
    found = {row["what"]: row["seconds"] for row in rows("dedup")}
    figure, axes = plt.subplots(figsize=(NARROW, 1.5))
    names = {
        "datasketch": "datasketch, regex shingles",
        "mergesketch": "ours, 1 thread",
        "mergesketch, 4 threads": "ours, 4 threads",
    }
    bars(axes, {shown: found[name] for shown, name in names.items()}, "mergesketch", "s")
    axes.set_title("seconds: a shorter bar is better", loc="left")
    save(figure, "home/near_duplicates")


def neighbours() -> None:
    """Draw queries a second against recall, on 200,000 rows in clusters and one thread."""
    found = [row for row in rows("search") if row.get("set") == "clustered" and row["threads"] == 1]
    figure, axes = plt.subplots(figsize=(NARROW, 2.6))
    methods = {
        "mergesketch": ("search, cross-polytope, 10 tables", OURS, "o-"),
        "hnswlib (HNSW)": ("HNSW, built on 4 threads", "C1", "s--"),
        "FALCONN": ("FALCONN, 10 tables", "C2", "^--"),
        "faiss Flat (exact)": ("faiss Flat, exact", PEER, "D"),
    }
    for name, (method, colour, style) in methods.items():
        points = sorted((row["recall@10"], row["queries/s"]) for row in found if row["method"] == method)
        axes.plot(*zip(*points, strict=True), style, color=colour, label=name, markersize=4)
    axes.set_yscale("log")
    plain_log(axes.yaxis)
    axes.set(xlabel="share of the 10 nearest that is found", ylabel="queries/s")
    axes.set_title("further up and to the right is better", loc="left")
    axes.legend(loc="lower left", fontsize=7.5)
    save(figure, "home/neighbours")


def tables() -> None:
    """Draw the bytes a key of a table of counts of n-grams."""
    table = next(row for row in rows("static_functions") if row["job"] == "n-gram counts of Python sources")
    columns = {
        "dawg2": "DAWG B",
        "marisa-trie": "marisa-trie B",
        "zstd -19, no look-up": "zstd of keys and values B",
        "mergesketch, checked": "ours, 16 check bits B",
        "mergesketch": "ours B",
    }
    figure, axes = plt.subplots(figsize=(NARROW, 2.1))
    values = {name: table[column] / table["keys"] for name, column in columns.items()}
    bars(axes, values, "mergesketch", "")
    axes.set_title("bytes a key: a shorter bar is better", loc="left")
    save(figure, "home/tables")


def main() -> None:
    near_duplicates()
    neighbours()
    tables()


if __name__ == "__main__":
    main()
