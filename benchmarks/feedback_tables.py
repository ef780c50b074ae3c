"""Make the table of the page of SketchedErrorFeedback from results of error_feedback.py; see figures.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markdown_parts import short, table
from summary import rows

__all__ = ["TABLES"]


def _memory(row: dict[str, Any]) -> str:
    if row["memory"] is None:
        return "none"
    return "no feedback" if row["memory"] == 0 else f"{row['memory']:.0%}".replace("%", " %")


def _value(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "diverged"
    lost = f" ({row['diverged']} of {row['seeds']} diverged)" if row["diverged"] else ""
    return f"{row[name]:.4f} ± {row[f'{name} ±']:.4f}{lost}"


def runs() -> str:
    return table(
        ("processes", "sent", "rate", "memory of errors", "test loss", "test accuracy", "kB a step"),
        (
            (
                r["processes"],
                r["sent"],
                short(r["rate"], 2),
                _memory(r),
                _value(r, "loss"),
                _value(r, "accuracy"),
                short(r["bytes a step"] / 1000, 3),
            )
            for r in rows("error_feedback")
        ),
    )


TABLES: dict[str, Callable[[], str]] = {"error_feedback_runs": runs}
