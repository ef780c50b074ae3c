"""What the laws run over: a module for each structure, found by its place in this folder.

A module of a hash family defines

- `FAMILIES`: the family in its modes, for the laws of families,
- `ROW_FAMILIES` or `SET_FAMILIES`: the family and rows, or the family, for every form of an argument,
- `GPU_ROW_FAMILIES` or `GPU_SET_FAMILIES`: those that are compared on a GPU,
- `SMALL_FAMILIES`: the family and 30 rows, for forged files of indexes.

A module of a sketch or of another structure defines

- `ENTRIES`: the sketch in its modes, for the laws of sketches,
- `GPU_ENTRIES`: the sketch in its modes, for what is compared on a GPU,
- `argument_cases()`: its public calls that take arrays,
- `stored_examples()`: small objects whose files are forged.

Tests fail for a public class that is missing. Nothing else has to be edited for a new structure.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from argument_cases import Case, probability_cases, row_family_cases, set_family_cases
from entries import Entry, Family, GpuEntry
from later import LaterItems
from mergesketch import LSHIndex
from mergesketch.lsh import HashFamily, MinHash
from mergesketch.sketches.core.stored import Stored

__all__ = [
    "ENTRIES",
    "FAMILIES",
    "GPU_ENTRIES",
    "GPU_ROW_FAMILIES",
    "GPU_SET_FAMILIES",
    "ROW_FAMILIES",
    "SET_FAMILIES",
    "STORED_EXAMPLES",
    "argument_cases",
    "stored_examples",
]

_MODULES = [
    import_module(f"{__name__}.{path.stem}") for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
]


def _collected(name: str) -> dict[str, Any]:
    """Return the items of the dictionaries of that name of all modules."""
    items = [item for module in _MODULES for item in getattr(module, name, {}).items()]
    found = dict(items)
    assert len(found) == len(items), f"two structures have an item of one name in {name}"
    return found


FAMILIES: dict[str, Family] = _collected("FAMILIES")
ENTRIES: dict[str, Entry] = _collected("ENTRIES")
GPU_ENTRIES: dict[str, GpuEntry] = _collected("GPU_ENTRIES")
GPU_ROW_FAMILIES: dict[str, HashFamily] = _collected("GPU_ROW_FAMILIES")
GPU_SET_FAMILIES: dict[str, MinHash] = _collected("GPU_SET_FAMILIES")
ROW_FAMILIES: dict[str, tuple[HashFamily, Any]] = _collected("ROW_FAMILIES")
SET_FAMILIES: dict[str, MinHash] = _collected("SET_FAMILIES")


def argument_cases() -> list[Case]:
    """Return every public call that takes arrays, with plain arguments."""
    cases: list[Case] = []
    for kind, (family, X) in ROW_FAMILIES.items():
        cases += row_family_cases(kind, family, X)
    for kind, family in SET_FAMILIES.items():
        cases += set_family_cases(kind, family)
    families = [family for family, _ in ROW_FAMILIES.values()] + list(SET_FAMILIES.values())
    without_theory = {family.name for family in FAMILIES.values() if family.no_theory}
    for family in {type(family): family for family in families}.values():
        if type(family).__name__ not in without_theory:
            cases += probability_cases(family)
    for module in _MODULES:
        if hasattr(module, "argument_cases"):
            cases += module.argument_cases()
    return cases


def _index(family: HashFamily, X: Any) -> LSHIndex:
    # No bucket is full, so that nothing warns.
    return LSHIndex(family, capacity=64).update(X)


#: Small objects of every class that is saved, by the module that makes them, and an index over every family.
#: They are made once in a process, when they are first used. Tests do not change them.
STORED_EXAMPLES: LaterItems[dict[str, Stored]] = LaterItems(
    {
        module.__name__.rpartition(".")[2]: module.stored_examples
        for module in _MODULES
        if hasattr(module, "stored_examples")
    }
    | {
        f"LSHIndex of {name}": lambda name=name, family=family, X=X: {
            f"LSHIndex of {name}": _index(family, X)
        }
        for name, (family, X) in _collected("SMALL_FAMILIES").items()
    }
)


def stored_examples() -> dict[str, Stored]:
    """Return the objects of `STORED_EXAMPLES` in one dictionary."""
    return {name: stored for examples in STORED_EXAMPLES.values() for name, stored in examples.items()}
