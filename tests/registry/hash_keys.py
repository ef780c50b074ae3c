"""Hashes of keys."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import KEYS, TEXT_BUFFER, TEXTS, Case
from mergesketch.lsh import hash_keys


def argument_cases() -> Iterator[Case]:
    yield Case("hash_keys", hash_keys, {"keys": KEYS}, "keys")
    yield Case("hash_keys: buffer", hash_keys, {"keys": TEXT_BUFFER})
    yield Case("hash_keys: texts", hash_keys, {"keys": np.array(TEXTS)}, "keys")
    yield Case("hash_keys: byte strings", hash_keys, {"keys": np.array(TEXTS).astype("S")}, "keys")
