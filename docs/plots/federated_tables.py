"""Draw docs/images/federated_tables.svg: folds of an array for three devices, and their return."""

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, Rectangle
from picture import GREY, WIDTH, save

M, SIZES = 16, (16, 8, 4)
TOP, BOTTOM = 7.0, 2.2


def cells(axes, x, y, size):
    """Draw an array whose places have the colours of their numbers modulo the smallest size."""
    for place in range(size):
        colour = f"C{place % SIZES[-1]}"
        axes.add_patch(Rectangle((x + place, y), 1, 1, facecolor="none", edgecolor=colour, linewidth=1.0))
        axes.text(x + place + 0.5, y + 0.5, str(place), ha="center", va="center", color=colour, fontsize=7)


def arrow(axes, start, end, colour=GREY):
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=colour))


def main():
    figure, axes = plt.subplots(figsize=(WIDTH, 2.4))
    left = 8.0
    cells(axes, left, TOP, M)
    axes.text(left + M / 2, TOP + 1.5, "the server: all parameters", ha="center", color=GREY)
    x = 0.0
    for size, name in zip(
        SIZES, ("a large device", "a device of half the size", "of a quarter"), strict=True
    ):
        cells(axes, x, BOTTOM, size)
        middle, above = x + size / 2, left + M / 2 + 0.3 * (x + size / 2 - 16)
        arrow(axes, (above - 0.6, TOP - 0.2), (middle - 0.6, BOTTOM + 1.3))
        arrow(axes, (middle + 0.6, BOTTOM + 1.3), (above + 0.6, TOP - 0.2))
        axes.text(middle, BOTTOM - 0.9, name, ha="center", color=GREY)
        x += size + 2
    axes.text(
        left - 0.6,
        TOP + 0.5,
        "fold: means of places\nthat are equal modulo the size",
        ha="right",
        va="center",
        color=GREY,
    )
    axes.text(
        left + M + 0.6,
        TOP + 0.5,
        "changes return to all places\nthat they stand for",
        ha="left",
        va="center",
        color=GREY,
    )
    axes.text(
        16,
        0.1,
        "the place of an entry is p, p mod 8 or p mod 4: all devices have the same table",
        ha="center",
        color=GREY,
    )
    axes.set(xlim=(-0.5, 34), ylim=(-0.5, 9.4), aspect="equal")
    axes.set_axis_off()
    save(figure, "federated_tables")


if __name__ == "__main__":
    main()
