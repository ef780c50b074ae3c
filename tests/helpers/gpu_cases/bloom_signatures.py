"""Cases of signatures of neighbourhoods."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, OnDevice, case, on_device, to_read, words


def edges(rng: np.random.Generator, n: int, n_nodes: int) -> tuple[OnDevice, OnDevice]:
    return to_read(rng.integers(0, n_nodes, n)), to_read(rng.integers(0, n_nodes, n))


@case("fill_node_bits")
def nodes_to_hash(rng: np.random.Generator) -> Iterator[Case]:
    yield np.uint64(77), np.uint64(192), 2, 100, on_device(np.zeros(100, np.int64))


@case("set_neighbour_bits")
def edges_to_set(rng: np.random.Generator) -> Iterator[Case]:
    for both in (False, True):
        yield *edges(rng, 300, 40), both, np.uint64(7), 5, 40, on_device(np.zeros((40, 3), np.uint64))


@case("pass_signatures")
def edges_to_pass(rng: np.random.Generator) -> Iterator[Case]:
    for both in (False, True):
        signatures = words(rng, 40, 3) & words(rng, 40, 3) & words(rng, 40, 3)
        yield *edges(rng, 90, 40), on_device(signatures), both, 0, 37, on_device(signatures)


@case("count_signature_bits")
def pairs_to_count(rng: np.random.Generator) -> Iterator[Case]:
    for n_words in (1, 40):
        signatures, others = on_device(words(rng, 30, n_words)), on_device(words(rng, 20, n_words))
        u, v = to_read(rng.integers(0, 30, 50)), to_read(rng.integers(0, 20, 50))
        yield signatures, others, u, v, 1, 50, on_device(np.zeros((50, 3), np.int64))


@case("weigh_signatures")
def pairs_to_weigh(rng: np.random.Generator) -> Iterator[Case]:
    signatures = on_device(words(rng, 30, 2) & words(rng, 30, 2))
    weights = on_device(rng.random((128, 2)))
    yield signatures, *edges(rng, 50, 30), weights, 0, 50, on_device(np.zeros((50, 2)))
