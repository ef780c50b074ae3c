"""Set the style of all pictures: lines and letters that are legible on white and on black.

Pictures have no background. They are as wide as the column of a page, so that letters have the size that is
set here. The same results give the same file, because names in it have a fixed salt, and there is no date.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

ROOT = Path(__file__).parents[2]
#: Widths in inches: the column of a page, and the screen of a phone.
WIDTH, NARROW = 7.7, 3.7
#: A grey with a contrast of 4.3 to white pages and to dark ones.
GREY = "#7a7a7a"
#: The colours C0 to C9, of medium lightness.
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
        "axes.titlesize": 9,
        "axes.labelsize": 9,
        "axes.grid": True,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "grid.alpha": 0.3,
        "grid.color": GREY,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "savefig.transparent": True,
        "svg.fonttype": "none",
        "svg.hashsalt": "mergesketch",
    }
)


def plain_log(axis: Axis, subs: tuple[float, ...] = (1, 2, 5)) -> None:
    """Write the ticks of a logarithmic axis as numbers, and only a few of them."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())


def legend(figure: Figure, ncols: int, place: str = "outside lower center") -> None:
    """Draw one legend for all panels, outside of them."""
    handles: dict = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles, loc=place, ncols=ncols)


def save(figure: Figure, name: str) -> None:
    """Write ``docs/images/NAME.svg``."""
    path = ROOT / "docs" / "images" / f"{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, dpi=110)
    text = path.read_text()
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
