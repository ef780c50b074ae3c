"""The scores of documents, by which one of each group of duplicates is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...lsh.inputs.arrays import check_numbers
from ...sketches.sets.document_signatures import DocumentSignatures
from ..documents.batches import DocumentBatch
from ..ranks.comm import Communicator
from .signing import SignedDocuments

__all__ = ["check_some_scored", "scores_by"]


def scores_by(
    keep: Any, source: Any, is_source: bool, state: DocumentSignatures | None
) -> Callable[[DocumentBatch], Any]:
    """Return the function that gives the scores of a batch's documents; the first of equal ones is kept.

    A state keeps scores whether they are used in this run or not.
    """
    if not isinstance(keep, str):
        if is_source:
            raise TypeError('keep must be a string for a source, whose batches have the scores: "best"')
        scores = check_numbers("keep", keep)
        if scores.shape != (source.n_documents,):
            wanted = f"a number for each of the {source.n_documents} documents"
            raise ValueError(f"keep must be {wanted}, got shape {scores.shape}")
        return lambda batch: scores[(batch.ids - source.first_id).astype(np.int64)]
    if keep == "best":
        return _given_scores
    if state is not None:
        return _scores_if_any
    if keep == "longest":
        return lambda batch: np.diff(batch.offsets)
    return _no_scores


def _no_scores(_: DocumentBatch) -> Any:
    return 0.0


def _scores_if_any(batch: DocumentBatch) -> Any:
    scores = getattr(batch, "scores", None)
    return -np.inf if scores is None else scores


def _given_scores(batch: DocumentBatch) -> Any:
    scores = getattr(batch, "scores", None)
    if scores is None:
        raise ValueError('keep "best" needs a source whose batches have scores: see score_field')
    return scores


def check_some_scored(signed: SignedDocuments, field: str | None, comm: Communicator) -> None:
    """Raise ValueError on every rank if there are documents to choose from, and none has a score."""
    n_scored = comm.sum(int(np.count_nonzero(~np.isnan(signed.scores))))
    n_documents = comm.sum(len(signed.scores))
    with comm.agree():
        if n_documents and not n_scored:
            where = "" if field is None else f" in the field {field!r}"
            raise ValueError(f'keep "best" needs documents with a number{where}, and no document has one')
