"""Draw recall against candidates of indexes that are learned and of others; other scripts import this."""

import sys

from picture import GREY, ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from learned_code_tables import curves

__all__ = ["draw_recalls"]

OTHERS = {
    ("random SimHash", "16 x 8 bits"): ("random SimHash", GREY),
    ("k-means", "1 x 256 centres"): ("k-means", "C5"),
    ("faiss IVF", "256 lists"): ("faiss IVF", "C9"),
}


def draw_recalls(ax, name, ours):
    """Draw the curves of a set into axes: those of `ours`, by method and settings, and of others."""
    known = curves()
    for (method, settings), (label, colour) in {**ours, **OTHERS}.items():
        rows = known.get((name, method, settings), [])
        shares, recalls = ([row[key] for row in rows] for key in ("share of items", "recall"))
        width = 1.0 if (method, settings) in OTHERS else 2.0
        ax.plot(shares, recalls, ".-", label=label, color=colour, linewidth=width, markersize=4)
    ax.set(
        title=name, xscale="log", xlim=(3e-4, 0.5), ylim=(0, 1), xlabel="share of items that are candidates"
    )
