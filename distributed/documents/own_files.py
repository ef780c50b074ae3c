"""Recognise files that this package has written, so that they are not read as documents.

Results often lie in the folder that is read again later. They are known by their first bytes, whatever their
names are.
"""

from __future__ import annotations

import re

__all__ = ["OWN_REASONS", "own_output"]

#: How results begin, and the reason for leaving them out. The fields are in the order in which they are
#: written; there may be further ones.
_BEGINNINGS = (
    (
        re.compile(rb'\{"group": 0, "size": \d+, [^\n]*"documents": \[\{"path": "'),
        "groups that mergesketch dedup has written",
    ),
    (
        re.compile(
            rb'\{"path": "[^\n]*"kept": \{"path": "[^\n]*"similarity": [^,\n]+, "reason": "(copy|near)"'
        ),
        "removed documents that mergesketch dedup has written",
    ),
    (
        re.compile(
            rb'<!DOCTYPE html>.{0,1000}<meta name="generator" content="mergesketch dedup">', re.DOTALL
        ),
        "a report that mergesketch dedup has written",
    ),
    (re.compile(rb'.{8}\{"__metadata__":\{"format":"mergesketch"', re.DOTALL), "a file of a sketch"),
)
OWN_REASONS = frozenset(reason for _, reason in _BEGINNINGS)


def own_output(head: bytes) -> str:
    """Return what a file is that this package has written, by its first bytes; empty for any other file."""
    return next((reason for begins, reason in _BEGINNINGS if begins.match(head)), "")
