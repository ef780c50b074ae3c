"""The exceptions that mergesketch raises beside Python's own ``TypeError`` and ``ValueError``."""

__all__ = [
    "DistributedError",
    "DocumentError",
    "IncompatibleSketchError",
    "MergesketchError",
    "SketchFormatError",
]


class MergesketchError(Exception):
    """Base of every exception that is mergesketch's own."""


class IncompatibleSketchError(MergesketchError, ValueError):
    """Two sketches differ in class or configuration; the message names the field and both values."""


class SketchFormatError(MergesketchError, ValueError):
    """Bytes or a file do not hold a sketch that this version can read; nothing was loaded."""


class DistributedError(MergesketchError, RuntimeError):
    """A rank failed, or ranks called with different arguments; every rank raises it.

    That a rank has left the program is told to some of those that wait for it.
    """


class DocumentError(MergesketchError, ValueError):
    """Documents cannot be read as asked: a missing path, an empty folder, a wrong field, a damaged file."""
