"""The command ``mergesketch``, also ``python -m mergesketch.distributed``, alone or under ``mpiexec``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .cli.command import run_command
from .ranks.launch import run_main

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; without `arguments` those of the process are taken.

    An error is one message on stderr, whatever the number of ranks, and no rank outlives another: see
    `mergesketch.distributed.run_main` for the exit codes.
    """
    if arguments is None:
        # A process of its own: no file's name is beyond what can be printed.
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return run_main(lambda comm: run_command(arguments, comm))


if __name__ == "__main__":
    sys.exit(main())
