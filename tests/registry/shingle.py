"""Shingles of texts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import TEXT_BUFFER, TEXTS, Case
from mergesketch.lsh import shingle


def argument_cases() -> Iterator[Case]:
    yield Case("shingle: buffer", lambda documents: shingle(documents, size=2), {"documents": TEXT_BUFFER})
    yield Case("shingle: texts", lambda documents: shingle(documents, size=2), {"documents": np.array(TEXTS)})
