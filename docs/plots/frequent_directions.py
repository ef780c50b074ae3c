"""Draw docs/images/frequent_directions.svg: what a shrink takes away, and the error against the size."""

import json

import matplotlib.pyplot as plt
import numpy as np
from picture import GREY, ROOT, WIDTH, save


def shrink(axes):
    """Draw squared lengths along 8 directions, and what is left of them for l = 4."""
    squares = np.array([16.0, 11.0, 8.0, 6.0, 3.0, 2.0, 1.2, 0.6])
    lost = np.minimum(squares, squares[4])
    places = np.arange(1, 9)
    axes.bar(places, squares - lost, color="C0", label="kept")
    axes.bar(places, lost, bottom=squares - lost, color=GREY, alpha=0.45, label="subtracted")
    axes.annotate(
        "the square of number l + 1\nis taken from each",
        (5, 3.1),
        (5.1, 7.2),
        fontsize=8,
        arrowprops={"arrowstyle": "->", "color": GREY},
    )
    axes.set(xlabel="direction", ylabel="squared length", xticks=places, yticks=[])
    axes.grid(visible=False)
    axes.legend()
    axes.set_title("a shrink to l = 4 directions")


def errors(axes):
    rows = json.loads((ROOT / "benchmarks" / "results" / "frequent_directions.json").read_text())["rows"]
    rows = [row for row in rows if row["rows"] == "Fashion-MNIST" and row["directions"] < 784]
    series = (
        ("random combinations", "C1", "random combinations", (4, 2)),
        ("FrequentDirections", "C0", "FrequentDirections", (-28, -26)),
        ("best matrix of as many rows", GREY, "best possible", (-34, -22)),
    )
    for method, colour, label, at in series:
        found = [(r["directions"], r["error, % of all squares"]) for r in rows if r["method"] == method]
        axes.plot(*zip(*found, strict=True), "o-", color=colour, markersize=3)
        axes.annotate(label, found[1], at, textcoords="offset points", color=colour, fontsize=8)
    sizes = sorted({r["directions"] for r in rows})
    bound = [(n, 100 / (n + 1)) for n in sizes]
    axes.plot(*zip(*bound, strict=True), "--", color="C0", linewidth=1)
    axes.annotate(
        "bound for any matrix", bound[3], (-24, 10), textcoords="offset points", color="C0", fontsize=8
    )
    axes.set(xscale="log", yscale="log", xlabel="directions l")
    axes.set_ylabel("error, % of all squares (less is better)")
    axes.set_title("60,000 images of 784 columns")


def main():
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    shrink(left)
    errors(right)
    save(figure, "frequent_directions")


if __name__ == "__main__":
    main()
