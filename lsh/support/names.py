"""Advice for names that a module does not have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["unknown_name"]

#: What the field calls some names, where the nearest spelling is another structure.
_OTHER_NAMES = {"simhash": "SignedRandomProjection"}


def unknown_name(
    module: str, name: str, names: Iterable[str], places: Mapping[str, Iterable[str]]
) -> AttributeError:
    """Return the error for a name that a module does not have, which says what may have been meant.

    Parameters
    ----------
    module : str
        The module that was asked.
    name : str
        The name that it does not have.
    names : iterable of str
        The names that it has.
    places : mapping of str to iterable of str
        Submodules, and the names that only they have.

    Returns
    -------
    AttributeError
        It names the submodule that has `name`. Otherwise it names the public name of the same thing or with
        the nearest spelling, where capitals and underscores do not count.
    """
    message = f"module {module!r} has no attribute {name!r}"
    owner = next((place for place, theirs in places.items() if name in theirs), None)
    if owner is not None:
        return AttributeError(f"{message}; did you mean {module}.{owner}.{name}?")
    full = {known: known for known in names if not known.startswith("_")}
    full |= {known: f"{place}.{known}" for place, theirs in places.items() for known in theirs}
    nearest = None if name.startswith("_") else _nearest(name, full)
    return AttributeError(
        message if nearest is None else f"{message}; did you mean {module}.{full[nearest]}?"
    )


def _nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name of the nearest spelling, or None if none is near."""
    from difflib import get_close_matches

    plain = {_plain(known): known for known in names}
    other = _OTHER_NAMES.get(_plain(name))
    if other in plain.values():
        return other
    found = get_close_matches(_plain(name), plain, n=1, cutoff=0.7)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    return name.replace("_", "").casefold()
