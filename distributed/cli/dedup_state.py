"""Compare new documents with those of a state file, and save the state of all."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import readable
from ...lsh.families.minhash import MinHash
from ...lsh.support.wording import counted
from ...sketches.sets.document_signatures import DocumentSignatures
from ..dedup.old_documents import is_old
from ..dedup.result import Deduplication
from ..dedup.state_file import save_documents
from ..documents.source import DocumentSource
from ..ranks.comm import Communicator
from .files import naming_sketch
from .messages import naming_file, si_bytes
from .output import check_output
from .streams import is_stream

__all__ = ["DedupState"]

#: The number of old documents that are named in the summary.
N_SHOWN = 8


class DedupState:
    """The options --against and --save-state of one run, and the names of old and new documents.

    Parameters
    ----------
    options : Namespace
    comm : Communicator
        Creating the object and `save` are collective calls.

    Attributes
    ----------
    against : DocumentSignatures, str or None
        What `deduplicate` takes by this name: a file, or an empty state if only a new one will be saved.
    files : list of str
        The files of states.
    """

    def __init__(self, options: Namespace, comm: Communicator) -> None:
        self._path, self._target, self._comm = options.against, options.save_state, comm
        self.files: list[str] = [path for path in (self._path, self._target) if path is not None]
        self._old: DocumentSignatures | None = None
        check_output(self._target, (), comm)
        self.against: DocumentSignatures | str | None = self._path
        with comm.agree():
            if comm.rank == 0 and self._target is not None and is_stream(self._target):
                raise ValueError(f"cannot write the state to {self._target}: it must be a file")
            if self._path is not None:
                # A file that cannot be used is refused before anything is read.
                with naming_sketch(self._path):
                    self._old = DocumentSignatures.load(self._path, mmap=True)
            elif self._target is not None:
                family = MinHash(options.hashes, seed=options.seed, expected_set_size=500)
                self.against = DocumentSignatures(
                    family, unit=options.unit, size=options.shingle_size, normalize=options.normalize
                )

    def use(self, source: DocumentSource) -> None:
        """Take the names of new documents from a source, whose files the state must not replace."""
        self._source = source
        check_output(self._target, source.files, self._comm)

    def name_of(self, ids: ArrayLike) -> list[tuple[str, int | None]]:
        """Return the path and the line of each document, whether this run has read it or not."""
        ids = np.asarray(ids, dtype=np.uint64)
        old = is_old(ids)
        if not old.any():
            return self._source.name_of(ids)
        assert self._old is not None
        names = iter(self._source.name_of(ids[~old]))
        old_names = iter(self._old.name_of(ids[old]))
        return [next(old_names) if its else next(names) for its in old.tolist()]

    def save(self, result: Deduplication) -> None:
        """Save the state, after everything else was written."""
        if self._target is not None:
            assert result.state is not None
            with naming_file(self._target, "write"):
                save_documents(result.state, self._target, self._comm)

    def print_summary(self, result: Deduplication) -> None:
        """Print what new documents have to do with old ones, on rank 0."""
        compared = result.compared
        if compared is None:
            return
        if self._path is not None:
            again = f", {compared.n_read_again:,} of them read again" if compared.n_read_again else ""
            print(f"old documents    {compared.n_old:,}{again}, in {readable(self._path)}")
            print(
                f"new duplicates   {compared.n_duplicates_of_old:,} of old documents, "
                f"{compared.n_duplicates_of_new:,} of new ones"
            )
            self._print_old("replaced", "not kept any more", compared.replaced, compared.replaced_by)
            self._print_old("restored", "kept again", compared.restored)

    def _print_old(
        self,
        title: str,
        what: str,
        documents: NDArray[np.uint64],
        instead: NDArray[np.uint64] | None = None,
    ) -> None:
        if not len(documents):
            return
        print(f"{title:<16} {counted(len(documents), 'old document')} {what}")
        shown = slice(0, N_SHOWN)
        others: list[Any] = [None] * N_SHOWN
        if instead is not None:
            others = self.name_of(instead[shown])
        for name, other in zip(self.name_of(documents[shown]), others, strict=False):
            print(f"    {_text(name)}{'' if other is None else f', for {_text(other)}'}")
        if len(documents) > N_SHOWN:
            print(f"    ... and {len(documents) - N_SHOWN:,} more")

    def print_written(self) -> None:
        """Print where the state is, on rank 0."""
        if self._target is not None:
            print(f"state            {readable(self._target)}, {si_bytes(os.path.getsize(self._target))}")


def _text(name: tuple[str, int | None]) -> str:
    path, line = name
    return readable(path) + ("" if line is None else f":{line}")
