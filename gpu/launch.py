"""Compile and launch kernels: the only module that knows CuPy's modules, devices and streams.

Kernels run on the current device and stream of CuPy, like CuPy's own. A launch copies nothing and waits for
nothing, except for the parameters of families (`constant`), which are copied once to each device.
"""

from __future__ import annotations

import re
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import cupy
import numpy as np

__all__ = [
    "OPTIONS",
    "SHARED",
    "check_array",
    "check_csr",
    "constant",
    "given_keys",
    "launch",
    "launch_blocks",
    "source",
    "with_memory",
]

#: Sums must round as they do on the CPU, so the compiler may not fuse multiplications and additions.
OPTIONS = ("-std=c++17", "--fmad=false")
#: Stands for keys where a kernel is given none.
_NO_KEYS = np.zeros(1, np.uint64)
#: Most blocks for each multiprocessor; threads take further work in a loop.
_BLOCKS_A_PROCESSOR = 16
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"\n', re.MULTILINE)
_THREADS = 256
#: Bytes of shared memory that a launch may ask for on every GPU: 48 KiB, less 5 KiB for a kernel's own
#: variables and for the 1 KiB that some GPUs reserve.
SHARED = 43 << 10
#: Bytes that the threads of a launch have to work in, all together.
_MEMORY = 1 << 29
#: The most blocks of a launch that gives each its own memory, and the bytes that they have all together where
#: those of one do not fit shared memory.
_MOST_BLOCKS, _BLOCK_MEMORY = 4096, 1 << 30


def source(name: str) -> str:
    """Return the source of ``name.cu``, with the contents of the files that it includes."""
    folder = Path(__file__).parent
    included: set[str] = set()

    def put_in(found: re.Match[str]) -> str:
        if found[1] in included:
            return ""
        included.add(found[1])
        return _INCLUDE.sub(put_in, (folder / found[1]).read_text())

    return _INCLUDE.sub(put_in, (folder / f"{name}.cu").read_text()).replace("#pragma once\n", "")


@cache
def _kernel(module: str, name: str, device: int) -> Any:
    return _module(module, device).get_function(name)


@cache
def _module(module: str, device: int) -> Any:
    return cupy.RawModule(code=source(module), options=OPTIONS)


@cache
def _sizes(device: int) -> tuple[int, int]:
    """Return the threads of a block, a multiple of 32, and the most blocks; kernels are correct for any."""
    attributes = cupy.cuda.Device(device).attributes
    threads = min(_THREADS, int(attributes["MaxThreadsPerBlock"]))
    return threads, int(attributes["MultiProcessorCount"]) * _BLOCKS_A_PROCESSOR


def launch(
    module: str,
    name: str,
    work: int,
    *args: Any,
    block: int | None = None,
    blocks: int | None = None,
    shared: int = 0,
) -> None:
    """Run kernel `name` of ``module.cu`` with a thread for each of `work` items, or with some `blocks`.

    Python's integers become 64-bit ones and its floats double ones; other arguments are passed unchanged.
    """
    if work <= 0:
        return
    device = cupy.cuda.runtime.getDevice()
    threads, most = _sizes(device)
    size = block or threads
    grid = min(-(-work // size), most) if blocks is None else blocks
    values = tuple(
        np.int64(a) if isinstance(a, int) else np.float64(a) if isinstance(a, float) else a for a in args
    )
    _kernel(module, name, device)((grid,), (size,), values, shared_mem=shared)


def with_memory(module: str, name: str, work: int, room: int, *args: Any, last: Any) -> None:
    """Launch a kernel that gives each thread `room` bytes of memory.

    The kernel's arguments are `args`, the memory, `room` as a multiple of 8, and `last`.
    """
    if work <= 0:
        return
    room = -(-room // 8) * 8
    threads, most = _sizes(cupy.cuda.runtime.getDevice())
    blocks = max(1, min(-(-work // threads), most, _MEMORY // (room * threads)))
    memory = cupy.empty(blocks * threads * room, np.uint8)
    launch(module, name, work, *args, memory, room, last, blocks=blocks)


def launch_blocks(module: str, name: str, n: int, room: int, *before: Any, after: tuple[Any, ...]) -> None:
    """Launch a kernel that takes n rows, a block each, with `room` bytes of memory for each block.

    The memory is shared memory if that is large enough. The kernel's arguments are those in `before`, whether
    it is, the other memory, and those in `after`.
    """
    in_shared = room <= SHARED
    blocks = max(1, min(n, _MOST_BLOCKS if in_shared else min(_MOST_BLOCKS, _BLOCK_MEMORY // room)))
    memory = cupy.empty(0 if in_shared else blocks * room, np.uint8)
    arguments = (*before, np.bool_(in_shared), memory, *after)
    launch(module, name, n, *arguments, blocks=blocks, shared=room if in_shared else 0)


def check_array(name: str, array: Any, *dtypes: Any, shape: tuple[int | None, ...] | None = None) -> None:
    """Refuse an array that a kernel cannot read: one of another kind, dtype, order or device."""
    if not isinstance(array, cupy.ndarray):
        raise TypeError(
            f"{name} must be a CuPy array, as the rows are, got {type(array).__name__}: move a sketch with "
            '.to("gpu"), an array with cupy.asarray'
        )
    if dtypes and array.dtype not in [np.dtype(d) for d in dtypes]:
        raise TypeError(
            f"{name} must have dtype {' or '.join(np.dtype(d).name for d in dtypes)}, got {array.dtype}"
        )
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be in C order; pass cupy.ascontiguousarray({name})")
    current = cupy.cuda.runtime.getDevice()
    if array.device.id != current:
        raise ValueError(
            f"{name} lies on GPU {array.device.id}, but GPU {current} is the current one: "
            f"work within `with cupy.cuda.Device({array.device.id}):`"
        )
    if shape is not None and (
        array.ndim != len(shape)
        or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True))
    ):
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def given_keys(keys: Any) -> tuple[Any, np.bool_]:
    """Return keys on the device, and whether there are any."""
    return constant(keys if keys.size else _NO_KEYS), np.bool_(keys.size > 0)


def check_csr(indptr: Any, indices: Any, data: Any) -> str:
    """Refuse sparse rows that kernels cannot read; return the suffix of the kernels for their dtypes."""
    check_array("indptr", indptr, np.int64, shape=(None,))
    check_array("indices", indices, np.int32, np.int64, shape=(None,))
    check_array("data", data, np.float32, np.float64, shape=indices.shape)
    return f"{data.dtype.name}_{indices.dtype.name}"


_copies: dict[tuple[int, int, int], Any] = {}


def constant(array: Any) -> Any:
    """Return parameters of a family, which are drawn on the CPU, as an array on the current device.

    They are copied at their first use on a stream, and the copy lives as long as the NumPy array. Each stream
    has its own copy: memory that is freed goes to the next array of the stream that it was allocated on, even
    if another stream still reads it.
    """
    if isinstance(array, cupy.ndarray):
        return array
    stream = cupy.cuda.get_current_stream()
    key = (id(array), cupy.cuda.runtime.getDevice(), int(stream.ptr))
    found = _copies.get(key)
    if found is None:
        found = cupy.asarray(np.ascontiguousarray(array))
        stream.synchronize()  # the default streams of all threads share a number
        if isinstance(array, np.ndarray):
            _copies[key] = found
            weakref.finalize(array, _copies.pop, key, None)
    return found
