"""Layers of PyTorch with shared parameters, given what strangers give them."""

from __future__ import annotations

import json
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from mergesketch import (  # noqa: E402
    CafeMap,
    HashedEmbedding,
    HashedEmbeddingBag,
    HashedLinear,
    PairMap,
    SemanticMap,
    SharedArray,
    hash_ids,
    share_parameters,
)
from torch import nn  # noqa: E402

IDS = torch.tensor([1, 2, 1])


def small_model() -> nn.Module:
    return nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 6))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("offsets", [[1, 2], [0, 2, 1], [0, 4], [], [-1, 2]])
def test_bags_out_of_order_are_refused(mode: str, offsets: list[int]) -> None:
    bags = HashedEmbeddingBag(50, 4, mode=mode, n_parameters=100)
    with pytest.raises(ValueError, match=r"^offsets must begin with 0"):
        bags(IDS, torch.tensor(offsets, dtype=torch.int64))


def test_a_refused_state_leaves_the_layer_as_it_was() -> None:
    layer = HashedEmbedding(50, 4, n_parameters=100, scale=1.0)
    with pytest.raises(ValueError, match="the saved layer has seed 1"):
        layer.load_state_dict(HashedEmbedding(50, 4, n_parameters=100, scale=2.0, seed=1).state_dict())
    assert layer.scale == 1.0
    texts = [b"[1]", b"{", b"\xff", b"[" * 100_000, json.dumps({"map": 3}).encode()]
    bad: list[Any] = [torch.tensor(list(text), dtype=torch.uint8) for text in texts]
    for state in [*bad, torch.tensor([1.5]), torch.tensor([300]), torch.tensor(3), "abc", None, {}]:
        with pytest.raises(ValueError, match=r"^(_extra_state must|the saved layer has)"):
            layer.load_state_dict({**layer.state_dict(), "_extra_state": state})


def test_half_precision_keeps_scales_and_divisors() -> None:
    model = share_parameters(nn.Sequential(nn.Embedding(200_000, 4)), compression=400_000)
    before = model[0].scale.item(), model[0].shared.divisors.clone()
    assert before[1].max() > 65504  # the largest number of half precision
    model.half()
    assert model[0].weight.dtype == torch.float16
    model[0].weight.float().sum().backward()
    assert model[0].shared.weights.grad.dtype == torch.float16
    model.float()
    assert (model[0].scale.item(), model[0].shared.divisors.dtype) == (before[0], torch.float32)
    torch.testing.assert_close(model[0].shared.divisors, before[1], rtol=0, atol=0)


def test_sparse_gradients_of_half_precision_are_refused() -> None:
    layer = HashedEmbedding(50, 4, sparse=True, n_parameters=100).half()
    with pytest.raises(ValueError, match=r"^sparse must be False"):
        layer(IDS)
    with torch.no_grad():
        assert layer(IDS).dtype == torch.float16


def test_models_are_compiled_whole_after_their_state_is_loaded() -> None:
    saved, model = (share_parameters(small_model(), 4) for _ in range(2))
    model.load_state_dict(saved.state_dict())
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(IDS), saved(IDS), rtol=0, atol=0)
    torch.testing.assert_close(model[0].shared.divisors, saved[0].shared.divisors, rtol=0, atol=0)
    assert not model[0].shared._is_stale
    # The divisors are those of the scales that were loaded, also where one layer alone is.
    state = {**saved[0].state_dict(), "scale": 3 * saved[0].scale}
    model[0].load_state_dict(state)
    model(IDS)
    assert (model[0].shared.divisors > saved[0].shared.divisors).all()


def test_divisors_follow_the_frequent_rows_that_are_loaded() -> None:
    saved, layer = (HashedEmbedding(50, 4, n_parameters=100, map=CafeMap(2, 4)) for _ in range(2))
    for each in (saved, layer):
        each.shared.scale_gradients([each])
    before = layer.shared.divisors.clone()
    saved.adapt([(3, 1.0), (4, 1.0)])
    layer.load_state_dict(saved.state_dict())
    assert torch.equal(layer(IDS), saved(IDS))
    assert torch.equal(layer.shared.divisors, saved.shared.divisors)
    assert not torch.equal(layer.shared.divisors, before)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    layer.adapt([(1, 9.0)], margin=0.0)
    assert torch.equal(compiled(IDS), layer(IDS))


def test_layers_from_a_meta_device_can_be_reset() -> None:
    layer = HashedLinear(8, 6, device="meta", n_parameters=20, scale=3.0).to_empty(device="cpu")
    layer.scale.fill_(torch.nan)
    layer.bias.data.fill_(torch.nan)
    layer.reset_parameters()
    assert layer.scale == 3.0
    assert layer(torch.ones(2, 8)).isfinite().all()


def test_parameters_without_the_memory_of_a_sketch_are_refused() -> None:
    layer = HashedEmbedding(50, 4, n_parameters=100)
    for weights in (torch.zeros(200)[::2], torch.zeros(100, dtype=torch.bfloat16)):
        layer.shared.weights = nn.Parameter(weights)
        with pytest.raises(ValueError, match=r"^parameters must be contiguous, and float32"):
            layer.sketch()


def test_pairs_of_hashes_are_pairs_of_strings() -> None:
    layer = HashedEmbedding(None, 4, n_parameters=1000, map=PairMap())
    rows = layer.sketch().gather([("green", "tea")], 4)
    assert (layer(hash_ids([("green", "tea")])).detach().numpy() == rows).all()


def test_biases_that_are_tied_stay_tied_and_empty_layers_stay() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.bias = first.bias
    empty = nn.Linear(4, 1)
    empty.weight = nn.Parameter(torch.empty(0, 4))
    model = share_parameters(nn.Sequential(first, second, empty), 2)
    assert model[0].bias is model[1].bias and model[0].bias is not first.bias
    assert type(model[2]) is nn.Linear


def test_bad_arguments_are_refused_by_name() -> None:
    shared = SharedArray(100)
    layer = HashedEmbedding(5, 2, shared=shared)
    nan = small_model()
    nn.init.constant_(nan[1].weight, torch.nan)
    before = shared.weights.clone()
    for call, name in (
        (lambda: share_parameters(nan, 4), "the weights of the model"),
        (lambda: share_parameters(small_model(), 4, exclude=["0"]), "exclude"),  # type: ignore[arg-type]
        (lambda: shared.fit([layer], [torch.full((5, 2), torch.inf)]), "tables"),
        (lambda: shared.fit([layer], [[[1.0, 2.0]] * 5]), "tables"),  # type: ignore[list-item]
        (lambda: shared.fit([3], [torch.ones(5, 2)]), "layers"),
        (lambda: HashedEmbedding(None, 4, n_parameters=99, map=SemanticMap()), "map"),
        (lambda: HashedEmbedding.from_pretrained(torch.full((3, 3), torch.nan), 4), "tables"),
    ):
        with pytest.raises((TypeError, ValueError), match=rf"^{name} must"):
            call()
    assert torch.equal(shared.weights, before)
