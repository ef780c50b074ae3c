"""Draw docs/images/ideas/*.svg, which show how the structures work.

Run it as ``python docs/plots/ideas.py``. The numbers in the pictures are examples; nothing is measured.
"""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle
from picture import GREY, save

BLUE, ORANGE, GREEN, RED = "#3b82f6", "#f97316", "#10b981", "#ef4444"
#: Units of a drawing that make an inch, so that a letter is about 0.8 units wide and 1.4 high.
UNITS = 11


def canvas(width: float, height: float) -> Axes:
    """Return axes without a frame, of a width and height in units, with the origin at the top left."""
    figure = plt.figure(figsize=(width / UNITS, height / UNITS), layout="none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return axes


def label(axes: Axes, x: float, y: float, text: str, colour: str = GREY, align: str = "center") -> None:
    """Write text whose lines are centred at a height."""
    axes.text(x, y, text, color=colour, ha=align, va="center", linespacing=1.3)


def cells(
    axes: Axes, x: float, y: float, values: Sequence[object], marked: Sequence[int] = (), colour: str = BLUE
) -> None:
    """Draw a row of cells of three units by three, some of them filled."""
    for place, value in enumerate(values):
        filled = place in marked
        face = colour if filled else "none"
        axes.add_patch(
            Rectangle((x + 3 * place, y), 3, 3, facecolor=face, edgecolor=GREY, alpha=0.9 if filled else 0.7)
        )
        label(axes, x + 3 * place + 1.5, y + 1.5, str(value), "#f8fafc" if filled else GREY)


def box(axes: Axes, x: float, y: float, width: float, text: str, colour: str = GREY) -> None:
    """Draw a box of seven units in height around lines of text."""
    axes.add_patch(Rectangle((x, y), width, 7, facecolor="none", edgecolor=colour, linewidth=1.2))
    label(axes, x + width / 2, y + 3.5, text, colour)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = GREY) -> None:
    """Draw an arrow."""
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color=colour, shrinkA=0, shrinkB=0)
    )


def race() -> None:
    """Draw a row that adds 1 to one counter of every repetition."""
    axes = canvas(70, 23)
    label(axes, 1, 12, "row x", BLUE, "left")
    tables = ([0, 3, 1, 0, 2, 1], [2, 0, 0, 4, 0, 1], [1, 1, 0, 0, 3, 2])
    for number, (values, marked) in enumerate(zip(tables, (2, 3, 1), strict=True)):
        y = 4 + 7 * number
        arrow(axes, (6, 12), (18, y + 1.5), BLUE)
        cells(axes, 19, y, values, [marked], BLUE)
        label(axes, 19, y - 1.3, f"repetition {number + 1}: bucket $h_{number + 1}(x)$", align="left")
    label(axes, 42, 9, "update: add 1 to each blue counter", BLUE, "left")
    label(axes, 42, 16, "query: the mean of the counters\nin the buckets of the query", align="left")
    save(axes.figure, "ideas/race")


def counting() -> None:
    """Draw the counters of a key, one in every row of the table."""
    axes = canvas(70, 17)
    label(axes, 1, 8, '"tea"', BLUE, "left")
    tables = ([2, 0, 7, 1, 0, 3], [0, 1, 0, 5, 2, 9], [4, 7, 0, 0, 6, 1])
    for number, (values, marked) in enumerate(zip(tables, (2, 5, 1), strict=True)):
        y = 2 + 4.6 * number
        arrow(axes, (6.5, 8), (13, y + 1.5), BLUE)
        cells(axes, 14, y, values, [marked], BLUE)
    label(axes, 35, 5, "Count-Min: add the count to each blue counter.", BLUE, "left")
    label(axes, 35, 8, "Answer: the minimum, 7. Other keys only add.", align="left")
    label(axes, 35, 12, "Count-Sketch: add it with a sign of the key.", ORANGE, "left")
    label(axes, 35, 15, "Answer: the median. Other keys cancel.", align="left")
    save(axes.figure, "ideas/counting")


def bloom_filter() -> None:
    """Draw how the hash of a key chooses a block of 512 bits, and some bits in it."""
    axes = canvas(66, 19)
    label(axes, 1, 8, "key", BLUE, "left")
    arrow(axes, (4.5, 8), (9, 8), BLUE)
    box(axes, 9.5, 4.5, 11, "64-bit hash\n(XXH3)", BLUE)
    arrow(axes, (20.5, 8), (29, 8), BLUE)
    label(axes, 24.7, 6, "high bits", BLUE)
    rng = np.random.default_rng(3)
    for block in range(3):
        bits = (rng.random(11) < 0.35).astype(int)
        if block == 1:
            bits[[1, 4, 8]] = 1
        cells(
            axes, 30, 2 + 4.5 * block, ["1" if bit else "" for bit in bits], [1, 4, 8] if block == 1 else ()
        )
    label(axes, 30, 16.8, "blocks of 512 bits, each one a cache line", align="left")
    label(axes, 1, 14.3, "add: set the bits of the key", BLUE, "left")
    label(axes, 1, 16.8, "query: are all of them set?", align="left")
    save(axes.figure, "ideas/bloom_filter")


def minhash_sketch() -> None:
    """Draw bins that keep the smallest value of their elements."""
    axes = canvas(66, 21)
    label(axes, 13, 2, 'element with the value 31 in the bin 5 of "cats"', BLUE, "left")
    arrow(axes, (27.5, 3.3), (27.5, 6.5), BLUE)
    label(axes, 1, 8.5, '"cats"', align="left")
    cells(axes, 11, 7, ["", "17", "", "09", "44", "31", "", "52"], [5], BLUE)
    label(axes, 1, 14.5, '"dogs"', align="left")
    cells(axes, 11, 13, ["", "17", "", "62", "20", "77", "", "52"])
    for place, sign in ((1, "="), (3, "≠"), (4, "≠"), (5, "≠"), (7, "=")):
        label(axes, 12.5 + 3 * place, 11.6, sign, GREEN if sign == "=" else RED)
    label(axes, 11, 19.5, "2 of 5 full bins agree: J is about 2/5", GREEN, "left")
    label(axes, 39, 8.5, "A bin keeps the smallest value.", align="left")
    label(axes, 39, 14.5, "Sketches merge by the minimum.", align="left")
    save(axes.figure, "ideas/minhash_sketch")


def bloom_pooling() -> None:
    """Draw partitions, each of which deals all samples to its pools."""
    axes = canvas(66, 21)
    pools = {
        "partition 1": (("2 5 8", "+"), ("0 3 6", "-"), ("1 4 7", "-")),
        "partition 2": (("0 1 5", "+"), ("2 4 6", "-"), ("3 7 8", "-")),
    }
    for row, (name, dealt) in enumerate(pools.items()):
        y = 2 + 8 * row
        label(axes, 1, y + 2, name, align="left")
        for place, (samples, outcome) in enumerate(dealt):
            colour = RED if outcome == "+" else GREEN
            x = 13 + 18 * place
            axes.add_patch(Rectangle((x, y), 15, 4, facecolor="none", edgecolor=colour, linewidth=1.4))
            label(axes, x + 5, y + 2, samples, colour)
            label(axes, x + 12.5, y + 2, outcome, colour)
    text = "Only sample 5 is in no negative pool: it is suspected, and the others are cleared."
    label(axes, 1, 19, text, align="left")
    save(axes.figure, "ideas/bloom_pooling")


def pipeline(height: float, steps: Sequence[tuple[float, float, float, str, str]]) -> Axes:
    """Draw boxes beside each other, with an arrow from each one to the next."""
    axes = canvas(66, height)
    for number, (x, y, width, text, colour) in enumerate(steps):
        box(axes, x, y, width, text, colour)
        if number:
            left, _, wide, *_ = steps[number - 1]
            arrow(axes, (left + wide, y + 3.5), (x, y + 3.5))
    return axes


def private_race() -> None:
    """Draw how noise is added to exact counters before they leave the place of the rows."""
    axes = pipeline(
        20,
        [
            (1, 6, 13, "rows, clipped\nto public\nbounds", BLUE),
            (18, 6, 11, "exact\ncounters", BLUE),
            (36, 6, 12, "noisy\ncounters", ORANGE),
            (52, 6, 13, "densities,\nclassifier,\nregressor", ORANGE),
        ],
    )
    axes.plot([32.5, 32.5], [1, 16], color=GREY, linestyle="--", linewidth=1)
    label(axes, 31, 2, "private, where the rows are", BLUE, "right")
    label(axes, 34, 2, "public, for anybody", ORANGE, "left")
    label(axes, 32.5, 18.5, "discrete Laplace noise of scale R/ε on every counter")
    save(axes.figure, "ideas/private_race")


def storm() -> None:
    """Draw how signs of projections are counted in pairs."""
    axes = pipeline(
        17,
        [
            (1, 2, 13, "row z, scaled\nto length 1", BLUE),
            (18, 2, 20, "signs on a frame of\northonormal directions\n+  -  +  +  -", BLUE),
            (42, 2, 23, "one counter for a pair:\n(1, 2) -1    (1, 3) +1\n(1, 4) +1    (2, 3) -1", BLUE),
        ],
    )
    arrow(axes, (53, 9), (53, 13), ORANGE)
    text = "all rows, all frames: an unbiased estimate of the mean of z zᵀ, then a regression"
    label(axes, 65, 15, text, ORANGE, "right")
    save(axes.figure, "ideas/storm")


def representer() -> None:
    """Draw how a model becomes weights in counters."""
    axes = pipeline(
        18,
        [
            (1, 2, 12, "trained\nmodel", BLUE),
            (17, 2, 16, "its outputs\nfor many rows", BLUE),
            (37, 2, 13, "weights $a_j$\nof the rows", BLUE),
            (54, 2, 11, "counters", ORANGE),
        ],
    )
    text = "add $a_j$ to the counters of row $x_j$; then model and rows are not needed"
    label(axes, 65, 11.5, text, align="right")
    label(axes, 1, 16, "query", ORANGE, "left")
    arrow(axes, (6, 16), (11, 16), ORANGE)
    label(axes, 12, 16, "R hashes, R reads, and the mean of what was read", ORANGE, "left")
    save(axes.figure, "ideas/representer")


def bloom_signatures() -> None:
    """Draw the signatures of two nodes of a graph, and the bits that both have."""
    axes = canvas(70, 20)
    bits = {"node 0": [1, 5], "node 1": [1, 5, 6]}
    for row, (name, found) in enumerate(bits.items()):
        y = 4 + 5 * row
        label(axes, 1, y + 1.5, name, BLUE, "left")
        cells(axes, 9, y, ["1" if bit in found else "" for bit in range(8)], found, BLUE)
        label(axes, 36, y + 1.5, f"{len(found)} bits: {len(found)} neighbours", BLUE, "left")
    shared = sorted(set(bits["node 0"]) & set(bits["node 1"]))
    label(axes, 1, 16, "both", GREEN, "left")
    cells(axes, 9, 14.5, ["1" if bit in shared else "" for bit in range(8)], shared, GREEN)
    label(axes, 36, 16, f"{len(shared)} bits: {len(shared)} common neighbours", GREEN, "left")
    for bit, node in ((1, 3), (5, 2), (6, 4)):
        label(axes, 10.5 + 3 * bit, 2, f"{node}")
    label(axes, 1, 2, "bit of node", align="left")
    save(axes.figure, "ideas/bloom_signatures")


def static_function() -> None:
    """Draw how one bit of a code word is read from the file."""
    axes = canvas(66, 19)
    solution, coefficients = [0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 0], [1, 0, 1, 1, 0, 1, 0, 0, 1]
    start = 3
    window = range(start, start + len(coefficients))
    label(axes, 1, 5, "key", BLUE, "left")
    arrow(axes, (4.5, 5), (12, 5), BLUE)
    label(axes, 8, 3, "hash", BLUE)
    label(axes, 13, 5, "place in the file", BLUE, "left")
    cells(axes, 26, 3.5, solution, list(window), BLUE)
    arrow(axes, (2.5, 6.5), (2.5, 11), BLUE)
    label(axes, 1, 12.5, "coefficients of the key", BLUE, "left")
    both = [c & solution[i] for c, i in zip(coefficients, window, strict=True)]
    cells(axes, 26 + 3 * start, 11, coefficients, [i for i, bit in enumerate(both) if bit], ORANGE)
    kind = "odd" if sum(both) % 2 else "even"
    text = f"{sum(both)} places have a 1 in both, an {kind} number: a bit of the code word is {sum(both) % 2}"
    label(axes, 1, 17, text, ORANGE, "left")
    save(axes.figure, "ideas/static_function")


IDEAS: tuple[Callable[[], None], ...] = (
    *(race, counting, bloom_filter, minhash_sketch, bloom_pooling, private_race, storm, representer),
    *(bloom_signatures, static_function),
)


def main() -> None:
    for draw in IDEAS:
        draw()


if __name__ == "__main__":
    main()
