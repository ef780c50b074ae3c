"""The state of a sketch or static structure: named arrays, their device, and what derives from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import Backend, backend_named, device_of, to_host
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.types import Device

__all__ = ["REDUCTIONS", "ArraySpec", "Arrays", "SketchState", "Spec", "State", "StateArray", "StateSpec"]

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]

#: The most bytes that a state asks the system for, which may promise more than it has.
_MOST_BYTES = 1 << 44

#: The function that combines two arrays in place, for each named reduction. A reduction of another name is a
#: sketch's own, and goes through `MergeableSketch._reduce_custom`.
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "or": np.bitwise_or,
}

#: The largest number that counters of each dtype hold.
_LARGEST = {np.dtype(code): int(np.iinfo(code).max) for code in np.typecodes["AllInteger"]}


class Spec(Protocol):
    """The specification of an array before it is allocated or read."""

    @property
    def on_device(self) -> bool:
        """True if the array lies on the device of its object, False if it stays in main memory."""

    def accepts(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array of this shape and dtype fits the specification."""

    def completed(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array of a file with the zeros that the file leaves out at its end."""

    def __str__(self) -> str: ...


S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class StateSpec:
    """The specification of one array of a sketch's state.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
        NumPy name of the dtype that a new sketch has.
    reduction : str
        "sum", "max", "min", "or", or a name of the sketch's own.
    fill : int or float
        The identity of the reduction.
    widens_to : str or None
        For counters: the dtype that the array grows into before a counter would wrap.
    counts : bool
        True for counters that a reduction of the sketch's own merges. Sums of integers are counters anyway.
    on_device : bool
        True if the array lies on the sketch's device, False if it stays in main memory.
    remedy : str
        What makes the array smaller, as advice to a user who has not the memory.
    may_be_cut : bool
        True for an array of one dimension at whose end files may leave out zeros.
    """

    shape: tuple[int, ...]
    dtype: str
    reduction: str
    fill: int | float = 0
    widens_to: str | None = None
    counts: bool = field(default=False, kw_only=True)
    on_device: bool = field(default=True, kw_only=True)
    remedy: str = field(default="choose a smaller configuration", kw_only=True)
    may_be_cut: bool = field(default=False, kw_only=True)

    @property
    def nbytes(self) -> int:
        """Bytes of the array that a new sketch has."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def is_counter(self) -> bool:
        """True if a sketch reserves room before it adds to the array."""
        return self.counts or (self.reduction == "sum" and np.dtype(self.dtype).kind in "iu")

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    def accepts(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array of this shape and dtype fits the specification."""
        dtypes = {np.dtype(self.dtype), np.dtype(self.widens_to or self.dtype)}
        fits = shape == self.shape or (self.may_be_cut and len(shape) == 1 and shape < self.shape)
        return fits and dtype.newbyteorder("=") in dtypes

    def completed(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array of a file with the zeros that the file leaves out at its end."""
        if not self.may_be_cut or array.shape == self.shape:
            return array
        whole = np.zeros(self.shape, array.dtype)
        whole[: array.size] = array
        return whole

    def allocate(self, device: Device) -> NDArray[Any]:
        """Return the array of a new sketch; zeros come from the system untouched."""
        xp = backend_named(device if self.on_device else "cpu").xp
        if self.fill == 0:
            return xp.zeros(self.shape, self.dtype)
        return xp.full(self.shape, self.fill, self.dtype)


@dataclass(frozen=True)
class ArraySpec:
    """The specification of an array of any length."""

    dtype: str
    n_dimensions: int = 1
    #: True for arrays that look-ups read; the others stay in main memory.
    on_device: bool = False

    def __str__(self) -> str:
        return f"{self.dtype} of {self.n_dimensions} dimensions"

    def accepts(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array of this shape and dtype fits the specification."""
        return len(shape) == self.n_dimensions and dtype.newbyteorder("=") == np.dtype(self.dtype)

    def completed(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array of a file, which is complete."""
        return array


@dataclass(frozen=True)
class StateArray:
    """One array of a sketch's state and the name of the reduction that merges it."""

    array: NDArray[Any]
    reduction: str


class State(Generic[S]):
    """The named arrays of an object, the device that they lie on, and caches that die with them.

    Attributes
    ----------
    owner : str
        The name of the object's class, for messages.
    specs : mapping of str to specification
    arrays : dict of str to ndarray
    device : str
        "cpu" or "gpu".
    caches : dict
        Values that are derived from the arrays, under names that the object chooses.
    """

    arrays: Arrays

    def __init__(
        self, owner: str, specs: Mapping[str, S], arrays: Arrays | None = None, device: Device = "cpu"
    ) -> None:
        self.owner, self.specs, self.device = owner, specs, device
        self.caches: dict[str, Any] = {}
        if arrays is not None:
            self.arrays = arrays

    @property
    def backend(self) -> Backend:
        """The backend whose kernels serve the arrays where they lie."""
        return backend_named(self.device)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def cached(self, name: str, make: Callable[[], T]) -> T:
        """Return the cache of that name, which `make` makes at the first call."""
        return self.caches[name] if name in self.caches else self.caches.setdefault(name, make())

    def with_arrays(self, arrays: Arrays | None, device: Device | None = None) -> Self:
        """Return a state of the same specifications with other arrays, or None yet, and no caches."""
        return type(self)(self.owner, self.specs, arrays, self.device if device is None else device)

    def copy(self, device: Device | None = None) -> Self:
        """Return a state of equal arrays, here or on another device, that shares no memory with this one."""
        device = self.device if device is None else device
        arrays = {
            name: _copy(array, device if self.specs[name].on_device else "cpu")
            for name, array in self.arrays.items()
        }
        return self.with_arrays(arrays, device)


def _copy(array: NDArray[Any], device: Device) -> NDArray[Any]:
    """Return a copy of an array on a device."""
    if device_of(array) == device:
        return array.copy()
    return to_host(array) if device == "cpu" else backend_named(device).xp.asarray(array)


class SketchState(State[StateSpec], Mapping[str, StateArray]):
    """The state of a sketch: its arrays are allocated at first use, and its counters have room reserved.

    As a mapping it gives each array together with the name of its reduction.

    Attributes
    ----------
    counters : tuple of str
        Names of the arrays whose room is reserved.
    bounds : dict of str to int
        An upper bound of the magnitude of each array's counters, measured anew when it matters.
    decided_by : str or None
        The name of the argument that decided on the device, while an update of a sketch without data reads
        its arguments, and "" before one has. None at all other times.
    """

    def __init__(
        self, owner: str, specs: Mapping[str, StateSpec], arrays: Arrays | None = None, device: Device = "cpu"
    ) -> None:
        super().__init__(owner, specs, arrays, device)
        self.bounds: dict[str, int] = {}
        self.decided_by: str | None = None

    def __getitem__(self, name: str) -> StateArray:
        return StateArray(self.arrays[name], self.specs[name].reduction)

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    # -- memory -----------------------------------------------------------------------------------

    @lazy
    def arrays(self) -> Arrays:
        """Return the arrays by name. The first use allocates them, after a loader has checked a file."""
        try:
            if self.nbytes > _MOST_BYTES:
                raise MemoryError(f"more than {_MOST_BYTES >> 40} TiB are not asked for")
            return {name: spec.allocate(self.device) for name, spec in self.specs.items()}
        except MemoryError as error:
            name, spec = max(self.specs.items(), key=lambda item: item[1].nbytes)
            product = " x ".join(map(str, (*spec.shape, np.dtype(spec.dtype).itemsize)))
            raise MemoryError(
                f"{self.owner} needs {self.nbytes:,} bytes, for {name} alone {product}; "
                f"{spec.remedy} ({error})"
            ) from error

    @property
    def is_allocated(self) -> bool:
        """True if there are arrays, False as long as nothing has asked for them."""
        return SketchState.arrays.is_known(self)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, or of those that there will be; asking allocates nothing."""
        held = self.arrays if self.is_allocated else self.specs
        return sum(array.nbytes for array in held.values())

    def copy(self, device: Device | None = None) -> Self:
        """Return a state of equal arrays, here or on another device, that shares no memory with this one."""
        new = super().copy(device)
        new.bounds.update(self.bounds)
        return new

    # -- counters ---------------------------------------------------------------------------------

    @lazy
    def counters(self) -> tuple[str, ...]:
        """Names of the arrays whose room is reserved."""
        return tuple(name for name, spec in self.specs.items() if spec.is_counter)

    def bound(self, name: str) -> int:
        """Return an upper bound of the magnitude of any counter of `name`; the first call measures it."""
        if name not in self.bounds:
            array = self.arrays[name]
            self.bounds[name] = max(int(array.max()), -int(array.min())) if array.size else 0
        return self.bounds[name]

    def reserve(self, name: str, amount: int) -> None:
        """Make sure that no counter of `name` wraps when up to `amount` is added to each.

        It is called before anything changes. It widens the array, or raises OverflowError.
        """
        array = self.arrays[name]
        if self.bound(name) + amount > _LARGEST[array.dtype]:
            del self.bounds[name]
            needed = self.bound(name) + amount
            wider = self.specs[name].widens_to
            if needed > _LARGEST[array.dtype] and wider not in (None, array.dtype.name):
                array = self.arrays[name] = array.astype(wider)
            if needed > _LARGEST[array.dtype]:
                raise OverflowError(
                    f"{self.owner}.{name} cannot count beyond {_LARGEST[array.dtype]}; {amount} more might"
                )
        self.bounds[name] += amount

    @contextmanager
    def reserved(self, amounts: Mapping[str, int]) -> Iterator[None]:
        """Reserve room in several arrays for a block that adds to them.

        If the block fails, the arrays are those that were there before, as narrow as they were. What the
        block has added to one of them it takes out itself.
        """
        arrays, bounds = self.arrays.copy(), self.bounds.copy()
        try:
            for name, amount in amounts.items():
                self.reserve(name, amount)
            yield
        except BaseException:
            self.arrays.update(arrays)
            self.bounds = bounds
            raise

    @contextmanager
    def restored_on_failure(self) -> Iterator[None]:
        """Put the values of all arrays back if the block fails; that costs a copy of them."""
        arrays, bounds = self.arrays.copy(), self.bounds.copy()
        values = {name: array.copy() for name, array in arrays.items()}
        try:
            yield
        except BaseException:
            for name, array in arrays.items():
                array[...] = values[name]
            self.arrays.update(arrays)
            self.bounds = bounds
            raise


publish("mergesketch", ["StateArray"], globals())
