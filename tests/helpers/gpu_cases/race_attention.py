"""Cases of attention from counters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read

#: Tokens, tables, codes and columns.
SHAPES = ((1, 1, 2, 2), (0, 2, 4, 3), (40, 5, 8, 7))


def _soft(rng: np.random.Generator, n: int, n_tables: int, n_codes: int) -> np.ndarray:
    weights = rng.random((n, n_tables, n_codes), dtype=np.float32)
    weights[rng.random(weights.shape) < 0.2] = 0.0
    return weights


def _hard(rng: np.random.Generator, n: int, n_tables: int, n_codes: int) -> np.ndarray:
    return rng.integers(0, n_codes, (n, n_tables), dtype=np.uint32)


@case("add_tokens")
def add_tokens(rng: np.random.Generator) -> Iterator[Case]:
    for n, n_tables, n_codes, m in SHAPES:
        codes, columns = _soft(rng, n, n_tables, n_codes), rng.standard_normal((n, m))
        counters = rng.standard_normal((n_tables, n_codes, m))
        yield to_read(codes), to_read(columns), n_tables // 3, n_tables, on_device(counters)


@case("add_tokens_hard")
def add_tokens_hard(rng: np.random.Generator) -> Iterator[Case]:
    for n, n_tables, n_codes, m in SHAPES:
        codes, columns = _hard(rng, n, n_tables, n_codes), rng.standard_normal((n, m))
        counters = rng.standard_normal((n_tables, n_codes, m))
        yield to_read(codes), to_read(columns), n_tables // 3, n_tables, on_device(counters)


@case("query_counters")
def query_counters(rng: np.random.Generator) -> Iterator[Case]:
    for n, n_tables, n_codes, m in SHAPES:
        codes, counters = _soft(rng, n, n_tables, n_codes), rng.standard_normal((n_tables, n_codes, m))
        yield to_read(codes), to_read(counters), n // 3, n, on_device(np.full((n, m), 7.0))


@case("query_counters_hard")
def query_counters_hard(rng: np.random.Generator) -> Iterator[Case]:
    for n, n_tables, n_codes, m in SHAPES:
        codes, counters = _hard(rng, n, n_tables, n_codes), rng.standard_normal((n_tables, n_codes, m))
        yield to_read(codes), to_read(counters), n // 3, n, on_device(np.full((n, m), 7.0))


@case("attend_causally")
def attend_causally(rng: np.random.Generator) -> Iterator[Case]:
    for n, n_tables, n_codes, m in SHAPES:
        queries, keys = (_soft(rng, n, n_tables, n_codes) for _ in range(2))
        columns, counters = rng.standard_normal((n, m)), rng.standard_normal((n_tables, n_codes, m))
        given = (to_read(array) for array in (queries, keys, columns))
        yield *given, m // 3, m, on_device(counters), on_device(np.full((n, m), 7.0))


@case("attend_causally_hard")
def attend_causally_hard(rng: np.random.Generator) -> Iterator[Case]:
    for n, n_tables, n_codes, m in SHAPES:
        queries, keys = (_hard(rng, n, n_tables, n_codes) for _ in range(2))
        columns, counters = rng.standard_normal((n, m)), rng.standard_normal((n_tables, n_codes, m))
        given = (to_read(array) for array in (queries, keys, columns))
        yield *given, m // 3, m, on_device(counters), on_device(np.full((n, m), 7.0))
