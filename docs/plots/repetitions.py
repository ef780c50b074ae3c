"""Draw docs/images/repetitions.svg, a Race of some repetitions.

Run it as ``python docs/plots/repetitions.py``.
"""

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import Race
from mergesketch.lsh import PStable
from picture import WIDTH, save
from sklearn.datasets import make_moons

LOW, HIGH = (-1.7, -1.2), (2.7, 1.7)


def main():
    X, _ = make_moons(20_000, noise=0.1, random_state=0)
    x, y = np.meshgrid(np.linspace(LOW[0], HIGH[0], 130), np.linspace(LOW[1], HIGH[1], 86))
    places = np.column_stack([x.ravel(), y.ravel()])
    panels = []
    for repetitions in (1, 10, 1000):
        family = PStable(2, n_hashes=repetitions, width=0.5, power=2, n_buckets=4096, seed=1)
        panels.append(
            (f"{repetitions:,} repetition{'s' * (repetitions > 1)}", Race(family).update(X).density(places))
        )
    panels.append(("exact: the mean of k(x, q) over all rows", family.kernel(places, X).mean(axis=1)))
    top = max(density.max() for _, density in panels[1:])
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.2), sharex=True, sharey=True)
    for ax, (title, density) in zip(axes.flat, panels, strict=True):
        shown = ax.imshow(
            density.reshape(x.shape),
            origin="lower",
            extent=(LOW[0], HIGH[0], LOW[1], HIGH[1]),
            aspect="auto",
            cmap="viridis",
            vmin=0,
            vmax=top,
        )
        ax.set_title(title)
        ax.grid(visible=False)
    for ax in axes[1]:
        ax.set_xlabel("first feature")
    for ax in axes[:, 0]:
        ax.set_ylabel("second feature")
    figure.colorbar(shown, ax=axes, label="kernel density of 20,000 rows in two moons")
    save(figure, "repetitions")


if __name__ == "__main__":
    main()
