"""The arguments of attention in PyTorch: tensors whose shapes and kinds agree, masks, and grouped heads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

__all__ = ["check_key_mask", "check_tensors", "group_heads", "widen_under_autocast", "without_autocast"]

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def widen_under_autocast(*tensors: Any) -> Any:
    """Return tensors in the widest of their dtypes if autocast is on, and as they are otherwise."""
    if not all(isinstance(x, Tensor) and x.is_floating_point() for x in tensors):
        return tensors
    kind = tensors[0].device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return tensors
    wide = tensors[0].dtype
    for x in tensors[1:]:
        wide = torch.promote_types(wide, x.dtype)
    return tuple(x.to(wide) for x in tensors)


def without_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which autocast is off for the device of a tensor."""
    # Autocast knows no device "meta", whose tensors have shapes alone.
    kind = tensor.device.type
    return nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False)


def check_tensors(query: Any, key: Any, value: Any, is_causal: bool) -> None:
    """Raise if these are no tensors of floats whose shapes and kinds agree."""
    if not isinstance(is_causal, bool):
        raise TypeError(f"is_causal must be True or False, got {is_causal!r}")
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if not isinstance(tensor, Tensor) or tensor.dtype not in _DTYPES or tensor.ndim < 2:
            kind = f"{tensor.dtype} of {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor)
            raise TypeError(
                f"{name} must be a tensor of floats of shape (..., n, n_features), of 16, 32 or 64 bits, "
                f"got {kind}"
            )
        if tensor.dtype != query.dtype or tensor.device != query.device:
            raise TypeError(
                f"{name} must have the dtype and device of query, {query.dtype} on {query.device}, "
                f"got {tensor.dtype} on {tensor.device}"
            )
    if query.shape[-1] < 1:
        raise ValueError(f"query must have at least one column, got shape {tuple(query.shape)}")
    if key.shape[-1] != query.shape[-1]:
        raise ValueError(f"key must have {query.shape[-1]} columns, as query has, got {key.shape[-1]}")
    if value.shape[-2] != key.shape[-2]:
        raise ValueError(f"value must have {key.shape[-2]} rows, one for each key, got {value.shape[-2]}")
    if is_causal and query.shape[-2] != key.shape[-2]:
        raise ValueError(
            f"query must have {key.shape[-2]} rows, one for each key, if is_causal, got {query.shape[-2]}"
        )


def check_key_mask(mask: Any, n: int) -> Tensor:
    """Return a mask of n keys, of shape (..., 1, n), or raise if it is none."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask)
        raise TypeError(f"attn_mask must be a tensor of booleans, False for keys to leave out, got {kind}")
    if mask.ndim < 2 or mask.shape[-2] != 1 or mask.shape[-1] != n:
        raise ValueError(
            f"attn_mask must have shape (..., 1, {n}), for all queries have the same keys, "
            f"got {tuple(mask.shape)}"
        )
    return mask


def group_heads(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return tensors with one more dimension: of the heads of the query that share a head of the keys."""
    if min(query.ndim, key.ndim, value.ndim) < 3:
        raise ValueError(
            f"query, key and value must have shape (..., heads, n, columns) if enable_gqa, "
            f"got {tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}"
        )
    n_heads, n_groups = query.shape[-3], key.shape[-3]
    if value.shape[-3] != n_groups or n_groups < 1 or n_heads % n_groups:
        raise ValueError(
            f"key and value must have one number of heads, of which that of query, {n_heads}, is a multiple, "
            f"got {n_groups} and {value.shape[-3]}"
        )
    if mask is not None and mask.ndim > 2:
        one = mask.shape[-3] == 1
        mask = mask.unsqueeze(-3) if one else mask.unflatten(-3, (n_groups, -1))
    return query.unflatten(-3, (n_groups, -1)), key.unsqueeze(-3), value.unsqueeze(-3), mask
