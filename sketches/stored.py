"""What can be saved: a configuration and named arrays, in one file format for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from os import PathLike
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..lsh.family import Configured, register
from .guard import Guarded, locked

__all__ = ["Spec", "Stored", "stored_classes"]


class Spec(Protocol):
    """What is known of an array before it is read."""

    def accepts(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Whether an array of this shape and dtype could be this one."""

    def __str__(self) -> str: ...


class Stored(Guarded, Configured, ABC):
    """Base of every sketch and static structure: told by its configuration and its arrays."""

    _stored: ClassVar[dict[str, type[Stored]]] = {}
    _arrays: dict[str, NDArray[Any]]
    #: Whether the class is but the base of others; of the class itself, its heirs are not.
    _internal: ClassVar[bool] = False
    #: Arrays that equal objects may differ in.
    _not_compared: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register(Stored._stored, cls)

    @abstractmethod
    def _specs(self) -> Mapping[str, Spec]:
        """The arrays that there are, by name."""

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raise ValueError if `arrays` (right in shape and dtype) cannot be a state of this object.

        A loader calls it before the arrays are taken over: whatever a kernel uses as an index or a
        length must be checked here, for a stranger's file may hold anything.
        """

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        """Return what stands for an array that files of earlier versions lack; None if all have it."""
        return None

    def _canonicalise(self) -> None:
        """Bring the state into the one form that equal contents share; most classes have but one."""

    def _adopt(self, arrays: dict[str, NDArray[Any]]) -> Self:
        self.__dict__["_arrays"] = arrays
        return self

    def _on_cpu(self) -> Self:
        """The object, or a copy in main memory if its arrays lie elsewhere."""
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stored):
            return NotImplemented
        if type(self) is not type(other) or self.config() != other.config():
            return False
        with locked(self, other):
            ours, theirs = self._on_cpu(), other._on_cpu()
            ours._canonicalise()
            theirs._canonicalise()
            return all(
                np.array_equal(array, theirs._arrays[name])
                for name, array in ours._arrays.items()
                if name not in self._not_compared
            )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            here = self._on_cpu()
            here._canonicalise()
        return _rebuild, (type(self), self.config(), dict(here._arrays))

    # -- storage ----------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The object as bytes of the common file format; the inverse of `from_bytes`.

        Returns
        -------
        bytes
        """
        from .storage import to_bytes

        return to_bytes(self)

    @classmethod
    def from_bytes(cls, buffer: bytes | bytearray | memoryview) -> Self:
        """The object that `to_bytes` wrote.

        Parameters
        ----------
        buffer : bytes-like

        Returns
        -------
        An object of the class.

        Raises
        ------
        SketchFormatError
            If the bytes are truncated, damaged, of another version or class. Nothing in them is
            executed, and no memory is taken beyond their own size.
        """
        from .storage import from_bytes

        return from_bytes(buffer, cls)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the sketch to a file, atomically: readers see the old file or the whole new one.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If it cannot be written; the old file stays.
        """
        from .storage import save

        save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str], *, mmap: bool = False) -> Self:
        """Read a sketch of this class from a file.

        Parameters
        ----------
        path : path
        mmap : bool
            Map the file instead of reading it: opens at once whatever the size, pages are read when
            touched and shared between processes. Updates go to private copies of pages, never to the
            file. The checksum of the arrays is then not verified (that of the configuration is).

        Returns
        -------
        A sketch of the class.

        Raises
        ------
        SketchFormatError
            If the file is truncated, damaged, of another version or class.
        OSError
            If it cannot be read.
        """
        from .storage import load

        sketch = load(path, mmap=mmap, expected=cls)
        assert isinstance(sketch, cls)
        return sketch


def _rebuild(cls: type[Stored], config: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Stored:
    return cls._from_config(config)._adopt(arrays)


def stored_classes() -> dict[str, type[Stored]]:
    """Every concrete class that can be saved, by name; those that are but the base of others are none."""
    return {
        name: cls
        for name, cls in Stored._stored.items()
        if not getattr(cls, "__abstractmethods__", None) and not cls.__dict__.get("_internal", False)
    }
