"""Bloom signatures of neighbourhoods."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import EDGES, Case, N
from batches import SEEDS
from entries import Entry, GpuEntry
from hypothesis import strategies as st
from later import Later
from mergesketch import BloomSignatures
from mergesketch.sketches.core.stored import Stored

ENTRIES: dict[str, Entry] = {
    "BloomSignatures": Entry(
        BloomSignatures,
        st.tuples(st.integers(1, 9), st.sampled_from([64, 128]), st.booleans(), SEEDS).map(
            lambda t: BloomSignatures(t[0], t[1], directed=t[2], seed=t[3])
        ),
        lambda sketch: st.lists(st.tuples(*[st.integers(0, sketch.n_nodes - 1)] * 2), max_size=12).map(
            lambda edges: (np.array(edges, dtype=np.int32).reshape(-1, 2),)
        ),
        lambda batches: (np.concatenate([np.empty((0, 2), np.int64), *(edges for (edges,) in batches)]),),
        lambda rng, sketch: (rng.integers(0, sketch.n_nodes, (200_000, 2)),),
        [([[0, 99]],), ([[-1, 0]],), ([[0.5, 0.0]],), ([0, 1, 2],), ([["a", "b"]],)],
        linear=False,
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "BloomSignatures": GpuEntry(
        lambda: BloomSignatures(50, 128, seed=2),
        lambda rng, n: (rng.integers(0, 50, (n, 2)),),
        (
            lambda s, b: s.common_neighbors(b[0][:, 0], b[0][:, 1]),
            lambda s, b: s.jaccard(b[0][:, 0], b[0][:, 1]),
            lambda s, b: s.adamic_adar(b[0][:, 0], b[0][:, 1]),
            lambda s, b: s.cardinality(),
            lambda s, b: s.link_features(b[0], s.propagate(b[0])),
        ),
    ),
}


def argument_cases() -> Iterator[Case]:
    graph, edges = Later(lambda: BloomSignatures(N, 64).update(EDGES)), {"edges": EDGES}
    yield Case("BloomSignatures.update", lambda edges: BloomSignatures(N, 64).update(edges), edges)
    yield Case("BloomSignatures.propagate", graph.propagate, edges)
    yield Case("BloomSignatures.link_features", graph.link_features, {"pairs": EDGES}, "pairs")
    yield Case("BloomSignatures.cardinality", graph.cardinality, {"u": EDGES[:, 0].copy()}, "u")
    for method in ("adamic_adar", "common_neighbors", "jaccard", "resource_allocation"):
        both = {"u": EDGES[:, 0].copy(), "v": EDGES[:, 1].copy()}
        yield Case(f"BloomSignatures.{method}", getattr(graph, method), both)


def stored_examples() -> dict[str, Stored]:
    return {"BloomSignatures": BloomSignatures(9, 64).update([[0, 1], [1, 2]])}
