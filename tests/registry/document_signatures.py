"""Signatures of documents by name."""

from __future__ import annotations

from mergesketch import DocumentSignatures, MinHash
from mergesketch.distributed import deduplicate
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_WORDS


def stored_examples() -> dict[str, Stored]:
    empty = DocumentSignatures(MinHash(6, expected_set_size=500), size=2)
    settings = {"n_hashes": 6, "size": 2}
    words = deduplicate(SMALL_WORDS[:20], against=empty, name="words", keep=range(20), **settings).state
    both = deduplicate(SMALL_WORDS[20:], against=words, name="more", keep=range(20), **settings).state
    return {"DocumentSignatures": both, "DocumentSignatures, empty": empty}
