"""Say how to install an extra of the package, in errors about packages that are missing."""

from __future__ import annotations

__all__ = ["how_to_install"]


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra, as the end of a message.

    An index of packages is named only if this package is from one. Installers write a ``direct_url.json`` for
    packages from all other places, such as a folder, an archive or a repository. A folder of sources may
    contain metadata too, which no installer has written.

    Examples
    --------
    >>> how_to_install("arrow").startswith("pip install ")
    True
    """
    # This import takes longer than all others of the module together, and only errors need it.
    from importlib.metadata import Distribution, PackageNotFoundError

    try:
        found = Distribution.from_name("mergesketch")
        from_index = found.read_text("INSTALLER") is not None and found.read_text("direct_url.json") is None
    except PackageNotFoundError:
        from_index = False
    if from_index:
        return f'pip install "mergesketch[{extra}]"'
    return f'pip install ".[{extra}]" in the folder of the repository'
