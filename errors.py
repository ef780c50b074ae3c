"""The exceptions that mergesketch raises beside Python's own ``TypeError`` and ``ValueError``."""

__all__ = [
    "DistributedError",
    "DocumentError",
    "FullBucketsWarning",
    "IncompatibleSketchError",
    "MergesketchError",
    "PrivacyBudgetError",
    "PrivacyLeakWarning",
    "SaturationWarning",
    "SketchFormatError",
]


def readable(text: str) -> str:
    """Return a name as one line for any terminal, with escapes for what is not printable or not UTF-8."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


class MergesketchError(Exception):
    """Define the base of all exceptions of mergesketch."""

    def __str__(self) -> str:
        # Messages quote files, which may hold what a terminal takes for commands.
        return readable(super().__str__())


class IncompatibleSketchError(MergesketchError, ValueError):
    """Two sketches differ in class or configuration; the message names the field and both values."""


class SketchFormatError(MergesketchError, ValueError):
    """Bytes or a file do not hold a sketch that this version can read; nothing was loaded."""


class DistributedError(MergesketchError, RuntimeError):
    """A rank failed, or ranks called with different arguments; every rank raises it.

    If a rank has left the program, some of the ranks that wait for it raise this error.
    """


class DocumentError(MergesketchError, ValueError):
    """Documents cannot be read as asked: a missing path, an empty folder, a wrong field, a damaged file."""


class FullBucketsWarning(UserWarning):
    """An `LSHIndex` has dropped more than 2 % of its entries, because buckets are full; it warns once.

    The rows have been added when this warning is given. So if a filter turns it into an exception, do not add
    them again.
    """


class PrivacyBudgetError(MergesketchError, ValueError):
    """A private release would exceed its `PrivacyBudget`; nothing was released, and nothing was spent."""


class PrivacyLeakWarning(UserWarning):
    """A private model has taken bounds or classes from its data, and is not differentially private."""


class SaturationWarning(RuntimeWarning):
    """A filter, signature or design of pools is too full: an answer says less than it should, or nothing.

    A filter that is past its capacity warns once. Its keys have been added when this warning is given. So if
    a filter of warnings turns it into an exception, do not add them again.
    """
