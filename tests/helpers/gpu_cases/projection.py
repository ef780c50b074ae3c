"""Cases of projections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gpu_twins import CASES, Case, case, csr_rows, dense_rows, on_device, to_read, words
from mergesketch.lsh import PStable, SignedRandomProjection


def family_parts(family: Any) -> tuple[Any, Any, Any]:
    if isinstance(family, SignedRandomProjection):
        return family._sign_projection.vectors
    return family._vectors


def projection_cases(rng: np.random.Generator, sparse: bool, tail: Callable[[Any], Any]) -> Iterator[Case]:
    for n, d, n_hashes, power in ((1, 1, 1, 1), (37, 5, 3, 4), (9, 130, 70, 2)):
        parts, family = tail((d, n_hashes, power))
        for dtype in ("float32", "float64"):
            for index in ("int32", "int64") if sparse else ("",):
                rows = (
                    csr_rows(rng, n, d, dtype, index) if sparse else (to_read(dense_rows(rng, n, d, dtype)),)
                )
                out = on_device(np.full((n, n_hashes), 7, np.uint32))
                yield *rows, *family_parts(family), *parts, 0, n, out


def sign_parts(shape: tuple[int, int, int]) -> Any:
    d, n_hashes, power = shape
    return (n_hashes,), SignedRandomProjection(d, n_hashes=n_hashes, power=power, seed=d)


def step_parts(shape: tuple[int, int, int]) -> Any:
    d, n_hashes, power = shape
    family = PStable(d, n_hashes=n_hashes, power=power, width=0.7, n_buckets=1000, seed=d)
    return (family._offsets, 0.7, family._keys, np.uint64(1000)), family


CASES["project_signs_dense"] = lambda rng: projection_cases(rng, False, sign_parts)


CASES["project_signs_csr"] = lambda rng: projection_cases(rng, True, sign_parts)


CASES["project_steps_dense"] = lambda rng: projection_cases(rng, False, step_parts)


CASES["project_steps_csr"] = lambda rng: projection_cases(rng, True, step_parts)


@case("mix_codes")
def codes_to_mix(rng: np.random.Generator) -> Iterator[Case]:
    for n_buckets in (1, 1000, 2**32):
        codes = rng.integers(0, 2**32, (33, 5), dtype=np.uint32)
        yield words(rng, 5), np.uint64(n_buckets), on_device(codes)


def hashed_cases(rng: np.random.Generator, signs: bool) -> Iterator[Case]:
    for n_hashes, power in ((1, 1), (3, 4), (33, 2)):
        family = SignedRandomProjection(None, n_hashes=n_hashes, power=power, projection="sparse", seed=power)
        how = family._sign_projection.key, family._sign_projection.quantiles
        for dtype in ("float32", "float64"):
            for index in ("int32", "int64"):
                rows = csr_rows(rng, 9, 50, dtype, index)
                if signs:
                    out = np.full((9, n_hashes), 7, np.uint32)
                    yield *rows, *how, n_hashes, power, 0, 9, on_device(out)
                else:
                    out = np.full((7, n_hashes * power), 7, np.float32)
                    yield *rows, *how, 2, 9, on_device(out)


CASES["hashed_products"] = lambda rng: hashed_cases(rng, False)


CASES["hashed_signs"] = lambda rng: hashed_cases(rng, True)
