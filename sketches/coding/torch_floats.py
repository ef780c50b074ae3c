"""Tensors of PyTorch that hold `CompressedFloats`, and are decoded by the operations that read them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from .compressed_floats import CompressedFloats
from .float_formats import FORMATS
from .torch_rows import ROWS

__all__ = ["CompressedTensor", "can_compress"]

#: Unsigned integers of PyTorch that NumPy has too, by their bytes.
_BITS = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}


def can_compress(tensor: Tensor) -> bool:
    """Tell whether a tensor has its values in memory, in a format that `CompressedFloats` knows."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and _format(tensor.dtype) in FORMATS
    )


def _format(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _dtype(floats: CompressedFloats) -> torch.dtype:
    found: torch.dtype = getattr(torch, floats.format)
    return found


def _encode(tensor: Tensor, coding: str = "auto") -> CompressedFloats:
    """Compress a contiguous tensor."""
    bits = tensor.detach().cpu().view(_BITS[tensor.itemsize]).numpy()
    return CompressedFloats(bits, dtype=_format(tensor.dtype), coding=coding)


class _Storage:
    """Hold compressed floats for all tensors that share them, and their values while some call needs them.

    The floats are replaced, never changed, so that threads which decode them meanwhile are safe.
    """

    def __init__(self, floats: CompressedFloats) -> None:
        self.floats = floats
        self._lock = threading.Lock()
        self._decoded: Tensor | None = None
        self._users = 0
        #: A name in the last state_dict, and the plain tensor that it has there.
        self.in_state: tuple[str, weakref.ref[Tensor]] | None = None

    @property
    def dtype(self) -> torch.dtype:
        return _dtype(self.floats)

    def decode(self) -> Tensor:
        """Return the values in a tensor of their own."""
        floats = self.floats
        # The tensor must be of use outside of the inference mode that the caller may be in.
        with torch.inference_mode(False), torch.no_grad():
            out = torch.empty(floats.shape, dtype=_dtype(floats), device="cpu")
            floats.bits(out.view(_BITS[out.itemsize]).numpy())
        return out

    def read(self) -> Tensor:
        """Return the values, in the tensor of a call that keeps one."""
        decoded = self._decoded
        return self.decode() if decoded is None else decoded

    def keep(self) -> None:
        """Keep the values, once they are decoded by `fill`, until `release` is called as often as `keep`."""
        with self._lock:
            self._users += 1

    def fill(self) -> None:
        """Decode the values that are to be kept."""
        with self._lock:
            if self._users and self._decoded is None:
                self._decoded = self.decode()

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._decoded = None

    def replace(self, floats: CompressedFloats) -> None:
        with self._lock:
            self.floats, self._decoded = floats, None


class CompressedTensor(Tensor):  # type: ignore[misc]
    """A tensor whose values are compressed, and are decoded for each operation that reads them.

    `compress_module` makes the weights of a module such tensors. Operations see tensors of PyTorch itself,
    so that their results are the same, bit for bit. An operation that writes to the tensor compresses it
    again. Views of it are copies, but for transposed ones: what is written to them does not change it. It has
    no gradient.

    Attributes
    ----------
    compressed : CompressedFloats
        The values, in the order in which they lay in memory.
    """

    #: Operations choose their kernels as for other tensors, and only those that remain are given to
    #: ``__torch_dispatch__``.
    __torch_function__ = torch._C._disabled_torch_function_impl

    _storage: _Storage
    _axes: tuple[int, ...]
    _trainable: bool

    @staticmethod
    def __new__(
        cls,
        storage: _Storage,
        axes: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        trainable: bool = False,
    ) -> Self:
        shape = storage.floats.shape
        strides = [1] * len(shape)
        for k in range(len(shape) - 1, 0, -1):
            strides[k - 1] = strides[k] * max(shape[k], 1)
        new: Self = Tensor._make_wrapper_subclass(
            cls, [shape[k] for k in axes], [strides[k] for k in axes], dtype=dtype, device=device
        )
        new._storage, new._axes, new._trainable = storage, tuple(axes), trainable
        return new

    @classmethod
    def compress(cls, tensor: Tensor, coding: str = "auto", *, trainable: bool = False) -> Self:
        """Return a compressed copy of a tensor, with its order of dimensions in memory."""
        order = sorted(range(tensor.ndim), key=lambda k: -tensor.stride(k))
        axes = [order.index(k) for k in range(tensor.ndim)]
        floats = _encode(tensor.detach().permute(order).contiguous(), coding)
        return cls(_Storage(floats), axes, tensor.dtype, tensor.device, trainable)

    @classmethod
    def from_floats(cls, floats: CompressedFloats, device: torch.device, *, trainable: bool = False) -> Self:
        """Return a tensor of compressed floats."""
        storage = _Storage(floats)
        return cls(storage, range(floats.ndim), storage.dtype, device, trainable)

    @property
    def compressed(self) -> CompressedFloats:
        """The values, in the order in which they lay in memory."""
        return self._storage.floats

    def decompress(self) -> Tensor:
        """Return the values as a tensor of their own.

        Returns
        -------
        Tensor
            Of the same dtype and strides, on the same device.
        """
        return self._as_this(self._storage.decode())

    def _as_this(self, stored: Tensor) -> Tensor:
        """Return the stored values in the shape, dtype and device of this tensor."""
        return stored.permute(self._axes).to(device=self.device, dtype=self.dtype)

    def _read(self) -> Tensor:
        return self._as_this(self._storage.read())

    def _rows(self, rows: Any) -> Tensor | None:
        """Return some rows only, or None if they do not lie together in memory."""
        if self._storage._decoded is not None or self._axes != tuple(range(self.ndim)):
            return None
        floats = self.compressed
        found = torch.from_numpy(floats[rows].view(FORMATS[floats.format].bits_dtype))
        return found.view(_dtype(floats)).to(device=self.device, dtype=self.dtype)

    def _share(self, *, copy: bool = False, axes: Sequence[int] | None = None) -> CompressedTensor:
        """Return a tensor of the same values; it sees later writes unless it is a copy."""
        storage = _Storage(self.compressed) if copy else self._storage
        axes = self._axes if axes is None else [self._axes[k] for k in axes]
        return CompressedTensor(storage, axes, self.dtype, self.device, self._trainable)

    def _write(self, tensor: Tensor) -> None:
        """Replace the values."""
        if tensor.shape != self.shape:
            shapes = f"{list(self.shape)}, got {list(tensor.shape)}"
            raise RuntimeError(f"a compressed tensor must keep its shape {shapes}")
        order = [self._axes.index(k) for k in range(self.ndim)]
        # If this tensor was to be converted when it is read, its values have the new dtype from here on.
        self._storage.replace(_encode(tensor.detach().permute(order).contiguous()))

    # -- gradients and data -----------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """False: compressed tensors have no gradients."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Raise RuntimeError if gradients are asked for."""
        if requires_grad:
            raise RuntimeError(
                "a compressed tensor has no gradient and cannot be trained: call decompress_module first, or "
                "train other parameters of the model"
            )
        return self

    @property
    def data(self) -> Tensor:
        """The same values, apart from autograd."""
        return self._share()

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, CompressedTensor):
            new = CompressedTensor.compress(value)
        elif value.dtype == value._storage.dtype:
            new = value._share()
        else:
            new = CompressedTensor.compress(value.decompress())
        Tensor.data.__set__(self, new)
        self._storage, self._axes = new._storage, new._axes

    # -- operations -------------------------------------------------------------------------------

    @classmethod
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled() and func.is_view:
            # A view of this tensor, which was made outside of the inference mode, must be made there, too.
            with torch.inference_mode(False), torch.no_grad():
                return cls.__torch_dispatch__(func, types, args, kwargs)
        special = _OPERATIONS.get(func)
        if special is not None:
            found = special(*args, **kwargs)
            if found is not NotImplemented:
                return found
        if func._schema.is_mutable:
            return _call_and_write(func, args, kwargs)
        args, kwargs = tree_map_only(CompressedTensor, CompressedTensor._read, (args, kwargs))
        return func(*args, **kwargs)

    def __setitem__(self, where: Any, value: Any) -> None:
        # What brackets return is a copy, so that the operation could not write to this tensor.
        tensor = self.decompress()
        tensor[where] = value
        self._write(tensor)

    # -- copies -----------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> CompressedTensor:
        if id(self) not in memo:
            new = self._share(copy=True)
            memo[id(self)] = nn.Parameter(new, requires_grad=False) if self._is_parameter else new
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
        # torch.save writes the bytes of tensors as they are, and those of other objects as longer text.
        packed = torch.frombuffer(bytearray(self.compressed.to_bytes()), dtype=torch.uint8)
        state = (packed, self._axes, self.dtype, str(self.device), self._trainable)
        return _rebuild, (*state, self._is_parameter)

    @property
    def _is_parameter(self) -> bool:
        return isinstance(self, nn.Parameter)

    def share_memory_(self) -> Self:
        """Raise RuntimeError: other processes get the compressed values by pickling."""
        raise RuntimeError(
            "compressed tensors cannot lie in shared memory: other processes get copies of them"
        )

    def numpy(self, *, force: bool = False) -> Any:
        """Return the values as an array of NumPy."""
        return self.decompress().numpy(force=force)

    def tolist(self) -> Any:
        """Return the values in nested lists."""
        return self.decompress().tolist()

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"CompressedTensor({list(self.shape)}, dtype={self.dtype}, {self.compressed.nbytes:,} bytes)"


def _rebuild(
    packed: Tensor,
    axes: tuple[int, ...],
    dtype: torch.dtype,
    device: str,
    trainable: bool,
    is_parameter: bool,
) -> Tensor:
    """Return an unpickled tensor."""
    floats = CompressedFloats.from_bytes(memoryview(packed.numpy()))
    new = CompressedTensor(_Storage(floats), axes, dtype, torch.device(device), trainable)
    return nn.Parameter(new, requires_grad=False) if is_parameter else new


def _call_and_write(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call an operation that writes to some of its arguments, and compress those that were compressed."""
    names = [argument.name for argument in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    written: list[tuple[CompressedTensor, Tensor]] = []

    def decompress(value: CompressedTensor) -> Tensor:
        written.append((value, value.decompress()))
        return written[-1][1]

    for argument in func._schema.arguments:
        # It may be a list of tensors.
        if argument.name in given and argument.alias_info and argument.alias_info.is_write:
            given[argument.name] = tree_map_only(CompressedTensor, decompress, given[argument.name])
    # Other arguments may share the storage of one that is written to.
    plain = tree_map_only(CompressedTensor, CompressedTensor.decompress, given)
    positional = [plain.pop(name) for name in names[: len(args)]]
    found = func(*positional, **plain)
    for value, tensor in written:
        value._write(tensor)
    # Tensors that were written to are returned as they were given.
    back = {id(tensor): value for value, tensor in written}
    return tree_map_only(Tensor, lambda tensor: back.get(id(tensor), tensor), found)


def _permuted(tensor: Any, axes: Sequence[int]) -> Any:
    return tensor._share(axes=axes) if isinstance(tensor, CompressedTensor) else NotImplemented


def _transposed(tensor: Any, first: int = 0, second: int = 1) -> Any:
    """Return a transposed tensor, still compressed: linear layers keep it for the gradient of their input."""
    axes = list(range(tensor.ndim))
    if tensor.ndim >= 2:
        axes[first], axes[second] = axes[second], axes[first]
    return _permuted(tensor, axes)


def _converted(tensor: Any, **options: Any) -> Any:
    """Return a tensor that is converted when it is read."""
    dtype = options.get("dtype") or tensor.dtype
    device = torch.device(options.get("device") or tensor.device)
    if not set(options) <= {"dtype", "device", "non_blocking"} or _format(dtype) not in FORMATS:
        return NotImplemented
    if device.type == "meta":
        return NotImplemented
    # The values of this tensor itself may be converted already, and rounded by that.
    source = (
        tensor if tensor.dtype == tensor._storage.dtype else CompressedTensor.compress(tensor.decompress())
    )
    return CompressedTensor(_Storage(source.compressed), source._axes, dtype, device, tensor._trainable)


_aten = torch.ops.aten
#: Operations that need no decoding, or that of a few rows.
_OPERATIONS: dict[Any, Callable[..., Any]] = {
    _aten.detach.default: lambda tensor: tensor._share(),
    _aten.alias.default: lambda tensor: tensor._share(),
    _aten.clone.default: lambda tensor, memory_format=None: (
        NotImplemented if memory_format not in (None, torch.preserve_format) else tensor._share(copy=True)
    ),
    _aten.t.default: _transposed,
    _aten.transpose.int: _transposed,
    _aten.permute.default: lambda tensor, axes: _permuted(tensor, axes),
    _aten._to_copy.default: _converted,
    **ROWS,
}
