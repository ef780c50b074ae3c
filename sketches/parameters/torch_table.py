"""The base class of layers of PyTorch whose weights are a virtual table of a shared array."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...lsh.support.checks import check_int, check_real
from .hashed_maps import PairMap
from .parameter_map import ParameterMap, Table
from .semantic_map import SemanticMap
from .shared_parameters import SharedParameters
from .torch_array import SharedArray, kept_precision, mark_stale
from .torch_frequent import adapted_layout, with_saved_rows
from .torch_reading import Layout, as_array, gather, gather_sparse, write_layout

__all__ = ["HashedTable", "entry_deviation"]

_LARGEST = 2.0**64


class HashedTable(nn.Module):  # type: ignore[misc]
    """Define layers whose weights are a virtual table of a `SharedArray`."""

    shared: SharedArray
    layout: Layout
    scale: Tensor

    def _set_table(
        self,
        shape: tuple[int | None, int],
        std: float,
        n_parameters: int | None,
        shared: SharedArray | None,
        map: ParameterMap,
        seed: int,
        table: int | None,
        scale: float | None,
        device: Any,
        dtype: Any,
    ) -> None:
        """Take a table of a given array, or of a new one; its entries should have the deviation `std`."""
        if not isinstance(map, ParameterMap):
            raise TypeError(f"map must be a ParameterMap, such as RobeMap(), got {type(map).__name__}")
        if isinstance(map, SemanticMap):
            raise ValueError(
                f"map must have rows that are numbers or hashes, and not signatures, got {map!r}"
            )
        if (shared is None) == (n_parameters is None):
            raise ValueError("give either n_parameters or shared, a SharedArray")
        if shared is None:
            assert n_parameters is not None
            n_parameters = check_int("n_parameters", n_parameters, 1)
            std /= entry_deviation(map, Table(n_parameters, shape[1], 0, 0))
            shared = SharedArray(n_parameters, std, seed=seed, device=device, dtype=dtype)
        elif not isinstance(shared, SharedArray):
            raise TypeError(f"shared must be a SharedArray, got {type(shared).__name__}")
        elif not (seed == 0 and device is None and dtype is None):
            raise ValueError("seed, device and dtype are those of shared: give them to the SharedArray")
        number = shared.n_tables if table is None else check_int("table", table, 0, 2**32 - 1)
        self.layout = Layout(map, shape[1], shared.seed, number, shape[0])
        self._text, of_map = write_layout(self.layout), self.layout.of(shared.weights.shape[0])
        if not isinstance(map, PairMap):  # A map of other shapes is refused here, and not at the first use.
            map.checked_rows([0, (shape[0] or 1) - 1], of_map)
        if scale is not None:
            factor = check_real("scale", scale, -_LARGEST, _LARGEST)
        elif n_parameters is not None:
            factor = 1.0
        else:
            factor = std / shared.std / entry_deviation(map, of_map)
        shared.n_tables = max(shared.n_tables, number + 1)
        self.shared = shared
        weights = shared.weights
        # A part of the state, because the scale may come from weights that PyTorch has drawn.
        self.register_buffer("scale", torch.tensor(factor, dtype=weights.dtype, device=weights.device))
        self._factor = factor
        self.register_load_state_dict_post_hook(_note_loaded)

    def reset_parameters(self) -> None:
        """Draw the parameters of the array anew, and set the scale to what it was at first."""
        if self.scale.item() != self._factor:
            self.scale.fill_(self._factor)
            mark_stale(self.shared)
        self.shared.reset_parameters()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        with kept_precision(self, "scale"):
            return super()._apply(fn, recurse)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        # A state that is refused must not have changed the scale.
        if prefix + "_extra_state" in state_dict:
            self.set_extra_state(state_dict[prefix + "_extra_state"])
        super()._load_from_state_dict(state_dict, prefix, *others)

    @property
    def map(self) -> ParameterMap:
        """The map, which says where the entries of the table lie."""
        return self.layout.map

    @property
    def table(self) -> int:
        """The number of the table."""
        return self.layout.table

    def sketch(self) -> SharedParameters:
        """Return the parameters as a `SharedParameters`, which saves, merges and is read without PyTorch.

        Returns
        -------
        SharedParameters
            On the memory of the tensor: changes are seen on both sides. Give `table` and ``scale.item()`` of
            the layer to its methods.

        Raises
        ------
        ValueError
            If the parameters are of half precision, or do not lie side by side in memory.
        """
        weights = self.shared.weights
        if weights.dtype not in (torch.float32, torch.float64) or not weights.is_contiguous():
            raise ValueError(
                f"parameters must be contiguous, and float32 or float64, for a sketch, got {weights.dtype}, "
                f"strides {weights.stride()}"
            )
        array = as_array(weights)
        return SharedParameters.from_weights(array, self.map, seed=self.shared.seed, copy=False)

    def adapt(
        self,
        importance: Iterable[tuple[Any, float]],
        *,
        margin: float = 0.25,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """Give the most important rows parameters of their own; the map must be a `CafeMap`.

        Parameters
        ----------
        importance : iterable of (row, number)
            For example ``counts.top(2 * n_frequent)`` of a `TopK` that has counted the row numbers of all
            batches.
        margin : float, default 0.25
            As for `SharedParameters.adapt`.
        optimizer : torch.optim.Optimizer, optional
            The one that trains the parameters. What it keeps of each, such as the means of Adam, moves, too.

        Raises
        ------
        TypeError, ValueError
            As `SharedParameters.adapt` does, or if other tables share the parameters. Nothing changes then.

        Notes
        -----
        Call it between two steps. No row changes that enters or stays. `state_dict` has the rows, and a layer
        that loads it takes them.
        """
        if self.shared.n_tables > 1:
            raise ValueError(
                f"a table adapts only if it shares its parameters with no other, got {self.shared.n_tables}"
            )
        self._take(adapted_layout(self.shared.weights, self.layout, importance, margin, optimizer))
        self.shared.refresh()

    def _take(self, layout: Layout) -> None:
        """Replace the layout by one of other frequent rows."""
        self.layout, self._text = layout, write_layout(layout)
        mark_stale(self.shared)
        # Equal scales of other places do not have equal divisors.
        self.shared._used_scales = []

    def get_extra_state(self) -> Tensor:
        """Return what the state needs beside the parameters: where the table lies in them.

        Returns
        -------
        Tensor of uint8
        """
        return torch.tensor(list(self._text.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse a state whose table lies elsewhere, whose parameters would mean something else.

        Parameters
        ----------
        state : Tensor of uint8

        Raises
        ------
        ValueError
            If the saved layer had another map, seed, table number or shape.
        """
        try:
            theirs = dict(json.loads(bytes(state.tolist())))
        except (AttributeError, TypeError, ValueError, RecursionError):
            raise ValueError("_extra_state must say where the rows lie, got something else") from None
        layout = with_saved_rows(self.layout, theirs.get("map"))
        ours = json.loads(write_layout(layout))
        for name, value in ours.items():
            if theirs.get(name) != value:
                raise ValueError(f"the saved layer has {name} {theirs.get(name)!r}, this one has {value!r}")
        if layout is not self.layout:
            self._take(layout)

    def extra_repr(self) -> str:
        n_rows, m = self.layout.n_rows, self.shared.weights.shape[0]
        scale = "" if self.scale.is_meta else f", scale={self.scale.item():g}"
        text = f"{n_rows}, {self.layout.n_columns}, {self.map!r}, table={self.table}{scale}"
        return text if n_rows is None else f"{text}, compression={n_rows * self.layout.n_columns / m:.4g}"

    def _rows(
        self, ids: Tensor, offsets: Tensor | None, factors: Tensor | None, sparse: bool = False
    ) -> Tensor:
        """Return rows, or sums of them, in the dtype of the parameters."""
        weights = self.shared()
        if sparse and weights.dtype != self.shared.weights.dtype and weights.requires_grad:
            raise ValueError(
                f"sparse must be False for parameters of {self.shared.weights.dtype}: PyTorch cannot convert "
                "sparse gradients"
            )
        offsets = ids.new_empty(0, dtype=torch.int64) if offsets is None else offsets
        factors = weights.new_empty(0) if factors is None else factors.to(weights.dtype)
        rows: Tensor = (gather_sparse if sparse else gather)(
            weights, ids, offsets, factors, self.scale, self._text
        )
        return rows.to(self.shared.weights.dtype)


def _note_loaded(layer: HashedTable, _: Any) -> None:
    layer.shared.note_loaded(layer.table)


def entry_deviation(map: ParameterMap, table: Table) -> float:
    """Return the standard deviation of an entry, for independent parameters of deviation 1."""
    n_copies = map.runs(np.zeros(1, np.uint64), table).starts.shape[1]
    return float(map.copy_factor * n_copies**0.5)
