"""Make tables of the page of SlideClassifier from results of slide.py; see figures.py."""

from __future__ import annotations

from markdown_parts import short, table
from summary import rows

__all__ = ["curves", "models"]

FULL = "full softmax, PyTorch"


def curves() -> str:
    """Return the seconds to each precision, beside those of the full softmax."""
    lines = []
    found = [row for row in rows("slide") if row["what"] == "curve"]
    for data in dict.fromkeys(row["data"] for row in found):
        here = {row["method"]: row for row in found if row["data"] == data}
        for method in sorted(here, key=lambda name: (name != FULL, name)):
            row = here[method]
            best = max(point[1] for point in row["points"])
            for precision, seconds in row["seconds to"].items():
                full = here[FULL]["seconds to"].get(precision) if FULL in here else None
                ratio = full / seconds if full and seconds else ""
                lines.append(
                    (
                        data,
                        method,
                        short(row["ms a step"], 3),
                        precision,
                        short(seconds, 3) if seconds else "not reached",
                        short(ratio, 3) if ratio else "",
                        short(best, 3),
                    )
                )
    columns = ("data", "method", "ms a step", "precision at 1", "seconds to it", "times as fast", "best seen")
    return table(columns, lines)


def models() -> str:
    """Return precisions and times of whole models."""
    names = ("training, s", "prediction, ms a row", "precision at 1", "precision at 3", "precision at 5")
    lines = [
        (row["data"], row["method"], *(short(row[name], 3) for name in names))
        for row in rows("slide")
        if row["what"] == "model"
    ]
    return table(("data", "method", *names), lines)
