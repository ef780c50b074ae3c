"""Make tables of the page of SharedParameters from results of parameter_sharing_*.py; see figures.py."""

from __future__ import annotations

import json
from typing import Any

from measure import RESULTS

__all__ = ["clicks", "debian", "dense", "divergences", "ids", "words"]


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((RESULTS / f"parameter_sharing_{name}.json").read_text())["rows"]
    return rows


def _table(columns: list[str], lines: list[list[str]]) -> str:
    made = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    return "\n".join(["", *made, *(f"| {' | '.join(line)} |" for line in lines), "", ""])


def _by_compression(rows: list[dict[str, Any]], what: str, metric: str) -> str:
    """Return a line for each value of `what`, with a column for each compression. 0 is that of no table."""
    factors = sorted({row["compression"] for row in rows} - {0})
    lines = []
    for name in dict.fromkeys(row[what] for row in rows):
        here = {row["compression"]: _with_error(row, metric) for row in rows if row[what] == name}
        if 0 in here:
            here = dict.fromkeys(factors[:1], here[0])
        lines.append([name, *(here.get(factor, "") for factor in factors)])
    return _table([what, *(f"{factor:,}x" for factor in factors)], lines)


def _with_error(row: dict[str, Any], metric: str) -> str:
    error = row.get(f"{metric} ±")
    return f"{row[metric]:.3f}" + ("" if error is None else f" ± {error:.3f}")


def clicks() -> str:
    return _by_compression(_rows("clicks"), "table", "AUC")


def ids() -> str:
    return _by_compression(_rows("ids"), "table", "AUC")


def debian() -> str:
    return _by_compression(_rows("debian"), "table", "hit@10")


def dense() -> str:
    return _by_compression([row for row in _rows("dense") if "accuracy" in row], "network", "accuracy")


def divergences() -> str:
    rows = [row for row in _rows("dense") if "diverged" in row]
    factors = sorted({row["compression"] for row in rows})
    lines = []
    for gradient, std in dict.fromkeys((row["gradient"], row["std"]) for row in rows):
        here = [row for row in rows if (row["gradient"], row["std"]) == (gradient, std)]
        found = {row["compression"]: f"{row['diverged']} of {row['seeds']}" for row in here}
        lines.append([gradient, f"{std:.2g}", *(found.get(factor, "") for factor in factors)])
    return _table(["gradient", "std of the array", *(f"{factor:,}x" for factor in factors)], lines)


def words() -> str:
    lines = [
        [row["model"], f"{row['parameters']:,}", _with_error(row, "loss"), f"{row['ms a step']:.1f}"]
        for row in _rows("words")
    ]
    return _table(["model", "parameters", "loss, nats a word", "ms a step"], lines)
