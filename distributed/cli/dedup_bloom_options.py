"""Define the options of ``mergesketch dedup --memory bloom``."""

from __future__ import annotations

from argparse import Namespace

from .options import Command

__all__ = ["add_memory_options", "check_memory_options"]

#: Options that need --memory bloom, and options that do not go with it, with their defaults.
_NEEDS_BLOOM = ("capacity", "error_rate")
_NOT_WITH_BLOOM = {
    **dict.fromkeys(("verify", "clean", "removed", "report", "id_field")),
    "keep": "first",
    "grouping": "connected",
}


def add_memory_options(dedup: Command) -> None:
    """Add --memory and the options that go with it."""
    dedup.choice(
        "--memory",
        ["signatures", "bloom"],
        "what is kept of documents: their signatures, by which groups are found (default), or bits in Bloom "
        "filters. bloom reads the files once, takes 81 bytes a document, and finds the documents that "
        "resemble an earlier one, without a check of the pair; the output has a line for each of them",
        "signatures",
    )
    dedup.integer(
        "--capacity", 1, 2**40, "with --memory bloom: documents that will be read (default: 1,000,000)"
    )
    dedup.share(
        "--error-rate",
        "with --memory bloom: probability that a document which shares no band with an earlier one is taken "
        "for a duplicate (default: 0.0001)",
    )
    dedup.path(
        "--save-state",
        "FILE",
        "save what is kept of all documents, also those of --against, for later runs; both may be one file",
    )
    dedup.path(
        "--against",
        "FILE",
        "compare the documents also with those of earlier runs, of which this file is the saved state",
    )


def check_memory_options(options: Namespace) -> None:
    """Raise ValueError if an option does not go with --memory."""
    for name in _NEEDS_BLOOM if options.memory != "bloom" else ():
        if getattr(options, name) is not None:
            raise ValueError(f"{_spelled(name)} needs --memory bloom")
    for name, default in _NOT_WITH_BLOOM.items() if options.memory == "bloom" else ():
        if getattr(options, name, default) != default:
            raise ValueError(
                f"{_spelled(name)} is not possible with --memory bloom, which keeps no documents"
            )


def _spelled(name: str) -> str:
    return "--" + name.replace("_", "-")
