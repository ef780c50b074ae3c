"""The softmax of sampled classes in PyTorch, beside NumPy's and beside the softmax of all classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mergesketch import LSHIndex, LSHSampler, sampled_softmax
from mergesketch.lsh import SignedRandomProjection

torch = pytest.importorskip("torch")

from mergesketch import sampled_softmax_loss  # noqa: E402
from torch.nn import functional  # noqa: E402


def batch(seed: int = 0) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    targets = np.array([[1, 2], [3, -1], [-1, -1], [8, 0]])
    return rng.standard_normal((4, 6)), rng.integers(-1, 9, (4, 4)), rng.uniform(0.1, 1.0, (4, 4)), targets


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_and_gradients_are_those_of_numpy(reduction: str) -> None:
    logits, *others = batch()
    expected = sampled_softmax(logits, *others)
    tensor = torch.tensor(logits, requires_grad=True)
    loss = sampled_softmax_loss(tensor, *map(torch.tensor, others), reduction=reduction)
    scale = 0.25 if reduction == "mean" else 1.0
    whole = expected.losses if reduction == "none" else expected.losses.sum() * scale
    np.testing.assert_allclose(loss.detach().numpy(), whole, rtol=1e-12)
    loss.sum().backward()
    np.testing.assert_allclose(tensor.grad.numpy(), scale * expected.gradients, rtol=1e-10, atol=1e-14)


def test_gradcheck() -> None:
    logits, *others = batch(1)
    tensor = torch.tensor(logits, requires_grad=True)

    def losses(x: Any) -> Any:
        return sampled_softmax_loss(x, *others, reduction="none")

    assert torch.autograd.gradcheck(losses, tensor)
    assert torch.autograd.gradgradcheck(losses, tensor)


def test_all_classes_with_certainty_are_the_whole_softmax() -> None:
    torch.manual_seed(0)
    W, h = torch.randn(30, 5, dtype=torch.float64, requires_grad=True), torch.randn(7, 5, dtype=torch.float64)
    y = torch.randint(30, (7,))
    functional.cross_entropy(h @ W.T, y).backward()
    expected, W.grad = W.grad, None
    logits = torch.cat([(h * W[y]).sum(1, keepdim=True), h @ W.T], 1)
    sampled_softmax_loss(logits, torch.arange(30), torch.ones(30), y).backward()
    torch.testing.assert_close(W.grad, expected, rtol=1e-12, atol=1e-14)


def test_training_on_samples_learns_what_the_whole_softmax_learns() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((50, 8)).astype(np.float32)
    y = rng.integers(0, 50, 2000)
    X = torch.tensor(2.0 * centres[y] + 0.3 * rng.standard_normal((2000, 8)).astype(np.float32))
    W = torch.zeros(50, 8, requires_grad=True)
    index = LSHIndex(SignedRandomProjection(8, 8, power=3, seed=1)).update(W.detach().numpy())
    sampler, optimizer = LSHSampler(index, uniform=0.5, seed=1), torch.optim.Adam([W], 0.05)
    for step in range(150):
        rows = np.arange(step * 64, step * 64 + 64) % 2000
        h, targets = X[rows], y[rows]
        ids, p = sampler.sample(h.numpy(), 10, exclude=targets)
        chosen = torch.tensor(np.column_stack([targets, np.maximum(ids, 0)]))
        loss = sampled_softmax_loss((W[chosen] * h[:, None]).sum(2), ids, p, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            sampler.replace(np.arange(50), W.detach().numpy())
    assert float((((X @ W.T).argmax(1)) == torch.tensor(y)).float().mean()) > 0.95


def test_half_precision_and_rows_without_any_class() -> None:
    logits, *others = batch(2)
    half = sampled_softmax_loss(torch.tensor(logits, dtype=torch.bfloat16), *others, reduction="none")
    assert half.dtype == torch.float32
    np.testing.assert_allclose(half, sampled_softmax(logits, *others).losses, rtol=0.05, atol=0.05)
    empty = torch.zeros(3, 2, requires_grad=True)
    sampled_softmax_loss(empty, [[-1]] * 3, [[1.0]] * 3, [-1] * 3).backward()
    assert (empty.grad == 0).all()


@pytest.mark.filterwarnings("error")
def test_arrays_of_every_layout_have_the_results_of_plain_ones() -> None:
    pd = pytest.importorskip("pandas")
    logits, *others = batch(3)
    plain = [np.ascontiguousarray(x) for x in others]
    expected = sampled_softmax(logits, *plain).losses

    def read_only(x: Any) -> Any:
        x = x.copy()
        x.flags.writeable = False
        return x

    layouts = (
        lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
        lambda x: x.astype(x.dtype.newbyteorder()),
        np.asfortranarray,
        read_only,
        pd.DataFrame,
        lambda x: x.tolist(),
        lambda x: np.ma.masked_array(x, False),
        torch.tensor,
    )
    for layout in layouts:
        given = [layout(x) for x in plain]
        losses = sampled_softmax_loss(torch.tensor(logits), *given, reduction="none")
        np.testing.assert_allclose(losses, expected, rtol=1e-12)
    shared = np.broadcast_to(np.arange(4), (4, 4)), np.broadcast_to(0.5, (4, 4))
    losses = sampled_softmax_loss(torch.tensor(logits), *shared, plain[2], reduction="none")
    np.testing.assert_allclose(losses, sampled_softmax(logits, *shared, plain[2]).losses, rtol=1e-12)
    unsigned = plain[0].clip(min=0).astype(np.uint64)
    losses = sampled_softmax_loss(torch.tensor(logits), unsigned, *plain[1:], reduction="none")
    np.testing.assert_allclose(losses, sampled_softmax(logits, unsigned, *plain[1:]).losses, rtol=1e-12)


@pytest.mark.parametrize("place", ["ids", "probabilities", "targets"])
def test_masked_entries_are_refused(place: str) -> None:
    logits, *others = batch(4)
    given: dict[str, Any] = dict(zip(("ids", "probabilities", "targets"), others, strict=True))
    mask = np.zeros(given[place].shape, bool)
    mask[1, 1] = True
    given[place] = np.ma.masked_array(given[place], mask)
    with pytest.raises(ValueError, match=f"{place} must not be masked, got 1 masked values"):
        sampled_softmax_loss(torch.tensor(logits), **given)


def test_probabilities_below_float32_have_finite_losses() -> None:
    logits = torch.tensor([[0.0, 1.0]], requires_grad=True)
    for share in (1e-60, 1e-300):
        for given in ([[share]], torch.tensor([[share]], dtype=torch.float64)):
            loss = sampled_softmax_loss(logits, [[1]], given, [0])
            np.testing.assert_allclose(loss.item(), 1.0 - np.log(share), rtol=1e-6)
            assert loss.dtype == torch.float32
            (gradient,) = torch.autograd.grad(loss, logits)
            np.testing.assert_allclose(gradient, [[-1.0, 1.0]])


def test_wrong_arguments_are_refused() -> None:
    good = {
        "logits": torch.zeros(2, 3),
        "ids": [[1, 2]] * 2,
        "probabilities": torch.ones(2, 2),
        "targets": [3, 4],
    }
    sampled_softmax_loss(**good)
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, r"logits must have 1 \+ 2 columns", {"logits": torch.zeros(2, 4)}),
        (
            TypeError,
            "logits must be a tensor of floats .* got torch.int64",
            {"logits": torch.zeros(2, 3).long()},
        ),
        (TypeError, "logits must be a tensor of floats", {"logits": np.zeros((2, 3))}),
        (TypeError, "ids must be integers, got torch.float32", {"ids": torch.zeros(2, 2)}),
        (TypeError, "ids must be integers, got dtype float64", {"ids": np.zeros((2, 2))}),
        (TypeError, "ids must be integers, got bool among them", {"ids": [[True, 1]] * 2}),
        (TypeError, "targets must be integers, got dtype bool", {"targets": np.zeros(2, bool)}),
        (TypeError, "probabilities must hold real numbers", {"probabilities": [["a", "b"]] * 2}),
        (TypeError, "probabilities must hold real numbers", {"probabilities": torch.ones(2, 2) * 1j}),
        (ValueError, r"ids must have shape \(k,\) or \(2, k\), got \(3, 2\)", {"ids": [[1, 2]] * 3}),
        (ValueError, r"probabilities must have the shape of ids, \(2, 2\)", {"probabilities": [0.5, 0.5]}),
        (ValueError, r"targets must have shape \(2,\) or \(2, m\), got \(3,\)", {"targets": [1, 2, 3]}),
        (ValueError, "reduction must be one of", {"reduction": "max"}),
    ]
    for kind, message, changed in wrong:
        with pytest.raises(kind, match=message):
            sampled_softmax_loss(**{**good, **changed})
