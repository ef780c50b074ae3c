"""Draw docs/images/neighbour_graph.svg: a greedy search, and hops from results/neighbour_graph.json."""

import json

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import NeighbourGraph
from mergesketch.lsh import PStable
from picture import GREY, ROOT, WIDTH, legend, plain_log, save


def walk(rows, links, q, first):
    """Return the rows that greedy search visits."""
    path = [first]
    while True:
        near = [path[-1], *links[path[-1]]]
        best = min(near, key=lambda i: ((rows[i] - q) ** 2).sum())
        if best == path[-1]:
            return path
        path.append(best)


def main():
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.6))
    rows = np.random.default_rng(3).uniform(0.0, 1.0, (160, 2))
    graph = NeighbourGraph(PStable(2, 4, width=0.3, n_buckets=64, seed=1), 6).update(rows)
    matrix = graph.to_csr(6, mode="connectivity")
    links = [matrix.indices[a:b].tolist() for a, b in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)]
    # One line through all links, with gaps, makes a small file.
    pairs = sorted({(min(i, j), max(i, j)) for i, near in enumerate(links) for j in near})
    ends = np.array([[rows[i], rows[j], [np.nan] * 2] for i, j in pairs]).reshape(-1, 2).round(3)
    left.plot(*ends.T, "-", color=GREY, linewidth=0.5, alpha=0.5)
    left.plot(*rows.T, ".", color=GREY, markersize=4)
    query = np.array([0.85, 0.8])
    first = int(np.argmin(rows.sum(axis=1)))
    path = walk(rows, links, query, first)
    left.plot(*rows[path].T, "-o", color="C0", markersize=4, label="greedy search")
    left.plot(*query, "*", color="C1", markersize=11, label="query")
    left.set(title="each hop goes nearer to the query", xticks=[], yticks=[])
    left.set_aspect("equal")
    left.grid(visible=False)
    measured = json.loads((ROOT / "benchmarks/results/neighbour_graph.json").read_text())["rows"]
    found = [r for r in measured if r["what"] == "sphere" and r["ef"] == 1]
    for i, d in enumerate(sorted({r["d"] for r in found})):
        for n_long, style in ((0, "-o"), (8, "--s")):
            here = [r for r in found if r["d"] == d and r["long links"] == n_long]
            label = f"d = {d}" if n_long == 0 else None
            right.plot(
                [r["n"] for r in here],
                [r["hops"] for r in here],
                style,
                color=f"C{i}",
                markersize=4,
                label=label,
            )
    right.set(xscale="log", yscale="log", xlabel="rows on the sphere", ylabel="hops")
    plain_log(right.yaxis)
    plain_log(right.xaxis, (1,))
    right.set_title("without long links, and with 8 (dashed)")
    legend(figure, ncols=4)
    save(figure, "neighbour_graph")


if __name__ == "__main__":
    main()
