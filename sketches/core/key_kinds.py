"""Sketches of keys remember the kind of their keys, and refuse keys of another kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ...lsh.hashing.keys import KEY_KINDS, Keys, Nulls, read_keys
from ...lsh.support.backend import to_host
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
    "forms_in",
    "forms_of",
    "kind_arrays",
    "kind_specs",
    "kinds_in",
    "kinds_of",
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


def forms_of(keys: Keys) -> tuple[int, ...]:
    """Return the bits of a batch's keys, and then those of the first places of tuples; () for no keys.

    They tell negative integers from others, and strings from bytes. Strings that are not UTF-8, which a file
    may have, count as bytes too.
    """
    return tuple(
        _BITS[part.form] | NEGATIVE * part.has_negative | BYTES * (part.form == "str" and not part.is_utf8())
        for part in _with_parts(keys)
    )


def kinds_of(keys: Keys) -> tuple[int, ...]:
    """Return the bits of the kind of a batch's keys, and then of the places of tuples; () for no keys."""
    if not keys.parts:
        return (_KINDS[keys.kind],) if len(keys) else ()
    return tuple(_KINDS[part.kind] for part in _with_parts(keys))


def forms_in(arrays: Mapping[str, NDArray[Any]]) -> tuple[int, ...]:
    """Return the bits in `KIND_ARRAYS`: those of all keys, and then of the places of tuples; () for none."""
    form = arrays["key_forms"].item()
    if not form & TUPLES or form == ANY:
        return (form,) if form else ()
    return (form, *filter(None, arrays["part_forms"].tolist()))


def kinds_in(arrays: Mapping[str, NDArray[Any]]) -> tuple[int, ...]:
    """Return the kinds of the forms in `KIND_ARRAYS`, as `kinds_of` does for a batch."""
    return tuple([_kind(form) for form in forms_in(arrays)])


def kind_arrays(kinds: Sequence[int]) -> dict[str, NDArray[np.uint8]]:
    """Return `KIND_ARRAYS` with these kinds."""
    bits = np.zeros(1 + MAX_PARTS, np.uint8)
    bits[: len(kinds)] = kinds
    return {"key_forms": bits[:1], "part_forms": bits[1:]}


def _with_parts(keys: Keys) -> tuple[Keys, ...]:
    return (keys, *keys.parts[:MAX_PARTS]) if len(keys) else ()


def _kind(form: int) -> int:
    """Return the bits of the kind of keys of some forms: one bit, or those of strings and bytes."""
    if form == ANY:
        return ANY
    return (form | _TEXT if form & _TEXT else form) & ~NEGATIVE


def _difference(one: Sequence[int], other: Sequence[int]) -> tuple[int, str, str, str] | None:
    """Return the first place where the kinds of two batches differ: its number, the kinds, and a remedy."""
    if not one or not other or ANY in (one[0], other[0]) or one == other:
        return None
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place, _NAMES[a], _NAMES[b], _REMEDIES.get(frozenset({a, b}), "convert one to the other")
    return 0, f"tuples of {len(one) - 1} parts", f"tuples of {len(other) - 1} parts", "take as many parts"


def check_kinds(name: str, one: Sequence[int], other: Sequence[int]) -> None:
    """Raise IncompatibleSketchError if two sketches hold keys of different kinds."""
    found = _difference(one, other)
    if found is not None:
        place, first, second, remedy = found
        where = f"as part {place - 1} of tuples " if place else ""
        raise IncompatibleSketchError(
            f"{name} sketches hold {where}{first} in one and {second} in another: {remedy}"
        )


def refuse_other_kinds(name: str, kinds: Sequence[int], keys: Keys, argument: str = "keys") -> None:
    """Raise TypeError if keys are of another kind than those that a sketch holds."""
    found = _difference(kinds, kinds_of(keys))
    if found is not None:
        place, before, here, remedy = found
        what = f"{argument} (part {place - 1})" if place else argument
        raise TypeError(
            f"{what} must be {before} as before, got {here}: this {name} remembers the kind of its keys; "
            f"{remedy}"
        )


def refuse_mixed(name: str, forms: int) -> None:
    """Raise IncompatibleSketchError if the joined forms of sketches are of several kinds."""
    kinds = [kind for bits, kind in _NAMES.items() if forms & bits]
    if len(kinds) > 1:
        raise IncompatibleSketchError(f"{name} sketches hold {kinds[0]} in one and {kinds[1]} in another")


def check_forms(forms: Sequence[int], of_parts: Sequence[int]) -> None:
    """Raise ValueError for forms of a file that are not those of one kind of keys."""
    form = forms[0]
    if _kind(form) not in (0, ANY, *_NAMES) or (form & NEGATIVE and not form & INTEGERS):
        raise ValueError(
            f"key_forms must be those of integers, or of strings and bytes, or of dates, ..., got {form}"
        )
    n_parts = len(of_parts) - of_parts.count(0)
    for part in of_parts[:n_parts]:
        if _kind(part) not in _NAMES or part & TUPLES or (part & NEGATIVE and not part & INTEGERS):
            raise ValueError(f"part_forms must be those of one kind for each place, got {part}")
    if form != ANY and not (n_parts >= 2 if form & TUPLES else n_parts == 0):
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
    def _all_forms(self) -> tuple[int, ...]:
        """The bits of all keys, and then those of the places of tuples; () as long as there is no key."""
        return forms_in(self._arrays) if self._state.is_allocated else ()

    @property
    def _kinds(self) -> tuple[int, ...]:
        return tuple([_kind(form) for form in self._all_forms])

    def _read_keys(self, keys: Any, nulls: Nulls = "raise") -> Keys:
        """Read keys of an update or a query; TypeError if they are of another kind than those before."""
        read = read_keys(keys, device=self.device, nulls=nulls)
        refuse_other_kinds(type(self).__name__, self._kinds, read)
        return read

    def _forms(self, keys: Keys) -> tuple[int, ...]:
        """Return the bits that a batch adds to those of all keys."""
        return kinds_of(keys)

    def _note_forms(self, forms: tuple[int, ...]) -> None:
        if not forms:
            return
        if forms[0] & ~self._arrays["key_forms"].item():
            self._arrays["key_forms"] |= np.uint8(forms[0])
        if len(forms) > 1:
            self._arrays["part_forms"][: len(forms) - 1] |= np.array(forms[1:], np.uint8)

    def _check_compatible(self, other: object) -> None:
        super()._check_compatible(other)
        assert isinstance(other, KeysOfOneKind)
        check_kinds(type(self).__name__, self._kinds, other._kinds)

    def part_numbers(self) -> tuple[int, ...]:
        return (*super().part_numbers(), *self._kinds)

    @classmethod
    def check_parts(cls, parts: Sequence[tuple[int, ...]]) -> None:
        known = [part for part in parts if part and part[0] != ANY]
        for part in known[1:]:
            check_kinds(cls.__name__, known[0], part)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        check_forms(*(to_host(arrays[name]).tolist() for name in KIND_ARRAYS))
