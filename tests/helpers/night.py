"""Tell tests whether this is the nightly run, which compares more."""

from __future__ import annotations

from hypothesis import settings

__all__ = ["IS_NIGHT"]

#: Whether Hypothesis has the profile of `make nightly`, which draws more examples.
IS_NIGHT = settings.default.max_examples > settings.get_profile("mergesketch").max_examples
