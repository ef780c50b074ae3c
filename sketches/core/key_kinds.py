"""Sketches of keys remember the kind of their keys, and refuse keys of another kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ...lsh.hashing.keys import KEY_KINDS, Keys, Nulls, read_keys
from .base import MergeableSketch
from .state import StateSpec

__all__ = [
    "ANY",
    "BYTES",
    "DATES",
    "INSTANTS",
    "INTEGERS",
    "KIND_ARRAYS",
    "MAX_PARTS",
    "NEGATIVE",
    "STRINGS",
    "TIMES",
    "TUPLES",
    "KeysOfOneKind",
    "check_forms",
    "check_kinds",
    "forms_of",
    "kind_specs",
    "kinds_of",
    "kinds_of_forms",
    "refuse_mixed",
    "refuse_other_kinds",
]

#: Bits for the forms of keys. `NEGATIVE` comes with `INTEGERS`; strings and bytes are one kind.
INTEGERS, NEGATIVE, STRINGS, BYTES, DATES, TIMES, INSTANTS, TUPLES = (1 << i for i in range(8))
#: The forms of a sketch whose keys are not known, because an earlier version has written its file.
ANY = 255
#: The forms of so many places of tuples are remembered.
MAX_PARTS = 8
#: The arrays that hold the forms: of the keys, and of each place of tuples.
KIND_ARRAYS = ("key_forms", "part_forms")

_BITS = {
    "": 0,
    "int": INTEGERS,
    "str": STRINGS,
    "bytes": BYTES,
    "date": DATES,
    "datetime": TIMES,
    "timestamp": INSTANTS,
    "tuple": TUPLES,
}
_KINDS = {kind: _BITS[kind] | STRINGS * (kind == "bytes") for kind in KEY_KINDS}
_NAMES = {bits: KEY_KINDS[kind] for kind, bits in _KINDS.items()}
_TEXT = STRINGS | BYTES

_REMEDIES = {
    frozenset({INTEGERS, _TEXT}): '17 and "17" are two keys, so convert them with astype(int) or astype(str)',
    frozenset({DATES, TIMES}): "a date and a timestamp are two keys, so convert one of them",
    frozenset({TIMES, INSTANTS}): "give all a time zone, or none",
}


def kind_specs() -> dict[str, StateSpec]:
    """Return the specifications of `KIND_ARRAYS`, for `_layout`."""
    return {
        "key_forms": StateSpec((1,), "uint8", "or", on_device=False),
        "part_forms": StateSpec((MAX_PARTS,), "uint8", "or", on_device=False),
    }


def forms_of(keys: Keys) -> NDArray[np.uint8]:
    """Return the bits of a batch's keys, and of the places of tuples; all 0 for no keys.

    They tell negative integers from others, and strings from bytes. Strings that are not UTF-8, which a file
    may have, count as bytes too.
    """
    forms = np.zeros(1 + MAX_PARTS, np.uint8)
    for i, part in enumerate((keys, *keys.parts[:MAX_PARTS]) if len(keys) else ()):
        forms[i] = _BITS[part.form] | NEGATIVE * part.has_negative
        if part.form == "str" and not part.is_utf8():
            forms[i] |= BYTES
    return forms


def kinds_of(keys: Keys) -> NDArray[np.uint8]:
    """Return the bits of the kinds of a batch's keys, and of the places of tuples; all 0 for no keys."""
    kinds = np.zeros(1 + MAX_PARTS, np.uint8)
    for i, part in enumerate((keys, *keys.parts[:MAX_PARTS]) if len(keys) else ()):
        kinds[i] = _KINDS[part.kind]
    return kinds


def kinds_of_forms(forms: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the bits of the kinds of keys of some forms: one bit set, or those of strings and bytes."""
    kinds = forms & np.uint8(~NEGATIVE & 255)
    kinds[(kinds & _TEXT) != 0] |= np.uint8(_TEXT)
    kinds[forms == ANY] = ANY
    return kinds


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[int, str, str, str] | None:
    """Return the first place where the kinds of two batches differ: its number, the kinds, and a remedy."""
    if 0 in (one[0], other[0]) or ANY in (one[0], other[0]):
        return None
    for place, (a, b) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        if a and b and a != b:
            return place, _NAMES[a], _NAMES[b], _REMEDIES.get(frozenset({a, b}), "convert one to the other")
    n, m = int(np.count_nonzero(one)) - 1, int(np.count_nonzero(other)) - 1
    return None if n == m else (0, f"tuples of {n} parts", f"tuples of {m} parts", "take as many parts")


def check_kinds(name: str, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> None:
    """Raise IncompatibleSketchError if two sketches hold keys of different kinds."""
    found = _difference(one, other)
    if found is not None:
        place, first, second, remedy = found
        where = f"as part {place - 1} of tuples " if place else ""
        raise IncompatibleSketchError(
            f"{name} sketches hold {where}{first} in one and {second} in another: {remedy}"
        )


def refuse_other_kinds(name: str, kinds: NDArray[np.uint8], keys: Keys) -> None:
    """Raise TypeError if keys are of another kind than those that a sketch holds."""
    found = _difference(kinds, kinds_of(keys))
    if found is not None:
        place, before, here, remedy = found
        what = f"keys (part {place - 1})" if place else "keys"
        raise TypeError(
            f"{what} must be {before} as before, got {here}: this {name} remembers the kind of its keys; "
            f"{remedy}"
        )


def refuse_mixed(name: str, forms: int) -> None:
    """Raise IncompatibleSketchError if the joined forms of sketches are of several kinds."""
    kinds = [kind for bits, kind in _NAMES.items() if forms & bits]
    if len(kinds) > 1:
        raise IncompatibleSketchError(f"{name} sketches hold {kinds[0]} in one and {kinds[1]} in another")


def check_forms(forms: NDArray[np.uint8]) -> None:
    """Raise ValueError for forms of a file that are not those of one kind of keys."""
    kinds = kinds_of_forms(forms)
    is_negative = (forms & NEGATIVE != 0) & (forms & INTEGERS == 0)
    if kinds[0] not in (0, ANY, *_NAMES) or is_negative.any():
        raise ValueError(
            f"key_forms must be those of integers, or of strings and bytes, or of a kind kind, got {forms[0]}"
        )
    if not np.isin(kinds[1:], [0, *_NAMES]).all() or (kinds[1:] == TUPLES).any():
        raise ValueError(f"part_forms must be those of one kind for each place, got {forms[1:]}")
    n_parts = np.count_nonzero(kinds[1:])
    is_fit = n_parts >= 2 and kinds[1 : 1 + n_parts].all() if kinds[0] == TUPLES else n_parts == 0
    if kinds[0] != ANY and not is_fit:
        raise ValueError("part_forms must be those of the places of tuples, and of tuples only")


class KeysOfOneKind(MergeableSketch):
    """A sketch of keys that are all integers, or all strings and bytes, or all of another kind.

    The `_layout` of a subclass has `kind_specs`, its `_read` calls `_read_keys`, its `_add` `_note_forms`.
    """

    _internal = True
    #: Equal sketches of an earlier version do not know their kinds, and a string and its bytes are one key.
    _not_compared: ClassVar[frozenset[str]] = frozenset(KIND_ARRAYS)

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        if name == "key_forms":
            return np.full(1, ANY, np.uint8)
        return np.zeros(MAX_PARTS, np.uint8) if name == "part_forms" else super()._absent_array(name)

    @property
    def _kinds(self) -> NDArray[np.uint8]:
        """The bits of the kinds of all keys, and of the places of tuples; 0 as long as there is no key."""
        if not self._state.is_allocated:
            return np.zeros(1 + MAX_PARTS, np.uint8)
        return kinds_of_forms(np.concatenate([self._arrays[name] for name in KIND_ARRAYS]))

    def _read_keys(self, keys: Any, nulls: Nulls = "raise") -> Keys:
        """Read keys of an update or a query; TypeError if they are of another kind than those before."""
        read = read_keys(keys, device=self.device, nulls=nulls)
        refuse_other_kinds(type(self).__name__, self._kinds, read)
        return read

    def _forms(self, keys: Keys) -> NDArray[np.uint8]:
        """Return the bits that a batch adds to `KIND_ARRAYS`."""
        return kinds_of(keys)

    def _note_forms(self, forms: NDArray[np.uint8]) -> None:
        self._arrays["key_forms"] |= forms[:1]
        self._arrays["part_forms"] |= forms[1:]

    def _check_compatible(self, other: object) -> None:
        super()._check_compatible(other)
        assert isinstance(other, KeysOfOneKind)
        check_kinds(type(self).__name__, self._kinds, other._kinds)

    def part_numbers(self) -> tuple[int, ...]:
        return (*super().part_numbers(), *self._kinds.tolist())

    @classmethod
    def check_parts(cls, parts: Sequence[tuple[int, ...]]) -> None:
        known = [np.array(part, np.uint8) for part in parts if part[0] not in (0, ANY)]
        for part in known[1:]:
            check_kinds(cls.__name__, known[0], part)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        forms = np.concatenate([arrays[name] for name in KIND_ARRAYS])
        check_forms(forms)
