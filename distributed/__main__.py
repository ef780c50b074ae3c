"""Run the command ``mergesketch``, which is also ``python -m mergesketch.distributed``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from .cli.run import run_command
from .ranks.launch import run_main

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; None means the arguments of the process.

    An error prints one message on stderr, whatever the number of ranks, and ends all ranks. See
    `mergesketch.distributed.run_main` for the exit codes.
    """
    if arguments is None:
        # This is a process of its own, so its streams may be set up to print any file name.
        sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return run_main(lambda comm: run_command(arguments, comm))


def _nowhere() -> TextIO:
    """Return a stream in place of one that was closed when the process began."""
    return open(os.devnull, "w", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
