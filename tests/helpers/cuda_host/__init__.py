"""Run CUDA C++ kernels on the host: g++ compiles them against `cuda_host.h`, and they are launched by name.

A kernel's arguments are checked too: each must have the C type that the kernel declares for it. The
driver would take any bytes of the same number.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["HostModule", "compiler"]

_HEADER = Path(__file__).with_name("cuda_host.h")
_OPTIONS = ("-std=c++20", "-O2", "-shared", "-fPIC", "-pthread", "-ffp-contract=off", "-fno-strict-aliasing")
_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)'
)

#: NumPy's name of each C type that kernels take.
_TYPES = {
    "bool": "bool",
    "unsigned char": "uint8",
    "u8": "uint8",
    "u16": "uint16",
    "int": "int32",
    "i32": "int32",
    "unsigned": "uint32",
    "u32": "uint32",
    "long long": "int64",
    "i64": "int64",
    "unsigned long long": "uint64",
    "u64": "uint64",
    "float": "float32",
    "double": "float64",
}


def compiler() -> str | None:
    """Return the C++ compiler, or None where there is none."""
    return shutil.which(os.environ.get("CXX", "g++"))


def _parameter(text: str) -> tuple[str, bool, bool]:
    """Return a parameter's NumPy dtype, whether it is a pointer, and whether its target is constant."""
    words = re.sub(r"__restrict__|\*", lambda m: " * " if m[0] == "*" else " ", text).split()
    constant, pointer = "const" in words, "*" in words
    kind = " ".join(word for word in words[:-1] if word not in ("const", "*"))
    return _TYPES[kind], pointer, constant


class HostModule:
    """Compile the kernels of one source, whose includes are resolved, and launch them on the host."""

    def __init__(self, code: str) -> None:
        self.parameters: dict[str, list[tuple[str, bool, bool]]] = {}
        self._library = _library(code + self._wrappers(_expand(code)))

    def _wrappers(self, code: str) -> str:
        lines = ["\n"]
        for name, inside in _KERNEL.findall(code):
            parts = [part.strip() for part in inside.split(",") if part.strip()]
            self.parameters[name] = [_parameter(part) for part in parts]
            types = [part[: re.search(r"\w+$", part).start()] for part in parts]  # type: ignore[union-attr]
            arguments = ", ".join(f"*({kind}*)a[{i}]" for i, kind in enumerate(types))
            lines.append(
                f'extern "C" void host_{name}(unsigned* g, unsigned* b, long s, void** a) '
                f"{{ host::launch(g, b, s, [&] {{ {name}({arguments}); }}); }}\n"
            )
        return "".join(lines)

    def launch(
        self, name: str, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared: int = 0
    ) -> None:
        """Run a kernel to its end; `args` are NumPy arrays and NumPy scalars of the kernel's own types."""
        wanted = self.parameters[name]
        if len(args) != len(wanted):
            raise TypeError(f"{name} takes {len(wanted)} arguments, got {len(args)}")
        values: list[Any] = []
        for i, (value, (dtype, pointer, constant)) in enumerate(zip(args, wanted, strict=True)):
            if not isinstance(value, np.ndarray if pointer else np.generic) or value.dtype != dtype:
                raise TypeError(
                    f"argument {i} of {name} must be {'an array' if pointer else 'a scalar'} of {dtype}, got "
                    f"{type(value).__name__} {getattr(value, 'dtype', '')}"
                )
            if not pointer:
                values.append(np.array(value))
                continue
            if not value.flags.c_contiguous:
                raise TypeError(f"argument {i} of {name} is not in C order")
            if not constant and not value.flags.writeable:
                raise TypeError(f"argument {i} of {name} is read-only")
            values.append(np.array(value.ctypes.data, np.uintp))
        pad = (1, 1, 1)
        if not 0 < np.prod(block) <= 1024 or min(grid) < 1:
            raise ValueError(f"{name}: {grid} blocks of {block} threads cannot be launched")
        if not 0 <= shared <= 48 << 10:
            raise ValueError(f"{name}: no block has {shared} bytes of shared memory without asking for more")
        pointers = (ctypes.c_void_p * max(1, len(values)))(*(value.ctypes.data for value in values))
        grids, blocks = ((ctypes.c_uint * 3)(*(*size, *pad)[:3]) for size in (grid, block))
        self._library[f"host_{name}"](grids, blocks, ctypes.c_long(shared), pointers)


def _expand(code: str) -> str:
    """Run the preprocessor without the standard headers, to find kernels that macros make."""
    command = [compiler() or "g++", "-E", "-P", "-x", "c++", "-D__global__=__global__", "-"]
    return subprocess.run(command, input=code, capture_output=True, text=True, check=True).stdout


@functools.cache
def _library(code: str) -> ctypes.CDLL:
    source = f'#include "{_HEADER.name}"\n{code}'
    text = "\n".join([source, _HEADER.read_text(), *_OPTIONS])
    folder = Path(tempfile.gettempdir()) / f"mergesketch-cuda-host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            path = Path(work) / "kernels.cpp"
            path.write_text(source)
            command = [compiler() or "g++", *_OPTIONS, f"-I{_HEADER.parent}", "-o", f"{work}/k.so", str(path)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"kernels do not compile for the host:\n{done.stderr}")
            # It gets a temporary name first, because another process may compile the same source.
            os.replace(f"{work}/k.so", target)
    return ctypes.CDLL(str(target))
