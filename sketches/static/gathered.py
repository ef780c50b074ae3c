"""Keys and values of many batches: what a builder has gathered, and how it is put in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from ...lsh.hashing.unhash import unhash_u64
from ...lsh.support.progress import progress_bar
from ..core.guard import check_interrupt
from .batch import Batch, Kinds
from .dictionary import Dictionary, Ranks
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
        The hash of every key, and the word of its value: of texts, the hash.
    """

    def __init__(self, seed: int, spill: Path | None) -> None:
        self.seed = seed
        self.store = RecordStore(spill)
        self.kinds, self.dictionary = Kinds(), Dictionary()

    def close(self) -> None:
        """Forget everything and remove the files."""
        self.store.close()
        self.kinds, self.dictionary = Kinds(), Dictionary()

    def add(self, batch: Batch) -> None:
        """Add a batch, or nothing of it if that fails."""
        kinds = self.kinds.joined(Kinds.of(batch))
        self.dictionary.check(batch.dictionary)
        hashes = batch.keys.hashes(self.seed)
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
        self, ranks: Ranks | None, folder: Path | None, progress: bool, names_batches: bool = True
    ) -> OrderedRecords:
        """Put the records in the order of their hashes.

        Parameters
        ----------
        ranks : Ranks, optional
            The ranks of all texts, if the values are texts.
        folder : path, optional
            Where the ordered records are kept, if not in memory.
        progress : bool
        names_batches : bool
            True if an error says which batches gave a key two values.

        Raises
        ------
        ValueError
            If a key has two values.
        """
        try:
            with progress_bar("Ordering", self.store.n_records, progress, " keys") as advance:
                return OrderedRecords(self.store, ranks, folder, advance)
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
        return repr(kind.from_words(np.array([word], dtype=np.uint64), None)[0].item())
