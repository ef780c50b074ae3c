"""Draw docs/images/vector_codes.svg: a row and its codeword in a plane, and estimates beside the products."""

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import VectorCodes
from picture import GREY, WIDTH, legend, save


def main():
    figure, (plane, products) = plt.subplots(1, 2, figsize=(WIDTH, 3.5))
    # A grid of two bits, and the codeword of the smallest angle.
    grid = np.array([-3, -1, 1, 3]) / 3.2
    first, second = np.meshgrid(grid, grid)
    plane.plot(first, second, ".", color=GREY, markersize=4)
    row, query = np.array([0.94, 0.42]), np.array([0.25, 0.95])
    code = np.array([3, 1]) / 3.2
    for vector, name, colour in ((row, "row", "C0"), (code, "codeword", "C1"), (query, "query", "C2")):
        plane.annotate("", vector, (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.6})
        plane.plot([], [], color=colour, label=name)
    along = (code @ row) / (row @ row) * row
    plane.plot(*zip(code, along, strict=True), ":", color="C1", label="error, at a right angle to the row")
    plane.set(title="after the rotation, 2 bits", xlim=(-1.15, 1.35), ylim=(-1.15, 1.15), aspect="equal")
    plane.set(xlabel="one coordinate", ylabel="another")
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 256)) / 16.0
    asked = rng.standard_normal((1, 256)) / 16.0
    rows[:, :] += np.linspace(-0.8, 0.8, 60)[:, None] * asked
    truth = (asked @ rows.T)[0]
    for bits, colour in ((1, "C3"), (2, "C4"), (4, "C5")):
        scores, std = VectorCodes(256, bits, seed=1).update(rows).scores(asked, return_std=True)
        label = "1 bit" if bits == 1 else f"{bits} bits"
        products.errorbar(
            truth, scores[0], std[0], fmt="o", markersize=3, linewidth=0.7, color=colour, label=label
        )
    products.plot([-1, 1], [-1, 1], color=GREY, linewidth=0.8)
    products.set(title="256 columns, with one standard error", xlabel="inner product", ylabel="estimate")
    legend(figure, ncols=4)
    save(figure, "vector_codes")


if __name__ == "__main__":
    main()
