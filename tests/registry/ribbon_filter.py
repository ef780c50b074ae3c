"""Ribbon filters."""

from __future__ import annotations

from collections.abc import Iterator

from argument_cases import KEYS, Case
from later import Later
from mergesketch import RibbonFilter
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_WORDS


def argument_cases() -> Iterator[Case]:
    def ribbon(keys):
        return RibbonFilter(keys, progress=False)

    yield Case("RibbonFilter", lambda keys: ribbon(keys).to_bytes(), {"keys": KEYS})
    yield Case("RibbonFilter.contains", Later(lambda: ribbon(KEYS[:4])).contains, {"keys": KEYS}, "keys")


def stored_examples() -> dict[str, Stored]:
    return {"RibbonFilter": RibbonFilter(SMALL_WORDS, 0.01)}
