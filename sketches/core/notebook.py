"""Tables that notebooks show for sketches."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Self

__all__ = ["Share", "html_table"]

#: The most characters of a value that are shown.
_LONGEST = 300


class Share(str):
    """A share in words, for `repr`, with its number, for a bar.

    Parameters
    ----------
    share : float
        From 0 to 1.
    what : str
        What it is a share of.
    """

    __slots__ = ("share",)
    share: float

    def __new__(cls, share: float, what: str) -> Self:
        new = super().__new__(cls, f"{100.0 * share:.3g}% of {what}")
        new.share = share
        return new


def html_table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values as HTML, with a bar for each `Share`.

    It has no colours of its own, so it suits light and dark pages, and no scripts.
    """
    left = ' style="text-align: left"'
    lines = [
        f'<tr><th scope="row"{left}>{escape(name)}</th><td{left}>{_bar(value)}{_shown(value)}</td></tr>'
        for name, value in rows
    ]
    return "\n".join(["<table>", f"<caption><b>{escape(title)}</b></caption>", *lines, "</table>"])


def _bar(value: str) -> str:
    if not isinstance(value, Share):
        return ""
    return f'<meter min="0" max="1" value="{value.share:.4f}" title="{escape(value)}"></meter> '


def _shown(value: str) -> str:
    return escape(value if len(value) <= _LONGEST else value[:_LONGEST] + "\u2026")
