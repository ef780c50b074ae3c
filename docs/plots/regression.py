"""Draw docs/images/regression.svg, kernel means from counters.

Run it as ``python docs/plots/regression.py``.
"""

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import NadarayaWatsonSketch
from mergesketch.lsh import PStable
from picture import GREY, WIDTH, legend, save


def main():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.uniform(0, 2.6, 10_000), rng.uniform(3.6, 6, 10_000)])[:, None]
    y = np.sin(2 * X[:, 0]) + 0.3 * rng.standard_normal(len(X))
    q = np.linspace(-0.8, 6.8, 500)[:, None]
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharey=True)
    for axes, repetitions in zip(panels, (40, 1000), strict=True):
        family = PStable(n_features=1, n_hashes=repetitions, width=1.0, power=4, n_buckets=1024, seed=1)
        sketch = NadarayaWatsonSketch(family).update(X, y)
        mean, error = sketch.predict(q, return_std=True)
        kernel = family.kernel(q, X)
        total = kernel.sum(axis=1)
        exact = np.where(total > 1e-3 * total.max(), kernel @ y / np.maximum(total, 1e-300), np.nan)
        axes.plot(X[::20, 0], y[::20], ".", color=GREY, markersize=1.5, alpha=0.6, label="rows, every 20th")
        axes.plot(q[:, 0], exact, "--", color="C1", linewidth=1.4, label="exact kernel mean")
        axes.plot(q[:, 0], mean, color="C0", linewidth=1.4, label="sketch, and two standard errors")
        axes.fill_between(q[:, 0], mean - 2 * error, mean + 2 * error, color="C0", alpha=0.3, linewidth=0)
        axes.set(title=f"{repetitions:,} repetitions", xlabel="feature", ylim=(-1.8, 1.8))
    panels[0].set_ylabel("target")
    legend(figure, ncols=3)
    save(figure, "regression")


if __name__ == "__main__":
    main()
