"""Tell tests whether this is the nightly run, which compares more."""

from __future__ import annotations

from hypothesis import settings

__all__ = ["IS_NIGHT", "NUMBERS_OF_RANKS"]

#: Whether Hypothesis has the profile of `make nightly`, which draws more examples.
IS_NIGHT = settings.default.max_examples > settings.get_profile("mergesketch").max_examples

#: Numbers of ranks whose results are compared. Ranks take processor time while they wait, so that more ranks
#: than cores take long. Tests of the communicator itself have all numbers by day.
NUMBERS_OF_RANKS = (1, 2, 3, 4) if IS_NIGHT else (1, 3)
