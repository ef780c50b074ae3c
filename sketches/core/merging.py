"""The operators of objects that merge, and the reading of what they merge with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Self

from ...errors import IncompatibleSketchError
from ...lsh.support.configured import differing_field
from .guard import Guarded
from .reading import protect_queries
from .stored import Stored

__all__ = ["Mergeable", "StoredMergeable", "parts_of"]


class Mergeable(Guarded):
    """An object that merges in place, and by operators.

    ``a | b`` is a new object with the data of both, and ``a |= b`` merges into `a`. ``+`` and ``+=`` do the
    same, for `sum`.
    """

    @abstractmethod
    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Merge others, or all of an iterable, into this object."""

    @abstractmethod
    def _merged(self, *others: Self) -> Self:
        """Return a new object with the data of this one and of others."""

    def __or__(self, other: Self) -> Self:
        """Return a new object with the data of both, which do not change."""
        return self._merged(other) if isinstance(other, Mergeable) else NotImplemented

    def __ior__(self, other: Self) -> Self:
        """Merge the other object into this one."""
        return self.merge(other) if isinstance(other, Mergeable) else NotImplemented

    __add__, __iadd__ = __or__, __ior__

    def __radd__(self, other: object) -> Self:
        # The built-in function `sum` begins with 0.
        return self._merged() if type(other) is int and other == 0 else NotImplemented


class StoredMergeable(Stored, Mergeable):
    """A stored object that merges: every sketch, and those structures that grow.

    Threads may change it and ask it at the same time: `reading` says how. The methods here are those of
    structures that grow. Sketches have their own, because their arrays are allocated at first use.
    """

    _internal = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        protect_queries(cls)

    def _check_compatible(self, other: object) -> None:
        """Raise IncompatibleSketchError unless another object has the same class and configuration."""
        name = type(self).__name__
        if not isinstance(other, type(self)):
            raise IncompatibleSketchError(f"expected a {name} to merge, got {type(other).__name__}")
        difference = differing_field(self.config(), other.config())
        if difference is not None:
            raise IncompatibleSketchError(f"{name} differ in {difference}")

    def _merged(self, *others: Self) -> Self:
        return self.copy().merge(*others)

    def empty_like(self) -> Self:
        """Return an object of the same parameters without data.

        Returns
        -------
        An object of the same class.
        """
        new = self._without_arrays()
        return new if new.device == self.device else new._moved(self.device)

    def copy(self) -> Self:
        """Return an equal object, which shares no memory with this one.

        Returns
        -------
        An object of the same class.
        """
        new = self._without_arrays()
        with self._lock:
            new._state = self._state.copy()
        return new

    def __copy__(self) -> Self:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is pickled: a pickler takes one array after the other, and updates may come in between.
        return Stored.__reduce__(self.copy())


def parts_of(others: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what `merge` was given, with iterables replaced by what they contain; nothing is checked."""
    found: list[Any] = []
    for other in others:
        if isinstance(other, Iterable) and not isinstance(other, (Mergeable, str, bytes, Mapping)):
            found.extend(other)
        else:
            found.append(other)
    return tuple(found)
