"""RACE attention in PyTorch: the naive twin, `RaceAttention`, gradients, masks, heads and chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import RaceAttention
from naive import race_attention as naive

torch = pytest.importorskip("torch")

from mergesketch import race_attention  # noqa: E402
from mergesketch.sketches.attention import torch_race_attention as module  # noqa: E402

OPTIONS: dict[str, Any] = {"n_hashes": 3, "power": 2, "beta": 2.0, "seed": 5}


def rows(name: str, shape: tuple[int, ...], seed: int) -> Any:
    rng = np.random.default_rng(seed)
    if name == "one-hot":
        return torch.tensor(np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])])
    if name == "constant":
        return torch.full(shape, 0.5, dtype=torch.float64)
    if name == "few entries":
        return torch.tensor(rng.standard_normal(shape) * (rng.random(shape) < 0.3))
    return torch.tensor(rng.standard_normal(shape))


ROWS = ("normal", "one-hot", "constant", "few entries")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 4)
    monkeypatch.setattr(module, "_ENTRIES", 3 * 4 * 5)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("is_causal", [False, True])
@settings(max_examples=15)
@given(st.data())
def test_it_is_its_naive_twin(is_causal: bool, data: st.DataObject) -> None:
    n, power = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 3))
    beta, scale = data.draw(st.sampled_from([0.3, 4.0])), data.draw(st.sampled_from([None, 1.0, 0.2]))
    name, seed = data.draw(st.sampled_from(ROWS)), data.draw(st.integers(0, 2**64 - 1))
    q, k, v = rows(name, (n, 4), 1), rows(name, (n, 4), 2), rows("normal", (n, 3), 3)
    vectors = RaceAttention(4, 3, 3, power=power, seed=seed).family.vectors.astype(np.float64)
    vectors = vectors.reshape(power, 3, -1).transpose(1, 0, 2)
    factor = 0.5 if scale is None else scale
    expected = naive.attention(*(factor * x.numpy() for x in (q, k)), v.numpy(), vectors, beta, is_causal)
    options = {"n_hashes": 3, "power": power, "beta": beta, "seed": seed}
    output = race_attention(q, k, v, is_causal=is_causal, scale=scale, **options)
    np.testing.assert_allclose(output.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_each_head_is_a_sketch(name: str) -> None:
    shape, d = (2, 3, 150), 4
    q, k, v = (rows(name, (*shape, d), seed).to(torch.float32) for seed in (1, 2, 3))
    whole = race_attention(q, k, v, scale=1.0, **OPTIONS)
    causal = race_attention(q, k, v, None, 0.0, True, 1.0, **OPTIONS)
    assert whole.dtype == torch.float32 and whole.shape == v.shape
    for at in np.ndindex(*shape[:2]):
        arrays = [x[at].numpy() for x in (q, k, v)]
        sketch = RaceAttention(d, d, **OPTIONS)
        # The sketch rounds weights to 2**-24, and both compute in float32.
        np.testing.assert_allclose(causal[at].numpy(), sketch.causal(*arrays), rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(whole[at].numpy(), sketch.query(arrays[0]), rtol=2e-4, atol=2e-5)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("is_causal", [False, True])
def test_gradcheck(is_causal: bool) -> None:
    tensors = [0.3 * rows("normal", (2, 6, 2), seed) for seed in (1, 2, 3)]
    mask = torch.ones(2, 1, 6, dtype=torch.bool)
    mask[1, 0, :2] = False

    def output(*given: Any) -> Any:
        return race_attention(*given, mask, is_causal=is_causal, n_hashes=2, power=2, beta=1.5)

    assert torch.autograd.gradcheck(output, [x.requires_grad_() for x in tensors])


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("is_causal", [False, True])
def test_keys_that_are_masked_are_as_if_left_out(is_causal: bool) -> None:
    q, k, v = (rows("normal", (2, 3, 11, 4), seed) for seed in (1, 2, 3))
    mask = torch.ones(2, 1, 1, 11, dtype=torch.bool)
    mask[0, ..., :3] = mask[1, ..., 9:] = False
    # Not even NaN among such keys and their values has an effect.
    k, v = (torch.where(mask.mT, x, torch.nan).requires_grad_() for x in (k, v))
    q.requires_grad_()
    output = race_attention(q, k, v, mask, is_causal=is_causal, **OPTIONS)
    output.sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in (q, k, v))
    assert (k.grad[0, :, :3] == 0.0).all() and (v.grad[0, :, :3] == 0.0).all()
    for i, kept in enumerate((slice(3, 11), slice(0, 9))):
        some = [x[i, :, kept] for x in (q, k, v)]
        expected = race_attention(*some, is_causal=is_causal, **OPTIONS)
        torch.testing.assert_close(output[i, :, kept], expected, rtol=1e-12, atol=1e-12)
    # Queries before the first key that is kept attend to nothing.
    assert not is_causal or (output[0, :, :3] == 0.0).all()


def test_a_mask_of_each_head_and_grouped_heads() -> None:
    q, k, v = (
        rows("normal", (2, 6, 7, 4), 1),
        rows("normal", (2, 3, 7, 4), 2),
        rows("normal", (2, 3, 7, 5), 3),
    )
    mask = torch.rand(2, 6, 1, 7, generator=torch.Generator().manual_seed(0)) < 0.7
    many = [x.repeat_interleave(2, dim=1) for x in (k, v)]
    for given_mask in (None, mask, mask[:, :1], mask[0, 0]):
        for is_causal in (False, True):
            grouped = race_attention(q, k, v, given_mask, 0.0, is_causal, None, True, **OPTIONS)
            expected = race_attention(q, *many, given_mask, is_causal=is_causal, **OPTIONS)
            torch.testing.assert_close(grouped, expected, rtol=1e-12, atol=1e-12)
    # The order of heads is that of PyTorch.
    peer = torch.nn.functional.scaled_dot_product_attention
    torch.testing.assert_close(peer(q, k, v, enable_gqa=True), peer(q, *many))


def test_queries_of_another_number_and_keys_of_none() -> None:
    q, k, v = rows("normal", (5, 4), 1), rows("normal", (2, 8, 4), 2), rows("normal", (8, 3), 3)
    output = race_attention(q, k, v, **OPTIONS)
    expected = [race_attention(q, some, v, **OPTIONS) for some in k]
    torch.testing.assert_close(output, torch.stack(expected))
    assert (race_attention(q, k[:, :0], v[:0], **OPTIONS) == 0.0).all()
    assert race_attention(q[:0], k, v, **OPTIONS).shape == (2, 0, 3)
    assert race_attention(q[:0], q[:0], v[:0], is_causal=True, **OPTIONS).shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: Any) -> None:
    q, k, v = (rows("normal", (300, 4), seed).to(dtype) for seed in (1, 2, 3))
    output = race_attention(q, k, v, is_causal=True, **OPTIONS)
    expected = race_attention(*(x.float() for x in (q, k, v)), is_causal=True, **OPTIONS)
    assert output.dtype == dtype
    torch.testing.assert_close(output, expected.to(dtype), rtol=0, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same = race_attention(q, k, v, is_causal=True, **OPTIONS)
    torch.testing.assert_close(same, output, rtol=0, atol=0)


def test_weights_that_underflow_have_finite_gradients() -> None:
    q = torch.tensor([[1e4, 1e4]], requires_grad=True)
    output = race_attention(q, -q.detach(), torch.ones(1, 1), n_hashes=2, power=8, beta=50.0)
    output.sum().backward()
    assert q.grad is not None and q.grad.isfinite().all() and output.item() == 0.0


def test_vectors_serve_training_after_inference() -> None:
    module._kept_vectors.cache_clear()
    q = rows("normal", (5, 4), 1)
    with torch.inference_mode():
        expected = race_attention(q, q, q, **OPTIONS)
    x = q.clone().requires_grad_()
    output = race_attention(x, x, x, **OPTIONS)
    output.sum().backward()
    torch.testing.assert_close(output.detach(), expected)
    assert x.grad is not None and module._kept_vectors.cache_info().hits >= 1


def test_it_can_be_compiled_mapped_and_differentiated_as_a_function() -> None:
    q, k, v = (rows("normal", (3, 6, 4), seed) for seed in (1, 2, 3))

    def output(q: Any, k: Any, v: Any) -> Any:
        return race_attention(q, k, v, is_causal=True, **OPTIONS)

    expected = output(q, k, v)
    compiled = torch.compile(output, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(q, k, v), expected)
    torch.testing.assert_close(torch.vmap(output)(q, k, v), expected)
    x = q.clone().requires_grad_()
    output(x, k, v).square().sum().backward()
    gradient = torch.func.grad(lambda x: output(x, k, v).square().sum())(q)
    torch.testing.assert_close(gradient, x.grad)


def test_a_model_learns_which_token_to_attend_to() -> None:
    rng = torch.Generator().manual_seed(0)
    K, V = torch.randn(64, 10, 8, generator=rng), torch.randn(64, 10, 1, generator=rng)
    # The value that is asked for is that of the key with the largest first entry.
    y = V[torch.arange(64), K[..., 0].argmax(1)]
    W = torch.nn.Parameter(0.3 * torch.randn(8, 8, generator=rng))
    q = torch.nn.Parameter(torch.randn(1, 8, generator=rng))
    optimizer = torch.optim.Adam([W, q], 0.1)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = (race_attention(q, K @ W, V, n_hashes=8, power=3, beta=4.0)[:, 0] - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # The mean of all values has a loss of about the variance of the values, which is 1.
    assert losses[0] > 0.6 and losses[-1] < 0.5 * losses[0]


def test_autocast_takes_dtypes_that_differ() -> None:
    q, k, v = torch.randn(3, 2, 5, 4)
    expected = race_attention(q, k, v.bfloat16().float(), **OPTIONS)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(race_attention(q, k, v.bfloat16(), **OPTIONS), expected)
    with pytest.raises(TypeError, match="value must have the dtype"):
        race_attention(q, k, v.bfloat16(), **OPTIONS)


def test_edges_of_numbers_and_devices() -> None:
    rows = torch.zeros(3, 4)
    assert race_attention(rows, rows, rows, scale=9e29, beta=9e29).isfinite().all()
    for wrong in ({"beta": 1e39}, {"scale": 1e39}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            race_attention(rows, rows, rows, **wrong)
    on_meta = rows.to("meta")
    assert race_attention(on_meta, on_meta, on_meta, is_causal=True).shape == (3, 4)


def test_wrong_arguments_are_refused() -> None:
    x = torch.zeros(3, 4)
    good: dict[str, Any] = {"query": x, "key": x, "value": x}
    race_attention(**good)
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (TypeError, "query must be a tensor of floats of shape", {"query": np.zeros((3, 4))}),
        (TypeError, "key must be a tensor of floats .* got torch.int64", {"key": x.long()}),
        (TypeError, "value must be a tensor of floats", {"value": torch.zeros(4)}),
        (TypeError, "key must have the dtype and device of query, torch.float32", {"key": x.double()}),
        (ValueError, "key must have 4 columns, as query has, got 5", {"key": torch.zeros(3, 5)}),
        (ValueError, "value must have 3 rows, one for each key, got 2", {"value": x[:2]}),
        (ValueError, "query must have at least one column", {"query": x[:, :0], "key": x[:, :0]}),
        (
            ValueError,
            "query must have 3 rows, one for each key, if is_causal",
            {"query": x[:2], "is_causal": True},
        ),
        (TypeError, "attn_mask must be a tensor of booleans", {"attn_mask": torch.zeros(1, 3)}),
        (TypeError, "attn_mask must be a tensor of booleans", {"attn_mask": np.ones((1, 3), bool)}),
        (
            ValueError,
            r"attn_mask must have shape \(..., 1, 3\)",
            {"attn_mask": torch.ones(3, 3, dtype=torch.bool)},
        ),
        (ValueError, "dropout_p must be 0", {"dropout_p": 0.1}),
        (ValueError, "scale must be a number", {"scale": 0.0}),
        (ValueError, r"query, key and value must have shape \(..., heads", {"enable_gqa": True}),
        (
            ValueError,
            "key and value must have one number of heads, of which that of query, 3, is a multiple",
            {
                "query": x.expand(3, 3, 4),
                "key": x.expand(2, 3, 4),
                "value": x.expand(2, 3, 4),
                "enable_gqa": True,
            },
        ),
        (ValueError, "power must be", {"power": 13}),
        (ValueError, "n_hashes must be", {"n_hashes": 0}),
        (ValueError, "beta must be a number in", {"beta": float("inf")}),
        (TypeError, "beta must be a number", {"beta": None}),
        (ValueError, "seed must be", {"seed": -1}),
    ]
    for kind, message, changed in wrong:
        with pytest.raises(kind, match=message):
            race_attention(**{**good, **changed})
