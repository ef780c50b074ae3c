"""The classes that the laws of sketches hold for."""

from __future__ import annotations

from mergesketch import MergeableSketch
from mergesketch.sketches.core.stored import stored_classes


def sketch_classes() -> dict[str, type[MergeableSketch]]:
    """Return every concrete sketch class by name."""
    return {name: cls for name, cls in stored_classes().items() if issubclass(cls, MergeableSketch)}
