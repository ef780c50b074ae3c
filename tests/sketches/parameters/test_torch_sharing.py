"""Test HashedLinear, SharedArray and share_parameters: models trained beside those that share nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mergesketch import RobeMap, TileMap

torch = pytest.importorskip("torch")

from mergesketch import HashedEmbedding, HashedLinear, SharedArray, share_parameters  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Set the seed, and one thread, with which PyTorch adds up in one order."""
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Language(nn.Module):
    """Embed tokens, mix them, and score all tokens with the weights of the embedding."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16, padding_idx=0)
        self.mixer = nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)
        self.scores = nn.Linear(16, 50, bias=False)
        if tied:
            self.scores.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        rows = self.norm(self.mixer(self.embedding(tokens).mean(dim=1)).relu())
        return self.scores(rows)


def batches(n: int = 5) -> list[tuple[Tensor, Tensor]]:
    return [(torch.randint(0, 50, (8, 6)), torch.randint(0, 50, (8,))) for _ in range(n)]


def train(model: nn.Module, optimizer: str, data: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    step = getattr(torch.optim, optimizer)(model.parameters(), lr=0.05)
    losses = []
    for tokens, wanted in data:
        step.zero_grad()
        loss = functional.cross_entropy(model(tokens), wanted)
        loss.backward()
        step.step()
        losses.append(loss.detach())
    return losses


def test_a_linear_layer_is_that_of_pytorch_with_the_same_weights():
    ours = HashedLinear(20, 30, n_parameters=97, map=TileMap(8, 4), seed=1, dtype=torch.float64)
    theirs = nn.Linear(20, 30, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(ours.weight)
        theirs.bias.copy_(ours.bias)
    X, inputs = torch.randn(5, 3, 20, dtype=torch.float64), []
    for layer in (ours, theirs):
        inputs.append(X.clone().requires_grad_())
        layer(inputs[-1]).square().sum().backward()
    assert torch.equal(ours(X), theirs(X)) and torch.equal(inputs[0].grad, inputs[1].grad)
    assert torch.equal(ours.bias.grad, theirs.bias.grad)
    gradient = ours.sketch().empty_like().scatter_add(np.arange(30), theirs.weight.grad.numpy())
    np.testing.assert_allclose(ours.shared.weights.grad, gradient.weights, atol=1e-12)
    assert HashedLinear(20, 30, bias=False, n_parameters=97).bias is None
    before = ours.shared.weights.grad.clone()
    ours.zero_grad()
    checkpoint(ours, X, use_reentrant=False).square().sum().backward()
    torch.testing.assert_close(ours.shared.weights.grad, before)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("tied", [False, True])
def test_at_a_compression_of_1_training_is_that_of_the_model_bit_for_bit(optimizer, tied):
    model, data = Language(tied), batches()
    ours = share_parameters(model, 1)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in model.parameters())
    for one, other in zip(train(ours, optimizer, data), train(model, optimizer, data), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(ours.mixer.weight, model.mixer.weight)
    assert torch.equal(ours.embedding.weight, model.embedding.weight)


@pytest.mark.parametrize("map", [None, RobeMap(8), TileMap(4, 4)], ids=repr)
def test_a_compressed_model_learns_and_keeps_ties(map):
    model = Language()
    before = copy.deepcopy(model.state_dict())
    ours = share_parameters(model, 10, embedding_map=map, linear_map=map, seed=3)
    n_entries = 50 * 16 + 16 * 16  # the tied weight counts once
    shared = ours.embedding.shared
    assert shared.weights.numel() == -(-n_entries // 10)
    assert ours.mixer.shared is ours.scores.shared is shared
    assert ours.scores.table == ours.embedding.table != ours.mixer.table
    assert torch.equal(ours.scores.weight, ours.embedding.weight)
    losses = train(ours, "Adam", batches(1) * 30)
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_have_the_deviation_that_they_have_in_the_model():
    model = nn.Sequential(nn.Embedding(500, 64), nn.Linear(64, 256))
    ours = share_parameters(model, 8)
    for i in range(2):
        # The standard error of a deviation of m normal numbers is std / sqrt(2 m).
        m = ours[i].shared.weights.numel()
        assert abs((ours[i].weight.std() / model[i].weight.std()).item() - 1) < 6 / np.sqrt(2 * m) + 0.01
    kept = share_parameters(model, 8, keep_values=True)
    for layer, weight in ((kept[0], model[0].weight), (kept[1], model[1].weight)):
        # A share of 1/8 of the variance is kept, so that the cosine is about 8**-0.5 = 0.35.
        assert functional.cosine_similarity(layer.weight.flatten(), weight.flatten(), dim=0).item() > 0.25
    # At the minimum of the squared errors, divided by the squared scales, the gradient is 0.
    kept[0].shared.divisors = None
    errors = [((kept[i].weight - model[i].weight.detach()) / kept[i].scale).square().sum() for i in range(2)]
    sum(errors).backward()
    assert float(kept[0].shared.weights.grad.abs().max()) < 1e-3


def test_gradients_are_divided_by_the_squared_scales_of_the_entries():
    shared = SharedArray(40, std=0.5)
    layers = [
        HashedEmbedding(30, 6, shared=shared, map=RobeMap(3)),
        HashedLinear(5, 7, bias=False, shared=shared, map=TileMap(2, 2), scale=-3.0),
    ]
    loads = np.zeros(40)
    for layer in layers:
        m = np.stack(
            [
                layer.sketch().empty_like().scatter_add([row], one, table=layer.table).weights
                for row, one in ones(layer)
            ]
        )
        loads += layer.scale.item() ** 2 * (m**2).sum(axis=0)
    plain = gradient_of(layers)
    shared.scale_gradients(layers)
    expected = plain / np.where(loads == 0, 1, loads)
    np.testing.assert_allclose(gradient_of(layers), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="layers must have a known number of rows"):
        shared.scale_gradients([HashedEmbedding(None, 6, shared=shared)])
    with pytest.raises(ValueError, match="layers must share this array"):
        shared.fit([HashedEmbedding(5, 6, n_parameters=40)], [torch.zeros(5, 6)])


def test_a_step_by_scaled_gradients_is_that_to_the_mean_of_what_entries_ask_for():
    """With a learning rate of 1, it leads to the minimum of a sum of squares, which `fit` computes."""
    layer = HashedLinear(30, 40, bias=False, n_parameters=37, map=RobeMap(5), dtype=torch.float64)
    wanted = torch.randn(40, 30, dtype=torch.float64)
    fitted = copy.deepcopy(layer)
    fitted.shared.fit([fitted], [wanted])
    layer.shared.scale_gradients([layer])
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    (0.5 * (layer.weight - wanted).square().sum()).backward()
    optimizer.step()
    torch.testing.assert_close(layer.weight, fitted.weight)


def test_scaled_gradients_follow_the_scales_of_a_state_that_is_loaded():
    def made(scale: float) -> HashedLinear:
        layer = HashedLinear(30, 40, bias=False, shared=SharedArray(37), scale=scale)
        layer.shared.scale_gradients([layer])
        return layer

    first, second = made(2.0), made(3.0)
    second.load_state_dict(first.state_dict())
    for layer in (first, second):
        layer.weight.square().sum().backward()
    torch.testing.assert_close(second.shared.weights.grad, first.shared.weights.grad)
    assert torch.equal(copy.deepcopy(second).weight, first.weight)


def ones(layer: HashedEmbedding) -> Iterator[tuple[int, np.ndarray]]:
    n_rows, n_columns = layer.weight.shape
    for row in range(n_rows):
        for column in range(n_columns):
            yield row, np.eye(n_columns)[column : column + 1]


def gradient_of(layers: list[nn.Module]) -> np.ndarray:
    layers[0].shared.zero_grad()
    torch.manual_seed(1)
    sum((layer.weight * torch.randn(layer.weight.shape)).sum() for layer in layers).backward()
    return layers[0].shared.weights.grad.numpy().copy()


def test_what_is_excluded_or_unknown_stays():
    class Own(nn.Linear):
        pass

    model = nn.ModuleDict(
        {
            "own": Own(4, 4),
            "hooked": nn.Linear(4, 4),
            "normed": nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
            "plain": nn.Linear(4, 4),
            "left": nn.Linear(4, 4),
            "bag": nn.EmbeddingBag(9, 4, mode="max", include_last_offset=True),
            "tied": nn.Linear(4, 4),
        }
    )
    model["tied"].weight = model["own"].weight
    model["again"] = model["plain"]
    model["hooked"].register_forward_hook(lambda *_: None)
    ours = share_parameters(model, 2, exclude=lambda name, module: name == "left")
    replaced = {name for name, module in ours.items() if hasattr(module, "shared")}
    assert replaced == {"plain", "again", "bag"}
    assert ours["again"] is ours["plain"] and ours["tied"].weight is ours["own"].weight
    assert ours["bag"].mode == "max" and ours["bag"].include_last_offset
    with pytest.raises(ValueError, match="model must have an embedding or a linear layer"):
        share_parameters(model, 2, exclude=lambda name, module: True)


def test_frozen_weights_stay_unless_all_are():
    model = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 8))
    model[0].weight.requires_grad_(False)
    ours = share_parameters(model, 4)
    assert ours[0].weight.requires_grad is False and torch.equal(ours[0].weight, model[0].weight)
    assert isinstance(ours[1], HashedLinear) and ours[1].shared.weights.requires_grad
    frozen = share_parameters(model.requires_grad_(False), 4, keep_values=True)
    assert isinstance(frozen[0], HashedEmbedding)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_a_transformer_of_pytorch_is_shared_with_its_fast_path():
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    ours, X = share_parameters(model, 1), torch.randn(2, 5, 16)
    assert isinstance(ours.layers[0].self_attn.out_proj, HashedLinear)
    assert torch.equal(ours(X), model(X))
    model.eval()
    ours.eval()
    with torch.inference_mode():
        assert torch.equal(ours(X), model(X))
    small = share_parameters(model, 4)
    small(X).sum().backward()
    assert bool(small.layers[1].linear1.shared.weights.grad.any())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"compression": 0.5}, ValueError, r"compression must be a number in \[1"),
        ({"compression": "10"}, TypeError, "compression must be a number"),
        ({"model": 3}, TypeError, "model must be a torch.nn.Module, got int"),
        ({"model": nn.Linear(2, 2).half()}, ValueError, "all float32 or all float64, got torch.float16"),
        ({"model": nn.Embedding(3, 2, max_norm=1)}, ValueError, "max_norm or scale_grad_by_freq"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"keep_values": 1}, TypeError, "keep_values must be True or False"),
        ({"linear_map": "tile"}, TypeError, "linear_map must be a ParameterMap or None, got str"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        share_parameters(**{"model": nn.Linear(4, 4), "compression": 2, **arguments})


def test_the_state_of_a_shared_model_is_loaded_and_small(tmp_path):
    model = share_parameters(Language(), 20, seed=1)
    other = share_parameters(Language(), 20, seed=1)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    tokens = batches(1)[0][0]
    assert torch.equal(model(tokens), other(tokens))
    with pytest.raises(ValueError, match="the saved layer has seed 1, this one has 0"):
        share_parameters(Language(), 20).load_state_dict(model.state_dict())
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_model(model, str(tmp_path / "model.safetensors"))
    third = share_parameters(Language(), 20, seed=1)
    safetensors.load_model(third, str(tmp_path / "model.safetensors"))
    assert torch.equal(model(tokens), third(tokens))


def test_compiled_and_mixed_precision_training():
    model = share_parameters(Language(), 10)
    data = batches(1)[0]
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = functional.cross_entropy(compiled(data[0]), data[1])
    loss.backward()
    assert bool(model.mixer.shared.weights.grad.isfinite().all())
    torch.testing.assert_close(loss, functional.cross_entropy(model(data[0]), data[1]), rtol=0.02, atol=0.02)


def work(rank: int, file: str, folder: str) -> None:
    """Train on every second row of each batch."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    torch.manual_seed(rank)  # The ranks begin with the parameters of rank 0.
    model = nn.parallel.DistributedDataParallel(share_parameters(Language(), 10))
    torch.manual_seed(7)
    data = [(tokens[rank::2], wanted[rank::2]) for tokens, wanted in batches(3)]
    train(model, "SGD", data)
    torch.save(model.module.state_dict(), Path(folder) / f"{rank}.pt")
    # The group must not end with the last reference to the model: PyTorch may then wait for a thread that
    # waits for the interpreter.
    del model
    torch.distributed.destroy_process_group()


def test_two_processes_train_as_one_does_on_all_rows(tmp_path):
    torch.multiprocessing.spawn(work, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    torch.manual_seed(0)
    alone = share_parameters(Language(), 10)
    torch.manual_seed(7)
    train(alone, "SGD", batches(3))
    states = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name, value in alone.state_dict().items():
        assert torch.equal(states[0][name], states[1][name])
        torch.testing.assert_close(states[0][name], value)
