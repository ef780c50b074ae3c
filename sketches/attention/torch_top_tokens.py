"""Attention of each query to its few best tokens, in PyTorch, with gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from ...lsh.support.checks import check_int, check_real
from .torch_arguments import (
    check_key_mask,
    check_tensors,
    group_heads,
    widen_under_autocast,
    without_autocast,
)
from .torch_token_selection import Options, Pages, Tokens, first_rows, masked

__all__ = ["Options", "attend", "check_options", "top_tokens_attention"]

#: The most numbers of a block of queries: products, or selected keys.
_ENTRIES = 1 << 22
#: Queries of a block, below which heads are taken one by one, so that keys are read less often.
_ROWS = 64


def top_tokens_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    k: int,
    sinks: int = 0,
    window: int = 0,
    page_size: int | None = None,
) -> Tensor:
    """Return the softmax attention of each query over its k best tokens.

    The arguments are those of ``torch.nn.functional.scaled_dot_product_attention``, and those of
    `top_tokens`. Queries, keys and values have gradients. A model that was trained with softmax attention
    can use it as it is.

    Parameters
    ----------
    query : Tensor of floats of shape (..., n_queries, n_features)
    key : Tensor of shape (..., n, n_features)
    value : Tensor of shape (..., n, n_values)
        All three have one device and one dtype. Under autocast their dtypes may differ, and the widest
        counts. Leading dimensions, such as batch and heads, are broadcast.
    attn_mask : Tensor of shape (..., n_queries, n) or (..., 1, n), optional
        Booleans, False for tokens that a query does not attend to, or floats that are added to the scaled
        products. Floats may have float32 where the query has half precision. With `page_size`, booleans of
        shape (..., 1, n) alone.
    dropout_p : float, default 0
        Must be 0.
    is_causal : bool, default False
        True if query i attends to the tokens up to i alone. There is one query for each token then.
    scale : float, optional
        The factor of products, any finite number; ``1 / sqrt(n_features)`` by default.
    enable_gqa : bool, default False
        True if key and value may have fewer heads than the query, in the third dimension from the end. Each
        of their heads then serves several heads of the query in turn.
    k : int
        The number of tokens that a query attends to, at least 1.
    sinks : int, default 0
        The number of first tokens that are always among them (attention sinks), unless they are masked.
    window : int, default 0
        The number of latest tokens that are always among them, unless they are masked. They end with the
        query's own token if `is_causal`, and with the last token otherwise. `sinks` and `window` are at
        most k in all.
    page_size : int, optional
        Select whole pages of so many tokens by bounds of their products, as `PageBounds` does. k is rounded
        up to whole pages. The pages that `sinks` and `window` may touch must fit into them, and so must one
        for the query's own token, whether `is_causal` or not. By default tokens are selected by their
        products.

    Returns
    -------
    Tensor of shape (..., n_queries, n_values)
        In the dtype of the query, also under autocast. Rows that attend to no token are 0.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or shape, or lies outside its range. To save time on GPUs, numbers
        in tensors are not checked.

    Notes
    -----
    If k is at least the number of tokens, the output is that of PyTorch's own function, which is called
    then. At equal scores, earlier tokens are selected, and earlier pages. The selection itself has no
    gradient: the gradient is that of the softmax over the selected tokens. There are no gradients of
    gradients, and no derivatives in forward mode.

    With pages, the page of a causal query's own token is always selected, as if `window` were at least 1. So
    bounds of pages that hold later tokens are never used.

    A value that is NaN or infinite has no effect on the outputs of queries that do not select it. With k of
    at least the number of tokens it has, as in PyTorch's own function. A key that is NaN has an effect on
    the gradients of queries that do not see it. Neither happens where a mask of booleans of shape (..., 1, n)
    leaves out the token for all queries.

    **Cost**: the selection by products computes all of them, as exact attention does, and finds the largest.
    It serves as the oracle, with which other selections are compared. The selection by pages computes
    ``2 / page_size`` of the products and those of the selected tokens, and reads all keys once for the
    bounds. So it is for many queries, and not for one. Memory is that of a block of queries, except for
    k of at least the number of tokens, `is_causal` and a mask: then it is a mask of all pairs. If gradients
    are needed, the selection by products keeps some numbers for each selected token, and that by pages
    selects again for the gradients. Half precision is computed in float32.

    References
    ----------
    Tang, Zhao, Zhu, Xiao, Kasikci, Han. Quest: query-aware sparsity for efficient long-context LLM inference.
    ICML 2024.

    Examples
    --------
    >>> import torch
    >>> from mergesketch import top_tokens_attention
    >>> q, k, v = torch.randn(3, 2, 4, 100, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    >>> output = top_tokens_attention(q, k, v, is_causal=True, k=32, sinks=4, window=8, page_size=4)
    >>> output.sum().backward()
    >>> output.shape
    torch.Size([2, 4, 100, 16])
    """
    options = check_options(k, sinks, window, page_size)
    dtype = getattr(query, "dtype", None)
    query, key, value = widen_under_autocast(query, key, value)
    check_tensors(query, key, value, is_causal)
    return attend(options, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa).to(dtype)


def check_options(k: Any, sinks: Any = 0, window: Any = 0, page_size: Any = None) -> Options:
    """Return the parameters of the selection, or raise if one lies outside its range."""
    k = check_int("k", k, 1, 1 << 31)
    sinks, window = check_int("sinks", sinks, 0, 1 << 31), check_int("window", window, 0, 1 << 31)
    if sinks + window > k:
        raise ValueError(f"sinks + window must be at most k = {k}, got {sinks} + {window}")
    if page_size is None:
        return Options(k, sinks, window, None)
    size = check_int("page_size", page_size, 1, 1 << 16)
    # A window may begin and end inside a page. The page of a causal query's own token is always in it.
    needed = -(-sinks // size) + (max(window, 1) + size - 2) // size + 1
    if needed > -(-k // size):
        raise ValueError(
            f"k must be at least {size * (needed - 1) + 1}, for {needed} pages of {size} tokens may hold the "
            f"{sinks} sinks and the window of {window}, got {k}"
        )
    return Options(k, sinks, window, size)


def attend(
    options: Options,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Tensor:
    """Return `top_tokens_attention` of checked tensors. Causal queries are those of the last tokens."""
    if dropout_p != 0.0:
        raise ValueError(f"dropout_p must be 0, for selected tokens are few, got {dropout_p!r}")
    n, d = key.shape[-2:]
    scale = d**-0.5 if scale is None else check_real("scale", scale, -math.inf, math.inf)
    mask = None if attn_mask is None else _check_mask(attn_mask, query, n, options.page_size)
    grouped = (query, key, value, mask)
    if enable_gqa:
        grouped = group_heads(query, key, value, mask)
    lead = _lead_of(*grouped)
    if options.k >= n:
        key, value = _without_hidden(key, value, mask, enable_gqa)
        return _attend_to_all(query, key, value, mask, is_causal, scale, enable_gqa)
    if 0 in (*lead, query.shape[-2], value.shape[-1]):
        output = query.new_zeros((*lead, query.shape[-2], value.shape[-1]))
        return output.flatten(-4, -3) if enable_gqa else output
    wide = torch.promote_types(query.dtype, torch.float32)
    with without_autocast(query):
        q, keys, values, mask = grouped
        q = q.to(wide) * scale
        keys, values = _without_hidden(keys, values, mask)
        output = _attend_in_blocks(options, q, keys, values.to(wide), mask, is_causal, lead)
    return (output.flatten(-4, -3) if enable_gqa else output).to(query.dtype)


def _check_mask(mask: Any, query: Tensor, n: int, page_size: int | None) -> Tensor:
    """Return a mask in the dtype of booleans or of the query, or raise."""
    if page_size is not None:
        return check_key_mask(mask, n)
    if not isinstance(mask, Tensor) or not (mask.dtype == torch.bool or mask.is_floating_point()):
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask)
        raise TypeError(f"attn_mask must be a tensor of booleans or floats, got {kind}")
    rows = query.shape[-2]
    if mask.ndim < 2 or mask.shape[-2] not in (1, rows) or mask.shape[-1] != n:
        raise ValueError(
            f"attn_mask must have shape (..., {rows}, {n}) or (..., 1, {n}), got {tuple(mask.shape)}"
        )
    if mask.dtype == torch.bool:
        return mask
    # A mask is never rounded to half precision, in which numbers that differ may be equal.
    wide = torch.promote_types(mask.dtype, query.dtype)
    return mask.to(wide if wide == query.dtype else torch.promote_types(query.dtype, torch.float32))


def _without_hidden(
    key: Tensor, value: Tensor, mask: Tensor | None, enable_gqa: bool = False
) -> tuple[Tensor, Tensor]:
    """Return keys and values, 0 where all queries leave them out, so that not even NaN has an effect."""
    if mask is None or mask.shape[-2] != 1 or mask.dtype != torch.bool:
        return key, value
    if enable_gqa and mask.ndim > 2 and mask.shape[-3] > 1:
        # The heads of the query that share a head of the keys.
        mask = mask.unflatten(-3, (key.shape[-3], -1)).any(-3)
    return torch.where(mask.mT, key, 0.0), torch.where(mask.mT, value, 0.0)


def _lead_of(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> torch.Size:
    """Return the leading dimensions of the output, or raise if they do not agree."""
    found = [x.shape[:-2] for x in (query, key, value, mask) if x is not None]
    try:
        return torch.broadcast_shapes(*found)
    except RuntimeError:
        raise ValueError(
            "query, key, value and attn_mask must have leading dimensions that can be broadcast, got "
            + ", ".join(str(tuple(shape)) for shape in found)
        ) from None


def _attend_to_all(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float,
    enable_gqa: bool,
) -> Tensor:
    """Return PyTorch's own attention, whose causal queries are those of the first tokens."""
    rows, n = query.shape[-2], key.shape[-2]
    if is_causal and (mask is not None or rows != n):
        seen = torch.ones(rows, n, dtype=torch.bool, device=query.device).tril(n - rows)
        mask, is_causal = (seen if mask is None else masked(mask, seen)), False
    if mask is not None and mask.dtype not in (torch.bool, query.dtype):
        with without_autocast(query):
            wide = (x.to(mask.dtype) for x in (query, key, value))
            output = scaled_dot_product_attention(*wide, mask, scale=scale, enable_gqa=enable_gqa)
        return output.to(query.dtype)
    return scaled_dot_product_attention(
        query, key, value, mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )


def _attend_in_blocks(
    options: Options,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    lead: torch.Size,
) -> Tensor:
    """Return attention, of blocks of queries and, where these would be small, of one head after another."""
    rows, n = query.shape[-2], key.shape[-2]
    if options.page_size is None:
        size = n
    else:
        size = (
            -(-n // options.page_size)
            + -(-options.k // options.page_size) * options.page_size * key.shape[-1]
        )
    step = max(1, _ENTRIES // max(1, size * lead.numel()))
    if step < min(rows, _ROWS) and lead.numel() > 1:
        parts = []
        for i in range(lead[0]):
            q, k, v, m = (_part(x, i, len(lead)) for x in (query, key, value, mask))
            parts.append(_attend_in_blocks(options, q, k, v, m, is_causal, lead[1:]))
        return torch.stack(parts)
    if options.page_size is None:
        select: Any = Tokens(options, key.to(query.dtype), mask)
    else:
        select = Pages(options, key, mask, n)
    # The values of all heads lie behind each other. Broadcast heads read the same ones.
    flat, starts = value.reshape(-1, value.shape[-1]), first_rows(value)

    def attend_block(a: int, q: Tensor) -> Tensor:
        # A causal block sees no token behind that of its last query.
        first = n - rows + a
        n_seen = first + q.shape[-2] if is_causal else n
        positions = torch.arange(first, n_seen, device=q.device)[:, None] if is_causal else None
        tokens, logits = select(a, q, n_seen, positions)
        return _mean_of_values(tokens, logits, flat, starts)

    # Selected keys are not kept for the gradient. They are selected again when it is computed.
    is_kept = options.page_size is None or step >= rows or not torch.is_grad_enabled()
    found = []
    for a in range(0, rows, step):
        q = query[..., a : a + step, :]
        if is_kept:
            found.append(attend_block(a, q))
        else:
            found.append(checkpoint(attend_block, a, q, use_reentrant=False, preserve_rng_state=False))
    output = torch.cat(found, dim=-2)
    return output.expand(*lead, *output.shape[-2:])


def _part(x: Any, i: int, n_dims: int) -> Any:
    """Return entry i of the first of n_dims leading dimensions, of a tensor in which it may be broadcast."""
    if x is None or x.ndim - 2 < n_dims:
        return x
    return x[i if x.shape[0] > 1 else 0]


def _mean_of_values(tokens: Tensor, logits: Tensor, flat: Tensor, starts: Tensor) -> Tensor:
    """Return the mean of the values of selected tokens, weighted by the softmax of their logits."""
    are_seen = (logits != -math.inf).any(-1, keepdim=True)
    weights = logits.masked_fill(~are_seen, 0.0).softmax(-1)
    # Where a query sees few tokens, others have the weight 0. Their values may be NaN, and are not read.
    best = tokens.expand(logits.shape).gather(-1, logits.detach().argmax(-1, keepdim=True))
    places = torch.where(logits == -math.inf, best, tokens) + starts
    k = places.shape[-1]
    weights = weights.expand(places.shape)
    means = embedding_bag(
        places.reshape(-1, k), flat, per_sample_weights=weights.reshape(-1, k), mode="sum"
    ).reshape(*places.shape[:-1], flat.shape[-1])
    return means.masked_fill(~are_seen, 0.0)
