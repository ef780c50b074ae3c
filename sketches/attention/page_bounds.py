"""The smallest and largest value of each column in each page of keys, which bound their products."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import IncompatibleSketchError
from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_int
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.threads import map_blocks
from ...lsh.support.types import RowsLike
from ...lsh.support.wording import counted
from ..core.guard import changing, locked, uninterrupted
from ..core.merging import StoredMergeable, parts_of
from ..core.state import Arrays, ArraySpec, State
from ..core.stored import Stored
from ..kernels import page_bounds as kernels

__all__ = ["PageBounds"]

#: The most columns, and the most keys of a page.
_MOST_FEATURES, _MOST_KEYS = 1 << 16, 1 << 16
#: Pages that are worth a thread of their own.
_PAGES = 512
#: The largest number of float32.
_LARGEST = float(np.finfo(np.float32).max)


class PageBounds(StoredMergeable):
    """Keep the smallest and largest value of each column in each page of keys (Quest, sparse attention).

    Parameters
    ----------
    n_features : int
        The number of columns of keys and queries, from 1 to 65,536.
    page_size : int, default 16
        The number of consecutive keys in a page, from 1 to 65,536.

    Attributes
    ----------
    n_pages : int
        Number of pages, of which the last one may be partly filled.
    n_updates : int
        Number of keys, which `len` returns, too.
    nbytes : int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    A page has the bounds lo and hi. The score ``sum over j of max(q[j] lo[j], q[j] hi[j])`` is at least the
    product of a query q with every key of the page. So a page with a low score has no key that matters.
    The bound is reached if one key has the best value in every column. It is loose if the keys of a page
    differ in many columns. Then it says little, and structures that keep a code for each key rank better.

    Bounds are kept as float32. Numbers of float64 are rounded away from the page's inside, and scores are
    raised by a bound of their own rounding errors. So no product is above the score of its page, whether it
    is exact or computed in float64. Products below 1e-300, which float64 does not hold, are not covered.

    **Memory** is ``8 n_features / page_size`` bytes a key. **Cost**: an update reads its keys once. A query
    reads all bounds once: O(n_features) a page.

    **Merging** appends the keys of the other contexts, so the order of contexts matters. The result has the
    state of one context that was given all keys. Keys are not kept, and a page cannot be cut. So each context
    that another one follows must end with a whole page: cut a long context at multiples of `page_size`.
    `merge_over_ranks` takes sketches whose order does not matter, so it refuses `PageBounds`: send those of
    the ranks to one, and merge them in the order of the context.

    References
    ----------
    Tang, Zhao, Zhu, Xiao, Kasikci, Han. Quest: query-aware sparsity for efficient long-context LLM inference.
    ICML 2024.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> K = np.array([[0.0, 1.0], [1.0, 2.0], [-3.0, 0.0], [-4.0, 1.0], [5.0, 0.0]])
    >>> bounds = mergesketch.PageBounds(n_features=2, page_size=2).update(K)
    >>> bounds.page_scores([[1.0, -1.0]]).round(6)
    array([[ 0., -3.,  5.]])
    >>> bounds.tokens([[0, 2]])
    array([[ 0,  1,  4, -1]])
    """

    _parameters = ("n_features", "page_size")

    def __init__(self, n_features: int, page_size: int = 16) -> None:
        self.n_features = check_int("n_features", n_features, 1, _MOST_FEATURES)
        self.page_size = check_int("page_size", page_size, 1, _MOST_KEYS)

    # -- state ------------------------------------------------------------------------------------

    @lazy
    def _state(self) -> State[ArraySpec]:
        specs = {
            "lows": ArraySpec("float32", 2),
            "highs": ArraySpec("float32", 2),
            "n_keys": ArraySpec("int64"),
        }
        arrays: Arrays = {name: np.zeros((0, self.n_features), np.float32) for name in ("lows", "highs")}
        arrays["n_keys"] = np.zeros(1, np.int64)
        return State(type(self).__name__, specs, arrays)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        lows, highs, n_keys = arrays["lows"], arrays["highs"], arrays["n_keys"]
        if n_keys.shape != (1,) or not 0 <= int(n_keys[0]) < 1 << 62:
            raise ValueError("n_keys must be one number from 0 to 2**62")
        shape = (self._pages_of(int(n_keys[0])), self.n_features)
        if not lows.shape == highs.shape == shape:
            raise ValueError(f"lows and highs must have the shape {shape}")
        if not (np.isfinite(lows).all() and np.isfinite(highs).all() and (lows <= highs).all()):
            raise ValueError("lows and highs must be finite, and no low above its high")

    def _check_device(self, device: str) -> None:
        if device == "gpu":
            raise NotImplementedError("PageBounds has no GPU kernels")

    def _pages_of(self, n: int) -> int:
        """Return the number of pages of n keys."""
        return -(-n // self.page_size)

    def __len__(self) -> int:
        return int(self._arrays["n_keys"][0])

    def __bool__(self) -> bool:
        return True

    @property
    def n_updates(self) -> int:
        """The number of keys."""
        return int(self._arrays["n_keys"][0])

    @property
    def n_pages(self) -> int:
        """The number of pages, of which the last one may be partly filled."""
        return len(self._arrays["lows"])

    # -- updates ----------------------------------------------------------------------------------

    def update(self, K: RowsLike) -> Self:
        """Append keys.

        Parameters
        ----------
        K : array_like or sparse matrix of shape (n, n_features)
            The keys of the next n tokens. They go to the last page until it is full, and then to new ones.

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            If the keys have another width, are not finite, or exceed float32. Nothing changes then.
        """
        refuse_gpu("PageBounds.update", K)
        keys = read_rows(K, self.n_features, "K").dense
        if keys.dtype == np.float64 and keys.size and max(keys.max(), -keys.min()) > _LARGEST:
            raise ValueError(
                f"K must lie within the range of float32, up to {_LARGEST:.9g}, got {keys.min():.9g} to "
                f"{keys.max():.9g}"
            )
        with self._lock, changing(self, beside_queries=True):
            if len(keys):
                # The first keys go to the last page if it has room.
                starts = np.arange(-(len(self) % self.page_size), len(keys), self.page_size)
                starts[0] = 0
                lows = np.minimum.reduceat(keys, starts, axis=0)
                highs = np.maximum.reduceat(keys, starts, axis=0)
                self._append([(_rounded(lows, -np.inf), _rounded(highs, np.inf))], len(self) + len(keys))
        return self

    def _append(self, parts: list[tuple[NDArray[np.float32], NDArray[np.float32]]], n: int) -> None:
        """Add pages, the first of which is the rest of our last one if that is partly filled; then n keys."""
        ours, n_pages = self._arrays, self._pages_of(n)
        room: Arrays = self._state.caches.get("room", {})
        if len(room.get("lows", ())) < n_pages:
            size = max(n_pages, 3 * self.n_pages // 2)
            room = {name: np.empty((size, self.n_features), np.float32) for name in ("lows", "highs")}
            for name, wider in room.items():
                wider[: self.n_pages] = ours[name]
        lows, highs = room["lows"], room["highs"]
        start = len(self) // self.page_size
        is_shared = start < self.n_pages
        # Queries read the last page, and nothing behind it, until the keys have been added.
        first = (parts[0][0][0], parts[0][1][0])
        for part in parts:
            skipped = int(is_shared and part is parts[0])
            stop = start + len(part[0])
            lows[start + skipped : stop], highs[start + skipped : stop] = part[0][skipped:], part[1][skipped:]
            start = stop
        with changing(self), uninterrupted():
            if is_shared:
                page = self.n_pages - 1
                np.minimum(lows[page], first[0], out=lows[page])
                np.maximum(highs[page], first[1], out=highs[page])
            self._set_arrays({"lows": lows[:n_pages], "highs": highs[:n_pages], "n_keys": np.array([n])})
            # Pages that are appended next go into the rest of these arrays.
            self._state.caches["room"] = room

    # -- queries ----------------------------------------------------------------------------------

    def page_scores(self, Q: RowsLike) -> NDArray[np.float64]:
        """Return upper bounds of the products of queries with the keys of each page.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n_queries, n_features)
            Numbers up to the largest of float32.

        Returns
        -------
        ndarray of shape (n_queries, n_pages), float64
            Pass them to `top_tokens` to select pages, and these to `tokens`.

        Raises
        ------
        TypeError, ValueError
            If queries have another width, are not finite, or exceed float32.
        """
        refuse_gpu("PageBounds.page_scores", Q)
        queries = read_rows(Q, self.n_features, "Q").dense
        if queries.dtype == np.float64 and queries.size and np.abs(queries).max() > _LARGEST:
            raise ValueError(f"Q must lie within the range of float32, got {np.abs(queries).max():.9g}")
        queries = read_only(np.ascontiguousarray(queries, np.float64))
        lows, highs = (read_only(self._arrays[name]) for name in ("lows", "highs"))
        out = np.empty((len(queries), len(lows)))
        map_blocks(lambda a, b: kernels.bound_products(queries, lows, highs, a, b, out), len(lows), _PAGES)
        return out

    def scores(self, Q: RowsLike) -> NDArray[np.float64]:
        """Return for each token the score of its page, in the form that other structures score keys.

        Parameters
        ----------
        Q : array_like or sparse matrix of shape (n_queries, n_features)
            Numbers up to the largest of float32.

        Returns
        -------
        ndarray of shape (n_queries, n), float64

        Raises
        ------
        TypeError, ValueError
            As `page_scores` does.

        Notes
        -----
        Use it for queries with `positions`, whose last page has later tokens, and to compare with other
        scores. To select whole pages by `page_scores` and `tokens` takes less time, by about the page size.
        """
        scores, sizes = self.page_scores(Q), np.full(self.n_pages, self.page_size)
        sizes[-1:] -= self.n_pages * self.page_size - len(self)
        return np.repeat(scores, sizes, axis=1)

    def tokens(self, pages: ArrayLike) -> NDArray[np.int64]:
        """Return the tokens of pages, in the form that `sparse_attention` takes.

        Parameters
        ----------
        pages : array_like of integers, of shape (k,) or (n_queries, k)
            Numbers of pages as `top_tokens` returns them, from 0 to ``n_pages - 1``, or -1 for none.

        Returns
        -------
        ndarray of shape (k * page_size,) or (n_queries, k * page_size), int64
            The tokens in the order of the pages, and -1 for those that the last page does not have yet.

        Raises
        ------
        TypeError, ValueError
            If `pages` are not integers in the range, or have more than two dimensions.
        """
        refuse_gpu("PageBounds.tokens", pages)
        refuse_flags("pages", pages)
        array = check_array("pages", pages)
        if array.ndim not in (1, 2):
            raise ValueError(f"pages must have one or two dimensions, got shape {array.shape}")
        if array.size and array.dtype.kind not in "iu":
            raise TypeError(f"pages must be integers, got dtype {array.dtype}")
        if array.size and (int(array.min()) < -1 or int(array.max()) >= self.n_pages):
            raise ValueError(
                f"pages must be from -1 to {self.n_pages - 1}, got {array.min()} to {array.max()}"
            )
        numbers = array.astype(np.int64)[..., None]
        found = np.where(numbers < 0, -1, numbers * self.page_size + np.arange(self.page_size))
        found[found >= len(self)] = -1
        return found.reshape(*array.shape[:-1], array.shape[-1] * self.page_size)

    # -- merging ----------------------------------------------------------------------------------

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Append the keys of other contexts of the same parameters, in place and in their order.

        Parameters
        ----------
        *others : PageBounds, or iterables of them
            They are not changed.

        Returns
        -------
        The object itself.

        Raises
        ------
        IncompatibleSketchError
            If parameters differ, or if a context that another one follows ends with a partly filled page.
            Nothing changes then.
        """
        parts: tuple[Self, ...] = parts_of(others)
        for part in parts:
            self._check_compatible(part)
        with locked(self, *parts), changing(self):
            every = [part for part in (self, *parts) if len(part)]
            for part in every[:-1]:
                rest = len(part) % self.page_size
                if rest:
                    raise IncompatibleSketchError(
                        f"PageBounds cannot merge: a context of {counted(len(part), 'key')} ends with {rest} "
                        f"in a page of {self.page_size}, and another one follows; cut contexts at multiples "
                        "of page_size"
                    )
            added = [(part._arrays["lows"], part._arrays["highs"]) for part in parts if len(part)]
            if added:
                self._append(added, sum(len(part) for part in (self, *parts)))
        return self

    def _facts(self) -> list[tuple[str, str]]:
        return [("keys", f"{len(self):,}"), ("pages", f"{self.n_pages:,}"), *super()._facts()]

    def __repr__(self) -> str:
        return f"<{Stored.__repr__(self)}: {counted(len(self), 'key')}, {self.nbytes:,} bytes>"


def _rounded(numbers: NDArray[Any], outwards: float) -> NDArray[np.float32]:
    """Return numbers as float32, rounded towards an infinity, and zeros without a sign."""
    # Whether the smaller of 0.0 and -0.0 is the first one would depend on batches.
    found = numbers.astype(np.float32)
    is_inside = found > numbers if outwards < 0.0 else found < numbers
    np.nextafter(found, np.float32(outwards), out=found, where=is_inside)
    return found + np.float32(0.0)


publish("mergesketch", __all__, globals())
