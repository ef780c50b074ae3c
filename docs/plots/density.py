"""Draw docs/images/density.svg, data, density and samples of a sketch.

Run it as ``python docs/plots/density.py``.
"""

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import DensitySketch
from picture import WIDTH, save
from sklearn.datasets import make_moons


def main():
    X, _ = make_moons(20_000, noise=0.12, random_state=0)
    sketch = DensitySketch.for_sample(X[:2000], n_expected=len(X), seed=1).update(X)
    x, y = np.meshgrid(np.linspace(-1.7, 2.7, 160), np.linspace(-1.2, 1.7, 110))
    density = sketch.density(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.7), sharex=True, sharey=True)
    axes[0].plot(*X[:2000].T, ".", markersize=1.5, color="C0", rasterized=True)
    shown = axes[1].imshow(
        density, origin="lower", extent=(-1.7, 2.7, -1.2, 1.7), aspect="auto", cmap="viridis"
    )
    axes[2].plot(*sketch.sample(2000, random_state=0).T, ".", markersize=1.5, color="C1", rasterized=True)
    for ax, title in zip(axes, ("rows", "estimated density", "synthetic rows"), strict=True):
        ax.set(title=title, xlabel="first feature")
        ax.grid(visible=False)
    axes[0].set_ylabel("second feature")
    figure.colorbar(shown, ax=axes[1], location="bottom", label="density")
    save(figure, "density")


if __name__ == "__main__":
    main()
