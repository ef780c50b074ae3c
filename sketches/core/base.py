"""The common interface: a sketch is a configuration and a commutative monoid of arrays.

A subclass declares its configuration (`_parameters`), its state (`_layout`) with the reduction that
merges each array, and its own updates and queries. Merging, subtraction, copying, equality,
serialization, pickling and memory accounting are written here, once.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import Backend, backend_named, device_of
from ...lsh.support.configured import differing_field, register
from ...lsh.support.lazy import lazy
from ...lsh.support.types import Device
from .guard import changing, locked, uninterrupted
from .stored import Stored

__all__ = ["REDUCTIONS", "MergeableSketch", "StateArray", "StateSpec", "sketch_classes"]

#: More is not asked for: a system may promise it all the same.
_MOST_BYTES = 1 << 44

#: In-place combination of two arrays for each named reduction. A reduction outside this table is a
#: sketch's own and goes through `MergeableSketch._reduce_custom`.
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "or": np.bitwise_or,
}


@dataclass(frozen=True)
class StateSpec:
    """One array of a sketch's state, before it is allocated.

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
        For integer sums: the dtype that the array grows into before a counter would wrap.
    """

    shape: tuple[int, ...]
    dtype: str
    reduction: str
    fill: int | float = 0
    widens_to: str | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the array that a new sketch has."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    def accepts(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Whether an array of this shape and dtype could be this state."""
        dtypes = {np.dtype(self.dtype), np.dtype(self.widens_to or self.dtype)}
        return shape == self.shape and dtype.newbyteorder("=") in dtypes


@dataclass(frozen=True)
class StateArray:
    """One array of a sketch's state and the name of the reduction that merges it."""

    array: NDArray[Any]
    reduction: str


def _changing(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def change(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lock, changing(self):
            if "_arrays" in self.__dict__:
                return method(self, *args, **kwargs)
            # Without data: what is refused leaves neither empty arrays nor a device.
            before = self.__dict__.copy()
            self.__dict__["_first_argument"] = None
            try:
                return method(self, *args, **kwargs)
            except BaseException:
                for name in ("_arrays", "_bounds", "_device"):
                    self.__dict__.pop(name, None)
                    if name in before:
                        self.__dict__[name] = before[name]
                raise
            finally:
                self.__dict__.pop("_first_argument", None)

    return change


class MergeableSketch(Stored):
    """Base of every sketch: built in one pass, and merged exactly.

    Two sketches merge if and only if their classes and configurations are equal. For integer states
    merging is bit for bit what one sketch over all the data would hold, in any order and grouping;
    for float states it is so up to rounding.

    Notes
    -----
    Threads may share a sketch: what changes it, saves, copies or compares it takes turns, which costs an
    update a few microseconds. Queries do not wait; one that runs beside an update may find some of its rows.

    A batch is in or it is not. If memory runs out while it is read or hashed, nothing is changed. Ctrl-C, and
    whatever else the handlers of SIGINT, SIGTERM and SIGALRM raise, is raised before the batch begins to
    go in, or when it is in; what exceptions others throw into a thread from outside is not held back. What no
    program can promise is the rest of a batch when the system kills it, or has no memory even for the
    kernels' small buffers.

    After a fork the child's copy is its own. Where another thread was changing the sketch just then, the
    child refuses it by RuntimeError.
    """

    _registry: ClassVar[dict[str, type[MergeableSketch]]] = {}
    #: Methods that change the state: one at a time on one object, and what they refuse leaves no trace.
    _changing: ClassVar[tuple[str, ...]] = ("update", "add", "advance")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register(MergeableSketch._registry, cls)
        for name in cls._changing:
            if name in cls.__dict__:
                setattr(cls, name, _changing(cls.__dict__[name]))

    # -- what a sketch declares -------------------------------------------------------------------

    @abstractmethod
    def _layout(self) -> dict[str, StateSpec]:
        """The arrays of the state (`n_updates` aside), from the configuration alone."""

    @abstractmethod
    def update(self, X: Any, *args: Any, **kwargs: Any) -> Self:
        """Take in a batch of rows or keys; returns the sketch itself.

        Parameters
        ----------
        X : n rows or keys
        *args, **kwargs
            What belongs to them, as the class says: weights, counts, targets, ...

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If they are not what the class takes; nothing is changed then.
        """

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        """Merge the arrays that share a reduction of the sketch's own into `ours`, in place.

        Called once the arrays of the named reductions are merged, so `self._arrays` holds their result.
        """
        raise TypeError(f"{type(self).__name__} declares no reduction named {reduction!r}")

    # -- state ------------------------------------------------------------------------------------

    def _specs(self) -> dict[str, StateSpec]:
        return {**self._layout(), "n_updates": StateSpec((1,), "int64", "sum")}

    @lazy
    def _arrays(self) -> dict[str, NDArray[Any]]:
        # Allocated at first use, so that a loader can check a stranger's file before any memory is
        # taken. Zeros come from the system untouched.
        xp, specs = backend_named(self.device).xp, self._specs()
        try:
            if sum(spec.nbytes for spec in specs.values()) > _MOST_BYTES:
                raise MemoryError(f"more than {_MOST_BYTES >> 40} TiB are not asked for")
            arrays: dict[str, NDArray[Any]] = {
                name: xp.zeros(spec.shape, spec.dtype)
                if spec.fill == 0
                else xp.full(spec.shape, spec.fill, spec.dtype)
                for name, spec in specs.items()
            }
        except MemoryError as error:
            name, spec = max(specs.items(), key=lambda item: item[1].nbytes)
            product = " x ".join(map(str, (*spec.shape, np.dtype(spec.dtype).itemsize)))
            raise MemoryError(
                f"{type(self).__name__} needs {self.nbytes:,} bytes, for {name} alone {product}; "
                f"{self._remedy} ({error})"
            ) from error
        return {**arrays, "n_updates": np.zeros(1, np.int64)}

    @lazy
    def _bounds(self) -> dict[str, int]:
        """For integer sums: an upper bound of any counter's magnitude, tightened when it matters."""
        return {}

    @property
    def state(self) -> Mapping[str, StateArray]:
        """The named arrays and their reductions. Views, not copies: do not write to them."""
        specs = self._specs()
        with self._lock:
            self._canonicalise()
            return {name: StateArray(a, specs[name].reduction) for name, a in self._arrays.items()}

    # -- devices ----------------------------------------------------------------------------------

    @property
    def device(self) -> Device:
        """Where the state lies: "cpu" or "gpu"."""
        device: Device = self.__dict__.get("_device", "cpu")
        return device

    #: What makes the state smaller.
    _remedy: ClassVar[str] = "choose a smaller configuration"

    #: Whether there are CUDA kernels for all that the class does with arrays.
    _gpu: ClassVar[bool] = False

    @property
    def _backend(self) -> Backend:
        """The kernels that serve the state where it lies; `xp` among them is NumPy or CuPy."""
        return backend_named(self.device)

    @classmethod
    def _check_device(cls, device: str) -> None:
        if device == "gpu" and not cls._gpu:
            raise NotImplementedError(
                f"{cls.__name__} has no GPU kernels; pass arrays in main memory: array.get()"
            )

    def to(self, device: Device) -> Self:
        """A copy of the sketch whose state lies on a device: its updates and queries take arrays there.

        Parameters
        ----------
        device : {"cpu", "gpu"}
            "gpu" is CuPy's current device.

        Returns
        -------
        A new sketch of the same class, configuration and state, sharing no memory with this one.

        Raises
        ------
        TypeError, ValueError
            If `device` is neither.
        NotImplementedError
            For "gpu" if the class has no kernels there.
        ImportError, RuntimeError
            For "gpu" if CuPy is not installed, or finds no GPU.

        Notes
        -----
        A sketch without data needs no moving: it goes to where its first rows lie. Sketches of the two
        devices merge: what is merged in is copied to where the other one is.
        """
        if not isinstance(device, str):
            raise TypeError(f'device must be "cpu" or "gpu", got {device!r}')
        self._check_device(device)
        xp = backend_named(device).xp
        new = self.empty_like()
        new.__dict__["_device"] = device
        arrays = {}
        with self._lock:
            self._canonicalise()
            for name, array in self._arrays.items():
                if name != "n_updates" and device != self.device:
                    arrays[name] = xp.asarray(array) if device == "gpu" else array.get()  # type: ignore[attr-defined]
                else:
                    arrays[name] = array.copy()
            new._adopt(arrays)
            new._bounds.update(self._bounds)
        return new

    def _beside(self, other: Self) -> Self:
        """`other`, or a copy of it on our device."""
        return other if other.device == self.device else other.to(self.device)

    def _settle(self, name: str, X: Any) -> None:
        """Go to where the first data lie; refuse later data, named `name`, of the other device."""
        if X is None:
            return
        device, first = device_of(X), self.__dict__.get("_first_argument")
        if device != self.device and (first or "_arrays" in self.__dict__):
            here, there = ("on the GPU", "in main memory")[:: 1 if self.device == "gpu" else -1]
            if "_arrays" not in self.__dict__:
                raise TypeError(f"{name} lies {there}, but {first} {here}: copy one to where the other is")
            raise TypeError(
                f"{name} lies {there}, but the {type(self).__name__} {here}: copy the rows there, or move "
                f'the sketch with .to("{device}")'
            )
        if "_arrays" not in self.__dict__:
            self._check_device(device)
            self.__dict__["_device"] = device
            if "_first_argument" in self.__dict__:
                self.__dict__["_first_argument"] = first or name

    def _bring(self, name: str, values: Any) -> Any:
        """`values` as an array where the sketch is: lists are brought there, arrays must be there."""
        array = check_array(name, values)
        if device_of(array) != self.device:
            if self.device == "cpu" or not isinstance(values, (list, tuple, range, int, np.generic)):
                self._settle(name, array)
            array = self._backend.xp.asarray(array)
        return array

    @property
    def n_updates(self) -> int:
        """Rows or keys taken in so far, over all merged parts (less those subtracted)."""
        return int(self._arrays["n_updates"][0]) if "_arrays" in self.__dict__ else 0

    @property
    def nbytes(self) -> int:
        """Bytes of the state; known from the configuration, save that counters may have widened."""
        # Asking must not allocate: a configuration may be looked at before it is found too large.
        if "_arrays" not in self.__dict__:
            return sum(spec.nbytes for spec in self._specs().values())
        return sum(array.nbytes for array in self._arrays.values())

    def _bound(self, name: str) -> int:
        """The largest magnitude among the counters `name`, measured once and then kept up."""
        array = self._arrays[name]
        if name not in self._bounds:
            self._bounds[name] = max(int(array.max()), -int(array.min())) if array.size else 0
        return self._bounds[name]

    def _reserve(self, name: str, amount: int) -> None:
        """Make sure that no counter of `name` wraps when up to `amount` is added to each.

        Call it before anything changes. Widens the array, or raises OverflowError.
        """
        array = self._arrays[name]
        if self._bound(name) + amount > np.iinfo(array.dtype).max:
            del self._bounds[name]
            needed = self._bound(name) + amount
            wider = self._specs()[name].widens_to
            if needed > np.iinfo(array.dtype).max and wider not in (None, array.dtype.name):
                array = self._arrays[name] = array.astype(wider)
            if needed > np.iinfo(array.dtype).max:
                raise OverflowError(
                    f"{type(self).__name__}.{name} cannot count beyond "
                    f"{np.iinfo(array.dtype).max}; {amount} more might"
                )
        self._bounds[name] += amount

    def _integer_sums(self) -> list[str]:
        specs = self._specs()
        return [n for n, s in specs.items() if s.reduction == "sum" and np.dtype(s.dtype).kind in "iu"]

    # -- merging ----------------------------------------------------------------------------------

    def _check_compatible(self, other: object) -> None:
        if type(other) is not type(self):
            raise IncompatibleSketchError(
                f"expected a {type(self).__name__} to merge, got {type(other).__name__}"
            )
        assert isinstance(other, MergeableSketch)
        difference = differing_field(self.config(), other.config())
        if difference is not None:
            raise IncompatibleSketchError(f"{type(self).__name__} sketches differ in {difference}")

    def _part(self) -> tuple[int, ...]:
        """The numbers by which `_check_parts` tells whether parts may be merged."""
        return ()

    @classmethod
    def _check_parts(cls, parts: Sequence[tuple[int, ...]]) -> None:
        """Raise IncompatibleSketchError if these, as `_part` gives them, cannot be parts of one whole."""

    def merge(self, *others: Self) -> Self:
        """Take in other sketches of the same configuration, in place.

        Parameters
        ----------
        *others : same class and configuration
            Unchanged. The sketch itself may be among them, and then counts twice.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        IncompatibleSketchError
            Naming the first field that differs, or what the parts may not have in common, as the rows' ids
            of an `LSHIndex`; nothing is changed.
        OverflowError
            If a 64-bit counter could wrap; nothing is changed.
        """
        for other in others:
            self._check_compatible(other)
        with locked(self, *others), changing(self):
            self._check_parts([part._part() for part in (self, *others)])
            others = tuple(other.copy() if other is self else self._beside(other) for other in others)
            for other in others:
                other._canonicalise()
            with uninterrupted():
                for name in self._integer_sums():
                    self._reserve(name, sum(other._bound(name) for other in others))
                with self._restored_on_failure() if self._has_own_reduction() else nullcontext():
                    for other in others:
                        self._reduce_arrays(other._arrays)
        return self

    def _has_own_reduction(self) -> bool:
        """Tell whether a reduction of the sketch's own may fail, for want of memory, when others are done."""
        return any(spec.reduction not in REDUCTIONS for spec in self._specs().values())

    @contextmanager
    def _restored_on_failure(self) -> Iterator[None]:
        """Put the state back if the block fails; it costs a copy of the state."""
        arrays, bounds = {name: array.copy() for name, array in self._arrays.items()}, dict(self._bounds)
        try:
            yield
        except BaseException:
            self._adopt(arrays)
            self._bounds.update(bounds)
            raise

    def _reduce_arrays(self, theirs: Mapping[str, NDArray[Any]]) -> None:
        custom: dict[str, list[str]] = {}
        for name, spec in self._specs().items():
            if spec.reduction in REDUCTIONS:
                ours = self._arrays[name]
                REDUCTIONS[spec.reduction](ours, theirs[name], out=ours)
            else:
                custom.setdefault(spec.reduction, []).append(name)
        for reduction, names in custom.items():
            ours_of = {name: self._arrays[name] for name in names}
            self._reduce_custom(reduction, ours_of, {name: theirs[name] for name in names})

    def __or__(self, other: Self) -> Self:
        if not isinstance(other, MergeableSketch):
            return NotImplemented
        return self.copy().merge(other)

    def subtract(self, other: Self) -> Self:
        """Take another sketch's data out again, in place; for sketches whose states all add.

        Parameters
        ----------
        other : same class and configuration
            Usually a part that was merged in before. Unchanged.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError
            If a state of this class is not a sum.
        IncompatibleSketchError, OverflowError
            As `merge` does; nothing is changed.
        """
        specs = self._specs()
        others = sorted({s.reduction for n, s in specs.items() if n not in self._not_compared} - {"sum"})
        if others:
            raise TypeError(f"{type(self).__name__} cannot subtract: its state merges by {', '.join(others)}")
        self._check_compatible(other)
        with locked(self, other), changing(self):
            other = self._beside(other)
            with uninterrupted():
                for name in self._integer_sums():
                    self._reserve(name, other._bound(name))
                theirs = dict(other._arrays)
                for name, ours in self._arrays.items():
                    # What is noted of the data beside the sums, a largest weight say, holds on.
                    combine = REDUCTIONS[specs[name].reduction] if name in self._not_compared else np.subtract
                    combine(ours, theirs[name], out=ours)
        return self

    # -- copies and comparison --------------------------------------------------------------------

    def empty_like(self) -> Self:
        """A new sketch of the same configuration without data: the identity of merging.

        Returns
        -------
        A sketch of the same class.
        """
        new = object.__new__(type(self))
        own = {"_arrays", "_bounds", "_device", "_guard", "_first_argument", "_changed_by"}
        new.__dict__.update({k: v for k, v in self.__dict__.items() if k not in own})
        return new

    def copy(self) -> Self:
        """A new sketch of the same configuration and state, sharing no state memory.

        Returns
        -------
        A sketch of the same class.
        """
        new = self.empty_like()
        new.__dict__["_device"] = self.device
        if "_arrays" not in self.__dict__:
            return new  # still free to go where its first rows lie
        with self._lock:
            new._adopt({name: a.copy() for name, a in self._arrays.items()})
            new._bounds.update(self._bounds)
        return new

    def __reduce__(self) -> tuple[Any, ...]:
        # Engines send an empty sketch with every task: then the configuration is all that travels.
        if "_arrays" not in self.__dict__:
            return type(self)._from_config, (self.config(),)
        # Of a copy, for a pickler takes one array after the other, while the sketch may go on.
        return Stored.__reduce__(self.copy())

    def _adopt(self, arrays: dict[str, NDArray[Any]]) -> Self:
        self.__dict__["_arrays"] = arrays
        self.__dict__.pop("_bounds", None)
        return self

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def _on_cpu(self) -> Self:
        return self if self.device == "cpu" else self.to("cpu")

    def __repr__(self) -> str:
        return f"<{super().__repr__()}: {self.n_updates:,} updates, {self.nbytes:,} bytes>"


def sketch_classes() -> dict[str, type[MergeableSketch]]:
    """Every concrete sketch class of the library by name; the laws are tested over all of them."""
    return {
        name: cls
        for name, cls in MergeableSketch._registry.items()
        if not getattr(cls, "__abstractmethods__", None)
    }
