"""The base of objects that can be saved: a configuration and named arrays, in one file format."""

from __future__ import annotations

import os
from abc import ABC
from collections.abc import Mapping
from copy import copy
from inspect import isabstract
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import SketchFormatError
from ...lsh.support.backend import Backend, backend_named
from ...lsh.support.configured import Configured, arguments_of, n_drawn, register
from ...lsh.support.late_names import import_all_named, import_named
from ...lsh.support.types import Device
from .file_format import (
    Fetch,
    Header,
    data_checksum,
    fetch_from_buffer,
    header_of_buffer,
    parse_json,
    pieces_of_file,
)
from .file_objects import Source, Target, opened, write_pieces
from .guard import Guarded, locked
from .notebook import html_table
from .reading import reading
from .state import Arrays, State

__all__ = ["Stored", "from_bytes", "load", "stored_classes"]

#: Random parameters, drawn from the seed and not stored, that a file may ask for: a gibibyte in float32.
_MOST_DRAWN, _MOST_DRAWN_SET = 1 << 28, "MERGESKETCH_MAX_DRAWN"


class Stored(Guarded, Configured, ABC):
    """Base of every sketch and static structure: an object that its configuration and its arrays describe."""

    _stored: ClassVar[dict[str, type[Stored]]] = {}
    #: True for a class that is only the base of others, as all with abstract methods are; not inherited.
    _internal: ClassVar[bool] = False
    #: The names that the class had in earlier versions, which files of them have; not inherited.
    _former_names: ClassVar[tuple[str, ...]] = ()
    #: Arrays that equal objects may differ in.
    _not_compared: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register(Stored._stored, cls)

    # -- state ------------------------------------------------------------------------------------

    #: The state, which a subclass makes from the configuration at first use, without arrays.
    _state: State[Any]

    @property
    def _arrays(self) -> Arrays:
        """The arrays of the state by name."""
        return self._state.arrays

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; those of a sketch follow from the configuration until counters widen."""
        return self._state.nbytes

    def _set_arrays(self, arrays: Arrays, device: Device | None = None) -> Self:
        """Take over arrays that lie on `device`, by default the object's; drop caches of the former ones."""
        self._state = self._state.with_arrays(arrays, device)
        return self

    def _without_arrays(self) -> Self:
        """Return an object of the same configuration, and with what is drawn from it, but without arrays."""
        new = type(self).__new__(type(self))
        own = {name: value for name, value in dict(vars(self)).items() if name not in ("_state", "_guard")}
        vars(new).update(own)
        return new

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raise ValueError if `arrays` (right in shape and dtype) cannot be a state of this object.

        A loader calls it before the object takes over the arrays. Every number that a kernel uses as an index
        or a length must be checked here, for a file from elsewhere may contain any number.
        """

    def _arrays_to_store(self) -> Arrays:
        """Return the arrays as files and pickles have them, which may be cut where their `Spec` says so."""
        return dict(self._arrays)

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        """Return a substitute for an array that files of earlier versions lack; None if all have it."""
        return None

    def _canonicalise(self) -> None:
        """Bring the state into the form that equal contents share; most classes have only one form."""

    # -- devices ----------------------------------------------------------------------------------

    @property
    def device(self) -> Device:
        """The device that the arrays lie on: "cpu" or "gpu"."""
        return self._state.device

    @property
    def _backend(self) -> Backend:
        """The backend whose kernels serve the arrays where they lie."""
        return self._state.backend

    def _check_device(self, device: str) -> None:
        """Raise NotImplementedError if the object has no kernels for a device."""

    def _moved(self, device: Device) -> Self:
        """Return an equal object on a device, which shares no memory with this one."""
        if not isinstance(device, str):
            raise TypeError(f'device must be "cpu" or "gpu", got {device!r}')
        self._check_device(device)
        backend_named(device)
        new = self._without_arrays()
        with self._lock:
            self._canonicalise()
            new._state = self._state.copy(device)
        return new

    def _on_cpu(self) -> Self:
        """Return the object, or a copy in main memory if its arrays lie elsewhere."""
        return self if self.device == "cpu" else self._moved("cpu")

    # -- comparison and pickles -------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stored):
            return NotImplemented
        if type(self) is not type(other) or self.config() != other.config():
            return False
        with locked(self, other):
            ours, theirs = self._on_cpu(), other._on_cpu()
            ours._canonicalise()
            theirs._canonicalise()
            return ours._has_state_of(theirs)

    def _has_state_of(self, other: Self) -> bool:
        """Return if the arrays equal those of an object alike, where both objects are in main memory."""
        return all(
            np.array_equal(array, other._arrays[name])
            for name, array in self._arrays.items()
            if name not in self._not_compared
        )

    __hash__ = None  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy(self)

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            here = self._on_cpu()
            here._canonicalise()
        return type(self)._rebuilt, (self.config(), here._arrays_to_store())

    @classmethod
    def _rebuilt(cls, config: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Return the object of a configuration and a state; pickles refer to this name only."""
        new = cls._from_config(config)
        return new._set_arrays(new._completed(arrays))

    def _completed(self, arrays: Arrays) -> Arrays:
        """Return the arrays of a state from those of a file, which may be of an earlier version."""
        specs = self._state.specs
        absent = {name: self._absent_array(name) for name in specs if name not in arrays}
        found = arrays | {name: array for name, array in absent.items() if array is not None}
        return {name: specs[name].completed(array) for name, array in found.items()}

    # -- notebooks ---------------------------------------------------------------------------------

    def _facts(self) -> list[tuple[str, str]]:
        """Return what a notebook shows beside the configuration: names and values."""
        return [("size", f"{self.nbytes:,} bytes")]

    @reading
    def _repr_html_(self) -> str:
        """Return a table of the configuration, the size and the contents, for notebooks."""
        configured = [(name, repr(value)) for name, value in arguments_of(self).items()]
        return html_table(type(self).__name__, [*configured, *self._facts()])

    # -- storage ----------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return the object as bytes of the common file format; the inverse of `from_bytes`.

        Returns
        -------
        bytes
        """
        with self._lock:
            return b"".join(self._pieces())

    def _pieces(self) -> list[bytes | memoryview]:
        """Return the bytes of the object's file in order, the arrays' own memory among them."""
        here = self._on_cpu()
        here._canonicalise()
        return pieces_of_file(type(self).__name__, self.config(), here._arrays_to_store(), self._notes())

    def _notes(self) -> dict[str, str]:
        """Return what a file says beside the configuration and the arrays, which readers may ignore."""
        return {}

    def _take_notes(self, notes: Mapping[str, str]) -> None:
        """Take over what `_notes` has written, from the metadata of a file; ValueError if it is damaged."""

    @classmethod
    def from_bytes(cls, buffer: bytes | bytearray | memoryview) -> Self:
        """Return the object that `to_bytes` wrote.

        Parameters
        ----------
        buffer : bytes-like

        Returns
        -------
        An object of the class.

        Raises
        ------
        SketchFormatError
            If the bytes are truncated, damaged, or of another version or class. Nothing in them is
            executed, and no more memory is taken than their own size, but for zeros that a file leaves out.
        """
        try:
            view = memoryview(buffer).cast("B")
        except TypeError as error:
            raise TypeError(
                f"buffer must be contiguous and bytes-like, got {type(buffer).__name__}"
            ) from error
        header = header_of_buffer(view)
        return _fill(_without_arrays(header, cls), header, fetch_from_buffer(view), verify=True)

    def save(self, path: Target) -> None:
        """Write the sketch to a file, or to an open file object.

        Parameters
        ----------
        path : path or binary file object
            A file that a path names is written atomically: readers see the old file or the whole new one. A
            file object with `write`, for example `io.BytesIO`, a pipe or a file of fsspec, is written from
            its position, and neither flushed nor closed. Several sketches may follow each other in one file.

        Raises
        ------
        OSError
            If the file cannot be written. The old file of a path stays; a file object may have a part.
        TypeError
            If `path` is neither, or a file in text mode.
        """
        # The pieces are the arrays' own memory.
        with self._lock:
            write_pieces(path, self._pieces())

    @classmethod
    def load(cls, path: Source, *, mmap: bool = False) -> Self:
        """Read a sketch of this class from a file, or from an open file object.

        Parameters
        ----------
        path : path or binary file object
            A file object with `read` is read from its position to the end of the sketch, and no further.
        mmap : bool
            Map the file instead of reading it. It opens at once, whatever its size; pages are read when they
            are used, and processes share them. Updates go to private copies of pages, never to the file. The
            checksum of the arrays is not verified then, but that of the configuration is. The file must be on
            a disk.

        Returns
        -------
        A sketch of the class.

        Raises
        ------
        SketchFormatError
            If the file is truncated, damaged, or of another version or class.
        OSError
            If it cannot be read.
        TypeError
            If `path` is neither, or a file in text mode, or cannot be mapped.
        """
        sketch = load(path, mmap=mmap, expected=cls)
        assert isinstance(sketch, cls)
        return sketch


def stored_classes() -> dict[str, type[Stored]]:
    """Return every class that can be saved, by name, without those that are only the base of others."""
    import_all_named()
    return {name: cls for name, cls in Stored._stored.items() if _can_be_saved(cls)}


def _can_be_saved(cls: type[Stored]) -> bool:
    return not isabstract(cls) and not vars(cls).get("_internal", False)


def _class_named(name: str) -> type[Stored] | None:
    """Return the class that a file names, by its name of today or of an earlier version."""
    import_named(name)
    found = Stored._stored.get(name)
    if found is not None and _can_be_saved(found):
        return found
    return next((c for c in stored_classes().values() if name in vars(c).get("_former_names", ())), None)


def _check_drawn(sketch: Stored) -> None:
    """Refuse a configuration of more random parameters than a file may ask for."""
    drawn, most = n_drawn(sketch), int(os.environ.get(_MOST_DRAWN_SET, _MOST_DRAWN))
    if drawn > most:
        whose = getattr(sketch, "family", sketch)
        numbers = {n: value for n, value in arguments_of(whose).items() if n != "seed" and type(value) is int}
        named = ", ".join(f"{name}={number}" for name, number in numbers.items())
        raise SketchFormatError(
            f"a {type(whose).__name__} of {named} takes {drawn:,} random parameters, more than the {most:,} "
            f"that a file may ask for; if you trust it, set {_MOST_DRAWN_SET}={drawn}"
        )


def _without_arrays(header: Header, expected: type[S]) -> S:
    """Return the object that a header describes, without arrays; SketchFormatError if they do not fit it."""
    name = header.metadata.get("class", "")
    cls = _class_named(name)
    if cls is None:
        raise SketchFormatError(f"expected a sketch class of this version, got {name!r}")
    if not issubclass(cls, expected):
        raise SketchFormatError(f"expected a {expected.__name__}, got a {name}")
    try:
        config = parse_json(header.metadata.get("config", ""))
        if not isinstance(config, dict):
            raise ValueError(f"expected an object, got {type(config).__name__}")
        sketch = cls._from_config(config)
        sketch._take_notes(header.metadata)
        specs = sketch._state.specs
    except Exception as error:
        # A constructor may raise any error for the values of a damaged file.
        raise SketchFormatError(f"the configuration of this {name} is not valid: {error}") from error
    absent = {key for key in specs if key not in header.arrays and sketch._absent_array(key) is not None}
    if set(specs) - absent != set(header.arrays):
        raise SketchFormatError(
            f"expected the arrays {sorted(specs)}, got {sorted(header.arrays)}: this is no {name} as this "
            "version of mergesketch keeps it; if another version wrote the file, open it with that one, or "
            "build it anew"
        )
    for key, (dtype, shape, _) in header.arrays.items():
        spec = specs[key]
        if not spec.accepts(shape, dtype):
            raise SketchFormatError(f"expected {key} as {spec}, got {dtype.name}{list(shape)}")
    _check_drawn(sketch)
    return sketch


def _fill(sketch: S, header: Header, fetch: Fetch, verify: bool) -> S:
    """Fetch the arrays of a sketch and check them; `verify` tells whether to compare the checksum."""
    arrays = {name: fetch(*entry) for name, entry in header.arrays.items()}
    if verify and header.metadata.get("data_xxh3") != data_checksum(arrays):
        raise SketchFormatError("the arrays' checksum does not match: the file is damaged")
    native = {
        name: np.require(a.astype(a.dtype.newbyteorder("="), copy=False), requirements="A")
        for name, a in arrays.items()
    }
    native = sketch._completed(native)
    try:
        sketch._check_state(native)
    except ValueError as error:
        raise SketchFormatError(f"the arrays are no state of a {type(sketch).__name__}: {error}") from error
    sketch._set_arrays(native)
    return sketch


def load(path: Source, *, mmap: bool = False, expected: type[Stored] | None = None) -> Stored:
    """Open a saved sketch of any class.

    Parameters
    ----------
    path : path or binary file object
        A file object with `read` is read from its position to the end of the sketch, and no further.
    mmap : bool
        Map the file instead of reading it; see `MergeableSketch.load`.
    expected : sketch class, optional
        Refuse other classes.

    Returns
    -------
    The sketch or static structure.

    Raises
    ------
    SketchFormatError
        If the file is not a whole, undamaged sketch of a known version and class.
    OSError
        If it cannot be read.
    TypeError
        If `path` is neither, or a file in text mode, or cannot be mapped.

    Examples
    --------
    >>> import io, mergesketch
    >>> sketch = mergesketch.CountMinSketch(n_rows=4, n_buckets=256).update([1, 2, 2])
    >>> sketch.save("counts.sketch")
    >>> mergesketch.load("counts.sketch") == sketch
    True

    A file object may have several sketches, one after the other:

    >>> file = io.BytesIO()
    >>> sketch.save(file)
    >>> mergesketch.BloomFilter(capacity=100).save(file)
    >>> _ = file.seek(0)
    >>> [type(mergesketch.load(file)).__name__ for _ in range(2)]
    ['CountMinSketch', 'BloomFilter']
    """
    with opened(path, mmap=mmap) as (header, fetch):
        sketch = _without_arrays(header, expected or Stored)
        return _fill(sketch, header, fetch(), verify=not mmap)


def from_bytes(buffer: bytes | bytearray | memoryview) -> Stored:
    """Return the saved sketch of any class that `to_bytes` wrote.

    Parameters
    ----------
    buffer : bytes-like

    Returns
    -------
    The sketch or static structure.

    Raises
    ------
    SketchFormatError
        If the bytes are no whole, undamaged sketch of a known version and class. Nothing in them is executed.
    TypeError
        If `buffer` is not contiguous and bytes-like.

    Examples
    --------
    >>> import mergesketch
    >>> message = mergesketch.CountMinSketch(n_rows=4, n_buckets=256).update(["tea"]).to_bytes()
    >>> mergesketch.from_bytes(message).query("tea")
    1
    """
    return Stored.from_bytes(buffer)


S = TypeVar("S", bound=Stored)
