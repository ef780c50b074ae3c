"""Make the tables and figures of attention over few tokens; see figures.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markdown_parts import percent, short, table
from summary import rows

__all__ = ["FIGURES", "SETS", "TABLES", "errors_of_models", "runs"]

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


def errors_of_models(model: str) -> dict[str, dict[int, dict[str, Any]]]:
    """Return the rows of a model in results/top_tokens_models.json by selector and number of tokens."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for r in rows("top_tokens_models"):
        if r["model"] == model:
            found.setdefault(r["selector"], {})[r["selected"]] = r
    return found


def _models(model: str) -> str:
    found = errors_of_models(model)
    selected = sorted({k for by_k in found.values() for k in by_k})
    lines = []
    for selector, by_k in found.items():
        # Without "z", a small negative number would be "-0.000".
        cells = [f"{by_k[k]['error']:z.3f} ± {by_k[k]['error ±']:.3f}" if k in by_k else "" for k in selected]
        lines.append((selector, *cells))
    return table(("selector", *(f"{k} tokens" for k in selected)), lines)


TABLES = {
    f"context_sparsity_{what}_{key}": lambda name=name, what=what: _table(name, what)
    for key, name in SETS.items()
    for what in ("mass", "error")
}
TABLES["top_tokens_models_minilm"] = lambda: _models("MiniLM")
TABLES["top_tokens_models_language_model"] = lambda: _models("language model")
TABLES["top_tokens_models_smollm2"] = lambda: _models("SmolLM2")


def _smollm2(selector: str, selected: int, what: str = "error") -> float:
    return float(errors_of_models("SmolLM2")[selector][selected][what])


def _gated(selection: str, what: str) -> float:
    """Return a result of the gated layers of SmolLM2 with a selection of units."""
    (row,) = (r for r in rows("gated_units") if r.get("SmolLM2, gated SiLU") == selection)
    return float(row[what])


def _gated_dense() -> str:
    (name,) = (n for r in rows("gated_units") if (n := r.get("SmolLM2, gated SiLU", "")).startswith("dense"))
    return str(name).rpartition(" ")[2]


def _grouped(method: str, what: str) -> float:
    """Return a result of caches for heads of SmolLM2 that share keys."""
    (row,) = (r for r in rows("grouped_queries") if r.get("SmolLM2, 3 queries a key") == method)
    return float(row[what])


FIGURES: dict[str, Callable[[], str]] = {
    "grouped_least": lambda: percent(_grouped("ImportanceCache", "mass, 1/32")),
    "grouped_apart_least": lambda: percent(_grouped("a cache for each query", "mass, 1/32")),
    "grouped_half": lambda: percent(_grouped("ImportanceCache", "mass, 1/2")),
    "grouped_eighth": lambda: percent(_grouped("ImportanceCache", "mass, 1/8")),
    "grouped_window_eighth": lambda: percent(_grouped("sinks and window", "mass, 1/8")),
    "grouped_rounding": lambda: short(_grouped("ImportanceCache, 4 bits", "error, 1/2")),
    "gated_dense_loss": _gated_dense,
    "gated_codes_recall": lambda: percent(_gated("gate and up, codes, 4 bits", "recall, 1/2")),
    "gated_codes_loss": lambda: f"{_gated('gate and up, codes, 4 bits', 'loss, 1/2'):.3f}",
    "gated_gate_recall": lambda: percent(_gated("exact gate", "recall, 1/2")),
    "gated_gate_loss": lambda: f"{_gated('exact gate', 'loss, 1/2'):.3f}",
    "gated_quarter_loss": lambda: f"{_gated('exact', 'loss, 1/4'):.2f}",
    "gated_tenth_loss": lambda: f"{_gated('exact', 'loss, 1/10'):.2f}",
    "smollm2_loss": lambda: short(_smollm2("products", 128, "loss, exact")),
    "smollm2_pages": lambda: short(
        _smollm2("pages of 16, first 4", 128) / _smollm2("pages of 4, first 4", 128), 1
    ),
}
