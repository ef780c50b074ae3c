"""Draw docs/images/product_quantizer.svg, the codes of two channels apart and together.

Run it as ``python docs/plots/product_quantizer.py``.
"""

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import ProductQuantizer
from picture import GREY, WIDTH, save


def main():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((4000, 2)) @ np.array([[1.0, 0.85], [0.0, 0.35]])
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.3), sharex=True, sharey=True)
    for ax, n_groups, title in zip(
        axes, (2, 1), ("channels apart: 4 x 4 codes", "coupled channels: 16 codes"), strict=True
    ):
        quantizer = ProductQuantizer(2, n_groups, 16 // n_groups**2, n_restarts=5).fit(X)
        rows = quantizer.decode(quantizer.encode(X))
        error = ((rows - X) ** 2).sum() / ((X - X.mean(axis=0)) ** 2).sum()
        ax.plot(*X[:1500].T, ".", markersize=1.5, color=GREY, alpha=0.6, rasterized=True)
        centroids = quantizer.centroids
        if n_groups == 2:
            x, y = np.meshgrid(centroids[0, :, 0], centroids[1, :, 0])
            points = np.column_stack([x.ravel(), y.ravel()])
        else:
            points = centroids[0]
        ax.plot(*points.T, "o", markersize=5, color="C1")
        ax.set(title=f"{title}, error {error:.3f}", xlabel="first channel", aspect="equal")
        ax.grid(visible=False)
    axes[0].set_ylabel("second channel")
    save(figure, "product_quantizer")


if __name__ == "__main__":
    main()
