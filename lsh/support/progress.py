"""Progress bars, shown on stderr where it is a terminal, for work that takes more than a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


#: Time in seconds after which a bar appears.
DELAY = 1.0


@contextmanager
def progress_bar(
    what: str, total: int | None, shown: bool, unit: str = "B"
) -> Iterator[Callable[[int], object]]:
    """Yield a function that advances a bar of `total` units; without `shown` it does nothing."""
    if not shown:
        yield lambda _: None
        return
    from tqdm import tqdm

    # With `disable=None` tqdm writes nothing where stderr is not a terminal.
    with tqdm(
        total=total, desc=what, unit=unit, unit_scale=True, delay=DELAY, disable=None, leave=False
    ) as bar:
        yield bar.update
