"""Objects that their constructor's arguments describe, and the registries of their classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isabstract
from typing import Any, ClassVar, Self, TypeVar

from .late_names import import_all_named, import_named

__all__ = [
    "Configured",
    "arguments_of",
    "build_named",
    "differing_field",
    "n_drawn",
    "register",
    "register_reader",
]

#: The most characters of a value in a message.
_MOST_SHOWN = 200
#: The beginning of the names of the library's modules.
_PACKAGE = __name__.partition(".")[0] + "."

C = TypeVar("C", bound=type)


def register(registry: dict[str, C], cls: C) -> None:
    """Enter a class under its name, which configurations and files refer to.

    Raises
    ------
    TypeError
        If another class has that name. A class that is defined again, by a notebook's cell that is run twice
        or a module that is reloaded, replaces its former definition.
    """
    if not cls.__module__.startswith(_PACKAGE):
        # A class of the library must be registered first, or it could not be imported afterwards.
        import_named(cls.__name__)
    # The module is kept because public classes are later shown under the name of another one.
    cls._defined_in = cls.__module__  # type: ignore[attr-defined]
    former = registry.get(cls.__name__, cls)
    defined_in = former.__dict__["_defined_in"]
    if (defined_in, former.__qualname__) != (cls.__module__, cls.__qualname__):
        raise TypeError(
            f"{cls.__module__}.{cls.__qualname__} needs another name: files and configurations tell classes "
            f"by their names, and {defined_in}.{former.__qualname__} has that one"
        )
    registry[cls.__name__] = cls


def build_named(kind: str, registry: Mapping[str, type[Any]], config: Mapping[str, Any]) -> Any:
    """Return the object of a configuration that names its class under the key `kind`.

    Raises
    ------
    ValueError
        If the configuration names no class of `registry` that can be built, or its arguments are refused.
    """
    arguments = dict(config)
    name = arguments.pop(kind, None)
    if isinstance(name, str):
        import_named(name)
    cls = registry.get(name) if isinstance(name, str) else None
    if cls is None or isabstract(cls):
        import_all_named()
        known = ", ".join(sorted(key for key, value in registry.items() if not isabstract(value)))
        raise ValueError(f"{kind} must be one of {known}, got {name!r}")
    return cls._from_config(arguments)


class Configured:
    """An object that its constructor's arguments describe, each of them JSON-able or another such object.

    A subclass names the arguments in `_parameters` and keeps each as an attribute of that name, which cannot
    be set again.
    """

    _parameters: ClassVar[tuple[str, ...]] = ()
    #: Functions that read a nested configuration, by the key that only configurations of that kind have.
    _readers: ClassVar[dict[str, Callable[[Mapping[str, Any]], Configured]]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        self._refuse_change(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._refuse_change(name)
        super().__delattr__(name)

    def _refuse_change(self, name: str) -> None:
        """Raise AttributeError for an argument, or a public family, that is set already.

        Arrays and drawn numbers follow from the arguments: after a change, a kernel would write outside of
        the arrays, or hash keys to other places than before.
        """
        is_family = not name.startswith("_") and isinstance(vars(self).get(name), Configured)
        if is_family or (name in self._parameters and name in vars(self)):
            raise AttributeError(
                f"{name} of a {type(self).__name__} cannot change: make a new {type(self).__name__} with the "
                f"{name} that you want"
            )

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON-able values. Two objects merge only if these are equal.

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
        """The approximate number of random parameters; see `n_drawn`."""
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


def register_reader(key: str, read: Callable[[Mapping[str, Any]], Configured]) -> None:
    """Enter a function that reads nested configurations, by the key that only those of its kind have."""
    Configured._readers[key] = read


def arguments_of(configured: Configured) -> dict[str, Any]:
    """Return the constructor's arguments of an object by name, nested objects among them."""
    return {name: getattr(configured, name) for name in configured._parameters}


def n_drawn(configured: Configured) -> int:
    """Return the approximate number of random parameters that an object draws or computes before use.

    It follows from the configuration alone. A loader checks it, because a configuration of a few bytes can
    ask for any number of parameters.
    """
    return configured._n_drawn


def differing_field(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """Return the first field in which two configurations differ, as ``"name: x here, y there"``, or None."""
    for name in [*ours, *(key for key in theirs if key not in ours)]:
        a, b = ours.get(name), theirs.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            inner = differing_field(a, b)
            if inner is not None:
                return f"{name}.{inner}"
        elif a != b:
            return f"{name}: {_shown(a)} here, {_shown(b)} there"
    return None


def _shown(value: Any) -> str:
    """Return a value as a message shows it: long ones, such as thousands of rows, without their end."""
    shown = repr(value)
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[: _MOST_SHOWN - 3]}..."
