"""Draw docs/images/buckets.svg, what an index of some tables finds.

Run it as ``python docs/plots/buckets.py``.
"""

import matplotlib.pyplot as plt
import numpy as np
from mergesketch.lsh import PStable
from picture import GREY, WIDTH, save

REACH = 3.0


def main():
    rng = np.random.default_rng(3)
    rows = rng.uniform(-REACH, REACH, (400, 2))
    query = np.array([[0.3, 0.2]])
    x, y = np.meshgrid(np.linspace(-REACH, REACH, 300), np.linspace(-REACH, REACH, 300))
    places = np.column_stack([x.ravel(), y.ravel()])
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.9), sharex=True, sharey=True)
    for ax, tables in zip(axes, (1, 3, 100), strict=True):
        family = PStable(n_features=2, n_hashes=tables, width=2.5, power=2, seed=5)
        share = (family.hash(places) == family.hash(query)).mean(axis=1).reshape(x.shape)
        shown = ax.imshow(
            share, origin="lower", extent=(-REACH, REACH, -REACH, REACH), cmap="viridis", vmin=0, vmax=1
        )
        if tables == 1:
            codes = np.unique(family.hash(places)[:, 0], return_inverse=True)[1].reshape(x.shape)
            edges = (np.diff(codes, axis=0, append=codes[-1:]) != 0) | (
                np.diff(codes, axis=1, append=codes[:, -1:]) != 0
            )
            ax.contour(x, y, edges.astype(float), levels=[0.5], colors=GREY, linewidths=0.5)
        ax.plot(*rows.T, ".", color="C1", markersize=2.5)
        ax.plot(*query.T, "*", color="C3", markersize=10)
        ax.set(title=f"{tables} table{'s' * (tables > 1)}", xticks=[], yticks=[])
        ax.grid(visible=False)
    figure.colorbar(
        shown,
        ax=axes,
        location="bottom",
        label="share of the tables in which a place is in the query's bucket",
    )
    save(figure, "buckets")


if __name__ == "__main__":
    main()
