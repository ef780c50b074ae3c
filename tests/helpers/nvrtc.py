"""Compile CUDA C++ for real GPUs on machines without one: NVIDIA's run-time compiler, through ctypes."""

from __future__ import annotations

import ctypes
import importlib.util
import struct
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["compile_cuda", "library", "shared_bytes"]


@cache
def library() -> Any:
    """Return the compiler's library from the wheel `nvidia-cuda-nvrtc-cu12`, or None without it."""
    try:
        spec = importlib.util.find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        return None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        # Not the variant that emulates other compilers' names.
        for path in sorted(Path(folder, "lib").glob("libnvrtc.so.*")):
            return ctypes.CDLL(str(path))
    return None


def compile_cuda(code: str, options: tuple[str, ...]) -> bytes:
    """Return the machine code of `code`; raise RuntimeError if the compiler warns or fails."""
    nvrtc, program = library(), ctypes.c_void_p()
    text, name = code.encode(), b"kernels.cu"
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, name, 0, None, None):
        raise RuntimeError("NVRTC could not make a program")
    try:
        given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = nvrtc.nvrtcCompileProgram(program, len(options), given)
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        lines = log.value.splitlines()
        warnings = [line for line in lines if b"warning" in line and b"deprecated" not in line]
        if failed or warnings:
            raise RuntimeError(log.value.decode())
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
        cubin = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetCUBIN(program, cubin)
        return cubin.raw
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def shared_bytes(cubin: bytes) -> dict[str, int]:
    """Return each kernel's own shared memory, from the sections of the machine code's ELF file."""
    (table,) = struct.unpack_from("<Q", cubin, 40)
    entry, n, names = struct.unpack_from("<HHH", cubin, 58)
    headers = [struct.unpack_from("<IIQQQQ", cubin, table + i * entry) for i in range(n)]
    found = {}
    for name_at, _, _, _, _, size in headers:
        at = headers[names][4] + name_at
        name = cubin[at : cubin.index(b"\0", at)].decode()
        if name.startswith(".nv.shared."):
            found[name.removeprefix(".nv.shared.")] = size
    return found
