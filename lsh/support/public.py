"""The public module name of classes, which repr and pickle use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["publish"]


def publish(module: str, names: Iterable[str], namespace: Mapping[str, Any]) -> None:
    """Set the ``__module__`` of public classes to the module that users import them from.

    Pickles store that name, so they stay readable when the file that defines a class moves. The name of the
    defining module is kept as ``_defined_in``.

    Parameters
    ----------
    module : str
        The public module.
    names : iterable of str
        Names in it. Names of objects other than classes are ignored.
    namespace : mapping
        The globals of the module.
    """
    for name in names:
        value = namespace.get(name)
        if isinstance(value, type) and value.__module__ != module:
            value._defined_in = value.__module__  # type: ignore[attr-defined]
            value.__module__ = module
