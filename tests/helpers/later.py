"""Objects that are made when they are first used, so that collecting the tests compiles no kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

__all__ = ["Later", "LaterItems", "LaterSequence"]

T = TypeVar("T")


class Later:
    """Offer the methods of an object that is made when one of them is first called."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Any:
        return self._make()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def method(*arguments: Any, **named: Any) -> Any:
            return getattr(self._made, name)(*arguments, **named)

        method.__name__ = name
        return method


class LaterItems(Mapping[str, T], Generic[T]):
    """A mapping from names to objects, each of which is made when it is first asked for."""

    def __init__(self, make: Mapping[str, Callable[[], T]]) -> None:
        self._make = make
        self._made: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            self._made[name] = self._make[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._make)

    def __len__(self) -> int:
        return len(self._make)


class LaterSequence(Sequence[T], Generic[T]):
    """A sequence whose items are computed when one of them is first asked for."""

    def __init__(self, make: Callable[[], Sequence[T]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Sequence[T]:
        return self._make()

    def __getitem__(self, index: Any) -> Any:
        return self._made[index]

    def __len__(self) -> int:
        return len(self._made)
