"""Draw the picture that other sites show beside a link to this one, at the end of a build."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from sphinx.application import Sphinx

#: The size in pixels that the sites ask for, and pixels an inch.
WIDTH, HEIGHT, DPI = 1200, 630, 100
COLOURS = ("#3b82f6", "#f97316", "#10b981")


def draw(path: Path, name: str, text: str) -> None:
    """Write a PNG with the name of the project, one line of text, and two sketches that merge."""
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), facecolor="#0f172a")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.set_axis_off()
    axes.text(80, 490, name, color="white", fontsize=58, fontweight="bold", va="center")
    axes.text(80, 390, text, color="#cbd5e1", fontsize=23, va="center")
    counters = ((1, 0, 4, 2), (2, 3, 0, 1), (3, 3, 4, 3))
    for sketch, (colour, values) in enumerate(zip(COLOURS, counters, strict=True)):
        left = 80 + 380 * sketch
        for cell, value in enumerate(values):
            corner = (left + 66 * cell, 130)
            box = FancyBboxPatch(corner, 52, 90, boxstyle="round,pad=0,rounding_size=10", color=colour)
            axes.add_patch(box)
            middle = (corner[0] + 26, 175)
            axes.text(*middle, str(value), color="white", fontsize=30, ha="center", va="center")
    for place, sign in ((401, "+"), (781, "=")):
        axes.text(place, 175, sign, color="white", fontsize=44, ha="center", va="center")
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def write_preview(app: Sphinx, exception: Exception | None) -> None:
    """Write the picture of the configuration beside the other static files."""
    if exception is None and app.builder.format == "html":
        draw(Path(app.outdir) / app.config.ogp_image, app.config.project, "sketches that merge exactly")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the picture with Sphinx."""
    app.connect("build-finished", write_preview)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
