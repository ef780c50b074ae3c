"""Test tensors of PyTorch that NumPy cannot read: they are refused by the name of the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mergesketch import (
    ImportanceCache,
    SecondMoments,
    VectorCodes,
    sparse_attention,
    sparse_layer,
    top_tokens,
)
from mergesketch.lsh import SignedRandomProjection

torch = pytest.importorskip("torch")

ROWS = np.arange(12.0).reshape(3, 4)
#: Calls that read an argument of a name, in each of the ways in which rows are read.
CALLS: list[tuple[str, Callable[[Any], Any]]] = [
    ("K", lambda X: ImportanceCache(4, 4, 16).update(X, ROWS)),
    ("X", lambda X: VectorCodes(4).update(X)),
    ("X", lambda X: SecondMoments(4).update(X)),
    ("X", lambda X: SignedRandomProjection(4, n_hashes=8).hash(X)),
    ("scores", lambda X: top_tokens(X, 2)),
    ("V", lambda X: sparse_attention(ROWS, ROWS, X)),
    ("W", lambda X: sparse_layer(ROWS, X, ROWS)),
]


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_they_are_refused_by_name(name: str, call: Callable[[Any], Any]) -> None:
    rows = torch.from_numpy(ROWS.astype(np.float32))
    call(rows)
    call(rows.half())
    for tensor, calls in (
        (rows.bfloat16(), "float()"),
        (rows.to(torch.float8_e4m3fn), "float()"),
        (torch.nn.Parameter(rows), "detach()"),
        (torch.nn.Parameter(rows.bfloat16()), "detach().float()"),
        (rows.to_sparse(), "to_dense()"),
    ):
        with pytest.raises(TypeError) as error:
            call(tensor)
        message = str(error.value)
        assert message.startswith(
            f"{name} must be numbers that NumPy can read, got a tensor of {tensor.dtype}"
        )
        assert message.endswith(f"; pass {name}.{calls}")
        # The advice helps.
        call(eval(f"tensor.{calls}", {"tensor": tensor}))


@pytest.mark.parametrize(("name", "call"), [*CALLS, ("up", lambda X: sparse_layer(ROWS, ROWS, ROWS, up=X))])
def test_tensors_without_values_are_refused_by_name(name: str, call: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=f'^{name} must hold numbers, got a tensor on the device "meta"'):
        call(torch.ones(3, 4, device="meta"))


def test_lists_of_tensors_are_refused_by_name() -> None:
    rows = [torch.ones(4, requires_grad=True)] * 2
    with pytest.raises(TypeError, match=r"K must be numbers that NumPy can read, .* after detach\(\)"):
        ImportanceCache(4, 4, 16).update(rows, ROWS)
    with pytest.raises(TypeError, match=r"scores must be .* torch.bfloat16 that NumPy does not have; pass"):
        top_tokens([row.detach().bfloat16() for row in rows], 2)


def test_what_the_docs_advise_for_layers_works() -> None:
    first, second = torch.nn.Linear(4, 6), torch.nn.Linear(6, 2)
    V = np.ascontiguousarray(second.weight.detach().T)
    found = sparse_layer(
        ROWS, first.weight.detach(), V, bias=first.bias.detach(), output_bias=second.bias.detach()
    )
    right = second(torch.relu(first(torch.from_numpy(ROWS).float()))).detach().numpy()
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def test_what_the_docs_advise_for_gated_layers_works() -> None:
    gate, up, down = (
        torch.nn.Linear(4, 6, bias=False),
        torch.nn.Linear(4, 6, bias=False),
        torch.nn.Linear(6, 2),
    )
    V = np.ascontiguousarray(down.weight.detach().T)
    found = sparse_layer(
        ROWS,
        gate.weight.detach(),
        V,
        up=up.weight.detach(),
        output_bias=down.bias.detach(),
        activation="silu",
    )
    X = torch.from_numpy(ROWS).float()
    right = down(torch.nn.functional.silu(gate(X)) * up(X)).detach().numpy()
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def test_what_the_docs_advise_for_heads_that_share_keys_works() -> None:
    # 2 heads of keys, which 3 heads of queries each share, as transformers lays them out.
    rng = np.random.default_rng(0)
    query, key, value = (torch.from_numpy(rng.standard_normal((1, heads, 9, 4))) for heads in (6, 2, 2))
    right = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, enable_gqa=True
    )
    for h in range(2):
        cache = ImportanceCache(4, 4, 16)
        grouped = query[0, h * 3 : (h + 1) * 3].transpose(0, 1)
        found = cache.causal(grouped, key[0, h], value[0, h]).outputs
        np.testing.assert_allclose(found.swapaxes(0, 1), right[0, h * 3 : (h + 1) * 3], rtol=1e-4, atol=1e-5)
