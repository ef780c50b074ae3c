"""Draw docs/images/sketched_error_feedback.svg: a step, and where the memory has the errors of parameters."""

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, Rectangle
from picture import GREY, WIDTH, save

N_PLACES, ROTATIONS = 6, (2, 5, 0)
GRADIENT = (3, -1, 2, 8, -2, 1, -1, 2, -9, 1, 2, -3, 1, -2, 7, 2, -1, 3)
SENT = (3, 8, 14)
LARGEST = max(map(abs, GRADIENT))


def cell(axes, x, y, colour, height=1.0, text=""):
    axes.add_patch(Rectangle((x, y), 1, height, facecolor="none", edgecolor=colour, linewidth=1.0))
    if text:
        axes.text(x + 0.5, y + height / 2, text, ha="center", va="center", color=colour, fontsize=8)


def arrow(axes, start, end, colour=GREY):
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color=colour))


def main():
    figure, axes = plt.subplots(figsize=(WIDTH, 3.9))
    for i, value in enumerate(GRADIENT):
        run = i // N_PLACES
        colour = f"C{run}"
        cell(axes, i, 7.6, colour)
        height = 0.9 * abs(value) / LARGEST
        axes.add_patch(Rectangle((i + 0.2, 7.65), 0.6, height, facecolor=colour, edgecolor="none"))
        if i in SENT:
            arrow(axes, (i + 0.5, 8.75), (i + 0.5, 10.0), colour)
    axes.text(0, 10.3, "the largest entries are sent to the other ranks", color=GREY)
    axes.text(18.3, 8.1, "gradient\n+ errors", color=GREY, va="center")
    for run, rotation in enumerate(ROTATIONS):
        y = 3.9 - 1.15 * run
        for offset in range(N_PLACES):
            i = run * N_PLACES + offset
            sign = "+" if (i * 7 + i // 3) % 2 else "\N{MINUS SIGN}"
            cell(axes, 6 + (offset + rotation) % N_PLACES, y, f"C{run}", text=f"{sign}{i + 1}")
        axes.text(12.3, y + 0.5, f"run {run + 1}, rotated by {rotation}", color=f"C{run}", va="center")
        arrow(axes, (3 + 6 * run, 7.4), (7.0 + 2 * run, 5.15), f"C{run}")
    axes.text(14.2, 6.3, "what is left is added to the memory", color=GREY, va="center")
    for place in range(N_PLACES):
        cell(axes, 6 + place, 0, GREY, text="Σ")
    axes.text(12.3, 0.5, "the memory: one number a place", color=GREY, va="center")
    axes.plot((5.8, 1.0, 1.0), (0.5, 0.5, 6.0), color=GREY, linewidth=1.0)
    arrow(axes, (1.0, 5.9), (1.0, 7.4))
    axes.text(1.4, 1.4, "a share of it is added\nto the next gradient", color=GREY, va="center")
    axes.set(xlim=(-0.2, 22.5), ylim=(-0.2, 11), aspect="equal")
    axes.set_axis_off()
    save(figure, "sketched_error_feedback")


if __name__ == "__main__":
    main()
