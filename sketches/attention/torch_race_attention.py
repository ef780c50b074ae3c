"""RACE attention in PyTorch: linear in the number of tokens, and with gradients."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...lsh.families.srp import SignedRandomProjection
from ...lsh.support.checks import check_int, check_real
from .torch_arguments import (
    check_key_mask,
    check_tensors,
    group_heads,
    widen_under_autocast,
    without_autocast,
)

__all__ = ["Options", "attend", "check_options", "race_attention"]

#: The most bits of a code, for each of which soft codes double.
_MOST_BITS = 12
#: Beta and scale are below this. Their products with other numbers stay finite in float32.
_LARGEST = 1e30
#: Tokens of a causal chunk, inside of which all pairs are compared.
_CHUNK = 128
#: The most entries of soft codes of a chunk of tokens that is not causal.
_ENTRIES = 1 << 22


class Options(NamedTuple):
    """Contain the parameters of soft codes."""

    n_hashes: int
    power: int
    beta: float
    seed: int


def race_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    n_hashes: int = 32,
    power: int = 4,
    beta: float = 4.0,
    seed: int = 0,
) -> Tensor:
    """Return the RACE attention of tensors, in time linear in the number of tokens.

    The arguments are those of ``torch.nn.functional.scaled_dot_product_attention``, and those of
    `RaceAttention`. Queries, keys and values have gradients.

    Parameters
    ----------
    query : Tensor of floats of shape (..., n_queries, n_features)
    key : Tensor of shape (..., n, n_features)
    value : Tensor of shape (..., n, n_values)
        All three have one device and one dtype. Under autocast their dtypes may differ, and the widest
        counts. Leading dimensions, such as batch and heads, are broadcast.
    attn_mask : Tensor of booleans of shape (..., 1, n), optional
        False for keys that no query attends to, such as padding.
    dropout_p : float, default 0
        Must be 0.
    is_causal : bool, default False
        True if query i attends to the keys up to i alone. There is one query for each key then.
    scale : float, optional
        The factor of queries and of keys before they are hashed, ``1 / sqrt(n_features)`` by default. Below
        1e30.
    enable_gqa : bool, default False
        True if key and value may have fewer heads than the query, in the third dimension from the end. Each
        of their heads then serves several heads of the query in turn.
    n_hashes : int, default 32
        Number of tables, L.
    power : int, default 4
        Number of bits of a code, P, at most 12.
    beta : float, default 4
        Sharpness of soft codes, above 0 and below 1e30.
    seed : int, default 0
        In [0, 2**64).

    Returns
    -------
    Tensor of shape (..., n_queries, n_values)
        In the dtype of the query, also under autocast. Rows that attend to no key are 0, and so are those
        whose weights of all keys underflow.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or shape, or lies outside its range. To save time on GPUs, numbers
        in tensors are not checked.

    Notes
    -----
    With ``scale=1`` the output is that of a `RaceAttention` of the same parameters for each head, up to
    rounding. `RaceAttention` rounds weights to multiples of 2**-24, so it gives NaN where all keys are far
    away or there is none. Products with the random vectors then grow with the length of the rows, and tanh
    has no gradient where they are large. The default scale brings rows whose entries are around 1 to a
    length around 1. Hard codes have no gradient, and are not offered.

    Masked keys and values may be NaN. Others may not: in the causal attention, a value that is NaN also has
    an effect on up to 127 queries before it.

    **Cost**: a token takes ``L P n_features`` operations for its code and ``L 2**P n_values`` for its sums. A
    causal token takes ``128 L 2**P`` more, for the tokens of its chunk. Memory is that of one chunk and
    ``L 2**P n_values`` sums a head if no gradient is needed. Otherwise codes are kept for the gradient:
    ``L 2**P`` numbers a token. Half precision is computed in float32.

    References
    ----------
    - RACE Attention: a strictly linear-time attention for long-sequence training.

    Examples
    --------
    >>> import torch
    >>> from mergesketch import race_attention
    >>> q, k, v = torch.randn(3, 2, 4, 100, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    >>> output = race_attention(q, k, v, is_causal=True, n_hashes=8)
    >>> output.sum().backward()
    >>> output.shape
    torch.Size([2, 4, 100, 16])
    """
    options = check_options(n_hashes, power, beta, seed)
    dtype = getattr(query, "dtype", None)
    query, key, value = widen_under_autocast(query, key, value)
    check_tensors(query, key, value, is_causal)
    output = attend(options, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    return output.to(dtype)


def check_options(n_hashes: Any = 32, power: Any = 4, beta: Any = 4.0, seed: Any = 0) -> Options:
    """Return the parameters of soft codes, or raise if one lies outside its range."""
    return Options(
        check_int("n_hashes", n_hashes, 1, 1 << 20),
        check_int("power", power, 1, _MOST_BITS),
        check_real("beta", beta, 0.0, _LARGEST),
        check_int("seed", seed, 0, 2**64 - 1),
    )


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
    """Return `race_attention` of checked tensors. Causal queries are those of the last keys."""
    if dropout_p != 0.0:
        raise ValueError(
            f"dropout_p must be 0, for there are no weights of tokens to drop, got {dropout_p!r}"
        )
    n, d = key.shape[-2:]
    scale = d**-0.5 if scale is None else check_real("scale", scale, 0.0, _LARGEST)
    mask = None if attn_mask is None else check_key_mask(attn_mask, n)
    if enable_gqa:
        query, key, value, mask = group_heads(query, key, value, mask)
    wide = torch.promote_types(query.dtype, torch.float32)
    with without_autocast(query):
        like = torch.empty(0, dtype=wide, device=query.device)
        vectors = _vectors(like, d, options.n_hashes, options.power, str(options.seed))
        codes = _SoftCodes(vectors * scale, options)
        # The last column adds up to the weight of the keys.
        values = pad(value.to(wide), (0, 1), value=1.0)
        if mask is not None:
            # Not even NaN among masked keys and values has an effect.
            key, values = torch.where(mask.mT, key, 0.0), torch.where(mask.mT, values, 0.0)
        # One causal query alone sees all keys.
        add_up = _causal_sums if is_causal and query.shape[-2] > 1 else _sums
        sums = add_up(codes, query.to(wide), key.to(wide), values)
        mass = sums[..., -1:]
        # Division by 0 would have the gradient NaN even where its result is not used.
        output = (sums[..., :-1] / torch.where(mass > 0.0, mass, 1.0)).to(query.dtype)
    return output.flatten(-4, -3) if enable_gqa else output


class _SoftCodes:
    """Compute soft codes of rows."""

    def __init__(self, vectors: Tensor, options: Options) -> None:
        self.vectors, self.options = vectors, options
        self.width = options.n_hashes << options.power

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the weight of each row in the buckets of all tables, shape (..., n, n_hashes * 2**power)."""
        # The softmax is a product over the bits. The weight of a set bit is 1 / (1 + exp(-2 beta tanh(W x))).
        n_hashes, power, beta, _ = self.options
        bits = torch.sigmoid(2.0 * beta * torch.tanh(rows @ self.vectors)).unflatten(-1, (power, n_hashes))
        codes = bits.new_ones(1)
        for k in range(power):
            are_set = codes * bits[..., k, :, None]
            codes = torch.cat([codes - are_set, are_set], dim=-1)
        return codes.flatten(-2)


def _sums(codes: _SoftCodes, query: Tensor, key: Tensor, values: Tensor) -> Tensor:
    """Return sums over all keys: of weights times values, and of weights."""
    lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], values.shape[:-2])
    step = max(1, _ENTRIES // max(1, codes.width * lead.numel()))
    state = _state(codes, key, values, step)
    return torch.cat([codes(some) @ state for some in query.split(step, -2)], dim=-2)


def _state(codes: _SoftCodes, key: Tensor, values: Tensor, step: int) -> Tensor:
    """Return the sums of the buckets, shape (..., width, n_values + 1)."""
    parts = zip(key.split(step, -2), values.split(step, -2), strict=True)
    total: Any = 0.0
    for k, v in parts:
        total = total + codes(k).mT @ v
    return total


def _causal_sums(codes: _SoftCodes, query: Tensor, key: Tensor, values: Tensor) -> Tensor:
    """Return sums for the queries of the last keys, over the keys up to each.

    Chunks of queries see the keys of earlier chunks through the sums of the buckets, and those of their own
    chunk one by one.
    """
    before = key.shape[-2] - query.shape[-2]
    state = _state(codes, key[..., :before, :], values[..., :before, :], _CHUNK)
    key, values = key[..., before:, :], values[..., before:, :]
    found = []
    chunks = zip(*(x.split(_CHUNK, -2) for x in (query, key, values)), strict=True)
    for first, (q, k, v) in enumerate(chunks):
        of_queries, of_keys = codes(q), codes(k)
        sums = (of_queries @ of_keys.mT).tril() @ v
        if first or before:
            sums = sums + of_queries @ state
        found.append(sums)
        if len(found) * _CHUNK < query.shape[-2]:
            state = state + of_keys.mT @ v
    return torch.cat(found, dim=-2)


@torch.library.custom_op("mergesketch::race_vectors", mutates_args=())  # type: ignore[untyped-decorator]
def _vectors(like: Tensor, n_features: int, n_hashes: int, power: int, seed: str) -> Tensor:
    """Return random vectors as columns, in the dtype and on the device of a tensor.

    Column ``k * n_hashes + h`` decides bit k of hash h. The seed is a string, for integers of operators have
    a sign.
    """
    kept = _kept_vectors(n_features, n_hashes, power, int(seed), like.dtype, like.device)
    # Compiled code may write to the results of operators once it has read them.
    return kept.clone()


@torch.library.register_fake("mergesketch::race_vectors")  # type: ignore[untyped-decorator]
def _(like: Tensor, n_features: int, n_hashes: int, power: int, seed: str) -> Tensor:  # noqa: ARG001
    return like.new_empty((n_features, n_hashes * power))


@lru_cache(maxsize=32)
def _kept_vectors(d: int, n_hashes: int, power: int, seed: int, dtype: torch.dtype, device: Any) -> Tensor:
    family = SignedRandomProjection(d, n_hashes, power=power, seed=seed)
    # A tensor that is made in inference mode could not take part in training later.
    with torch.inference_mode(False):
        return torch.tensor(family.vectors.T.copy()).to(device, dtype)
