"""Small rows, sets, keys and families for the objects whose files are forged."""

from __future__ import annotations

import numpy as np
from mergesketch.lsh import PStable, SignedRandomProjection

SMALL_ROWS = np.random.default_rng(0).standard_normal((30, 4))
SMALL_SETS = [np.arange(i, i + 9) for i in range(30)]
SMALL_KEYS = np.arange(40)
SMALL_WORDS = [f"key {i}" for i in range(40)]
SMALL_SIGNS = SignedRandomProjection(4, 3, power=2, seed=1)
SMALL_STEPS = PStable(4, 3, width=1.0, power=2, n_buckets=16, seed=1)
