"""Other names of methods."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

__all__ = ["alias"]

F = TypeVar("F", bound=Callable[..., Any])


def alias(method: F) -> F:
    """Return a method that calls `method`, or what a subclass has in its place, under another name."""
    name = method.__name__

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, name)(*args, **kwargs)

    call.__doc__ = f"Alias of `{name}`."
    return cast(F, call)
