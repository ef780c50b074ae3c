"""How all pictures look: lines and letters that tell on white and on black, and no background of their own.

The same results give the same file: a fixed salt for the names in it, and no date.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]
GREY = "#808080"
#: C0 to C9, of middling lightness.
COLOURS = [
    "#3b82f6",
    "#f97316",
    "#10b981",
    "#ef4444",
    "#a855f7",
    "#b7791f",
    "#ec4899",
    GREY,
    "#65a30d",
    "#06b6d4",
]

_PARTS = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
mpl.rcParams.update(
    {
        **dict.fromkeys(_PARTS, GREY),
        "axes.prop_cycle": mpl.cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": GREY,
        "savefig.transparent": True,
        "svg.fonttype": "none",
        "svg.hashsalt": "mergesketch",
    }
)


def save(figure: Figure, name: str) -> None:
    """Write ``docs/images/NAME.svg``."""
    path = ROOT / "docs" / "images" / f"{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, dpi=110)
    text = path.read_text()
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
