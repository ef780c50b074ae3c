"""Draw docs/images/bands.svg, how likely a pair becomes a candidate.

Run it as ``python docs/plots/bands.py``.
"""

import matplotlib.pyplot as plt
import numpy as np
from mergesketch.distributed import band_parameters
from picture import WIDTH, save


def main():
    figure, axes = plt.subplots(figsize=(WIDTH, 3.0))
    s = np.linspace(0, 1, 400)
    for i, threshold in enumerate((0.5, 0.7, 0.9)):
        bands, rows = band_parameters(threshold, 128, false_negative_weight=0.98)
        label = f"threshold {threshold}: {bands} bands of {rows} value{'s' * (rows > 1)}"
        axes.plot(s, 1 - (1 - s**rows) ** bands, color=f"C{i}", label=label)
        axes.axvline(threshold, color=f"C{i}", linestyle=":", linewidth=1)
    axes.set(xlabel="Jaccard similarity of a pair", ylabel="probability to be compared", ylim=(0, 1.02))
    axes.legend(loc="upper left")
    save(figure, "bands")


if __name__ == "__main__":
    main()
