"""Operations of PyTorch that read some rows of a compressed tensor, of which only these are decoded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

__all__ = ["ROWS"]

#: Values that are decoded for a short row: those of its stream, and the time that its call takes.
_STREAM = 4096
_aten = torch.ops.aten


def _some_rows(weight: Any, rows: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the rows of a table that are asked for, once each, and where each is in these.

    It is None where to decode the whole table is faster, and where a row is out of range, so that the
    operation says so.
    """
    if not hasattr(weight, "_rows") or rows.numel() == 0 or weight.ndim != 2:
        return None
    wanted, places = torch.unique(rows, return_inverse=True)
    cost = wanted.numel() * max(weight.shape[1], _STREAM)
    if cost > weight.numel() or int(wanted[0]) < 0 or int(wanted[-1]) >= weight.shape[0]:
        return None
    found = weight._rows(wanted.cpu().numpy())
    return None if found is None else (found, places.to(rows.dtype))


def _embedding(weight: Any, indices: Tensor, *_options: Any, **_more: Any) -> Any:
    """Look up rows; the other arguments concern gradients only."""
    found = _some_rows(weight, indices)
    return NotImplemented if found is None else _aten.embedding.default(*found)


def _embedding_bag(
    operation: Any,
    weight: Any,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> Any:
    # Mode 2 returns the rows of the largest values, and `padding_idx` is a row of the whole table.
    found = None if mode == 2 or padding_idx >= 0 else _some_rows(weight, indices)
    if found is None:
        return NotImplemented
    options = scale_grad_by_freq, mode, sparse, per_sample_weights, include_last_offset, padding_idx
    return operation(*found, offsets, *options)


def _select(tensor: Any, axis: int, row: int) -> Any:
    found = tensor._rows(row) if axis == 0 and tensor.ndim > 1 else None
    return NotImplemented if found is None else found


def _slice(
    tensor: Any, axis: int = 0, start: int | None = None, stop: int | None = None, step: int = 1
) -> Any:
    found = tensor._rows(slice(start, stop, step)) if axis == 0 and step == 1 else None
    return NotImplemented if found is None else found


#: What computes each operation for a compressed tensor, or returns NotImplemented.
ROWS: dict[Any, Callable[..., Any]] = {
    _aten.embedding.default: _embedding,
    _aten._embedding_bag.default: partial(_embedding_bag, _aten._embedding_bag.default),
    _aten._embedding_bag_forward_only.default: partial(
        _embedding_bag, _aten._embedding_bag_forward_only.default
    ),
    _aten.select.int: _select,
    _aten.slice.Tensor: _slice,
}
