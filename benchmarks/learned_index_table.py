"""Make the tables of learned indexes from results/learned_index.json; see figures.py."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from markdown_parts import short, table
from measure import RESULTS

__all__ = ["between", "candidates_at", "loads", "recall", "recall_at"]

Row = dict[str, Any]

#: Shares of all items that the table has the recall for, and recalls that it has the candidates for.
SHARES, RECALLS = (0.01, 0.02, 0.05), (0.8, 0.9)


def between(pairs: list[tuple[float, float]], at: float) -> float | None:
    """Return the second number of pairs where the first is `at`, on straight lines; None outside of them."""
    pairs = sorted(pairs)
    for (x, y), (next_x, next_y) in pairwise(pairs):
        if x <= at <= next_x:
            return y if next_x == x else y + (next_y - y) * (at - x) / (next_x - x)
    return None


def recall_at(rows: list[Row], share: float) -> float | None:
    """Return the recall of one index for a share of items; None outside of what was measured."""
    return between([(row["share of items"], row["recall"]) for row in rows], share)


def candidates_at(rows: list[Row], recall: float) -> float | None:
    """Return the candidates by which one index reaches a recall; None outside of what was measured."""
    return between([(row["recall"], row["candidates"]) for row in rows], recall)


def _groups() -> dict[tuple[str, str], dict[str, list[Row]]]:
    """Return the rows by method and settings, and then by set."""
    groups: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in json.loads((RESULTS / "learned_index.json").read_text())["rows"]:
        own = groups.setdefault((row["method"], row["settings"]), {})
        own.setdefault(row["set"], []).append(row)
    return groups


def _sets() -> list[str]:
    return list(dict.fromkeys(name for own in _groups().values() for name in own))


def recall() -> str:
    """Return a table for each set: recall for shares of items, and candidates for recalls."""
    columns = ["index", "settings", *(f"recall at {share:.0%}" for share in SHARES)]
    columns += [f"candidates for {recall:g}" for recall in RECALLS]
    made = []
    for name in _sets():
        lines = []
        for (method, settings), own in _groups().items():
            if name in own:
                found = [recall_at(own[name], share) for share in SHARES]
                needed = [candidates_at(own[name], recall) for recall in RECALLS]
                lines.append(
                    [method, settings]
                    + ["" if value is None else f"{value:.3f}" for value in found]
                    + ["" if value is None else round(value) for value in needed]
                )
        made.append(f"\n**{name}**\n{table(columns, lines)}")
    return "".join(made)


def loads() -> str:
    """Return a table of loads and of the times to build."""
    names = _sets()
    columns = ["index", "settings", *(f"{name}: std, largest" for name in names)]
    columns += [f"{name}: seconds to build" for name in names]
    lines = []
    for (method, settings), own in _groups().items():
        first = [own[name][0] if name in own else {} for name in names]
        if any("std of loads" in row for row in first):
            cells = [
                f"{short(row['std of loads'])}, {short(row['largest load'])}" if "std of loads" in row else ""
                for row in first
            ]
            times = [short(row["seconds to build"]) if row else "" for row in first]
            lines.append([method, settings, *cells, *times])
    return table(columns, lines)
