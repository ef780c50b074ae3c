"""Attributes that are computed at first use and then kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["lazy"]

T = TypeVar("T")


class lazy(Generic[T]):
    """As `functools.cached_property`, without its lock.

    Python 3.11's has one lock for all instances. A fork while another thread holds it leaves it locked
    in the child for good. Without it two threads may both compute the value, so it must be the same
    each time; one of the two results is kept.
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
        # No data descriptor: the entry in the instance's dictionary is found first from now on.
        value: T = instance.__dict__.setdefault(self._name, self._function(instance))
        return value
