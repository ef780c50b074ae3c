"""Draw docs/images/collisions.svg: collision probabilities of hash families, theory beside measured.

Run as ``python docs/plots/collisions.py``; needs matplotlib (the `docs` extra) and the tests' folder,
whose registry makes the families and pairs of rows at given distances: each of its entries is a panel.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from picture import ROOT, WIDTH, legend, save

sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests" / "helpers"))
from registry import FAMILIES

#: Families of other seeds, hash functions of each, pairs of rows for each.
SEEDS, HASHES, PAIRS = 24, 32, 4
COLUMNS = 3
THEORY, MEASURED = "C0", "C1"
UNITS = {
    "angle": "angle in radians",
    "euclidean": "Euclidean distance",
    "cityblock": "sum of absolute differences",
    "jaccard": "1 - Jaccard similarity",
    "weighted_jaccard": "1 - weighted Jaccard similarity",
    "hamming": "places that differ",
    "rank": "1 - similarity of orders",
    "inner_product": "inner product",
}


class Panel(NamedTuple):
    """An entry of the registry and the distances to measure at."""

    entry: str
    distances: NDArray[np.float64]


ANGLES = np.linspace(0.0, math.pi, 13)
SHARES = np.linspace(0.0, 1.0, 13)
#: More distances than the registry has; entries that are not here are measured at those.
GRIDS = {
    "SignedRandomProjection, gaussian": ANGLES,
    "SignedRandomProjection, hadamard": ANGLES,
    "SignedRandomProjection, sparse": ANGLES,
    "PStable, 2": 8.0 * SHARES**2,
    "PStable, 1": 30.0 * SHARES**2,
    "MinHash": SHARES,
    "MinHash, one permutation": SHARES,
    "MinHash, fast similarity": SHARES,
}


def panels() -> list[Panel]:
    """Return a panel for each family of the registry, except toys and families that only reduce codes."""
    return [
        Panel(name, np.asarray(GRIDS.get(name, family.distances), dtype=np.float64))
        for name, family in FAMILIES.items()
        if name != "ToyFamily" and not name.endswith(", rehashed")
    ]


def measured(panel: Panel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of pairs that collide at each distance, and its standard error over seeds."""
    family = FAMILIES[panel.entry]
    assert family.pairs is not None
    shares = np.empty((panel.distances.size, SEEDS))
    for i, distance in enumerate(panel.distances.tolist()):
        for seed in range(SEEDS):
            made = family.make(n_hashes=HASHES, seed=SEEDS * i + seed)
            X, Q = family.pairs(np.random.default_rng([i, seed]), distance, PAIRS)
            shares[i, seed] = (made.hash(X) == made.hash_query(Q)).mean()
    return shares.mean(axis=1), shares.std(axis=1, ddof=1) / math.sqrt(SEEDS)


def draw(axes: plt.Axes, panel: Panel) -> None:
    made = FAMILIES[panel.entry].make(n_hashes=1, seed=0)
    grid = np.linspace(panel.distances.min(), panel.distances.max(), 200)
    k = made.collision_probability(grid)
    axes.plot(grid, k + (1 - k) * made.chance_collision, color=THEORY, linewidth=1.6, label="theory")
    rate, error = measured(panel)
    axes.errorbar(
        panel.distances,
        rate,
        yerr=2 * error,
        fmt="o",
        markersize=3.2,
        color=MEASURED,
        elinewidth=1.1,
        capsize=2,
        label="measured, 2 standard errors",
    )
    details = {name: made.config().get(name) for name in ("power", "width")}
    named = ", ".join(f"{name} {value:g}" for name, value in details.items() if value not in (None, 1))
    name = panel.entry.replace("PStable, ", "PStable, p = ")
    axes.set_title(f"{name}\n{named}".rstrip(), fontsize=8)
    axes.set_xlabel(UNITS[made.metric], fontsize=8)
    axes.set_ylim(-0.04, 1.04)


def main() -> None:
    with mpl.rc_context({"font.size": 8}):
        shown = panels()
        rows = -(-len(shown) // COLUMNS)
        figure, grid = plt.subplots(rows, COLUMNS, figsize=(WIDTH, 2.2 * rows), sharey=True, squeeze=False)
        for axes, panel in zip(grid.flat, shown, strict=False):
            draw(axes, panel)
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("collision probability", fontsize=8)
        legend(figure, ncols=2, place="outside upper center")
        save(figure, "collisions")


if __name__ == "__main__":
    main()
