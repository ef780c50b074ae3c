"""Word sizes and errors for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["naming_file", "si_bytes"]


@contextmanager
def naming_file(path: str, action: str) -> Iterator[None]:
    """Run the block; word its OSErrors as "cannot read (or write) PATH: reason"."""
    try:
        yield
    except OSError as error:
        raise OSError(f"cannot {action} {path}: {error.strerror or error}") from error


def si_bytes(n: int) -> str:
    """Return a number of bytes in powers of 1,000, as in "1.5 MB"."""
    amount, unit = float(n), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{n} B" if unit == "B" else f"{amount:.1f} {unit}"
