"""The tables of docs/structures/ace.md from results/outliers.json; measures nothing."""

from __future__ import annotations

from typing import Any

from measure import cell
from summary import rows


def _table(found: list[dict[str, Any]]) -> str:
    columns = list(found[0])
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    for row in found:
        values = (
            f"{row[c]:.2f}" if isinstance(row[c], float) and row[c] <= 1 else cell(row[c]) for c in columns
        )
        lines.append(f"| {' | '.join(values)} |")
    return "\n".join(["", *lines, "", ""])


def areas() -> str:
    """Return the areas under the curves, one data set a line."""
    return _table([row for row in rows("outliers") if "data" in row])


def times() -> str:
    """Return the times of a million rows."""
    return _table([row for row in rows("outliers") if "job" in row])
