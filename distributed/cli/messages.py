"""Word sizes and errors for people."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["common_folder", "naming_file", "percent", "si_bytes"]


def common_folder(files: list[str]) -> str:
    """Return the folder that contains all files, with its slash, which need not be printed every time."""
    folder = os.path.dirname(files[0])
    while folder and not all(path.startswith(os.path.join(folder, "")) for path in files):
        folder = os.path.dirname(folder) if folder != "/" else ""
    return os.path.join(folder, "") if folder else ""


@contextmanager
def naming_file(path: str, action: str) -> Iterator[None]:
    """Run the block; word its OSErrors as "cannot read (or write) PATH: reason".

    The error of a pipe whose reader has gone stays what it is, because it ends a program without a message.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(f"cannot {action} {path}: {error.strerror or error}") from error


def percent(share: float) -> str:
    """Return a share as a percentage of three significant digits, as in "0.125 %"."""
    digits = 3 if share < 0.0995 or share >= 0.9995 else 4
    return f"{100 * share:.{digits}g} %" if share else "0 %"


def si_bytes(n: int) -> str:
    """Return a number of bytes in powers of 1,000, as in "1.5 MB"."""
    amount, unit = float(n), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{n} B" if unit == "B" else f"{amount:.1f} {unit}"
