"""Describe families and sketch classes under test, as the laws need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from mergesketch import MergeableSketch
from mergesketch.lsh import HashFamily
from mergesketch.sketches.race.release import Release


@dataclass(frozen=True)
class Family:
    """A hash family under test."""

    #: make(n_hashes=, seed=) returns the family.
    make: Callable[..., HashFamily]
    #: rows(rng, n) returns n rows that it hashes.
    rows: Callable[[np.random.Generator, int], Any]
    #: Distances at which `collision_probability` is tested, in the units of the family's metric.
    distances: Sequence[float] = ()
    #: pairs(rng, distance, n) returns n independent pairs of rows and queries at exactly that distance.
    #: ``hash(rows)`` collides with ``hash_query(queries)``; the kernel is ``kernel(queries, rows)``.
    pairs: Callable[[np.random.Generator, float, int], tuple[Any, Any]] | None = None
    #: The error of collision probabilities that the documentation states.
    bias: float = 0.0
    #: The reason why there are no collision probabilities, if there are none.
    no_theory: str = ""
    #: The reason why rows cannot be SciPy sparse matrices, if they cannot.
    no_csr: str = ""
    #: The reason why a row cannot have a million features, if it cannot.
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
    #: Arguments of `update` for a given sketch; some batches are empty.
    batches: Callable[[Any], st.SearchStrategy[tuple]]
    #: A function that joins the arguments of several batches.
    join: Callable[[Sequence[tuple]], tuple]
    #: A batch so large that it is spread over threads.
    large: Callable[[np.random.Generator, Any], tuple]
    #: Arguments that `update` must refuse.
    bad: Sequence[tuple]
    linear: bool = True
    #: The reason why update(A ++ B) is not merge(update(A), update(B)) bit for bit, if it is not.
    #: Then check(whole, merged, batches) asserts the law that holds instead.
    merge_is_inexact: str | None = None
    weaker_law: Callable[[Any, Any, Sequence[tuple]], None] | None = None
    #: False if the order of several merges changes the state; both orders then obey the weaker law.
    associative: bool = True
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
    if not isinstance(sketch, Release):
        return sketch.update(*batch)
    return sketch.merge(
        *(
            sketch.empty_like()._set_arrays(
                {
                    **dict(zip(sketch._layout(), sums, strict=False)),
                    "spent": np.array([spent]),
                    "spent_if_disjoint": np.array([spent]),
                    "variance": np.array([spent / 8]),
                    "n_updates": np.array([1]),
                }
            )
            for *sums, spent in zip(*batch, strict=True)
        )
    )
