"""The building of a static map: order keys, count values, choose codes, solve shards, lay out ribbons."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.progress import progress_bar
from ..coding.texts import encode_texts
from ..coding.value_counts import add_counts, count_words, keep_most
from .batch import Batch
from .column import CHECK_PURPOSE, Column, ribbons_of, solve_filter
from .column_permutation import permute_columns
from .contexts import Contexts, choose_classes
from .dictionary import Numbering
from .map import StaticMap
from .ribbon import Shard, Solved, stored_arrays
from .shards import Clash, Records, number_of_shards, order_records, solve_shards
from .value_kind import ValueKind

__all__ = ["Blueprint", "build_map"]

M = TypeVar("M", bound=StaticMap)
ConfigAndArrays = tuple[dict[str, Any], dict[str, NDArray[Any]]]

_MASK = (1 << 64) - 1
#: Seeds that are tried. The hashes of distinct keys collide in one of a billion maps of 10 million strings.
_SEEDS = 4


class Blueprint:
    """All that is known of a static map before its shards are solved.

    Parameters
    ----------
    seed, n_keys, key_kind, key_check_bits
        As the map has them.
    kinds : list of ValueKind
        The kind of all values, or that of each column.
    numbering : Numbering, optional
        The numbers of all texts, if the values are texts.
    columns : list of Column
    contexts : Contexts, optional
        Then the values have two columns, the second one of contexts, and each class has a column of its own.
    """

    def __init__(
        self,
        seed: int,
        n_keys: int,
        key_kind: str,
        key_check_bits: int,
        kinds: list[ValueKind],
        numbering: Numbering | None,
        columns: list[Column],
        contexts: Contexts | None = None,
    ) -> None:
        self.seed, self.n_keys, self.key_kind, self.key_check_bits = seed, n_keys, key_kind, key_check_bits
        self.kinds, self.numbering, self.columns, self._contexts = kinds, numbering, columns, contexts
        #: The kind of the frame that the rows came in, and the names of its columns.
        self.frame = ""
        self.names: tuple[str, ...] = ()
        self.n_shards = number_of_shards(n_keys)
        self._codebooks = list({id(column.codebook): column.codebook for column in columns}.values())
        numbers = {id(book): number for number, book in enumerate(self._codebooks)}
        #: The number of each column's codebook.
        self._numbers = [numbers[id(column.codebook)] for column in columns]
        self._encoders = [book.encoder() for book in self._codebooks]

    def solve(self, shard: Shard, values: NDArray[np.uint64]) -> list[Solved]:
        """Return the ribbons of a shard, from its keys and their values of shape (n,) or (n, columns)."""
        solved = []
        if self.key_check_bits:
            solved.append(solve_filter(shard, CHECK_PURPOSE, self.key_check_bits))
        if self._contexts is not None:
            classes = self._contexts.classes_of(values[:, 1])
            for i, column in enumerate(self.columns):
                members = np.flatnonzero(classes == i)
                encoder = self._encoders[self._numbers[i]]
                solved += column.solve(shard.take(members), values[members, 0], encoder)
            return solved
        for column, number, words in zip(self.columns, self._numbers, _by_column(values), strict=True):
            solved += column.solve(shard, words, self._encoders[number])
        return solved

    def solve_groups(
        self, groups: Iterable[tuple[range, Records]], n_keys: int, progress: bool, label: str = "Solving"
    ) -> list[Solved]:
        """Return the ribbons of consecutive shards, from groups of shards and their records."""
        solved: list[Solved] = []
        with progress_bar(label, n_keys, progress, " keys") as advance:
            for shards, records in groups:
                solved += solve_shards(records, shards, self.n_shards, self.solve, advance)
        return solved

    def assemble(self, cls: type[M], solved: list[Solved]) -> M:
        """Return the map, from the ribbons of all shards in their order."""
        return cls._rebuilt(*self.config_and_arrays(solved))

    def config_and_arrays(self, solved: list[Solved]) -> ConfigAndArrays:
        """Return what the map is made of, from the ribbons of all shards in their order."""
        arrays = stored_arrays(solved, self.n_shards, ribbons_of(self.key_check_bits, self.columns))
        for number, book in enumerate(self._codebooks):
            arrays |= {f"codebook{number}_{name}": array for name, array in book.arrays().items()}
        kinds = self.kinds
        if self.numbering is not None:
            entries = self.numbering.entries
            kinds = [kind.fitted(entries) if kind.is_text else kind for kind in kinds]
            arrays |= encode_texts(entries)
        config = {
            "seed": self.seed,
            "n_keys": self.n_keys,
            "n_shards": self.n_shards,
            "key_kind": self.key_kind,
            "key_check_bits": self.key_check_bits,
            "values": [kind.config() for kind in kinds] if self.frame else kinds[0].config(),
            "n_codebooks": len(self._codebooks),
            "columns": [column.config(n) for column, n in zip(self.columns, self._numbers, strict=True)],
        }
        if self.frame:
            config |= {"frame": self.frame, "names": list(self.names)}
        if self._contexts is not None:
            arrays |= self._contexts.arrays()
        if self.numbering is not None:
            config["n_texts"] = len(self.numbering.entries)
        return config, arrays


def build_map(
    batch: Batch,
    seed: int,
    key_check_bits: int,
    progress: bool,
    codebook: str = "separate",
    permute: str = "none",
    contexts: NDArray[np.uint64] | None = None,
) -> ConfigAndArrays:
    """Return what the map of a batch is made of, which may have contexts; see `StaticTable`."""
    seed = check_int("seed", seed, 0, _MASK)
    key_check_bits = check_int("key_check_bits", key_check_bits, 0, 64)
    is_shared = check_choice("codebook", codebook, ("separate", "shared")) == "shared"
    check_choice("permute", permute, ("none", "entropy", "global"))
    words, numbering, kinds = batch.words, None, list(batch.columns) if batch.frame else [batch.kind]
    texts = np.array([kind.is_text for kind in kinds])
    if texts.any():
        numbering = batch.dictionary.number()
        if numbering.entries and batch.frame:
            words = words.copy()
            words[:, texts] = numbering.find(words[:, texts])
        elif numbering.entries:
            words = numbering.find(words)
    if batch.missing is not None and not batch.frame:
        words, kinds[0] = _with_null(words, batch.missing, kinds[0])
    elif batch.missing is not None:
        words = words.copy()
        for place in np.flatnonzero(batch.missing.any(axis=0)).tolist():
            words[:, place], kinds[place] = _with_null(words[:, place], batch.missing[:, place], kinds[place])
    if batch.frame and permute != "none":
        raise ValueError(f"permute must be 'none' for rows with named columns, got {permute!r}")
    words = permute_columns(words, permute)
    if contexts is not None:
        words = np.stack([words, contexts], axis=1)
    seed, records = _order(batch, words, seed)
    n_keys, chosen = records.hashes.size, None
    if contexts is None:
        columns = _choose_columns(records.values, n_keys, is_shared)
    else:
        values, contexts = records.values.T
        chosen = choose_classes(contexts, values, number_of_shards(n_keys))
        columns = _columns_of_classes(values, chosen.classes_of(contexts), n_keys)
    blueprint = Blueprint(seed, n_keys, batch.keys.kind, key_check_bits, kinds, numbering, columns, chosen)
    blueprint.frame, blueprint.names = batch.frame, batch.names
    solved = blueprint.solve_groups([(range(blueprint.n_shards), records)], n_keys, progress)
    return blueprint.config_and_arrays(solved)


def _with_null(
    words: NDArray[np.uint64], missing: NDArray[np.bool_], kind: ValueKind
) -> tuple[NDArray[np.uint64], ValueKind]:
    """Return words in which missing values have a word that no other value has, and the kind with it."""
    present = words[~missing]
    null = int(present.max(initial=0)) + (present.size > 0)
    if null > _MASK:
        # The word is next to the others, because raw bits are as wide as the range of all words.
        null = int(present.min()) - 1
        if null < 0:
            raise ValueError("values must leave one of the 2**64 words to None, got the first and the last")
    return np.where(missing, np.uint64(null), words), kind._replace(null=null)


def _order(batch: Batch, words: NDArray[np.uint64], seed: int) -> tuple[int, Records]:
    """Return the first seed under which no two keys have one hash, and the records in the order of hashes."""
    for attempt in range(_SEEDS):
        tried = (seed + attempt) & _MASK
        hashes = batch.keys.hashes(tried)
        try:
            return tried, order_records(hashes, words)
        except Clash as clash:
            _refuse_conflict(batch, words, np.flatnonzero(hashes == np.uint64(clash.hash)))
    raise RuntimeError(f"distinct keys collided under {_SEEDS} seeds")


def _refuse_conflict(batch: Batch, words: NDArray[np.uint64], rows: NDArray[np.int64]) -> None:
    """Raise ValueError if one key has two values among rows whose keys have one hash.

    The words of the values are compared, not the values: 0.0 equals -0.0, and NaN does not equal itself.
    """
    seen: dict[int | bytes, int] = {}
    for row in rows.tolist():
        first = seen.setdefault(batch.keys.raw(row), row)
        if (words[first] != words[row]).any():
            if words.ndim > batch.words.ndim and words[first, 0] == words[row, 0]:
                key = batch.keys.item(row)
                raise ValueError(
                    f"keys must have one context each, got {key!r} with two (at {first} and {row})"
                )
            one, other = (batch.shown(place) for place in (first, row))
            raise ValueError(
                f"keys must have one value each, got {batch.keys.item(row)!r} with {one!r} (at {first}) and "
                f"{other!r} (at {row})"
            )


def _choose_columns(values: NDArray[np.uint64], n_keys: int, is_shared: bool) -> list[Column]:
    """Choose the code of every column, or one code for all columns."""
    n_shards = number_of_shards(n_keys)
    counts = [count_words(words) for words in _by_column(values)]
    if is_shared and counts:
        return [Column.build(keep_most(*add_counts(counts)), n_shards)] * len(counts)
    return [Column.build(keep_most(*count), n_shards) for count in counts]


def _columns_of_classes(values: NDArray[np.uint64], classes: NDArray[np.uint8], n_keys: int) -> list[Column]:
    """Choose the code of every class."""
    every = range(max(1, int(classes.max(initial=0)) + 1))
    counts = [count_words(values[classes == i]) for i in every]
    return [Column.build(keep_most(*count), number_of_shards(n_keys)) for count in counts]


def _by_column(values: NDArray[np.uint64]) -> list[NDArray[np.uint64]]:
    """Return the words of each column."""
    return [values] if values.ndim == 1 else list(values.T)
