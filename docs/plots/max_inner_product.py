"""Draw docs/images/max_inner_product.svg, in part from benchmarks/results/max_inner_product.json.

Run it as ``python docs/plots/max_inner_product.py``.
"""

import json

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import InnerProductOracle
from picture import ROOT, WIDTH, legend, plain_log, save


def candidates(ax):
    rng = np.random.default_rng(3)
    atoms = rng.standard_normal((400, 2))
    oracle = InnerProductOracle(atoms, n_groups=1, n_tables=2, n_probes=1, power=3, seed=2)
    direction = np.array([0.8, 0.6])
    index = oracle.indexes[0]
    codes = index.family.hash_query(direction[None])[0]
    slots = index.buckets()[0]
    buckets = np.concatenate([table[code] for table, code in zip(slots, codes, strict=True)])
    inside = np.unique(buckets[buckets > 0]) - 1
    products = atoms @ direction
    found, best = inside[products[inside].argmax()], products.argmax()
    ax.plot(*atoms.T, ".", color="C7", markersize=3, alpha=0.5, label="atoms")
    ax.plot(*atoms[inside].T, ".", color="C0", markersize=5, label="candidates from buckets")
    ax.plot(*atoms[found], "o", color="C0", fillstyle="none", markersize=10, label="best candidate")
    ax.plot(*atoms[best], "s", color="C1", fillstyle="none", markersize=14, label="best atom")
    ax.annotate("", direction * 1.6, (0, 0), arrowprops={"arrowstyle": "->", "color": "C3", "linewidth": 1.5})
    ax.annotate("direction", direction * 0.9 + [0.15, -0.3], color="C3", fontsize=8)
    ax.set(title="one search", xticks=[], yticks=[], aspect="equal")
    ax.grid(visible=False)


def errors(ax):
    rows = json.loads((ROOT / "benchmarks/results/max_inner_product.json").read_text())["rows"]
    rows = [row for row in rows if row.get("atoms") == "glove" and "index: ms" in row]
    for kind, style, label in (
        ("exact", "C1s-", "all atoms are compared (NumPy)"),
        ("index", "C0o-", "candidates from buckets"),
    ):
        times = [row[f"{kind}: ms"] for row in rows]
        ax.loglog(times, [row[f"{kind}: error"] for row in rows], style, markersize=4, label=label)
    plain_log(ax.xaxis)
    ax.set(title="Frank-Wolfe with 400,000 word vectors", xlabel="processor time, ms", ylabel="error")


def main():
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    candidates(axes[0])
    errors(axes[1])
    legend(figure, ncols=3)
    save(figure, "max_inner_product")


if __name__ == "__main__":
    main()
