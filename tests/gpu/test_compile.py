"""Test that every kernel compiles for the supported GPUs, with the options of a launch."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import fake_cupy
import nvrtc
import pytest
from night import IS_NIGHT

cupy = fake_cupy.install()

from mergesketch.gpu import launch  # noqa: E402 - once there is a CuPy

FOLDER = Path(importlib.util.find_spec("mergesketch.gpu").submodule_search_locations[0])  # type: ignore[union-attr,index]
MODULES = sorted(path.stem for path in FOLDER.glob("*.cu"))
#: The oldest and the newest; at night also one between them.
ARCHITECTURES = ["sm_70", "sm_80", "sm_90"] if IS_NIGHT else ["sm_70", "sm_90"]


@pytest.mark.slow
@pytest.mark.skipif(nvrtc.library() is None, reason="needs the wheel nvidia-cuda-nvrtc-cu12")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("module", MODULES)
def test_compiles(module: str, architecture: str) -> None:
    code = launch.source(module)
    cubin = nvrtc.compile_cuda(code, (*launch.OPTIONS, f"--gpu-architecture={architecture}"))
    kernels = re.findall(r'extern "C" __global__ void (\w+)\(', code)
    assert cubin.startswith(b"\x7fELF")
    for kernel in kernels:
        assert kernel.encode() in cubin
    # A launch adds dynamic shared memory; 48 KiB in all are available by default.
    shared = nvrtc.shared_bytes(cubin)
    assert all(size + launch.SHARED <= 48 << 10 for size in shared.values()), shared


@pytest.mark.skipif(nvrtc.library() is None, reason="needs the wheel nvidia-cuda-nvrtc-cu12")
def test_shared_memory_is_found() -> None:
    code = """extern "C" __global__ void f(int* x) {
        __shared__ int y[999];
        y[*x] = 1;
        __syncthreads();
        *x = y[7];
    }"""
    found = nvrtc.shared_bytes(nvrtc.compile_cuda(code, ("--gpu-architecture=sm_70",)))
    assert found["f"] >= 4 * 999


@pytest.mark.skipif(nvrtc.library() is None, reason="needs the wheel nvidia-cuda-nvrtc-cu12")
def test_errors_are_told() -> None:
    with pytest.raises(RuntimeError, match="undefined"):
        nvrtc.compile_cuda("__global__ void f() { g(); }", ("--gpu-architecture=sm_70",))


@pytest.mark.parametrize("module", MODULES)
def test_sources_name_no_library(module: str) -> None:
    text = launch.source(module)
    assert "#include" not in text and "cupy" not in text.lower()
