"""Families that take the number of features from the first rows, if it is not given."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, Self, TypeVar, cast

from ..family import HashFamily
from ..inputs.rows import DenseRows, VectorRows, read_rows
from ..support.checks import check_int
from ..support.configured import arguments_of
from ..support.types import RowsLike

__all__ = ["FamilyOfWidth", "with_width"]

F = TypeVar("F", bound=Callable[..., Any])


class FamilyOfWidth(HashFamily):
    """A family of rows of `n_features` numbers, which may be None until rows are hashed.

    Such a family does not change. `for_rows` returns another one, of the rows' number of features, and
    `hash`, `probe` and `kernel` do so for the length of a call.
    """

    n_features: int | None
    #: The family of the rows that were hashed last, whose random parameters need not be drawn again.
    _latest: Self | None = None

    def _set_width(self, n_features: Any, largest: int | None = None) -> None:
        """Check and set the number of features."""
        self.n_features = None if n_features is None else check_int("n_features", n_features, 1, largest)

    @property
    def _known_features(self) -> int:
        """The number of features; ValueError if it is not known yet."""
        if self.n_features is None:
            raise ValueError(
                f"n_features of this {type(self).__name__} is None until rows are hashed: give it, or call "
                "for_rows(X)"
            )
        return self.n_features

    @property
    def _least_width(self) -> int:
        """The least number of features that the other arguments allow."""
        return 1

    @property
    def is_fixed(self) -> bool:
        """False as long as the number of features is unknown; sketches take it from their first rows."""
        return self.n_features is not None

    def for_rows(self, X: RowsLike, name: str = "X") -> Self:
        if self.is_fixed:
            return self
        rows = read_rows(X, None, name)
        return self._of_width(rows.width) if rows.n else self

    def fixed_like(self, other: HashFamily) -> Self:
        if self.is_fixed or type(other) is not type(self) or other.n_features is None:
            return self
        try:
            return self._of_width(other.n_features)
        except ValueError:  # other arguments allow no such number, so they differ from those of `other`
            return self

    def _of_width(self, width: int) -> Self:
        """Return the family with `width` features."""
        latest = self._latest
        if latest is None or latest.n_features != width:
            # Two threads may both do this. Their families are equal.
            self._latest = latest = type(self)(**{**arguments_of(self), "n_features": width})
        return latest

    def _widened(self, rows: VectorRows) -> VectorRows:
        """Return the rows; if there are none, no rows of a width that the family may have."""
        if rows.n or rows.width >= self._least_width:
            return rows
        none = rows.backend.xp.empty((0, self._least_width))
        return DenseRows(none, none.dtype, rows.backend)


def with_width(method: F) -> F:
    """Make a method of rows use the family with their number of features, if it is not known yet."""
    parameters = signature(method)
    name = list(parameters.parameters)[1]

    @wraps(method)
    def call(self: FamilyOfWidth, *arguments: Any, **named: Any) -> Any:
        if self.is_fixed:
            return method(self, *arguments, **named)
        bound = parameters.bind(self, *arguments, **named)
        rows = bound.arguments[name] = self._widened(read_rows(bound.arguments[name], None, name))
        bound.arguments["self"] = self._of_width(rows.width)
        return method(*bound.args, **bound.kwargs)

    return cast(F, call)
