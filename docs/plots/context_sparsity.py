"""Draw docs/images/context_sparsity.svg from results/context_sparsity.json: mass and error by sparsity."""

import sys

import matplotlib.pyplot as plt
from picture import GREY, ROOT, WIDTH, legend, save

sys.path.insert(0, str(ROOT / "benchmarks"))

from sparsity_tables import SETS, runs

#: The selectors that are drawn, with their colours and lines.
DRAWN = {
    "exact": ("C2", "-"),
    "VectorCodes, 1 bit": ("C0", "-"),
    "Hamming distance": ("C9", "-"),
    "ProductQuantizer": ("C4", "-"),
    "SoftCollisions (SOCKET)": ("C1", "-"),
    "hard collisions": ("C3", "-"),
    "PageBounds, pages of 16": ("C5", "-"),
    "latest tokens": (GREY, "--"),
    "random": (GREY, ":"),
}


def main():
    names = [name for name in SETS.values() if runs(name, True)]
    figure, panels = plt.subplots(
        2, len(names), figsize=(WIDTH, 5.2), sharex=True, sharey="row", squeeze=False
    )
    for (above, below), name in zip(panels.T, names, strict=True):
        found = {selector: by_sparsity for (selector, _), by_sparsity in runs(name, True).items()}
        for selector in (name for name in DRAWN if name in found):
            (colour, line), points = DRAWN[selector], found[selector]
            for axes, what in ((above, "mass"), (below, "error")):
                values = [r[what] for r in points.values()]
                bars = [r[f"{what}, ±"] for r in points.values()]
                width = 3.5 if selector == "exact" else 1.3  # others lie on it
                style = {
                    "color": colour,
                    "linestyle": line,
                    "linewidth": width,
                    "marker": ".",
                    "markersize": 4,
                }
                axes.errorbar(list(points), values, bars, label=selector, elinewidth=0.8, **style)
        sparsities = list(points)
        above.set_title(f"{name}, {points[sparsities[0]]['tokens']:,} tokens", fontsize=8)
        below.set(xscale="log", xlabel="tokens / selected tokens")
        below.set_xticks(sparsities, [f"{s}" for s in sparsities])
        for axes in (above, below):
            axes.xaxis.set_tick_params(which="minor", bottom=False, labelbottom=False)
    panels[0, 0].set(ylabel="kept attention", ylim=(0.0, 1.02))
    panels[1, 0].set(ylabel="error of the output", ylim=(0.0, None))
    legend(figure, ncols=3)
    save(figure, "context_sparsity")


if __name__ == "__main__":
    main()
