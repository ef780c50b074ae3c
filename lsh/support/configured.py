"""Objects that are described by their constructor's arguments, and the registries of their classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar

__all__ = ["Configured", "arguments_of", "differing_field", "n_drawn", "register"]


C = TypeVar("C", bound=type)


def register(registry: dict[str, C], cls: C) -> None:
    """Enter a class under its name, by which configurations and files tell it.

    Raises
    ------
    TypeError
        If another class has that name. The same class again, as of a notebook's cell that is run twice or of
        a module that is reloaded, takes the place of its former self.
    """
    # Public classes are shown under another module's name afterwards.
    cls._defined_in = cls.__module__  # type: ignore[attr-defined]
    former = registry.get(cls.__name__, cls)
    defined_in = former.__dict__["_defined_in"]
    if (defined_in, former.__qualname__) != (cls.__module__, cls.__qualname__):
        raise TypeError(
            f"{cls.__module__}.{cls.__qualname__} needs another name: files and configurations tell classes "
            f"by their names, and {defined_in}.{former.__qualname__} has that one"
        )
    registry[cls.__name__] = cls


class Configured:
    """An object that is told by its constructor's arguments, all of them JSON-able or families.

    A subclass names them in `_parameters` and keeps each as an attribute of that name.
    """

    _parameters: ClassVar[tuple[str, ...]] = ()
    #: What reads a nested configuration, by the key that only configurations of its kind have.
    _readers: ClassVar[dict[str, Callable[[Mapping[str, Any]], Configured]]] = {}

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as JSON-able values; two objects merge only if these agree.

        Returns
        -------
        dict
        """
        return {
            name: value.config() if isinstance(value, Configured) else value
            for name, value in arguments_of(self).items()
        }

    @property
    def _n_drawn(self) -> int:
        """About how many random parameters the object draws; see `n_drawn`."""
        return sum(n_drawn(value) for value in arguments_of(self).values() if isinstance(value, Configured))

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(
            **{
                name: cls._read_nested(value) if isinstance(value, Mapping) else value
                for name, value in config.items()
            }
        )

    @staticmethod
    def _read_nested(config: Mapping[str, Any]) -> Configured:
        """Return the object that a configuration within a configuration describes."""
        for key, read in Configured._readers.items():
            if key in config:
                return read(config)
        raise ValueError(
            f"a nested configuration must have one of {sorted(Configured._readers)}, got {config!r}"
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments_of(self).items())
        return f"{type(self).__name__}({shown})"


def arguments_of(configured: Configured) -> dict[str, Any]:
    """Return the constructor's arguments of an object by name, nested objects among them."""
    return {name: getattr(configured, name) for name in configured._parameters}


def n_drawn(configured: Configured) -> int:
    """Return about how many random parameters an object draws or computes before it can be used.

    The configuration alone determines the number: a loader asks, for a few bytes may demand any number.
    """
    return configured._n_drawn


def differing_field(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """The first field in which two configurations differ, as ``"name: x here, y there"``."""
    for name in [*ours, *(key for key in theirs if key not in ours)]:
        a, b = ours.get(name), theirs.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            inner = differing_field(a, b)
            if inner is not None:
                return f"{name}.{inner}"
        elif a != b:
            return f"{name}: {a!r} here, {b!r} there"
    return None
