"""The module under whose name public classes are shown, pickled and found again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["publish"]


def publish(module: str, names: Iterable[str], namespace: Mapping[str, Any]) -> None:
    """Set the ``__module__`` of public classes to the module that users import them from.

    Pickles hold that name. So they outlive moves of the file that defines the class, which is kept as
    ``_defined_in``.

    Parameters
    ----------
    module : str
        The public module.
    names : iterable of str
        Names in it; those of other things than classes are passed over.
    namespace : mapping
        Its globals.
    """
    for name in names:
        value = namespace.get(name)
        if isinstance(value, type) and value.__module__ != module:
            value._defined_in = value.__module__  # type: ignore[attr-defined]
            value.__module__ = module
