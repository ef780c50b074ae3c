"""Subspaces of gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from argument_cases import ROWS, Case
from mergesketch import SampledSubspace


def argument_cases() -> Iterator[Case]:
    width = ROWS.shape[1]

    def update(G: Any) -> Any:
        return SampledSubspace(width, 2).update(G).sketch

    yield Case("SampledSubspace.update", update, {"G": ROWS}, None)
    subspace = SampledSubspace(width, 2)
    yield Case("SampledSubspace.project", subspace.project, {"G": ROWS})
    yield Case("SampledSubspace.restore", subspace.restore, {"R": ROWS[:, :2]})
