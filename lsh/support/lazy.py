"""Attributes that are computed at their first use and then kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

__all__ = ["lazy"]

T = TypeVar("T")


class lazy(Generic[T]):
    """An attribute like `functools.cached_property`, but without a lock.

    In Python 3.11 `functools.cached_property` has one lock for all instances. Where a process forks while
    another thread has that lock, it stays locked in the child for ever. Without a lock two threads may both
    compute the value, so every computation must give the same one; one of the two results is kept.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object, owner: type) -> Self | T:
        if instance is None:
            return self
        # This is no data descriptor, so later reads find the entry in the instance's dictionary first.
        return instance.__dict__.setdefault(self._name, self._function(instance))

    if TYPE_CHECKING:
        # An assignment replaces the value.
        def __set__(self, instance: object, value: T) -> None: ...

    def is_known(self, instance: object) -> bool:
        """Tell whether the value has been computed already."""
        return self._name in vars(instance)
