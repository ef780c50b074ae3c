"""A cache of keys and values for attention, which keeps the tokens that queries look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import IncompatibleSketchError
from ...lsh.inputs.arrays import check_array, check_finite, refuse_flags
from ...lsh.inputs.rows import read_rows
from ...lsh.support.backend import backend_of, read_only, refuse_gpu
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.base import MergeableSketch
from ..core.state import Arrays, StateSpec
from ..kernels import importance_cache
from .row_codes import LARGEST, code_columns, decode_rows, encode_rows, largest_step
from .sparse_attention import AttentionOutput, sparse_attention
from .token_records import best_tokens, count_tokens, union, used_rows

__all__ = ["ImportanceCache"]

#: The ways to count importance.
_COUNT, _WEIGHT = "count", "weight"
#: The most numbers of keys and values that are kept, which take 16 GiB.
_MOST_NUMBERS = 1 << 32
#: The largest scale, by which products of float32 numbers stay finite in float64.
_LARGEST_SCALE = 1e100
_LAST_POSITION = (1 << 62) - 1
_ZERO = np.float32(0.0)


class _Batch(NamedTuple):
    """Tokens, and with causal attention their queries and room for the outputs."""

    #: What is kept of the tokens, by the names of the arrays, without importances.
    rows: Arrays
    #: Of shape (n, n_queries, n_features).
    queries: NDArray[np.float32] | None
    out: NDArray[np.float64]
    masses: NDArray[np.float64]
    #: Room for the weights of a query.
    weights: NDArray[np.float64]
    #: True if the positions rise, and lie above those of all tokens that are kept.
    rises: bool


class ImportanceCache(MergeableSketch):
    """Keep the keys and values of the tokens that queries look at, within a budget (KV cache, Scissorhands).

    Parameters
    ----------
    n_features : int
        Number of columns of keys and queries.
    n_values : int
        Number of columns of values.
    budget : int
        The most tokens that are kept.
    sinks : int, default 4
        Number of first tokens that are always kept (attention sinks).
    window : int, optional
        Number of latest tokens that are always kept, at least 1. By default half of what
        `sinks` and `drop` leave of the budget.
    drop : int, optional
        Number of tokens that a full cache drops at once, at least 1. By default a sixteenth of the budget.
        More take less time, and leave fewer tokens.
        ``sinks + window + drop`` is at most `budget`.
    measure : {"weight", "count"}
        What a query adds to the importance of a token. "weight" adds the token's weight (H2O), and "count"
        adds 1 if this weight is above the mean of all weights of the query (Scissorhands).
    history : int, optional
        Number of tokens in which importance fades: the queries of each token multiply importances by
        ``1 - 1 / history``, once. By default a quarter of `budget`. With 2**62 nothing fades.
    scale : float, optional
        The factor of inner products, above 0 and below 1e100; ``1 / sqrt(n_features)`` by default.
    bits : {4, 8}, optional
        Bits of a number of keys and values. By default they are kept as float32.

    Attributes
    ----------
    positions : ndarray of shape (n,), int64
    keys : ndarray of shape (n, n_features), float32
    values : ndarray of shape (n, n_values), float32
    importances : ndarray of shape (n,), float64
        Copies of what is kept of n tokens, in the order of their positions. `len` returns n.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Tokens that had a large weight for earlier queries have one for later queries, too (Liu et al. call this
    the persistence of importance). So the cache adds up the importance of each token over the queries. If it
    is full, it drops `drop` tokens of the least importance before it takes another one. The first `sinks` and
    the latest `window` tokens are never dropped. At equal importance the later token is kept, so that without
    queries the cache keeps the first and the latest tokens (StreamingLLM).

    A token that was dropped never comes back. As long as there are at most `budget` tokens, attention is
    exact, but for the rounding of keys and values to float32 or `bits`.

    **Heads that share keys** (grouped-query attention). A cache is for one head of keys. Where several query
    heads share it, as in Llama 3, Mistral and Qwen, each token has several queries, and its importance is the
    sum of what each of these adds. Their mean would keep the same tokens, because it differs from the sum by
    a factor only.

    **Batches.** Tokens are taken one after the other. So a stream may be cut into batches anywhere: the state
    and the outputs are the same, bit for bit.

    **Merging** keeps the tokens of the union: the first `sinks`, the latest `window`, and the most important
    others, `budget` in all. Importances are those that each part has found in its own context. Two tokens of
    one position must be the same token, and then the larger importance counts. So give `positions` where
    parts do not begin at 0. Then what is kept depends neither on the order of merges nor on their grouping.
    Different tokens of one position are refused where both are still kept. Where one was dropped, nothing
    tells.

    **Bits.** With `bits`, a row of keys or values is rounded to ``2**bits`` numbers from its smallest to its
    largest one. Queries then attend to the rounded rows. For 64 columns of keys and of values, the same
    memory keeps 5.5 times as many tokens with 4 bits, and 3.3 times with 8. Narrow rows save less.

    **Rotary positions.** Give keys after their rotation by position (RoPE), and rotate queries by their true
    position. The number of tokens that are kept is not the position of the next one.

    **Memory** of a token is ``4 (n_features + n_values) + 16`` bytes, and about
    ``bits (n_features + n_values) / 8 + 32`` with `bits`. **Cost**: a query takes
    ``n (n_features + n_values)`` multiplications over n tokens, and dropping takes a sort of the importances
    every `drop` tokens.

    References
    ----------
    - Liu, Desai, Liao, Wang, Xie, Xu, Kyrillidis, Shrivastava. Scissorhands: exploiting the persistence of
      importance hypothesis for LLM KV cache compression at test time. NeurIPS 2023.
    - Zhang et al. H2O: heavy-hitter oracle for efficient generative inference of large language models.
      NeurIPS 2023.
    - Xiao, Tian, Chen, Han, Lewis. Efficient streaming language models with attention sinks. ICLR 2024.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> rng = np.random.default_rng(0)
    >>> Q, K, V = rng.standard_normal((3, 1000, 16))
    >>> K[100] = 5.0 * Q.mean(axis=0) + 1.0
    >>> Q += 1.0  # Queries look at the token of position 100.
    >>> cache = mergesketch.ImportanceCache(16, 16, budget=64)
    >>> outputs, log_masses = cache.causal(Q, K, V)
    >>> 100 in cache.positions, len(cache) <= 64
    (True, True)
    >>> cache.query(Q[-1:]).outputs.shape
    (1, 16)
    """

    _parameters = (
        "n_features", "n_values", "budget", "sinks", "window", "drop", "measure", "history", "scale",
        "bits",
    )  # fmt: skip
    _filled = ("positions", "slots used")

    def __init__(
        self,
        n_features: int,
        n_values: int,
        budget: int,
        *,
        sinks: int = 4,
        window: int | None = None,
        drop: int | None = None,
        measure: str = _WEIGHT,
        history: int | None = None,
        scale: float | None = None,
        bits: int | None = None,
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1, 1 << 24)
        self.n_values = check_int("n_values", n_values, 1, 1 << 24)
        self.budget = check_int("budget", budget, 1, 1 << 31)
        if self.budget * (self.n_features + self.n_values) > _MOST_NUMBERS:
            raise ValueError(
                f"budget * (n_features + n_values) must be at most {_MOST_NUMBERS:,}, "
                f"got {self.budget * (self.n_features + self.n_values):,}"
            )
        self.sinks = check_int("sinks", sinks, 0, 1 << 31)
        self.drop = max(1, self.budget // 16) if drop is None else check_int("drop", drop, 1, 1 << 31)
        rest = self.budget - self.sinks - self.drop
        self.window = max(1, rest // 2) if window is None else check_int("window", window, 1, 1 << 31)
        if self.sinks + self.window + self.drop > self.budget:
            raise ValueError(
                f"sinks + window + drop must be at most the budget of {self.budget}, "
                f"got {self.sinks} + {self.window} + {self.drop}"
            )
        self.measure: str = check_choice("measure", measure, (_WEIGHT, _COUNT))
        fading = max(1, self.budget // 4)
        self.history = fading if history is None else check_int("history", history, 1, 1 << 62)
        self.scale = None if scale is None else check_real("scale", scale, 0.0, _LARGEST_SCALE)
        self.bits = None if bits is None else check_choice("bits", bits, (4, 8))

    def _layout(self) -> dict[str, StateSpec]:
        n, remedy = self.budget, "choose a smaller budget"
        rows: dict[str, StateSpec] = {}
        for name, width in (("keys", self.n_features), ("values", self.n_values)):
            if self.bits is None:
                rows[name] = StateSpec((n, width), "float32", "keep", remedy=remedy)
            else:
                columns = code_columns(width, self.bits)
                rows[name] = StateSpec((n, columns), "uint8", "keep", remedy=remedy)
                rows[f"{name}_ranges"] = StateSpec((n, 2), "float32", "keep", remedy=remedy)
        return {
            **rows,
            "positions": StateSpec((n,), "int64", "keep", fill=-1),
            "importances": StateSpec((n,), "float64", "keep"),
        }

    # -- what is kept -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return count_tokens(self._arrays["positions"])

    @property
    def positions(self) -> NDArray[np.int64]:
        """The positions of the tokens that are kept, rising."""
        return used_rows(self._arrays)["positions"].copy()

    @property
    def keys(self) -> NDArray[np.float32]:
        """The keys of the tokens that are kept, in the order of their positions."""
        return self._decoded("keys").copy()

    @property
    def values(self) -> NDArray[np.float32]:
        """The values of the tokens that are kept, in the order of their positions."""
        return self._decoded("values").copy()

    @property
    def importances(self) -> NDArray[np.float64]:
        """The importances of the tokens that are kept, in the order of their positions."""
        return used_rows(self._arrays)["importances"].copy()

    def _decoded(self, name: str) -> NDArray[np.float32]:
        """Return the keys or the values that are kept, which lie in the state if they are float32."""
        kept, width = used_rows(self._arrays), self.n_features if name == "keys" else self.n_values
        if self.bits is None:
            return kept[name]
        return decode_rows(kept[name], kept[f"{name}_ranges"], self.bits, width)

    # -- tokens -----------------------------------------------------------------------------------

    def update(self, K: RowsLike, V: ArrayLike, positions: ArrayLike | None = None) -> Self:
        """Add tokens without queries, one after the other. They begin with the importance 0.

        Parameters
        ----------
        K : array_like of shape (n, n_features)
            Keys.
        V : array_like of shape (n, n_values)
            Values.
        positions : array_like of n integers, optional
            From 0 to 2**62 - 1, in any order. By default they follow the largest position so far.

        Returns
        -------
        The cache itself.

        Raises
        ------
        TypeError, ValueError
            If keys, values or positions have another shape, are not finite, or have numbers above 1e38 in
            magnitude, or if another token of one of these positions is kept. Nothing changes then.
        """
        return self._take_in({"K": K, "V": V, "positions": positions})

    def causal(
        self, Q: RowsLike, K: RowsLike, V: ArrayLike, positions: ArrayLike | None = None
    ) -> AttentionOutput:
        """Add tokens one after the other, and return the attention of each over what is kept up to itself.

        Parameters
        ----------
        Q : array_like of shape (n, n_features) or (n, n_queries, n_features)
            The query of each token, or its queries, of all heads that share the keys.
        K : array_like of shape (n, n_features)
            Keys of the tokens.
        V : array_like of shape (n, n_values)
            Values of the tokens.
        positions : array_like of n integers, optional
            Rising, above the largest position so far, and below 2**62. By default they follow it.

        Returns
        -------
        AttentionOutput
            ``(outputs, log_masses)``: the softmax attention of each query over the tokens that are kept when
            it comes, with its own token. Their shapes are those of `Q`, without its last axis in
            `log_masses`.

        Raises
        ------
        TypeError, ValueError
            As `update` does, or if there are not queries for each key. Nothing changes then.

        Examples
        --------
        >>> import numpy as np, mergesketch
        >>> K = np.eye(3)
        >>> cache = mergesketch.ImportanceCache(3, 1, budget=8)
        >>> cache.causal(9.0 * K, K, [[1.0], [2.0], [3.0]]).outputs.round(2)
        array([[1.  ],
               [1.99],
               [2.98]])

        A token with two queries, of two heads that share the keys:

        >>> cache.causal([[[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]], K[:1], [[1.0]]).outputs.round(2)
        array([[[1.01],
                [1.99]]])
        """
        with self._lock:
            found: list[AttentionOutput] = []
            self._take_in({"Q": Q, "K": K, "V": V, "positions": positions}, found)
            return found[0]

    def _read(self, *given: Any) -> _Batch:
        queries: NDArray[np.float32] | None = None
        shape: tuple[int, ...] = ()
        found: list[AttentionOutput] | None = None
        if len(given) == 3:
            K, V, positions = given
        else:
            Q, K, V, positions, found = given
            queries, shape = self._read_queries(Q)
        keys = _read_float32("K", K, self.n_features)
        values = _read_float32("V", V, self.n_values)
        n = len(keys)
        if queries is not None and shape[0] != n:
            raise ValueError(f"Q must have {n} rows, one for each row of K, got {shape[0]}")
        if len(values) != n:
            raise ValueError(f"V must have {n} rows, one for each row of K, got {len(values)}")
        places, rises = self._read_positions(positions, n)
        if queries is not None and not rises:
            raise ValueError(f"positions must rise, and be above {self._largest_position}, got others")
        grouped = (0, 0) if queries is None else queries.shape[:2]
        out, masses = np.empty((*grouped, self.n_values)), np.empty(grouped)
        if found is not None:
            found.append(AttentionOutput(out.reshape(*shape, self.n_values), masses.reshape(shape)))
        # Equal caches have equal bytes only if zeros have one sign.
        rows: Arrays = {"keys": keys + _ZERO, "values": values + _ZERO, "positions": places}
        if self.bits is not None:
            for name in ("keys", "values"):
                rows[name], rows[f"{name}_ranges"] = encode_rows(rows[name], self.bits)
        return _Batch(rows, queries, out, masses, np.empty(self.budget), rises)

    def _read_queries(self, Q: Any) -> tuple[NDArray[np.float32], tuple[int, ...]]:
        """Return queries, of shape (n, n_queries, n_features), and the shape of `Q` without its last axis."""
        array = None if hasattr(Q, "tocsr") else check_array("Q", Q)
        if array is not None and array.ndim not in (2, 3) and array.dtype.kind in "fiub":
            d = self.n_features
            raise ValueError(
                f"Q must have shape (n, {d}) or (n, n_queries, {d}), got {array.ndim}-D shape {array.shape}"
            )
        if array is not None and array.ndim == 3:
            n, n_queries, width = array.shape
            if n_queries == 0:
                raise ValueError(f"Q must have at least one query for each token, got shape {array.shape}")
            check_finite("Q", array, backend_of(array))
            rows = _read_float32("Q", array.reshape(n * n_queries, width), self.n_features)
            return rows.reshape(n, n_queries, width), (n, n_queries)
        rows = _read_float32("Q", Q, self.n_features)
        return rows[:, None], (len(rows),)

    @property
    def _largest_position(self) -> int:
        # The window has at least one token, which is the latest one.
        return int(self._arrays["positions"].max())

    def _read_positions(self, positions: Any, n: int) -> tuple[NDArray[np.int64], bool]:
        """Return positions, and whether they rise above those of all tokens that are kept."""
        largest = self._largest_position
        if positions is None:
            if largest + n > _LAST_POSITION:
                raise ValueError(f"positions must be up to {_LAST_POSITION}, got {largest + n}")
            return np.arange(largest + 1, largest + 1 + n), True
        refuse_flags("positions", positions)
        array = check_array("positions", positions)
        if array.shape != (n,):
            raise ValueError(f"positions must have shape ({n},), one for each row of K, got {array.shape}")
        if n and array.dtype.kind not in "iu":
            raise TypeError(f"positions must be integers, got dtype {array.dtype}")
        if n and (int(array.min()) < 0 or int(array.max()) > _LAST_POSITION):
            raise ValueError(
                f"positions must be from 0 to {_LAST_POSITION}, got {array.min()} to {array.max()}"
            )
        places = array.astype(np.int64)
        return places, bool((np.diff(places, prepend=largest) > 0).all())

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return {"n_updates": len(batch.rows["positions"])}

    def _add(self, batch: _Batch) -> None:
        # Where nothing is allocated below, nothing fails.
        n, total = len(self), len(batch.rows["positions"])
        is_simple = batch.rises and n + total <= self.budget and self.bits is None
        with nullcontext() if is_simple else self._state.restored_on_failure():
            start = 0
            while start < total:
                n = len(self)
                if n == self.budget:
                    self._keep(used_rows(self._arrays), self.budget - self.drop)
                    n -= self.drop
                stop = min(total, start + self.budget - n)
                if batch.rises:
                    self._append(batch, start, stop, n)
                else:
                    self._insert(batch, start, stop)
                start = stop

    def _append(self, batch: _Batch, start: int, stop: int, n: int) -> None:
        """Put tokens behind the n that are kept, for which there is room, and count what queries look at."""
        arrays, end = self._arrays, n + stop - start
        for name, rows in batch.rows.items():
            arrays[name][n:end] = rows[start:stop]
        if batch.queries is None:
            return
        importance_cache.attend_and_count(
            read_only(batch.queries[start:stop]),
            read_only(self._decoded("keys")),
            read_only(self._decoded("values")),
            n,
            1.0 / math.sqrt(self.n_features) if self.scale is None else self.scale,
            1.0 - 1.0 / self.history,
            self.measure == _WEIGHT,
            arrays["importances"],
            batch.weights,
            batch.out[start:stop],
            batch.masses[start:stop],
        )

    def _insert(self, batch: _Batch, start: int, stop: int) -> None:
        """Insert tokens, for which there is room, where their positions belong."""
        new = {name: rows[start:stop] for name, rows in batch.rows.items()}
        new["importances"] = np.zeros(stop - start)
        try:
            records = union([used_rows(self._arrays), new])
        except IncompatibleSketchError as error:
            raise ValueError(str(error)) from None
        self._keep(records, self.budget)

    def _keep(self, records: Arrays, size: int) -> None:
        """Make the best of some records, in the order of their positions, the tokens that are kept."""
        chosen, specs = best_tokens(records, size, self.sinks, self.window), self._state.specs
        for name, ours in self._arrays.items():
            if name in records:
                ours[: chosen.size] = records[name][chosen]
                ours[chosen.size :] = specs[name].fill

    # -- merging ----------------------------------------------------------------------------------

    def _reduce_custom(self, reduction: str, ours: Arrays, theirs: Mapping[str, NDArray[Any]]) -> None:
        self._keep(union([used_rows(ours), used_rows(theirs)]), self.budget)

    # -- queries ----------------------------------------------------------------------------------

    def query(self, Q: RowsLike) -> AttentionOutput:
        """Return the exact softmax attention of queries over the tokens that are kept.

        Parameters
        ----------
        Q : array_like of shape (n, n_features) or (n, n_queries, n_features)

        Returns
        -------
        AttentionOutput
            ``(outputs, log_masses)``, in the shapes of `causal`; NaN and minus infinity if the cache is
            empty. Importances do not change.

        Raises
        ------
        TypeError, ValueError
            If queries have another width, are not finite, or have numbers above 1e38 in magnitude.
        """
        refuse_gpu(type(self).__name__, Q)
        queries, shape = self._read_queries(Q)
        rows, keys, values = (
            queries.reshape(-1, self.n_features),
            self._decoded("keys"),
            self._decoded("values"),
        )
        outputs, masses = sparse_attention(rows, keys, values, scale=self.scale)
        return AttentionOutput(outputs.reshape(*shape, self.n_values), masses.reshape(shape))

    # -- files ------------------------------------------------------------------------------------

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        step = 0.0 if self.bits is None else largest_step(self.bits)
        positions, n = arrays["positions"], count_tokens(arrays["positions"])
        rises = (np.diff(positions[:n]) > 0).all() and (n == 0 or positions[0] >= 0)
        if not rises or (n and positions[n - 1] > _LAST_POSITION) or (positions[n:] != -1).any():
            raise ValueError("positions must rise from row to row, and be -1 behind them")
        if n > int(arrays["n_updates"][0]):
            raise ValueError("n_updates must be at least the number of tokens that are kept")
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not (np.abs(array) <= LARGEST).all():
                raise ValueError(f"{name} must be at most {LARGEST:g} in magnitude")
            if name not in ("positions", "n_updates") and array[n:].any():
                raise ValueError(f"{name} must be 0 in places that are free")
            if name.endswith("ranges") and not ((array[:, 1] >= 0.0) & (array[:, 1] <= step)).all():
                raise ValueError(f"{name} must have steps from 0 to {step:g}")
        if (arrays["importances"] < 0.0).any():
            raise ValueError("importances must be at least 0")


def _read_float32(name: str, rows: Any, width: int) -> NDArray[np.float32]:
    """Return rows as a matrix in C order of float32 numbers, whose magnitudes are at most `LARGEST`."""
    dense = read_rows(rows, width, name).dense
    with np.errstate(over="ignore"):  # A number beyond float32 becomes infinity.
        array = np.ascontiguousarray(dense, np.float32)
    if array.size and (largest := np.abs(dense).max()) > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST:g} in magnitude, got {largest:g}")
    return array


publish("mergesketch", __all__, globals())
