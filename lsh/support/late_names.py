"""Public names whose modules are imported when the names are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from .names import unknown_name

__all__ = ["import_all_named", "import_named", "import_when_used"]

#: The packages of the classes that files and configurations name, and the public names of each.
_PACKAGES: dict[str, Mapping[str, str]] = {}


def import_when_used(
    namespace: dict[str, Any],
    modules: Mapping[str, str],
    places: Mapping[str, Iterable[str]] | None = None,
    *,
    in_files: bool | Iterable[str] = False,
) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package that imports its public names when they are first used.

    Parameters
    ----------
    namespace : dict
        The globals of the package. A name is entered there when it is imported.
    modules : mapping of str to str
        The module of each public name, relative to the package. The name of a module stands for itself.
    places : mapping of str to iterable of str, optional
        Submodules, and the names that only they have, for advice.
    in_files : bool or iterable of str
        True if files and configurations refer to the classes by their names, or the names of such classes.
        `import_named` finds them then.

    Returns
    -------
    callable
        It raises AttributeError with advice for other names.
    """
    package = namespace["__name__"]
    if in_files:
        _PACKAGES[package] = modules if in_files is True else {name: modules[name] for name in in_files}

    def find(name: str) -> Any:
        if name not in modules:
            raise unknown_name(package, name, namespace["__dir__"](), places or {})
        module = import_module(modules[name], package)
        namespace[name] = value = module if modules[name] == f".{name}" else getattr(module, name)
        return value

    return find


def import_named(name: str) -> None:
    """Import the class of the library that files and configurations call `name`, if there is one."""
    for package, modules in _PACKAGES.items():
        if name in modules:
            getattr(sys.modules[package], name)


def import_all_named() -> None:
    """Import every class of the library that files and configurations may name."""
    for modules in _PACKAGES.values():
        for name in modules:
            import_named(name)
