"""Make the tables of attention over few tokens from results/context_sparsity.json; see figures.py."""

from __future__ import annotations

from typing import Any

from markdown_parts import table
from summary import rows

__all__ = ["SETS", "TABLES", "runs"]

#: The sets of the results by the names of their tables.
SETS = {"minilm": "MiniLM", "minilm_long": "MiniLM, 8 contexts", "language_model": "language model"}


def runs(name: str, with_places: bool) -> dict[tuple[str, int], dict[int, dict[str, Any]]]:
    """Return the rows of a set by selector, with its bytes, and sparsity; the fewest bytes come first."""
    found: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
    for r in rows("context_sparsity"):
        if r["set"] == name and r["first and latest"] == with_places:
            found.setdefault((r["selector"], r["bytes a token"]), {})[r["sparsity"]] = r
    return dict(sorted(found.items(), key=lambda item: item[0][1]))


def _table(name: str, what: str) -> str:
    chosen, plain, lines = runs(name, True), runs(name, False), []
    for (selector, size), by_sparsity in chosen.items():
        alone = plain[selector, size][10]
        cells = [f"{r[what]:.3f} ± {r[f'{what}, ±']:.3f}" for r in (*by_sparsity.values(), alone)]
        lines.append((selector, size, *cells))
    sparsities = (f"{s}x" for s in next(iter(chosen.values())))
    return table(("selector", "bytes a token", *sparsities, "10x, scores alone"), lines)


TABLES = {
    f"context_sparsity_{what}_{key}": lambda name=name, what=what: _table(name, what)
    for key, name in SETS.items()
    for what in ("mass", "error")
}
