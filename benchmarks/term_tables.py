"""Make the tables of the page of TermStatistics from results of term_statistics.py; see figures.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from markdown_parts import short, table
from summary import rows

__all__ = ["TABLES"]


def _of(kind: str) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if name != "kind"}
        for row in rows("term_statistics")
        if row["kind"] == kind
    ]


def _text(value: Any) -> Any:
    return short(value, 4) if isinstance(value, float) else value


def _table(kind: str) -> str:
    found = _of(kind)
    columns = list(dict.fromkeys(name for row in found for name in row))
    return table(columns, ([_text(row.get(name, "")) for name in columns] for row in found))


TABLES: dict[str, Callable[[], str]] = {
    f"term_statistics_{kind}": partial(_table, kind) for kind in ("ranking", "counters", "expansion", "cost")
}
