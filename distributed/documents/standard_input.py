"""Keep what the standard input gives in a temporary file, because documents may be read a second time."""

from __future__ import annotations

import sys
import tempfile
from typing import IO, Any

from ...errors import DocumentError
from .files import InputFile

__all__ = ["StandardInput"]


class StandardInput:
    """The whole standard input, in a temporary file that has no name and ends with this object.

    Attributes
    ----------
    file : InputFile
        Only this process can open it.

    Raises
    ------
    DocumentError
        If the standard input is closed, or cannot be read or stored.
    """

    def __init__(self) -> None:
        if sys.stdin is None:
            raise DocumentError("cannot read - (the standard input): it is closed")
        stream: IO[Any] = getattr(sys.stdin, "buffer", sys.stdin)
        try:
            self._copy: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
            size = 0
            while block := stream.read(1 << 20):
                self._copy.write(block)
                size += len(block)
            self._copy.flush()
        except OSError as error:
            raise DocumentError(
                f"cannot store - (the standard input) in {tempfile.gettempdir()}: {error.strerror or error}; "
                "the environment variable TMPDIR names another folder"
            ) from error
        place = f"/proc/self/fd/{self._copy.fileno()}"
        self.file = InputFile("-", "text", None, size, place=place)
