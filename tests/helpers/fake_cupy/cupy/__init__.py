"""The part of CuPy's interface that the library uses, over NumPy; see `fake_cupy`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as _np
from cuda_host import HostModule
from numpy.lib.mixins import NDArrayOperatorsMixin

IS_STAND_IN = True

float32, float64, int32, int64 = _np.float32, _np.float64, _np.int32, _np.int64
uint8, uint16, uint32, uint64, bool_ = _np.uint8, _np.uint16, _np.uint32, _np.uint64, _np.bool_
nan, inf, newaxis = _np.nan, _np.inf, None

#: Bytes that went to the device and to the host so far, for tests that count them.
copies = SimpleNamespace(to_device=0, to_host=0)

_SCALARS = (int, float, bool, _np.generic)


def _plain(value: Any) -> Any:
    """Return the NumPy array of an argument; refuse arrays of the host as CuPy does."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, _np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple):
        return tuple(_plain(part) for part in value)
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, slice):
        # CuPy takes the number out of an array without axes here; the array has no `__index__`.
        parts = (value.start, value.stop, value.step)
        return slice(*(int(part) if isinstance(part, ndarray) else part for part in parts))
    return value


def _wrap(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_wrap(part) for part in value)
    # CuPy has no scalars; it returns an array without axes where NumPy returns a scalar.
    return ndarray._of(_np.asarray(value)) if isinstance(value, (_np.ndarray, _np.generic)) else value


class ndarray(NDArrayOperatorsMixin):
    """An array "on the device"."""

    _array: _np.ndarray
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def _of(cls, array: _np.ndarray) -> ndarray:
        if array.dtype.kind not in "biufc":
            raise TypeError(f"Unsupported dtype {array.dtype}")
        new = object.__new__(cls)
        new._array = array
        return new

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy "
            "array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            return NotImplemented
        out = kwargs.pop("out", None)
        if out is not None:
            kwargs["out"] = tuple(_plain(part) for part in out)
        result = getattr(ufunc, method)(*(_plain(value) for value in inputs), **kwargs)
        return out[0] if out is not None else _wrap(result)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        ours = globals().get(function.__name__)
        if ours is None:
            return NotImplemented
        return ours(*args, **kwargs)

    def get(self) -> _np.ndarray:
        copies.to_host += self._array.nbytes
        return self._array.copy()

    def item(self) -> Any:
        copies.to_host += self._array.nbytes
        return self._array.item()

    def tolist(self) -> Any:
        copies.to_host += self._array.nbytes
        return self._array.tolist()

    def __bool__(self) -> bool:
        copies.to_host += self._array.nbytes
        return bool(self._array)

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return repr(self._array)

    def __getitem__(self, key: Any) -> Any:
        return _wrap(self._array[_plain(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._array[_plain(key)] = _plain(value)

    def __reduce__(self) -> Any:
        return asarray, (self.get(),)

    @property
    def device(self) -> Any:
        return cuda.Device(0)

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self._array.ctypes.data if self._array.size else 0)

    @property
    def flags(self) -> Any:
        return self._array.flags

    @property
    def T(self) -> ndarray:
        return _wrap(self._array.T)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self._array.__array_interface__, "version": 3}


for _name in ("dtype", "shape", "ndim", "size", "nbytes", "itemsize", "strides"):
    setattr(ndarray, _name, property(lambda self, name=_name: getattr(self._array, name)))


#: Sums, whose order depends on the device, and functions that CUDA rounds otherwise.
_SUMS = ("sum", "mean", "std")
_ROUNDED = ("arcsin", "exp", "exp2", "hypot", "log", "tanh")


def _check_kind(name: str, kwargs: dict[str, Any]) -> None:
    if "sort" in name and kwargs.get("kind") not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")


def _summed(name: str, array: _np.ndarray, *args: Any, **kwargs: Any) -> Any:
    """Sum numbers in another order than NumPy, because results must not depend on it."""
    axis = args[0] if args else kwargs.get("axis")
    if array.dtype.kind in "fc":
        array = _np.flip(array, axis)
    return getattr(_np, name)(array, *args, **kwargs)


def _one_ulp_off(result: Any) -> Any:
    moved = _np.nextafter(result, _np.inf)
    # Whole powers of two and the like are exact on all devices.
    return _np.where(result == _np.rint(result), result, moved).astype(result.dtype)


def _method(name: str) -> Any:
    def call(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        _check_kind(name, kwargs)
        out = kwargs.get("out")
        kwargs = {key: _plain(value) for key, value in kwargs.items()}
        if name in _SUMS:
            result = _wrap(_summed(name, self._array, *_plain(args), **kwargs))
        else:
            result = _wrap(getattr(self._array, name)(*_plain(args), **kwargs))
        return out if out is not None else result

    return call


for _name in (
    *("all", "any", "argmax", "argmin", "argsort", "astype", "copy", "cumsum", "dot", "fill", "max", "mean"),
    *("min", "nonzero", "ravel", "repeat", "reshape", "sort", "std", "sum", "swapaxes", "transpose", "view"),
):
    setattr(ndarray, _name, _method(_name))


def _function(name: str) -> Any:
    theirs = getattr(_np, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        _check_kind(name, kwargs)
        out = kwargs.get("out")
        args, kwargs = _plain(args), {key: _plain(value) for key, value in kwargs.items()}
        if name in _SUMS:
            result = _summed(name, *args, **kwargs)
        elif name == "bincount" and len(args) == 2:
            result = theirs(_np.flip(args[0]), _np.flip(args[1]), **kwargs)
        elif name == "matmul" and args[0].ndim > 1 < args[1].ndim:
            result = theirs(args[0][..., ::-1], args[1][..., ::-1, :], **kwargs)
        else:
            result = theirs(*args, **kwargs)
        if name in _ROUNDED:
            result = _one_ulp_off(result)
        return out if out is not None else _wrap(result)

    call.__name__ = name
    return call


for _name in (
    *("abs", "add", "all", "any", "append", "arange", "argsort", "array_equal", "ascontiguousarray"),
    *("bitwise_or", "broadcast_to", "concatenate", "count_nonzero", "cumsum", "diff", "divide", "empty_like"),
    *(
        "equal",
        "expand_dims",
        "flatnonzero",
        "full",
        "full_like",
        "isfinite",
        "isnan",
        "matmul",
        "max",
        "eye",
    ),
    *(
        "maximum",
        "mean",
        "median",
        "min",
        "minimum",
        "nonzero",
        "ones",
        "ones_like",
        "repeat",
    ),
    *("sort", "sqrt", "square", "stack", "std", "subtract", "sum", "take", "unique", "where", "zeros"),
    *(
        "zeros_like",
        "bitwise_and",
        "bincount",
        "clip",
        "dot",
        "einsum",
        "exp2",
        "floor",
        "ldexp",
        "log",
        "exp",
        "arcsin",
        "hypot",
        "rint",
        "tanh",
        "take_along_axis",
    ),
):
    globals()[_name] = _function(_name)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    # Memory that was not written is garbage on a GPU; here it is a pattern, NaN or huge in most dtypes.
    array = _np.empty(shape, dtype, order)
    array.reshape(-1).view(_np.uint8)[...] = 0xFB
    return ndarray._of(array)


def asarray(array: Any, dtype: Any = None, order: str | None = None) -> ndarray:
    if isinstance(array, ndarray):
        return _wrap(_np.asarray(array._array, dtype, order=order))
    made = ndarray._of(_np.array(array, dtype, order=order or "K"))
    copies.to_device += made.nbytes
    return made


array = asarray


def asnumpy(array: Any) -> _np.ndarray:
    return array.get() if isinstance(array, ndarray) else _np.asarray(array)


def from_dlpack(array: Any) -> ndarray:
    return array if isinstance(array, ndarray) else asarray(_np.from_dlpack(array))


def packbits(array: ndarray) -> ndarray:
    # Like CuPy's, it takes flat arrays.
    if array.ndim != 1:
        raise NotImplementedError("packbits of more dimensions than one")
    return ndarray._of(_np.packbits(array._array))


def lexsort(keys: ndarray) -> ndarray:
    # Like CuPy's, it takes the rows of one array.
    if not isinstance(keys, ndarray) or keys.ndim > 2:
        raise TypeError("lexsort needs an array of one or two dimensions")
    return _wrap(_np.lexsort(keys._array))


def searchsorted(a: ndarray, v: Any, side: str = "left", sorter: Any = None) -> ndarray:
    # Like CuPy's, it takes arrays and Python's numbers.
    if not isinstance(a, ndarray) or not isinstance(v, (ndarray, int, float)):
        raise NotImplementedError("Only python scalars or ndarrays are supported for v")
    return _wrap(_np.asarray(_np.searchsorted(a._array, _plain(v), side, _plain(sorter))))


def isin(element: ndarray, test_elements: ndarray) -> ndarray:
    if not isinstance(element, ndarray) or not isinstance(test_elements, ndarray):
        raise AttributeError("isin needs two arrays")
    return _wrap(_np.isin(element._array, test_elements._array))


def _add_at(array: ndarray, places: Any, values: Any) -> None:
    # Like CuPy's, it refuses 64-bit signed integers.
    if array.dtype not in (_np.int32, _np.uint32, _np.uint64, _np.float32, _np.float64):
        raise TypeError(f"add.at does not support {array.dtype}")
    places, values = _np.broadcast_arrays(_plain(places), _plain(values))
    # Atomic additions come in any order.
    _np.add.at(array._array, _np.flip(places), _np.flip(values))


globals()["add"].at = _add_at


def shares_memory(a: ndarray, b: ndarray) -> bool:
    return _np.shares_memory(a._array, b._array)


def get_array_module(*arrays: Any) -> Any:
    import cupy

    return cupy if any(isinstance(a, ndarray) for a in arrays) else _np


class RawModule:
    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        self._module = HostModule(code)

    def get_function(self, name: str) -> Any:
        if name not in self._module.parameters:
            raise KeyError(f"no kernel named {name}")

        def kernel(grid: Any, block: Any, args: Any, shared_mem: int = 0) -> None:
            plain = tuple(value._array if isinstance(value, ndarray) else value for value in args)
            self._module.launch(name, grid, block, plain, shared_mem)

        return kernel


class _Stream:
    null: Any

    def __init__(self, non_blocking: bool = False, ptr: int | None = None) -> None:
        self.ptr = id(self) if ptr is None else ptr

    def synchronize(self) -> None:
        pass

    def __enter__(self) -> _Stream:
        _streams.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        _streams.pop()


_streams = [_Stream(ptr=0)]


class _Device:
    def __init__(self, number: int = 0) -> None:
        if number != 0:
            raise cuda.runtime.CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.id = number
        # The blocks are few, so that the threads' loops run more than once.
        self.attributes = {
            "MultiProcessorCount": 1,
            "MaxThreadsPerBlock": 64,
            "MaxSharedMemoryPerBlock": 49152,
        }
        self.mem_info = (1 << 30, 1 << 30)

    def synchronize(self) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __enter__(self) -> _Device:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


class _RuntimeError(RuntimeError):
    pass


cuda = SimpleNamespace(
    Device=_Device,
    Stream=_Stream,
    get_current_stream=lambda: _streams[-1],
    is_available=lambda: True,
    runtime=SimpleNamespace(getDevice=lambda: 0, getDeviceCount=lambda: 1, CUDARuntimeError=_RuntimeError),
    memory=SimpleNamespace(OutOfMemoryError=MemoryError),
)


def get_default_memory_pool() -> Any:
    return SimpleNamespace(free_all_blocks=lambda: None, used_bytes=lambda: 0)
