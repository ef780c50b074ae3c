"""Signatures of documents by name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import FLAGS, Case
from later import Later
from mergesketch import DocumentSignatures, MinHash
from mergesketch.distributed import deduplicate
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_WORDS


def argument_cases() -> Iterator[Case]:
    state = Later(
        lambda: deduplicate(SMALL_WORDS, against=DocumentSignatures(), name="words").state  # 40 documents
    )

    def records(documents):
        return np.array([record for _, record in state.name_of(documents)], dtype=np.int64)

    documents = {"documents": np.arange(len(FLAGS))}
    yield Case("DocumentSignatures.name_of", records, documents, "documents")


def stored_examples() -> dict[str, Stored]:
    empty = DocumentSignatures(MinHash(6, expected_set_size=500), size=2)
    settings = {"n_hashes": 6, "size": 2}
    words = deduplicate(SMALL_WORDS[:20], against=empty, name="words", keep=range(20), **settings).state
    both = deduplicate(SMALL_WORDS[20:], against=words, name="more", keep=range(20), **settings).state
    return {"DocumentSignatures": both, "DocumentSignatures, empty": empty}
