"""Draw docs/images/shared_parameters.svg: the blocks of two rows in one array of parameters."""

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, Rectangle
from picture import GREY, WIDTH, save

#: Columns of a block, blocks of a row, and parameters.
BLOCK, N_BLOCKS, M = 4, 3, 32
#: Where each block of each row begins.
STARTS = {"row 7 of table 0": [3, 22, 30], "row “tea” of table 1": [14, 5, 25]}


def cells(axes, x, y, n, colour, alpha=0.55):
    for i in range(n):
        axes.add_patch(
            Rectangle((x + i, y), 1, 1, facecolor=colour, alpha=alpha, edgecolor=GREY, linewidth=0.6)
        )


def main():
    figure, axes = plt.subplots(figsize=(WIDTH, 2.9))
    cells(axes, 0, 0, M, "none", alpha=1)
    axes.text(
        M / 2,
        -0.75,
        "the parameters: both rows read and change those that they share",
        ha="center",
        color=GREY,
    )
    for number, (name, starts) in enumerate(STARTS.items()):
        left, colour = 2 + 16 * number, f"C{number}"
        axes.text(left + 6.3, 7.2, name, ha="center", color=colour)
        for block, start in enumerate(starts):
            x = left + block * (BLOCK + 0.3)
            cells(axes, x, 5.8, BLOCK, colour)
            for i in range(BLOCK):
                cells(axes, (start + i) % M, 0, 1, colour, alpha=0.4)
            arrow = FancyArrowPatch(
                (x + BLOCK / 2, 5.7),
                (start + min(BLOCK, M - start) / 2, 1.1),
                arrowstyle="->",
                mutation_scale=10,
                color=colour,
                linewidth=1.1,
            )
            axes.add_patch(arrow)
    axes.text(0.1, 1.25, "continued", fontsize=7, color="C0")
    axes.set(xlim=(-0.3, M + 0.3), ylim=(-1.2, 8))
    axes.set_axis_off()
    save(figure, "shared_parameters")


if __name__ == "__main__":
    main()
