"""Make the tables of docs/structures/neighbour_graph.md from its results; see figures.py."""

from __future__ import annotations

import math
from typing import Any

from markdown_parts import short, table
from summary import rows

__all__ = ["alone", "hops", "lists", "ratio", "search", "structured"]

#: The recalls whose times are compared.
_LEVELS = (0.9, 0.95, 0.98)


def _rows(what: str) -> list[dict[str, Any]]:
    return [r for r in rows("neighbour_graph") if r["what"] == what]


def _runs(found: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in found:
        runs.setdefault((r["structure"], r["settings"]), []).append(r)
    return runs


def _least(run: list[dict[str, Any]], level: float) -> dict[str, Any] | None:
    """Return the fastest setting of a run that reaches a recall."""
    reached = [r for r in run if r["recall@10"] >= level]
    return min(reached, key=lambda r: float(r["us a query"])) if reached else None


def search() -> str:
    """Return the time of a query at the fastest setting that reaches each recall, and that of the build."""
    lines, found = [], _rows("search")
    for name in dict.fromkeys(r["set"] for r in found):
        for (structure, settings), run in _runs([r for r in found if r["set"] == name]).items():
            cells = []
            for level in _LEVELS:
                r = _least(run, level)
                cells.append(f"{short(r['us a query'])} ({r['effort']})" if r else "not reached")
            lines.append((name, structure, settings, short(run[0]["build s"]), *cells))
    levels = (f"us a query at a recall of {level}" for level in _LEVELS)
    return table(("rows", "structure", "settings", "build, s", *levels), lines)


def ratio() -> str:
    """Return the time of hnswlib over that of NeighbourGraph at each set, at a recall of 0.95."""
    found, ratios = _rows("search"), []
    for name in dict.fromkeys(r["set"] for r in found):
        here = _runs([r for r in found if r["set"] == name])
        best = {}
        for who in ("NeighbourGraph", "hnswlib"):
            times = [_least(run, 0.95) for (structure, _), run in here.items() if structure == who]
            reached = [float(r["us a query"]) for r in times if r]
            if reached:
                best[who] = min(reached)
        if len(best) == 2:
            ratios.append(best["NeighbourGraph"] / best["hnswlib"])
    return f"{short(min(ratios))} to {short(max(ratios))}"


def alone() -> str:
    """Return the times of queries one at a time."""
    columns = ("us a query, one at a time", "us a query of 200")
    lines = [(r["structure"], *(short(r[c]) for c in columns)) for r in _rows("alone")]
    return table(("structure", *columns), lines)


def lists() -> str:
    """Return the share of the nearest rows that graphs have listed."""
    lines = [
        (r["set"], r["structure"], r["settings"], f"{r['recall@10']:.3f}", short(r["build s"]))
        for r in _rows("lists")
    ]
    return table(("rows", "structure", "settings", "recall@10 of the lists", "build, s"), lines)


def hops() -> str:
    """Return hops of greedy search on spheres, and the power of n with which they grow."""
    found, lines = _rows("sphere"), []
    sizes = sorted({r["n"] for r in found})
    for d in sorted({r["d"] for r in found}):
        for n_long in (0, 8):
            here = {r["n"]: r for r in found if (r["d"], r["long links"], r["ef"]) == (d, n_long, 1)}
            wide = {r["n"]: r for r in found if (r["d"], r["long links"], r["ef"]) == (d, n_long, 16)}
            if len(here) < 2:
                continue
            low, high = here[min(here)], here[max(here)]
            growth = math.log(high["hops"] / low["hops"]) / math.log(high["n"] / low["n"])
            cells = [_hops_and_share(here.get(n)) for n in sizes]
            most = f"{_hops_and_share(wide[max(wide)])}" if wide else ""
            lines.append((d, n_long, *cells, f"{growth:.2f}", f"{1 / d:.2f}", most))
    columns = ("d", "long links", *(f"n = {n:,}" for n in sizes), "measured power of n", "1 / d")
    return table((*columns, "the largest n, ef = 16"), lines)


def _hops_and_share(r: dict[str, Any] | None) -> str:
    return f"{r['hops']:.1f} ({100 * r['nearest found']:.0f} %)" if r else ""


def structured() -> str:
    """Return the shares of neighbours that are found among rows of some structure."""
    lines = [
        (r["set"], r["structure"], f"{r['own row first']:.3f}", f"{r['recall@10']:.3f}")
        for r in _rows("structured")
    ]
    return table(("rows", "structure", "the query's own row is found first", "recall@10"), lines)
