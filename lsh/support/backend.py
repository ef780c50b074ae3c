"""Backends: where arrays lie, in main memory or on a GPU, and the kernels that serve them there."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .install import how_to_install
from .threads import map_blocks
from .types import ArrayModule, Device

__all__ = [
    "CPU",
    "GPU",
    "PLACES",
    "Backend",
    "add_at",
    "as_array",
    "backend_named",
    "backend_of",
    "check_one_device",
    "device_of",
    "read_only",
    "refuse_gpu",
    "refuse_tensor",
    "sum_rows",
    "to_host",
]

T = TypeVar("T")

#: Where arrays of a device lie, in messages.
PLACES = {"cpu": "in main memory", "gpu": "on the GPU"}

#: Numbers of CUDA's devices, and of memory that they share with the CPU, in the DLPack standard.
_CUDA = (2, 13)


class Backend(ABC):
    """Where arrays lie, and the kernels that serve them there; there are two, `CPU` and `GPU`.

    Attributes
    ----------
    device : str
        "cpu" or "gpu".
    """

    device: Device

    @property
    @abstractmethod
    def xp(self) -> ArrayModule:
        """NumPy, or CuPy."""

    @abstractmethod
    def kernels(self, module: ModuleType) -> Any:
        """Return the twin of a module of Numba kernels: functions of the same names, arguments and results.

        Parameters
        ----------
        module : module
            Of a ``kernels/`` folder. It is its own twin for arrays in main memory; for arrays on a GPU the
            twin is the module of its last name in `mergesketch.gpu`.
        """

    @abstractmethod
    def map_blocks(self, function: Callable[[int, int], T], n: int, block: int) -> list[T]:
        """Call ``function(start, stop)`` on ranges of n rows: over threads, or once on a GPU."""

    @abstractmethod
    def constant(self, array: Any) -> Any:
        """Return parameters that are drawn on the CPU, as an array that the kernels can read."""


class _Cpu(Backend):
    device = "cpu"
    xp = cast(ArrayModule, np)

    def kernels(self, module: ModuleType) -> Any:
        return module

    def map_blocks(self, function: Callable[[int, int], T], n: int, block: int) -> list[T]:
        return map_blocks(function, n, block)

    def constant(self, array: Any) -> Any:
        return array


class _Gpu(Backend):
    device = "gpu"

    @property
    def xp(self) -> ArrayModule:
        import cupy

        return cast(ArrayModule, cupy)

    def kernels(self, module: ModuleType) -> Any:
        return _gpu_twin(module.__name__.rpartition(".")[2])

    def map_blocks(self, function: Callable[[int, int], T], n: int, block: int) -> list[T]:
        # A launch covers all rows, and other threads would leave the caller's stream.
        return [function(0, n)] if n > 0 else []

    def constant(self, array: Any) -> Any:
        from ...gpu.launch import constant

        return constant(array)


class _GpuTwin:
    """The GPU twin of a module of kernels, which may lack some of them, or all."""

    def __init__(self, stem: str) -> None:
        self._stem = stem
        self._module: ModuleType | None = None
        if find_spec(f"mergesketch.gpu.{stem}") is not None:
            self._module = import_module(f"mergesketch.gpu.{stem}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._module is None or not hasattr(self._module, name):
            raise NotImplementedError(
                f"there is no GPU kernel {self._stem}.{name} yet; pass arrays in main memory, array.get(), "
                'and move the sketch with .to("cpu")'
            )
        kernel = self.__dict__[name] = getattr(self._module, name)
        return kernel


_gpu_twin = cache(_GpuTwin)

CPU: Backend = _Cpu()
GPU: Backend = _Gpu()


def device_of(array: Any) -> Device:
    """Return "gpu" for CuPy arrays, CuPy sparse matrices, pairs of them, and other arrays on a CUDA device.

    All other values are on the "cpu".
    """
    if isinstance(array, tuple) and array:
        return device_of(array[0])
    if _is_cupy(array):
        return "gpu"
    if not isinstance(array, np.ndarray) and hasattr(array, "__dlpack_device__"):
        try:
            return "gpu" if int(array.__dlpack_device__()[0]) in _CUDA else "cpu"
        except (BufferError, RuntimeError, TypeError, ValueError):
            # DLPack has no such device, as for PyTorch's "meta": who reads the array refuses it by name.
            return "cpu"
    return "cpu"


def _is_cupy(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] in ("cupy", "cupyx")


def backend_named(device: str) -> Backend:
    """Return the backend of a device, "cpu" or "gpu".

    Raises
    ------
    ValueError
        If `device` is neither.
    ImportError, RuntimeError
        For "gpu" if CuPy is not installed, or finds no GPU.
    """
    if device == "cpu":
        return CPU
    if device != "gpu":
        raise ValueError(f'device must be "cpu" or "gpu", got {device!r}')
    try:
        import cupy
    except ImportError as error:
        advice = f"{how_to_install('gpu')} (gpu-cuda13 for CUDA 13)"
        raise ImportError(f"CuPy is needed for the GPU: {advice}") from error
    if not cupy.cuda.is_available():
        raise RuntimeError("CuPy finds no GPU: cupy.cuda.is_available() is False")
    return GPU


def backend_of(array: Any) -> Backend:
    """Return the backend of `array`: `GPU` for CuPy arrays, `CPU` for all others."""
    return backend_named(device_of(array))


def as_array(X: Any, name: str = "X") -> NDArray[Any]:
    """Return `X` as an array where it lies: CuPy arrays as they are, other values by ``numpy.asarray``.

    Arrays in the other byte order, or at unaligned addresses, are copied, because kernels and views of bits
    cannot read them. Arrays of other libraries that lie on a GPU (PyTorch's, JAX's) become CuPy arrays of the
    same memory. Tensors of PyTorch that are no arrays yet are refused by the `name` of the argument.
    """
    try:
        if device_of(X) == "gpu":
            X = X if _is_cupy(X) else backend_named("gpu").xp.from_dlpack(X)
            return cast(NDArray[Any], X)
        array = np.asarray(X)
    except (TypeError, RuntimeError, BufferError):
        refuse_tensor(X, name)
        raise
    if array.dtype.isnative and array.flags.aligned:
        return array
    return array.astype(array.dtype.newbyteorder("="))


def refuse_tensor(X: Any, name: str) -> None:
    """Raise TypeError if `X` is a tensor of PyTorch, or a list of some, that NumPy cannot read.

    The message names the calls that make it readable, where there are some.
    """
    tensor = X
    while isinstance(tensor, (list, tuple)) and tensor:
        tensor = tensor[0]
    # Only a program that has imported PyTorch can have made a tensor.
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(tensor, torch.Tensor):
        return
    if tensor.device.type == "meta":
        raise TypeError(f'{name} must hold numbers, got a tensor on the device "meta", which has none')
    has_dtype = hasattr(np, str(tensor.dtype).removeprefix("torch."))
    reasons = (
        (tensor.requires_grad, "that requires grad", "detach()"),
        (tensor.layout != torch.strided, f"in the layout {tensor.layout}", "to_dense()"),
        (tensor.is_quantized, "that is quantized", "dequantize()"),
        (tensor.is_floating_point() and not has_dtype, "that NumPy does not have", "float()"),
        (tensor.is_conj(), "with conjugate bit", "resolve_conj()"),
        (tensor.is_neg(), "with negative bit", "resolve_neg()"),
        (tensor.device.type not in ("cpu", "cuda"), f"on {tensor.device}", "cpu()"),
    )
    found = [(reason, call) for is_so, reason, call in reasons if is_so]
    if found:
        calls = ".".join(call for _, call in found)
        raise TypeError(
            f"{name} must be numbers that NumPy can read, got a tensor of {tensor.dtype} "
            f"{' and '.join(reason for reason, _ in found)}; pass "
            + (f"{name}.{calls}" if tensor is X else f"tensors after {calls}")
        )


def refuse_gpu(what: str, *arrays: Any) -> None:
    """Raise NotImplementedError if an array lies on a GPU, where `what` has no kernels."""
    if any(device_of(array) == "gpu" for array in arrays):
        raise NotImplementedError(f"{what} has no GPU kernels; pass arrays in main memory: array.get()")


def check_one_device(name: str, array: Any, other_name: str, other: Any) -> None:
    """Raise TypeError unless two arguments lie on one device."""
    here, there = device_of(array), device_of(other)
    if here != there:
        raise TypeError(
            f"{other_name} lies {PLACES[there]}, but {name} {PLACES[here]}: copy one to where the other is"
        )


def add_at(array: Any, places: Any, values: Any) -> None:
    """Do ``numpy.add.at``. CuPy's has no int64, so int64 is added as uint64, which wraps in the same way."""
    if array.dtype == np.int64:
        array, values = array.view(np.uint64), values.view(np.uint64)
    backend_of(array).xp.add.at(array, places, values)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written to: one compiled kernel then serves mapped arrays and others."""
    if not isinstance(array, np.ndarray):  # it lies on a GPU
        return array
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def sum_rows(values: Any) -> Any:
    """Return ``values.sum(axis=0)``, with real numbers added in one order on every device: half onto half."""
    if values.dtype.kind != "f" or len(values) == 0:
        return values.sum(axis=0)
    half = -(-len(values) // 2)
    sums = values[:half].copy()
    sums[: len(values) - half] += values[half:]
    while half > 1:
        n, half = half, -(-half // 2)
        sums[: n - half] += sums[half:n]
    return sums[0]


def to_host(array: Any) -> NDArray[Any]:
    """Return `array` in main memory; one on a GPU is copied."""
    return np.asarray(array.get() if device_of(array) == "gpu" else array)
