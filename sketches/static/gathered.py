"""Keys and values of many batches, as a builder gathers them and puts them in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.unhash import unhash_u64
from ...lsh.support.progress import progress_bar
from ..core.guard import check_interrupt
from .batch import Batch, Kinds
from .dictionary import Dictionary, Numbering
from .records import OrderedRecords, RecordStore
from .shards import Clash

__all__ = ["Gathered"]


class Gathered:
    """The kinds, the texts and the records of all batches.

    Attributes
    ----------
    seed : int
        The seed of the keys' hashes.
    kinds : Kinds
    dictionary : Dictionary
    store : RecordStore
        The hash of every key and the word of its value; the word of a text is its hash.
    """

    def __init__(self, seed: int, spill: Path | None) -> None:
        self.seed = seed
        self.store = RecordStore(spill)
        self.kinds, self.dictionary = Kinds(), Dictionary()

    def close(self) -> None:
        """Remove the files of the records, and forget everything."""
        self.store.close()
        self.store = RecordStore(self.store.spill)
        self.kinds, self.dictionary = Kinds(), Dictionary()

    def add(self, batch: Batch, hashes: NDArray[np.uint64]) -> None:
        """Add a batch and the hashes of its keys, or nothing of it if that fails."""
        if batch.missing is not None:
            raise ValueError(
                "values must be present for every key where they come in batches, got None at "
                f"{int(batch.missing.argmax())}: leave its key out, or choose a value that stands for it"
            )
        kinds = self.kinds.joined(Kinds.of(batch))
        self.dictionary.check(batch.dictionary)
        with self.store.all_or_nothing():
            self.store.append(hashes, batch.words)
            self.dictionary.merge(batch.dictionary)
            self.kinds = kinds

    def merge(self, others: Sequence[Gathered]) -> None:
        """Add all that others have, or nothing of it if that fails."""
        kinds, texts = self.kinds, Dictionary()
        for other in others:
            kinds = kinds.joined(other.kinds)
            self.dictionary.check(other.dictionary)
            texts.merge(other.dictionary)
        with self.store.all_or_nothing():
            for other in others:
                check_interrupt()
                self.store.absorb(other.store)
            self.dictionary.merge(texts)
            self.kinds = kinds

    def order(
        self, numbering: Numbering | None, folder: Path | None, progress: bool, names_batches: bool = True
    ) -> OrderedRecords:
        """Put the records in the order of their hashes.

        Parameters
        ----------
        numbering : Numbering, optional
            The numbers of all texts, if the values are texts.
        folder : path, optional
            The folder for the ordered records, if they do not stay in memory.
        progress : bool
        names_batches : bool
            True to name the batches in the message of an error.

        Raises
        ------
        ValueError
            If a key has two values.
        """
        try:
            with progress_bar("Ordering", self.store.n_records, progress, " keys") as advance:
                return OrderedRecords(self.store, numbering, folder, advance)
        except Clash as clash:
            self._refuse(clash.hash, names_batches)

    def _refuse(self, hash_: int, names_batches: bool) -> NoReturn:
        """Name the key that has two values."""
        places = self.store.places(hash_)
        one, where = places[0]
        other, there = next(place for place in places if place[0] != one)
        where, there = (f" ({place})" if names_batches else "" for place in (where, there))
        values = f"with {self._shown(one)}{where} and {self._shown(other)}{there}"
        if self.kinds.keys == "int":
            key = unhash_u64(hash_, self.seed)
            key -= (1 << 64) * (self.kinds.has_negative and key >= 1 << 63)
            raise ValueError(f"keys must have one value each, got {key} {values}") from None
        raise ValueError(
            f"keys must have one value each, got one whose hash is {hash_:#018x} {values}; if these are two "
            f"keys, then their hashes are the same under seed {self.seed}: choose another seed"
        ) from None

    def _shown(self, word: int) -> str:
        kind = self.kinds.result
        if kind.is_text:
            entry = self.dictionary.entry(word)
            return repr(entry.decode() if kind.kind == "str" else entry)
        return repr(kind.from_words(np.array([word], dtype=np.uint64))[0].item())
