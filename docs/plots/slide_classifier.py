"""Draw docs/images/slide_classifier.svg: the part of a network that one row computes."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Circle
from picture import GREY, WIDTH, save

N_FEATURES, N_HIDDEN, N_LABELS = 14, 6, 26
FEATURES, OWN, FOUND, SHARED = (2, 3, 8), (11,), (4, 17, 21), (7, 24)


def places(n, width):
    return (np.arange(n) + 0.5) * width / n


def units(axes, x, y, filled, size):
    for i, at in enumerate(x):
        colour = next((c for some, c in filled.items() if i in some), None)
        style = (
            {"facecolor": colour, "edgecolor": colour} if colour else {"facecolor": "none", "edgecolor": GREY}
        )
        axes.add_patch(Circle((at, y), size, linewidth=0.8, alpha=1.0 if colour else 0.6, **style))


def main():
    figure, axes = plt.subplots(figsize=(WIDTH, 3.3))
    width = 26.0
    below, middle, above = places(N_FEATURES, width), places(N_HIDDEN, width), places(N_LABELS, width)
    for i in FEATURES:
        for x in middle:
            axes.plot((below[i], x), (0.4, 3.6), color=GREY, linewidth=0.7, alpha=0.7)
    for some, colour in ((OWN, "C1"), (FOUND, "C0"), (SHARED, "C2")):
        for i in some:
            for x in middle:
                axes.plot((x, above[i]), (4.4, 7.6), color=colour, linewidth=0.7, alpha=0.7)
    units(axes, below, 0, {FEATURES: GREY}, 0.4)
    units(axes, middle, 4, {tuple(range(N_HIDDEN)): GREY}, 0.4)
    units(axes, above, 8, {OWN: "C1", FOUND: "C0", SHARED: "C2"}, 0.36)
    axes.text(width / 2, -1.3, "features: only those of the row", ha="center", va="center", color=GREY)
    axes.text(width + 0.6, 4, "hidden\nunits", va="center", color=GREY)
    for x, text, colour in (
        (0.0, "its own label", "C1"),
        (6.2, "labels in its buckets", "C0"),
        (14.6, "random labels, shared by the batch", "C2"),
    ):
        axes.text(x, 9.3, text, color=colour, va="center")
    axes.set(xlim=(-0.5, width + 3), ylim=(-1.9, 9.9), aspect="equal")
    axes.set_axis_off()
    save(figure, "slide_classifier")


if __name__ == "__main__":
    main()
