"""Draw docs/images/page_bounds.svg: keys of two pages, their boxes, and the corners that bound products."""

import matplotlib.pyplot as plt
import numpy as np
from mergesketch import PageBounds
from picture import GREY, WIDTH, save


def main():
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6))
    rng, query = np.random.default_rng(3), np.array([1.0, 0.6])
    pages = [
        c + s * rng.standard_normal((8, 2)) for c, s in (((2.4, 1.6), (0.5, 0.35)), ((0.2, 2.2), (0.5, 0.3)))
    ]
    bounds = PageBounds(2, 8).update(np.vstack(pages))
    scores = bounds.page_scores(query[None])[0]
    across = np.array([-query[1], query[0]])
    for page, score, colour, name in zip(pages, scores, ("C0", "C1"), ("page 0", "page 1"), strict=True):
        low, high = page.min(axis=0), page.max(axis=0)
        axes.plot(*page.T, "o", color=colour, markersize=4)
        axes.add_patch(plt.Rectangle(low, *(high - low), fill=False, color=colour, linewidth=1.2))
        axes.plot(*high, "s", color=colour, markersize=7)
        best = (page @ query).max()
        ends = high + np.outer((-0.9, 0.9), across)
        axes.plot(*ends.T, "--", color=colour, linewidth=1)
        text = f"{name}: bound {score:.2f},\nbest key {best:.2f}"
        at = (8, 8) if name == "page 0" else (-108, 14)
        axes.annotate(text, high, at, textcoords="offset points", color=colour, fontsize=8)
    axes.annotate("", query, (0, 0), arrowprops={"arrowstyle": "->", "color": GREY, "linewidth": 1.5})
    axes.annotate("query", query, (4, -4), textcoords="offset points")
    axes.set(xlabel="column 0", ylabel="column 1", aspect="equal", xlim=(-1.6, 5.2), ylim=(-0.2, 3.6))
    save(figure, "page_bounds")


if __name__ == "__main__":
    main()
