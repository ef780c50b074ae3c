"""Attention to few tokens in PyTorch: the naive twin, PyTorch's own, gradients, masks and blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import PageBounds, sparse_attention, top_tokens
from naive import torch_top_tokens as naive

torch = pytest.importorskip("torch")

from mergesketch import top_tokens_attention  # noqa: E402
from mergesketch.sketches.attention import torch_top_tokens as module  # noqa: E402

exact = torch.nn.functional.scaled_dot_product_attention


def rows(name: str, shape: tuple[int, ...], seed: int) -> Any:
    rng = np.random.default_rng(seed)
    if name == "one-hot":
        return torch.tensor(np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])])
    if name == "constant":
        return torch.full(shape, 0.5, dtype=torch.float64)
    if name == "few values":
        return torch.tensor(rng.integers(-2, 3, shape) / 2.0)
    return torch.tensor(rng.standard_normal(shape))


ROWS = ("normal", "one-hot", "constant", "few values")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ENTRIES", 90)
    monkeypatch.setattr(module, "_ROWS", 3)


@pytest.mark.usefixtures("small_blocks")
@settings(max_examples=60)
@given(st.data())
def test_it_is_its_naive_twin(data: st.DataObject) -> None:
    n, k = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 12))
    page_size = data.draw(st.sampled_from([None, None, 1, 2, 3]))
    sinks = data.draw(st.integers(0, min(k, 3)))
    window = data.draw(st.integers(0, min(k - sinks, 3)))
    if page_size is not None:
        k += 3 * page_size + sinks + window
    name, is_causal = data.draw(st.sampled_from(ROWS)), data.draw(st.booleans())
    q, key, v = rows(name, (n, 2), 1), rows(name, (n, 2), 2), rows("normal", (n, 3), 3)
    # Few masks have a row for each query, and those have no pages.
    shape = (1, n) if page_size is not None else data.draw(st.sampled_from([(1, n), (n, n)]))
    mask = torch.tensor(np.random.default_rng(data.draw(st.integers(0, 9))).random(shape) < 0.8)
    kind = data.draw(st.sampled_from(["none", "booleans"] + (["floats"] if page_size is None else [])))
    bias = torch.zeros(shape).double()
    if kind == "booleans":
        bias = bias.masked_fill(~mask, -torch.inf)
    if kind == "floats":
        bias = torch.where(mask, rows("few values", shape, 4), -torch.inf)
    given_mask = {"none": None, "booleans": mask, "floats": bias}[kind]
    positions = list(range(n)) if is_causal else [n - 1] * n
    options = {"k": k, "sinks": sinks, "window": window, "page_size": page_size}
    # A causal query's own page is always selected.
    seen = {**options, "window": max(window, 1)} if page_size is not None and is_causal else options
    expected = naive.attend(
        q.numpy(), key.numpy(), v.numpy(), bias.expand(n, n).numpy(), positions, *seen.values()
    )
    output = top_tokens_attention(q, key, v, given_mask, is_causal=is_causal, scale=1.0, **options)
    np.testing.assert_allclose(output.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_each_head_is_top_tokens_and_sparse_attention(name: str) -> None:
    n, d = 150, 4
    q, k, v = (rows(name, (2, 3, n, d), seed).to(torch.float32) for seed in (1, 2, 3))
    output = top_tokens_attention(q, k, v, is_causal=True, k=12, sinks=2, window=3)
    by_pages = top_tokens_attention(q, k, v, scale=-0.7, k=40, sinks=4, window=4, page_size=4)
    assert output.dtype == torch.float32 and output.shape == v.shape
    for at in np.ndindex(2, 3):
        Q, K, V = (x[at].numpy() for x in (q, k, v))
        scores = (q[at] @ k[at].mT).numpy()
        tokens = top_tokens(scores, 12, sinks=2, window=3, positions=np.arange(n))
        expected = sparse_attention(Q, K, V, tokens).outputs
        np.testing.assert_allclose(output[at].numpy(), expected, rtol=1e-4, atol=1e-5)
        if name == "normal":  # Scores of pages of other rows are equal up to rounding.
            bounds = PageBounds(d, 4).update(K)
            pages = top_tokens(bounds.page_scores(-0.7 * Q), 10, sinks=1, window=2)
            expected = sparse_attention(Q, K, V, bounds.tokens(pages), scale=-0.7).outputs
            np.testing.assert_allclose(by_pages[at].numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("page_size", [None, 4])
@pytest.mark.parametrize("is_causal", [False, True])
def test_all_tokens_give_what_pytorch_gives(is_causal: bool, page_size: int | None) -> None:
    q, k, v = rows("normal", (2, 6, 19, 4), 1), rows("normal", (2, 3, 19, 4), 2), rows("one-hot", (19, 5), 3)
    mask = torch.rand(2, 6, 1, 19, generator=torch.Generator().manual_seed(0)) < 0.7
    v = v.expand(2, 3, 19, 5)
    for given_mask in (None, mask, mask[:, :1], mask[0, 0]):
        whole = given_mask
        if is_causal:
            whole = torch.ones(19, 19, dtype=torch.bool).tril()
            whole = whole if given_mask is None else whole & given_mask
        expected = exact(q, k, v, whole, enable_gqa=True)
        # 19 tokens are attended to by PyTorch, and 18 by 5 pages, which are all.
        for n_tokens in (19, 100) if page_size is None else (18, 19):
            found = top_tokens_attention(
                q, k, v, given_mask, 0.0, is_causal, None, True, k=n_tokens, page_size=page_size
            )
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def only(tokens: Any, n: int) -> Any:
    """Return the mask of tokens of the shape (n_queries, k)."""
    return torch.zeros(len(tokens), n + 1, dtype=torch.bool).scatter_(1, tokens % (n + 1), True)[:, :n]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("page_size", [None, 3])
def test_outputs_and_gradients_are_those_of_a_mask_of_the_selected_tokens(page_size: int | None) -> None:
    n = 31
    tensors = [rows("normal", (n, 4), seed).requires_grad_() for seed in (1, 2, 3)]
    q, k, _ = (x.detach().numpy() for x in tensors)
    if page_size is None:
        tokens = top_tokens(q @ k.T, 9, sinks=1, window=2, positions=np.arange(n))
        options = {"k": 9, "sinks": 1, "window": 2, "is_causal": True}
    else:
        bounds = PageBounds(4, 3).update(k)
        tokens = bounds.tokens(top_tokens(bounds.page_scores(q), 3))
        options = {"k": 9, "page_size": 3}
    weights = rows("normal", (n, 4), 4)
    expected = exact(*tensors, only(torch.tensor(tokens), n))
    output = top_tokens_attention(*tensors, **options)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-12)
    of_output = torch.autograd.grad((weights * output).sum(), tensors)
    of_expected = torch.autograd.grad((weights * expected).sum(), tensors)
    torch.testing.assert_close(of_output, of_expected, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("page_size", [None, 2])
def test_grouped_and_broadcast_heads(page_size: int | None) -> None:
    q = rows("normal", (2, 6, 17, 4), 1).requires_grad_()
    k, v = (rows("normal", (2, 3, 17, width), width) for width in (4, 5))
    many = [x.repeat_interleave(2, dim=1) for x in (k, v)]
    mask = torch.rand(2, 6, 1, 17, generator=torch.Generator().manual_seed(0)) < 0.7
    options: dict[str, Any] = {"k": 6, "page_size": page_size}
    for given_mask in (None, mask, mask[:, :1], mask[0, 0]):
        for is_causal in (False, True):
            grouped = top_tokens_attention(q, k, v, given_mask, 0.0, is_causal, None, True, **options)
            expected = top_tokens_attention(q, *many, given_mask, is_causal=is_causal, **options)
            torch.testing.assert_close(grouped, expected, rtol=1e-12, atol=1e-12)
            heads = [
                top_tokens_attention(
                    q[i, j],
                    many[0][i, j],
                    many[1][i, j],
                    None if given_mask is None else given_mask.expand(2, 6, 1, 17)[i, j],
                    is_causal=is_causal,
                    **options,
                )
                for i, j in np.ndindex(2, 6)
            ]
            torch.testing.assert_close(torch.stack(heads).view_as(expected), expected, rtol=1e-12, atol=1e-12)
            grouped.sum().backward()
    assert q.grad is not None and q.grad.isfinite().all()
    # One head of keys serves many queries, and one of queries many values.
    each = torch.stack(
        [torch.stack([top_tokens_attention(q[0, 0], x, y, **options) for y in v[0]]) for x in k[:, 0]]
    )
    torch.testing.assert_close(top_tokens_attention(q[0, 0], k[:, :1], v[:1], **options), each)


@pytest.mark.parametrize("page_size", [None, 2])
def test_a_causal_query_does_not_depend_on_later_tokens(page_size: int | None) -> None:
    q, k, v = (rows("normal", (23, 4), seed) for seed in (1, 2, 3))
    whole = top_tokens_attention(q, k, v, is_causal=True, k=6, page_size=page_size)
    options = module.check_options(6, 0, 0, page_size)
    for n in range(1, 24):
        part = top_tokens_attention(q[:n], k[:n], v[:n], is_causal=True, k=6, page_size=page_size)
        torch.testing.assert_close(part[-1], whole[n - 1])
        # The queries of the last tokens alone, as they are when a text is written.
        last = module.attend(options, q[max(n - 2, 0) : n], k[:n], v[:n], None, 0.0, True, None, False)
        torch.testing.assert_close(last, whole[max(n - 2, 0) : n])


def test_of_equal_scores_the_first_tokens_are_selected() -> None:
    v = torch.arange(200.0)[:, None]
    ones = torch.ones(200, 2)
    assert top_tokens_attention(ones[:1], ones, v, k=3).item() == 1.0
    assert top_tokens_attention(ones[:1], ones, v, k=150).item() == 74.5
    assert top_tokens_attention(ones[:1], ones, v, k=4, page_size=2).item() == 1.5
    # The first token and the last two, and the first of those between them.
    assert top_tokens_attention(ones[:1], ones, v, k=4, sinks=1, window=2).item() == (0 + 1 + 198 + 199) / 4
    # Two that are better, far behind, and the first of the others.
    k = ones.clone()
    k[[100, 190]] = 1.0 + 1e-6
    assert abs(top_tokens_attention(ones[:1], k, v, k=3).item() - 290 / 3) < 1e-3


def test_numbers_that_are_not_finite() -> None:
    q, k, v = (rows("normal", (1, 40, 4), seed) for seed in (1, 2, 3))
    for page_size in (None, 2):
        options: dict[str, Any] = {"k": 8, "page_size": page_size}
        wild = k.clone()
        wild[0, 7, 1] = torch.nan
        # A key that is NaN is selected by every query that sees it, as in exact attention.
        output = top_tokens_attention(q, wild, v, is_causal=True, **options)
        assert output[0, :6].isfinite().all() and output[0, 7:].isnan().all()
        mask = torch.ones(1, 40, dtype=torch.bool)
        mask[0, 7] = False
        hidden = v.clone()
        hidden[0, 7] = torch.nan
        expected = top_tokens_attention(q, torch.where(mask.mT, k, 9.0), v, mask, **options)
        if page_size is None:
            torch.testing.assert_close(top_tokens_attention(q, wild, hidden, mask, **options), expected)
        else:
            found = top_tokens_attention(q, torch.where(mask.mT, k, -9.0), hidden, mask, **options)
            torch.testing.assert_close(found, expected)
        # No token is left for any query, or for the first ones.
        assert (top_tokens_attention(q, k, v, mask & False, **options) == 0.0).all()
        late = torch.arange(40)[None] >= 5
        x = q.clone().requires_grad_()
        output = top_tokens_attention(x, k, v, late, is_causal=True, **options)
        output.sum().backward()
        assert (output[0, :5] == 0.0).all() and (output[0, 5:] != 0.0).all()
        assert x.grad is not None and x.grad.isfinite().all()


@pytest.mark.parametrize("page_size", [None, 4])
@pytest.mark.parametrize("wild", [torch.nan, torch.inf])
def test_values_that_are_not_selected_have_no_effect(page_size: int | None, wild: float) -> None:
    q, k, v = (rows("normal", (12, 4), seed) for seed in (1, 2, 3))
    v[11] = wild
    output = top_tokens_attention(q, k, v, is_causal=True, k=8, page_size=page_size)
    assert output[:11].isfinite().all()
    if page_size is None:
        # Each query has a mask of its own.
        seen = torch.ones(12, 12, dtype=torch.bool).tril()
        assert top_tokens_attention(q, k, v, seen, k=8)[:11].isfinite().all()


@pytest.mark.parametrize("page_size", [None, 4])
@pytest.mark.parametrize("n_selected", [8, 12])
def test_masked_keys_that_are_nan_have_no_effect(n_selected: int, page_size: int | None) -> None:
    q, k, v = (rows("normal", (2, 4, 12, 3), seed) for seed in (1, 2, 3))
    k, v = k[:, :2].clone(), v[:, :2].clone()
    mask = torch.ones(2, 1, 1, 12, dtype=torch.bool)
    mask[:, :, :, 9:] = False
    for given_mask in (mask, mask.expand(2, 4, 1, 12), mask[0, 0]):
        outputs, gradients = [], []
        for number in (0.0, torch.nan):
            x, key, value = (
                q.clone().requires_grad_(),
                k.index_fill(2, torch.arange(9, 12), number).requires_grad_(),
                v.index_fill(2, torch.arange(9, 12), number).requires_grad_(),
            )
            output = top_tokens_attention(
                x, key, value, given_mask, enable_gqa=True, k=n_selected, page_size=page_size
            )
            output.square().sum().backward()
            outputs.append(output.detach())
            gradients.append((x.grad, key.grad, value.grad))
        torch.testing.assert_close(outputs[1], outputs[0])
        for found, expected in zip(*reversed(gradients), strict=True):
            torch.testing.assert_close(found, expected)


def test_a_mask_of_floats_is_not_rounded_to_half_precision() -> None:
    q, k, v = torch.zeros(1, 4), torch.zeros(8, 4), torch.eye(8)
    bias = torch.tensor([[256.0, 257, 258, 259, 255, 0, 1, 2]])
    for dtype in (torch.bfloat16, torch.float16):
        half = [x.to(dtype) for x in (q, k, v)]
        for n_selected in (4, 8):
            expected = top_tokens_attention(q, k, v, bias, k=n_selected)
            found = top_tokens_attention(*half, bias, k=n_selected)
            torch.testing.assert_close(found, expected.to(dtype), rtol=0, atol=0)
            # Below the smallest number of float16.
            found = top_tokens_attention(*half, torch.full((1, 8), -1e5), k=n_selected)
            assert (found.sum() - 1.0).abs() < 1e-6


def test_keys_that_are_infinite_are_as_in_exact_attention() -> None:
    q, k, v = (rows("normal", (12, 4), seed) for seed in (1, 2, 3))
    k[3, 0] = torch.inf
    expected = exact(q[None], k[None], v[None])[0]
    # The product is infinite, or minus infinity: then the token is the one that is not selected.
    assert 0 < expected.isnan().all(1).sum() < 12
    torch.testing.assert_close(top_tokens_attention(q, k, v, k=11), expected, equal_nan=True)
    by_pages = top_tokens_attention(q, k, v, k=11, page_size=3)  # All pages, of which the last holds three.
    torch.testing.assert_close(by_pages, expected, equal_nan=True)


@pytest.mark.parametrize("page_size", [None, 2])
def test_no_block_is_larger_than_its_bound(page_size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watched(TorchDispatchMode):
        most = 0

        def __torch_dispatch__(self, function: Any, _: Any, given: Any = (), named: Any = None) -> Any:
            found = function(*given, **(named or {}))
            for x in found if isinstance(found, tuple) else (found,):
                self.most = max(self.most, x.numel() if isinstance(x, torch.Tensor) else 0)
            return found

    n, bound = 300, 2000
    monkeypatch.setattr(module, "_ENTRIES", bound)
    q, k, v = (rows("normal", (2, 3, n, 2), seed) for seed in (1, 2, 3))
    with Watched() as watched:
        top_tokens_attention(q, k, v, is_causal=True, k=8, page_size=page_size)
    # The tensors themselves have 3600 numbers, and the products of one head have 90,000.
    assert q.numel() <= watched.most <= q.numel() + bound


def test_empty_tensors() -> None:
    q, k, v = rows("normal", (5, 4), 1), rows("normal", (2, 8, 4), 2), rows("normal", (8, 3), 3)
    for page_size in (None, 2):
        options: dict[str, Any] = {"k": 4, "page_size": page_size}
        assert (top_tokens_attention(q, k[:, :0], v[:0], **options) == 0.0).all()
        assert top_tokens_attention(q[:0], k, v, **options).shape == (2, 0, 3)
        assert top_tokens_attention(q, k[:0], v, **options).shape == (0, 5, 3)
        assert top_tokens_attention(q, k, v[:, :0], **options).shape == (2, 5, 0)
        assert top_tokens_attention(q[:0], q[:0], v[:0], is_causal=True, **options).shape == (0, 3)


@pytest.mark.parametrize("page_size", [None, 2])
def test_half_precision_autocast_and_shapes_alone(page_size: int | None) -> None:
    options: dict[str, Any] = {"k": 20, "is_causal": True, "page_size": page_size}
    q, k, v = (rows("normal", (300, 4), seed).to(torch.bfloat16) for seed in (1, 2, 3))
    output = top_tokens_attention(q, k, v, **options)
    expected = top_tokens_attention(*(x.float() for x in (q, k, v)), **options)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output, expected.to(torch.bfloat16), rtol=0, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same = top_tokens_attention(q, k, v, **options)
        wider = top_tokens_attention(q.float(), k.float(), v, **options)
    torch.testing.assert_close(same, output, rtol=0, atol=0)
    torch.testing.assert_close(wider, expected, rtol=0, atol=0)
    with pytest.raises(TypeError, match="value must have the dtype"):
        top_tokens_attention(q.float(), k.float(), v, **options)
    on_meta = torch.zeros(2, 30, 4, device="meta")
    assert top_tokens_attention(on_meta, on_meta, on_meta, **options).shape == (2, 30, 4)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("page_size", [None, 2])
def test_it_can_be_compiled_mapped_and_differentiated_as_a_function(page_size: int | None) -> None:
    q, k, v = (rows("normal", (3, 16, 4), seed) for seed in (1, 2, 3))

    def output(q: Any, k: Any, v: Any) -> Any:
        return top_tokens_attention(q, k, v, is_causal=True, k=6, sinks=1, window=1, page_size=page_size)

    expected = output(q, k, v)
    compiled = torch.compile(output, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(q, k, v), expected)
    torch.testing.assert_close(torch.vmap(output)(q, k, v), expected)
    x = q.clone().requires_grad_()
    output(x, k, v).square().sum().backward()
    gradient = torch.func.grad(lambda x: output(x, k, v).square().sum())(q)
    torch.testing.assert_close(gradient, x.grad)


def test_wrong_arguments_are_refused() -> None:
    x = torch.zeros(3, 4)
    flags = torch.ones(3, 3, dtype=torch.bool)
    good: dict[str, Any] = {"query": x, "key": x, "value": x, "k": 2}
    top_tokens_attention(**good)
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (TypeError, "query must be a tensor of floats of shape", {"query": np.zeros((3, 4))}),
        (TypeError, "key must be a tensor of floats .* got torch.int64", {"key": x.long()}),
        (TypeError, "query must be .* of 16, 32 or 64 bits", {"query": x.to(torch.float8_e4m3fn)}),
        (TypeError, "is_causal must be True or False, got 1", {"is_causal": 1, "k": 3}),
        (TypeError, "is_causal must be True or False", {"is_causal": np.True_}),
        (TypeError, "value must have the dtype and device of query", {"value": x.double()}),
        (ValueError, "query must have 3 rows, one for each key", {"query": x[:2], "is_causal": True}),
        (TypeError, "attn_mask must be a tensor of booleans or floats", {"attn_mask": flags.long()}),
        (TypeError, "attn_mask must be a tensor of booleans or floats", {"attn_mask": flags.numpy()}),
        (ValueError, r"attn_mask must have shape \(..., 3, 3\) or \(..., 1, 3\)", {"attn_mask": flags[:2]}),
        (ValueError, r"attn_mask must have shape \(..., 1, 3\)", {"attn_mask": flags, "page_size": 1}),
        (TypeError, "attn_mask must be a tensor of booleans,", {"attn_mask": x[:1, :3], "page_size": 1}),
        (
            ValueError,
            "leading dimensions that can be broadcast",
            {"key": x.expand(2, 3, 4), "value": x.expand(5, 3, 4)},
        ),
        (ValueError, "dropout_p must be 0", {"dropout_p": 0.1}),
        (ValueError, "scale must be a number", {"scale": float("inf")}),
        (ValueError, r"query, key and value must have shape \(..., heads", {"enable_gqa": True}),
        (ValueError, "k must be an integer from 1", {"k": 0}),
        (TypeError, "k must be an integer", {"k": 2.0}),
        (ValueError, "sinks must be", {"sinks": -1}),
        (ValueError, r"sinks \+ window must be at most k = 2, got 1 \+ 2", {"sinks": 1, "window": 2}),
        (ValueError, "page_size must be", {"page_size": 0}),
        (ValueError, "k must be at least 17, for 2 pages of 16", {"page_size": 16, "sinks": 1}),
        (
            ValueError,
            "k must be at least 33, for 3 pages of 16",
            {"page_size": 16, "sinks": 1, "k": 32, "window": 2},
        ),
    ]
    for kind, message, changed in wrong:
        with pytest.raises(kind, match=message):
            top_tokens_attention(**{**good, **changed})
