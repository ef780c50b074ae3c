"""Test every CUDA kernel against its Numba twin, on a GPU or compiled for the host."""

from __future__ import annotations

from inspect import signature
from typing import Any

import fake_cupy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

cupy = fake_cupy.install()

from gpu_cases.index import BUCKETS, SLOTS, buckets  # noqa: E402 - the package registers all cases
from gpu_twins import CASES, TWINS, check, twin_modules  # noqa: E402
from mergesketch.gpu import checks, xxh3  # noqa: E402 - once there is a CuPy
from mergesketch.gpu import index as index_launchers  # noqa: E402
from mergesketch.lsh import SignedRandomProjection  # noqa: E402
from mergesketch.lsh.kernels import text  # noqa: E402
from mergesketch.lsh.support.backend import GPU, read_only  # noqa: E402
from mergesketch.sketches.kernels import index as index_kernels  # noqa: E402

pytestmark = pytest.mark.gpu

#: Twins without cases: results in any order, results as near as float32 is, and what has tests of its own.
OTHERS = {
    "address_of",
    "encode_values",
    "any_nonfinite_32",
    "any_nonfinite_64",
    "find_frequent",
    "frequent_ids",
} | {f"{what}_margins_{rows}" for what in ("sign", "step") for rows in ("dense", "csr")}


def test_every_kernel_has_a_case() -> None:
    assert set(CASES) == set(TWINS) - OTHERS
    for _, module in twin_modules():
        stem = module.__name__.rpartition(".")[2]
        assert {CASES[name].__module__ for name in module.__all__ if name in CASES} <= {f"gpu_cases.{stem}"}


def test_twins_take_the_same_arguments() -> None:
    unlike = {
        name: (found, expected)
        for name, twin in TWINS.items()
        if (found := list(signature(twin.gpu).parameters))
        != (expected := list(signature(getattr(twin.cpu, "py_func", twin.cpu)).parameters))
    }
    assert unlike == {}


@pytest.mark.parametrize("name", sorted(CASES))
def test_equals_its_twin(name: str) -> None:
    n_cases = 0
    for arguments in CASES[name](np.random.default_rng(sum(name.encode()))):
        check(name, arguments)
        n_cases += 1
    assert n_cases


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(CASES)), st.integers(0, 2**32 - 1))
def test_equals_its_twin_on_other_data(name: str, seed: int) -> None:
    for arguments in CASES[name](np.random.default_rng(seed)):
        check(name, arguments)


@pytest.mark.skipif(not getattr(cupy, "IS_STAND_IN", False), reason="rounds the stand-in's factors")
def test_codes_do_not_depend_on_tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def matmul(a: Any, b: Any) -> Any:
        # 11 bits of each factor, as TF32 has them; the others are cut off.
        rounded = (
            (np.ascontiguousarray(x.get()).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
            for x in (a, b)
        )
        return cupy.asarray(np.matmul(*rounded))

    arguments = next(CASES["project_signs_dense"](np.random.default_rng(0)))
    monkeypatch.setattr(cupy, "matmul", matmul)
    X = np.random.default_rng(1).standard_normal((300, 130)).astype(np.float32)
    family = SignedRandomProjection(130, n_hashes=64, power=8, seed=1)
    codes = family.hash(X)
    assert (family.hash(cupy.asarray(X)).get() != codes).any(), "rounding has no effect to be told"
    monkeypatch.setenv("CUPY_TF32", "1")
    np.testing.assert_array_equal(family.hash(cupy.asarray(X)).get(), codes)
    check("project_signs_dense", arguments)


@pytest.mark.parametrize("seed", range(3))
def test_frequent_ids_are_the_same_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for (L, W, B), n in [*BUCKETS, ((20, 3, 100), 900)]:
        for dtype in SLOTS:
            slots = buckets(rng, (L, W, B), dtype, n)[0]
            if L > 1:
                slots[1] = slots[0]  # ids added twice
            for P in (1, 3):
                codes = rng.integers(0, W, (9, L, P), dtype=np.uint32)
                offsets = np.concatenate([[0], np.cumsum(rng.integers(0, L * P * B + 1, 8))])
                ours = np.zeros(offsets[-1], dtype), np.zeros(8, np.int64)
                index_kernels.frequent_ids(
                    slots, read_only(codes), offsets, np.zeros(0, np.int32), 1, 9, *ours
                )
                theirs = cupy.zeros(int(offsets[-1]), dtype), cupy.zeros(8, np.int64)
                there = cupy.asarray(slots), cupy.asarray(codes)
                index_launchers.frequent_ids(
                    *there, cupy.asarray(offsets), np.zeros(0, np.int32), 1, 9, *theirs
                )
                found, sizes = theirs[0].get(), theirs[1].get()
                np.testing.assert_array_equal(sizes, ours[1])
                for start, size in zip(offsets, sizes, strict=False):
                    part = slice(start, start + size)
                    np.testing.assert_array_equal(np.sort(found[part]), np.sort(ours[0][part]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finds_what_is_not_finite(dtype: Any) -> None:
    values = np.full(1000, np.finfo(dtype).max, dtype)
    values[::2] *= -1
    bits = values.view(f"uint{8 * values.itemsize}")
    kernel = getattr(checks, f"any_nonfinite_{8 * values.itemsize}")
    assert not kernel(cupy.asarray(bits), 0, 1000)
    for bad in (np.nan, np.inf, -np.inf):
        values[777] = bad
        assert kernel(cupy.asarray(bits), 0, 1000) and kernel(cupy.asarray(bits), 777, 778)
        assert not kernel(cupy.asarray(bits), 0, 777) and not kernel(cupy.asarray(bits), 778, 1000)


def test_long_buckets_are_sorted_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_launchers, "_SORTED", 1)
    for arguments in CASES["order_buckets"](np.random.default_rng(3)):
        check("order_buckets", arguments)


def test_refuses_what_it_cannot_read() -> None:
    keys, out = cupy.zeros(4, np.uint64), cupy.zeros(4, np.uint64)
    with pytest.raises(TypeError, match="values must be a CuPy array"):
        xxh3.hash_u64(np.zeros(4, np.uint64), 0, 0, 4, out)
    with pytest.raises(TypeError, match="values must have dtype uint64, got int64"):
        xxh3.hash_u64(cupy.zeros(4, np.int64), 0, 0, 4, out)
    with pytest.raises(ValueError, match=r"out must have shape \(4,\), got \(3,\)"):
        xxh3.hash_u64(keys, 0, 0, 4, out[:3])
    with pytest.raises(ValueError, match="values must be in C order"):
        xxh3.hash_u64(cupy.zeros(8, np.uint64)[::2], 0, 0, 4, out)
    with pytest.raises(NotImplementedError, match=r"no GPU kernel text\.shingle_documents yet"):
        GPU.kernels(text).shingle_documents()
