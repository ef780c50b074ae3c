"""The tokens that a query of attention selects in PyTorch: by their products, or in pages by bounds."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding, pad

__all__ = ["Options", "Pages", "Tokens", "find_largest", "first_rows", "masked"]


class Options(NamedTuple):
    """Contain the parameters of the selection."""

    k: int
    sinks: int
    window: int
    page_size: int | None


class Tokens:
    """Select tokens by their products."""

    def __init__(self, options: Options, key: Tensor, mask: Tensor | None) -> None:
        self.options, self.key, self.mask = options, key, mask

    def __call__(self, a: int, query: Tensor, n: int, positions: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the numbers of selected tokens and their products, both of shape (..., n_queries, k).

        The queries begin with number a, and see the first n tokens, causal ones those up to their positions.
        """
        k, sinks, window, _ = self.options
        products, mask = _products(query, self.key[..., :n, :]), self.mask
        if mask is not None:
            mask = mask[..., :n] if mask.shape[-2] == 1 else mask[..., a : a + query.shape[-2], :n]
        with torch.no_grad():
            scores = masked(products.detach(), mask)
            scores = _marked(scores, torch.arange(n, device=query.device), 1, sinks, window, n, positions)
            tokens = find_largest(scores, min(k, n))
        logits = products.expand(*tokens.shape[:-1], n).gather(-1, tokens)
        return tokens, _masked_again(logits, tokens, mask, positions)


class Pages:
    """Select pages of tokens by bounds of their products."""

    def __init__(self, options: Options, key: Tensor, mask: Tensor | None, n: int) -> None:
        self.options, self.n = options, n
        size = options.page_size or 1
        self.size, self.n_pages = size, -(-n // size)
        rest = self.n_pages * size - n
        if rest and mask is None:
            mask = torch.ones(1, n, dtype=torch.bool, device=key.device)
        # The tokens that the last page lacks are masked.
        key = pad(key, (0, 0, 0, rest)) if rest else key
        pages = key.unflatten(-2, (self.n_pages, size))
        self.mask = None if mask is None else pad(mask, (0, rest))
        with torch.no_grad():
            lows = highs = pages.detach()
            if self.mask is not None:
                allowed = self.mask.squeeze(-2).unflatten(-1, (self.n_pages, size))[..., None]
                lows, highs = torch.where(allowed, lows, math.inf), torch.where(allowed, highs, -math.inf)
                self.are_open = allowed.any(-2).mT
            lows, highs = lows.amin(-2), highs.amax(-2)
            # A page without allowed tokens has bounds that are infinite.
            is_empty = lows > highs
            bounds = (lows.masked_fill(is_empty, 0.0), highs.masked_fill(is_empty, 0.0))
            self.bounds = torch.cat(bounds, -1)
        pages = pages.flatten(-2)
        # A row is a page, and the pages of all heads lie behind each other.
        self.rows, self.starts = pages.reshape(-1, pages.shape[-1]), first_rows(pages)

    def __call__(self, a: int, query: Tensor, n: int, positions: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the numbers of the tokens of selected pages and their products, as `Tokens` does."""
        k, sinks, window, _ = self.options
        size, n_pages = self.size, -(-n // self.size)
        with torch.no_grad():
            q = query.detach()
            signed = torch.cat([q.clamp(max=0.0), q.clamp(min=0.0)], -1)
            scores = _products(signed, self.bounds[..., :n_pages, :].to(q.dtype))
            if self.mask is not None:
                scores = masked(scores, self.are_open[..., :n_pages])
            firsts = torch.arange(0, n_pages * size, size, device=q.device)
            window = window if positions is None else max(window, 1)
            scores = _marked(scores, firsts, size, sinks, window, n, positions)
            pages = find_largest(scores, min(-(-k // size), n_pages))
            tokens = (size * pages[..., None] + torch.arange(size, device=q.device)).flatten(-2)
        rows = embedding(pages + self.starts, self.rows).unflatten(-1, (size, query.shape[-1]))
        logits = (rows.flatten(-3, -2).to(query.dtype) @ query[..., None]).squeeze(-1)
        logits = _masked_again(logits, tokens, self.mask, positions)
        # The last page may have room for tokens that are not there. They are masked.
        return tokens.clamp(max=self.n - 1), logits


def _marked(
    scores: Tensor, firsts: Tensor, size: int, sinks: int, window: int, n: int, positions: Tensor | None
) -> Tensor:
    """Return scores of tokens, or of pages of so many tokens whose first ones are given.

    They are minus infinity behind the positions of causal queries, and infinity for sinks and the window.
    """
    last: Any = n - 1
    if positions is not None:
        scores, last = scores.masked_fill(firsts > positions, -math.inf), positions
    if sinks or window:
        certain = (firsts < sinks) | (firsts + size > last - window + 1)
        scores = scores.masked_fill(certain & (scores != -math.inf), math.inf)
    return scores


def _masked_again(logits: Tensor, tokens: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
    """Return the products of selected tokens, with a mask, and minus infinity for tokens that are not seen.

    Where a query sees few tokens, others are selected, too.
    """
    if mask is not None:
        logits = masked(logits, mask.expand(*tokens.shape[:-1], mask.shape[-1]).gather(-1, tokens))
    return logits if positions is None else logits.masked_fill(tokens > positions, -math.inf)


def _products(query: Tensor, key: Tensor) -> Tensor:
    """Return the products of queries and keys."""
    if key.ndim > 2 and query.ndim == key.ndim and key.shape[-3] == 1 < query.shape[-3]:
        # Heads of the query that share their keys are rows of one product, so that keys are not copied.
        shape = query.shape[-3:-1]
        return (query.flatten(-3, -2) @ key.squeeze(-3).mT).unflatten(-2, shape)
    return query @ key.mT


@torch.library.custom_op("mergesketch::largest", mutates_args=())  # type: ignore[untyped-decorator]
def find_largest(scores: Tensor, k: int) -> Tensor:
    """Return the places of the k largest numbers of each row, in any order; of equal ones the first."""
    n = scores.shape[-1]
    if k == n:
        return torch.arange(n, device=scores.device).repeat(*scores.shape[:-1], 1)
    width = math.isqrt(n // k)
    if width > 2:
        # The k largest numbers lie in the k runs with the largest maxima, or behind the last whole run.
        whole = n // width * width
        runs = scores[..., :whole].unflatten(-1, (-1, width))
        best = runs.amax(-1).topk(k, sorted=False).indices[..., None]
        among = torch.cat([torch.take_along_dim(runs, best, -2).flatten(-2), scores[..., whole:]], -1)
        inside = (best * width + torch.arange(width, device=scores.device)).flatten(-2)
        behind = torch.arange(whole, n, device=scores.device).expand(*scores.shape[:-1], n - whole)
        values, places = among.topk(k, sorted=False)
        found = torch.cat([inside, behind], -1).gather(-1, places)
    else:
        values, found = scores.topk(k, sorted=False)
    # Places of minus infinity are not used, and so they may be any.
    least = values.amin(-1, keepdim=True)
    tied = ((scores >= least).sum(-1) > k) & (least.squeeze(-1) > -math.inf)
    if tied.any():
        found[tied] = scores[tied].sort(dim=-1, descending=True, stable=True).indices[..., :k]
    return found


@torch.library.register_fake("mergesketch::largest")  # type: ignore[untyped-decorator]
def _(scores: Tensor, k: int) -> Tensor:
    return scores.new_empty((*scores.shape[:-1], k), dtype=torch.int64)


@torch.library.register_vmap("mergesketch::largest")  # type: ignore[untyped-decorator]
def _(info: Any, in_dims: Any, scores: Tensor, k: int) -> tuple[Tensor, int]:  # noqa: ARG001
    return find_largest(scores.movedim(in_dims[0], 0), k), 0


def first_rows(x: Tensor) -> Tensor:
    """Return the first row of each head of a tensor whose heads lie behind each other, shape (..., 1, 1)."""
    lead = x.shape[:-2]
    return x.shape[-2] * torch.arange(lead.numel(), device=x.device).reshape(*lead, 1, 1)


def masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Return scores, minus infinity where a mask of booleans is False, or with a mask of floats added."""
    if mask is None:
        return scores
    if scores.dtype == torch.bool:
        return scores & mask
    return scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
