"""Make the options of commands: their types, and errors that name the option in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

__all__ = ["DEFAULT_K", "DEFAULT_QUANTILES", "KEY_FORMATS", "Command", "Parser", "between"]

#: Numbers of frequent keys and quantiles that commands print if they are asked for no others.
DEFAULT_K = 10
DEFAULT_QUANTILES = [0.5, 0.9, 0.99]
#: Formats of files with keys.
KEY_FORMATS = ("text", "csv", "tsv", "jsonl", "parquet")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as those of the commands themselves, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the message and end the process with exit status 2."""
        self.exit(2, f"{self.prog}: error: {message} (try {self.prog} --help)\n")


class _Integer:
    """The type of an option with integer values.

    The library checks its arguments too, but only messages from here name the option.
    """

    #: The name of the type in argparse's messages.
    __name__ = "integer"

    def __init__(self, least: int, largest: int | None) -> None:
        self.least, self.largest = least, largest

    def __call__(self, text: str) -> int:
        value = int(text)
        if value < self.least or (self.largest is not None and value > self.largest):
            most = self.largest
            wanted = f"at least {self.least}" if most is None else f"from {self.least} to {most}"
            raise argparse.ArgumentTypeError(f"must be {wanted}, got {value}")
        return value


def between(low: float, high: float, *, closed: bool = False) -> Callable[[str], float]:
    """Return the type of an option with numbers above `low` and below `high`; if `closed`, up to `high`."""

    def number(text: str) -> float:
        value = float(text)
        if not (low < value < high or (closed and value == high)):
            end = "at most" if closed else "below"
            raise argparse.ArgumentTypeError(f"must be above {low:g} and {end} {high:g}, got {text}")
        return value

    return number


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must name a file or folder, got an empty name")
    return text


class Command:
    """A command whose options are added one by one."""

    def __init__(self, commands: Any, name: str, summary: str, description: str, epilog: str = "") -> None:
        self.options = commands.add_parser(
            name,
            help=summary,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def path(self, name: str, metavar: str, text: str, nargs: str | None = None) -> None:
        """Add the path of a file, or several with `nargs`, which has no option's name."""
        self.options.add_argument(name, nargs=nargs, type=_path, metavar=metavar, help=text)

    def output(self, text: str, *, required: bool = False) -> None:
        """Add --output."""
        self.options.add_argument("--output", "-o", type=_path, metavar="FILE", required=required, help=text)

    def integer(
        self,
        name: str,
        least: int,
        largest: int | None,
        text: str,
        default: int | None = None,
        *,
        required: bool = False,
    ) -> None:
        """Add an option with integer values in [least, largest]; the default ends its help."""
        text += "" if default is None else f" (default: {default})"
        self.options.add_argument(
            name,
            type=_Integer(least, largest),
            default=default,
            metavar="N",
            required=required,
            help=text,
        )

    def seed_and_threads(self) -> None:
        """Add --seed and --threads."""
        self.integer("--seed", 0, 2**64 - 1, "seed of the hashes", 0)
        self.threads()

    def threads(self) -> None:
        """Add --threads."""
        text = "threads of each rank (default: cores of the node divided by its ranks); results stay the same"
        self.integer("--threads", 1, None, text)

    def share(self, name: str, text: str, default: float | None = None) -> None:
        """Add an option with numbers above 0 and below 1; the default ends its help."""
        text += "" if default is None else f" (default: {default:g})"
        self.options.add_argument(name, type=between(0.0, 1.0), default=default, metavar="X", help=text)

    def choice(self, name: str, choices: Sequence[str], text: str, default: str | None = None) -> None:
        """Add an option with one of some values."""
        self.options.add_argument(name, choices=choices, default=default, help=text)

    def patterns(self, name: str, text: str) -> None:
        """Add an option with a shell pattern that may be repeated."""
        self.options.add_argument(
            name, action="append", default=[], metavar="GLOB", help=f"{text}; may be repeated"
        )
