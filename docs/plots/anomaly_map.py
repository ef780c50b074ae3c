"""Draw docs/images/anomaly_map.svg, what an AceSketch calls anomalous.

Run it as ``python docs/plots/anomaly_map.py``.
"""

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import AceSketch
from mergesketch.lsh import PStable
from picture import WIDTH, save
from sklearn.datasets import make_moons


def main():
    X, _ = make_moons(20_000, noise=0.07, random_state=0)
    odd = np.random.default_rng(1).uniform((-1.7, -1.2), (2.7, 1.7), (60, 2))
    family = PStable(2, n_hashes=400, power=2, width=0.35, n_buckets=1024, seed=1)
    detector = AceSketch(family, contamination=0.01).update(np.concatenate([X, odd]))
    x, y = np.meshgrid(np.linspace(-1.7, 2.7, 220), np.linspace(-1.2, 1.7, 145))
    scores = detector.decision_function(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.9), sharex=True, sharey=True)
    axes[0].plot(*X[:3000].T, ".", markersize=1.5, rasterized=True)
    axes[0].plot(*odd.T, "x", markersize=4, color="C3")
    axes[0].set(title="20,000 rows, and 60 at random", ylabel="second feature")
    shown = axes[1].imshow(
        scores, origin="lower", extent=(-1.7, 2.7, -1.2, 1.7), aspect="auto", cmap="viridis"
    )
    axes[1].contour(x, y, scores, levels=[0.0], colors="C3", linewidths=1.2)
    axes[1].set_title("outside the red line rows are anomalous")
    for ax in axes:
        ax.set_xlabel("first feature")
        ax.grid(visible=False)
    figure.colorbar(shown, ax=axes[1], label="density over the threshold's")
    save(figure, "anomaly_map")


if __name__ == "__main__":
    main()
