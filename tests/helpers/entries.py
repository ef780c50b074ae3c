"""Describe families and sketch classes under test, as the laws need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from mergesketch import MergeableSketch, PrivateRace
from mergesketch.lsh import HashFamily


@dataclass(frozen=True)
class Family:
    """A hash family under test."""

    make: Callable[..., HashFamily]  # make(n_hashes=, seed=)
    rows: Callable[[np.random.Generator, int], Any]  # data that it hashes
    #: What `collision_probability` is tested at, in the units of the family's metric.
    distances: Sequence[float] = ()
    #: pairs(rng, distance, n): n independent pairs, rows to hash and queries, at exactly that distance;
    #: collisions are of ``hash(rows)`` and ``hash_query(queries)``, the kernel is ``kernel(queries, rows)``.
    pairs: Callable[[np.random.Generator, float, int], tuple[Any, Any]] | None = None
    #: How far off the documentation says that collision probabilities may be.
    bias: float = 0.0
    #: Why dense rows are not to be had as SciPy sparse ones too.
    no_csr: str = ""
    #: Why a row cannot have a million features.
    not_wide: str = ""

    @property
    def name(self) -> str:
        return type(self.make(n_hashes=1, seed=0)).__name__


@dataclass(frozen=True)
class Entry:
    """A sketch class under test, in one of its modes."""

    cls: type[MergeableSketch]
    #: Empty sketches.
    sketches: st.SearchStrategy[MergeableSketch]
    #: Arguments of `update`, for a given sketch; also empty batches.
    batches: Callable[[Any], st.SearchStrategy[tuple]]
    #: The arguments that are several batches in one.
    join: Callable[[Sequence[tuple]], tuple]
    #: One large batch, so that it is worth spreading over threads.
    large: Callable[[np.random.Generator, Any], tuple]
    #: Arguments that `update` must refuse.
    bad: Sequence[tuple]
    linear: bool = True
    #: Why update(A ++ B) is not merge(update(A), update(B)) bit for bit; and then the law that holds
    #: instead: check(whole, merged, batches) asserts it.
    merge_is_inexact: str | None = None
    weaker_law: Callable[[Any, Any, Sequence[tuple]], None] | None = None
    #: Names of states that a further update must refuse at the edge of int64.
    counters: Sequence[str] = field(default=("n_updates",))


@dataclass(frozen=True)
class GpuEntry:
    """A class that runs on GPUs: an empty sketch, batches for `update`, and calls that return arrays."""

    make: Callable[[], Any]
    batch: Callable[[np.random.Generator, int], tuple[Any, ...]]
    asks: tuple[Callable[[Any, tuple[Any, ...]], Any], ...]


def take(sketch: Any, *batch: Any) -> Any:
    """Add a batch to a sketch: by `update`, or by merging where a sketch takes no rows."""
    if not isinstance(sketch, PrivateRace):
        return sketch.update(*batch)
    return sketch.merge(
        *(
            sketch.empty_like()._adopt(
                {
                    "counts": counts,
                    "spent": np.array([spent]),
                    "spent_if_disjoint": np.array([spent]),
                    "variance": np.array([spent / 8]),
                    "n_updates": np.array([1]),
                }
            )
            for counts, spent in zip(*batch, strict=True)
        )
    )
