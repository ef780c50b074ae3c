"""CUDA kernels and their Numba twins: the parts of a case, and how a case is checked.

A case gives the arguments of a kernel. What `on_device` wraps goes to the device and is compared
afterwards, bit for bit, whether the kernel should write to it or not. Everything else (parameters of
families, numbers) goes as it is.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import fake_cupy
import numpy as np

cupy = fake_cupy.install()

import mergesketch.gpu  # noqa: E402 - once there is a CuPy
from mergesketch.lsh.support.backend import read_only  # noqa: E402
from mergesketch.sketches.coding.codebook import Codebook  # noqa: E402
from mergesketch.sketches.kernels import index, static  # noqa: E402


class Twin(NamedTuple):
    """A Numba kernel and the launcher of the CUDA kernel of the same name."""

    cpu: Callable[..., Any]
    gpu: Callable[..., Any]


#: Modules of `mergesketch.gpu` that are no twin: one launches kernels, and one is shared by several.
NO_TWINS = {"launch", "rotation"}


def twin_modules() -> Iterator[tuple[ModuleType, ModuleType]]:
    """Yield each module of Numba kernels that has a twin, and the twin."""
    for info in pkgutil.iter_modules(mergesketch.gpu.__path__):
        found = [
            f"mergesketch.{room}.kernels.{info.name}"
            for room in ("lsh", "sketches", "distributed")
            if find_spec(f"mergesketch.{room}.kernels.{info.name}") is not None
        ]
        assert len(found) == (info.name not in NO_TWINS), f"gpu/{info.name}.py is the twin of {found}"
        for name in found:
            yield import_module(name), import_module(f"mergesketch.gpu.{info.name}")


TWINS = {
    name: Twin(getattr(ours, name), getattr(theirs, name))
    for ours, theirs in twin_modules()
    for name in theirs.__all__
}


class OnDevice:
    def __init__(self, array: np.ndarray, *, read_only: bool = False) -> None:
        self.array, self._read_only = np.ascontiguousarray(array), read_only

    def in_main_memory(self) -> np.ndarray:
        """Return a copy for the Numba kernel."""
        return read_only(self.array.copy()) if self._read_only else self.array.copy()


class Decoding:
    """A codebook whose decoder is made on the device that runs the kernel."""

    def __init__(self, book: Codebook) -> None:
        self.book = book


on_device = OnDevice


def to_read(array: np.ndarray) -> OnDevice:
    """Wrap an array that the Numba kernel gets read-only, because the package gives it so.

    Numba compiles a kernel anew for arrays that can be written.
    """
    return OnDevice(array, read_only=True)


Arrays = tuple[np.ndarray, ...]
Case = tuple[Any, ...]
#: Kernels that leave ids in any order within a bucket; buckets are sorted before they are compared.
UNORDERED = {"insert_ids", "merge_buckets"}
CASES: dict[str, Callable[[np.random.Generator], Iterator[Case]]] = {}


def case(*names: str) -> Callable[[Any], Any]:
    def register(make: Any) -> Any:
        for name in names:
            CASES[name] = make
        return make

    return register


def check(name: str, arguments: Case) -> None:
    ours, theirs = [], []
    for argument in arguments:
        if isinstance(argument, Decoding):
            ours.append(argument.book.decoder(static.address_of))
            theirs.append(argument.book.decoder(TWINS["address_of"].gpu))
            continue
        if isinstance(argument, tuple):
            ours.append(
                tuple(part.in_main_memory() if isinstance(part, OnDevice) else part for part in argument)
            )
            theirs.append(
                tuple(cupy.asarray(part.array) if isinstance(part, OnDevice) else part for part in argument)
            )
            continue
        wrapped = isinstance(argument, OnDevice)
        ours.append(argument.in_main_memory() if wrapped else argument)
        theirs.append(cupy.asarray(argument.array) if wrapped else argument)
    expected, found = TWINS[name].cpu(*ours), TWINS[name].gpu(*theirs)
    if name in UNORDERED:
        slots, keys = theirs[-2].get(), ours[2]
        index.order_buckets(keys, 0, len(slots), slots)
        index.order_buckets(keys, 0, len(slots), ours[-2])
        theirs[-2] = cupy.asarray(slots)
    assert (expected is None) == (found is None)
    if expected is not None:
        assert int(expected) == int(found)
    for i, parts in enumerate(zip(ours, theirs, arguments, strict=True)):
        compared = zip(*parts, strict=True) if isinstance(parts[2], tuple) else [parts]
        for one, other, argument in compared:
            if isinstance(argument, OnDevice):
                message = f"argument {i} of {name}"
                np.testing.assert_array_equal(other.get(), one, err_msg=message, strict=True)


def words(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 2**64, shape, dtype=np.uint64)


def dense_rows(rng: np.random.Generator, n: int, d: int, dtype: str) -> np.ndarray:
    X = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-30, 30, (n, 1))
    if n > 3:
        X[0], X[1] = 0.0, X[2]
        X[3, ::2] = 0.0
    return X.astype(dtype)


def csr_rows(rng: np.random.Generator, n: int, d: int, dtype: str, index: str) -> tuple[OnDevice, ...]:
    X = dense_rows(rng, n, d, dtype)
    X[rng.random(X.shape) < 0.7] = 0.0
    rows, columns = np.nonzero(X)
    indptr = np.searchsorted(rows, np.arange(n + 1)).astype(np.int64)
    return to_read(indptr), to_read(columns.astype(index)), to_read(X[rows, columns])
