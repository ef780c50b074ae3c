"""Progress bars: on stderr if it is a terminal, and only for what takes over a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(what: str, n_bytes: int, shown: bool) -> Iterator[Callable[[int], object]]:
    """A function that moves a bar of `n_bytes` on; one that does nothing unless `shown`."""
    if not shown:
        yield lambda amount: None
        return
    from tqdm import tqdm

    # `disable=None` asks tqdm to keep silent when stderr is no terminal.
    with tqdm(total=n_bytes, desc=what, unit="B", unit_scale=True, delay=1, disable=None, leave=False) as bar:
        yield bar.update
