"""Progress bars: on stderr if it is a terminal, and only for what takes over a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


#: Seconds after which a bar appears.
DELAY = 1.0


@contextmanager
def progress_bar(
    what: str, total: int | None, shown: bool, unit: str = "B"
) -> Iterator[Callable[[int], object]]:
    """A function that moves a bar on, of `total` units if that is known; it does nothing unless `shown`."""
    if not shown:
        yield lambda amount: None
        return
    from tqdm import tqdm

    # `disable=None` asks tqdm to keep silent when stderr is no terminal.
    with tqdm(
        total=total, desc=what, unit=unit, unit_scale=True, delay=DELAY, disable=None, leave=False
    ) as bar:
        yield bar.update
