"""Progress bars, shown on stderr where it is a terminal, for work that takes more than a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


#: Time in seconds after which a bar appears.
DELAY = 1.0


@contextmanager
def progress_bar(
    what: str, total: int | None, shown: bool, unit: str = "B"
) -> Iterator[Callable[[int], object]]:
    """Yield a function that advances a bar of `total` units.

    It does nothing without `shown`, or where stderr is not a terminal.
    """
    if not shown or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit=unit, unit_scale=True, delay=DELAY, leave=False) as bar:
        yield bar.update
