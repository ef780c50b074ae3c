"""Test that modules of PyTorch with compressed weights compute what they did before, bit for bit."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mergesketch import (  # noqa: E402
    CompressedFloats,
    FloatArchive,
    compress_module,
    decompress_module,
    load_compressed,
    pack_model,
)
from mergesketch.sketches.coding.torch_floats import CompressedTensor  # noqa: E402
from torch import nn  # noqa: E402

FLOAT8 = [torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz]


def prepared(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give weights of normal numbers, which become smaller, and no gradients."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.empty(parameter.shape).normal_(0, 0.02, generator=generator))
    return module.eval().requires_grad_(False)


def normal(*shape: int, seed: int = 1) -> Any:
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(seed))


def tensors(outputs: Any) -> list[Any]:
    return [x for x in torch.utils._pytree.tree_leaves(outputs) if isinstance(x, torch.Tensor)]


def equal(a: Any, b: Any) -> bool:
    """Compare dtypes and values."""
    found, wanted = tensors(a), tensors(b)
    assert len(found) == len(wanted) > 0
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(found, wanted, strict=True))


def compressed(module: nn.Module) -> list[str]:
    return [name for name, p in module.named_parameters() if isinstance(p, CompressedTensor)]


class Language(nn.Module):
    """A small language model: tied embeddings, a layer that is used twice, a buffer and a frozen scale."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(1000, 64)
        self.layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 1000, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, ids: Any) -> Any:
        x = self.embed(ids)
        return self.head(self.norm(self.layer(self.layer(x)))) * self.scale


class Loop(nn.Module):
    """A recurrent cell that is called at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(48, 48)

    def forward(self, x: Any) -> Any:
        state = torch.zeros(x.shape[1:])
        for step in x:
            state = self.cell(step, state)
        return state


IDS = torch.tensor([[3, 999, 0, 3], [5, 7, 11, 2]])

MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "linear": (lambda: nn.Linear(128, 96), (normal(2, 3, 128),)),
    "linear without bias": (lambda: nn.Linear(128, 96, bias=False), (normal(128),)),
    "embedding": (lambda: nn.Embedding(800, 32), (IDS % 800,)),
    "bag": (lambda: nn.EmbeddingBag(800, 32, mode="mean"), (IDS % 800,)),
    "bag of largest": (lambda: nn.EmbeddingBag(800, 32, mode="max", padding_idx=3), (IDS % 800,)),
    "convolution": (lambda: nn.Conv2d(32, 32, 3), (normal(1, 32, 5, 5),)),
    "channels last": (lambda: nn.Conv2d(32, 32, 3).to(memory_format=torch.channels_last),
                      (normal(1, 32, 5, 5),)),
    "transposed convolution": (lambda: nn.ConvTranspose1d(64, 32, 3), (normal(1, 64, 5),)),
    "attention": (lambda: nn.MultiheadAttention(64, 4, batch_first=True), (normal(2, 3, 64),) * 3),
    "lstm": (lambda: nn.LSTM(48, 48, 2), (normal(3, 2, 48),)),
    "language model": (Language, (IDS,)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_outputs_and_gradients_are_the_same(name: str) -> None:
    make, inputs = MODULES[name]
    plain = prepared(make())
    module = compress_module(copy.deepcopy(plain), min_size=4000)
    assert compressed(module)
    for mode in (torch.inference_mode, torch.no_grad, torch.enable_grad):
        with mode():
            assert equal(module(*inputs), plain(*inputs))
    if inputs[0].is_floating_point():
        gradients = []
        for each in (plain, module):
            x = inputs[0].clone().requires_grad_()
            tensors(each(x, *inputs[1:]))[0].sum().backward()
            gradients.append(x.grad)
        assert equal(*gradients)
    assert equal(copy.deepcopy(module)(*inputs), plain(*inputs))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype: Any) -> None:
    plain = prepared(nn.Sequential(nn.Linear(128, 64), nn.Linear(64, 96))).to(dtype)
    module = compress_module(copy.deepcopy(plain))
    assert compressed(module) == ["0.weight", "1.weight"]
    assert equal(module(normal(5, 128).to(dtype)), plain(normal(5, 128).to(dtype)))


@pytest.mark.parametrize("dtype", FLOAT8)
def test_float8_is_decoded_by_a_conversion(dtype: Any) -> None:
    module = nn.Module()
    module.weight = nn.Parameter((normal(64, 128) * 0.02).to(dtype), requires_grad=False)
    wanted = module.weight.to(torch.bfloat16)
    compress_module(module)
    assert compressed(module) == ["weight"] and module.weight.dtype == dtype
    assert equal(module.weight.to(torch.bfloat16), wanted)


def test_the_module_is_smaller_and_tells_by_how_much() -> None:
    module = compress_module(prepared(Language()).bfloat16())
    assert compressed(module) == ["embed.weight", "layer.self_attn.in_proj_weight",
                                  "layer.self_attn.out_proj.weight", "layer.linear1.weight",
                                  "layer.linear2.weight"]  # fmt: skip
    weight = module.embed.weight
    assert 0.6 * weight.nbytes < weight.compressed.nbytes < 0.75 * weight.nbytes
    assert repr(weight) == (
        f"CompressedTensor([1000, 64], dtype=torch.bfloat16, {weight.compressed.nbytes:,} bytes)"
    )


def test_tied_parameters_stay_tied() -> None:
    module = compress_module(prepared(Language()))
    for each in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module)), module.half()):
        assert each.head.weight is each.embed.weight and isinstance(each.head.weight, CompressedTensor)
    state = module.state_dict()
    assert state["head.weight"] is state["embed.weight"]
    decompress_module(module)
    assert module.head.weight is module.embed.weight and not compressed(module)


def test_state_dict_has_plain_tensors_that_load_anywhere() -> None:
    plain = prepared(Language())
    module = compress_module(copy.deepcopy(plain))
    state = module.state_dict()
    assert all(type(value) is torch.Tensor for value in state.values())
    assert list(state) == list(plain.state_dict()) and equal(state, plain.state_dict())
    # A later change of one state is not seen by the module or the next state.
    state["embed.weight"].zero_()
    assert equal(module.state_dict(), plain.state_dict())
    assert module.state_dict(keep_vars=True)["embed.weight"] is module.embed.weight
    assert equal(module.layer.state_dict(), plain.layer.state_dict())

    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = prepared(Language(), seed=5)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert equal(other(IDS), plain(IDS))


def test_a_plain_state_is_loaded_and_compressed() -> None:
    plain = prepared(Language(), seed=3)
    module = compress_module(prepared(Language()))
    names = compressed(module)
    module.load_state_dict(plain.state_dict())
    assert compressed(module) == names and equal(module(IDS), plain(IDS))
    with pytest.raises(RuntimeError, match="size mismatch"):
        module.load_state_dict({**plain.state_dict(), "embed.weight": torch.zeros(3, 64)})


def test_files_of_modules_are_compressed() -> None:
    plain = prepared(Language())
    module = compress_module(copy.deepcopy(plain), blocks=["layer"])
    sizes = []
    for each in (plain, module):
        file = io.BytesIO()
        torch.save(each, file)
        sizes.append(file.tell())
    file.seek(0)
    found = torch.load(file, weights_only=False)
    assert sizes[1] < 0.9 * sizes[0]
    assert compressed(found) == compressed(module) and equal(found(IDS), plain(IDS))


def test_changes_of_dtype_compress_again() -> None:
    plain = prepared(Language())
    module = compress_module(copy.deepcopy(plain))
    for dtype in (torch.bfloat16, torch.float32, torch.float16):
        module.to(dtype)
        plain.to(dtype)
        assert module.embed.weight.compressed.format == str(dtype).removeprefix("torch.")
        assert equal(module.state_dict(), plain.state_dict())
    converted = module.embed.weight.float()
    assert equal(converted.bfloat16() * 1, plain.embed.weight.float().bfloat16())
    # It is written to in its own dtype, and is a copy.
    converted += 1e-6
    assert equal(converted * 1, plain.embed.weight.float() + 1e-6)
    assert equal(module.state_dict(), plain.state_dict())


def test_gradients_of_weights_are_refused() -> None:
    module = nn.Sequential(nn.Linear(64, 128), nn.Linear(128, 2))
    prepared(module).requires_grad_(True)
    compress_module(module)
    for ask in (module.requires_grad_, lambda: setattr(module[0].weight, "requires_grad", True)):
        with pytest.raises(RuntimeError, match="decompress_module"):
            ask()
    assert not module[0].weight.requires_grad
    # What stays uncompressed can be trained beside them.
    module(normal(3, 64)).sum().backward()
    assert module[1].weight.grad is not None and module[0].weight.grad is None
    decompress_module(module)
    assert module[0].weight.requires_grad and type(module[0].weight) is nn.Parameter


def test_writes_are_compressed_and_never_lost() -> None:
    plain = prepared(nn.Linear(128, 64))
    module = compress_module(copy.deepcopy(plain))
    change = normal(64, 128)
    for each in (plain, module):
        # Adapters are merged into weights in this way.
        each.weight.data += change
        each.weight[3] = 0.25
        each.weight.t().mul_(2)
        each.weight.data = each.weight.data * 3
        torch._foreach_add_([each.weight.data, each.bias.data], 1)
        torch.add(each.weight.data, change, out=each.weight.data)
    assert isinstance(module.weight, CompressedTensor)
    assert equal(module.weight.decompress(), plain.weight.detach())
    before = module.weight.decompress()
    copy.deepcopy(module).weight.zero_()
    module.weight.clone().zero_()
    module.weight.decompress().zero_()
    assert equal(module.weight.decompress(), before)
    with pytest.raises(RuntimeError, match="keep its shape"):
        module.weight.resize_(3, 3)


def test_rows_are_those_of_the_tensor() -> None:
    plain = prepared(nn.Embedding(800, 32))
    module = compress_module(copy.deepcopy(plain))
    a, b = plain.weight, module.weight
    for where in (3, -1, slice(5, 9), (slice(5, 90, 7), slice(3, None)), (slice(None), 2), [4, 4, 1], (7, 9)):
        assert equal(b[where], a[where])
    assert equal([b.T[3], b.T.T[3]], [a.T[3], a.T.T[3]])
    assert a.tolist() == b.tolist() and np.array_equal(a.numpy(), b.numpy())
    for ids in (torch.tensor(5), torch.zeros((0, 3), dtype=torch.int64), torch.tensor([2, 1]).int(), IDS % 7):
        assert equal(module(ids), plain(ids))
    assert equal(module(torch.arange(800)), plain(torch.arange(800)))
    for wrong in (-1, 800):
        with pytest.raises(IndexError, match="out of range"):
            module(torch.tensor([wrong, 3]))


def test_every_bit_pattern_comes_back() -> None:
    bits = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).reshape(256, 256)
    for dtype in (torch.bfloat16, torch.float16):
        module = nn.Module()
        module.weight = nn.Parameter(bits.view(dtype), requires_grad=False)
        module.weight = nn.Parameter(CompressedTensor.compress(module.weight), requires_grad=False)
        assert equal(module.weight.decompress().view(torch.uint16), bits)


def test_views_and_parameters_without_values() -> None:
    wide = normal(64, 256) * 0.02
    for weight in (wide[:, ::2], wide[:, :64].t().expand(2, 64, 64)[0], torch.zeros(1, 1).expand(64, 128)):
        plain = nn.Linear(128, 64).requires_grad_(False)
        plain.weight = nn.Parameter(weight, requires_grad=False)
        module = compress_module(copy.deepcopy(plain))
        assert compressed(module) == ["weight"]
        assert equal(module.weight.decompress(), plain.weight)
    # Those of other kinds, and of no values yet, stay as they are.
    for other in (
        nn.LazyLinear(64),
        nn.Linear(128, 64, device="meta"),
        nn.Linear(128, 64, dtype=torch.cfloat),
    ):
        assert not compressed(compress_module(other))


def test_weights_that_a_call_changes_stay_as_they_are() -> None:
    plain = prepared(nn.Embedding(800, 32, max_norm=0.05))
    module = compress_module(copy.deepcopy(plain))
    assert not compressed(module) and equal(module(IDS % 800), plain(IDS % 800))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_views_of_weights(mode: Any) -> None:
    plain = nn.Linear(60, 80).weight
    weight = compress_module(nn.Linear(60, 80).requires_grad_(False), min_size=0).weight
    weight.copy_(plain.detach())
    x = torch.randn(3, 80)
    with mode():
        for view in (
            lambda w: w[:7, 3:], lambda w: w[5], lambda w: w.T, lambda w: w.detach(), lambda w: x @ w,
            lambda w: w.permute(1, 0)[2:], lambda w: w.chunk(3)[1], lambda w: w.reshape(-1, 2, 3),
        ):  # fmt: skip
            found = view(weight)
            assert torch.equal(found, view(plain)) and torch.equal(found * 2, view(plain) * 2)


@pytest.mark.parametrize("blocks", [(), ["", "layer"]])
def test_threads_may_call_at_once(blocks: list[str]) -> None:
    plain = prepared(Language())
    module = compress_module(copy.deepcopy(plain), blocks=blocks)
    with torch.inference_mode():
        wanted = plain(IDS)
    found = []

    def call() -> None:
        for _ in range(4):
            with torch.inference_mode():
                found.append(torch.equal(module(IDS), wanted))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 12
    assert all(module.get_parameter(name)._storage._decoded is None for name in compressed(module))


def test_blocks_decode_once_and_free_after_errors_too(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    bits = CompressedFloats.bits
    monkeypatch.setattr(CompressedFloats, "bits", lambda self, out: decoded.append(1) or bits(self, out))
    plain = prepared(Loop())
    for blocks, times in (((), 10), (["cell"], 10), ([""], 2)):
        loop = compress_module(copy.deepcopy(plain), blocks=blocks)
        decoded.clear()
        assert equal(loop(normal(5, 2, 48)), plain(normal(5, 2, 48)))
        assert len(decoded) == times
    cell = loop.cell
    # Hooks of a user run while the weights are decoded, and may raise.
    seen = []
    loop.register_forward_pre_hook(lambda m, x: seen.append(cell.weight_ih._storage._decoded is None))
    loop.register_forward_pre_hook(lambda m, x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop(normal(5, 2, 48))
    assert seen == [False] and cell.weight_ih._storage._decoded is None
    decompress_module(loop)
    # The hooks of the user stay.
    assert (len(loop._forward_pre_hooks), len(loop._forward_hooks), len(cell._state_dict_hooks)) == (2, 0, 0)


def test_compiled_modules_compute_the_same() -> None:
    plain = prepared(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64)))
    module = compress_module(copy.deepcopy(plain), blocks=[""])
    with torch.no_grad():
        assert equal(torch.compile(module, backend="eager")(normal(3, 64)), plain(normal(3, 64)))


def test_compressed_tensors_are_loaded_without_decoding() -> None:
    plain = prepared(Language())
    state = {name: CompressedFloats(x.numpy()) for name, x in plain.state_dict().items() if x.ndim}
    state["scale"] = plain.scale.numpy()
    del state["head.weight"]  # Files of tied weights have one of them.
    with torch.device("meta"):
        module = Language().eval()
    with pytest.raises(ValueError, match=r"lack \['norm.weight'\] and have \['more'\]"):
        load_compressed(
            module, {**{k: v for k, v in state.items() if k != "norm.weight"}, "more": state["scale"]}
        )
    with pytest.raises(ValueError, match="must have shape"):
        load_compressed(module, {**state, "norm.weight": state["embed.weight"]})
    assert module.embed.weight.device.type == "meta"
    load_compressed(module, state)
    assert module.head.weight is module.embed.weight and "embed.weight" in compressed(module)
    assert module.embed.weight.compressed is state["embed.weight"]
    assert equal(module(IDS), plain(IDS))
    # Names that the module has not, and those that are missing, may be allowed.
    load_compressed(module, {"norm.weight": np.ones(64, np.float32), "more": state["scale"]}, strict=False)
    assert bool((module.norm.weight == 1).all())


def test_an_archive_becomes_the_weights_of_a_module(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    plain = prepared(Language()).bfloat16()
    safetensors.save_model(plain, tmp_path / "model.safetensors")
    pack_model(tmp_path / "model.safetensors", tmp_path / "packed")
    module = load_compressed(Language().eval(), FloatArchive(tmp_path / "packed"))
    assert module.head.weight is module.embed.weight and "embed.weight" in compressed(module)
    assert equal(module(IDS), plain(IDS))


def test_arguments() -> None:
    module = nn.Linear(64, 128)
    for wrong, error in (({"blocks": "layer"}, TypeError), ({"blocks": ["layer"]}, ValueError),
                         ({"coding": "zip"}, ValueError), ({"min_size": -1}, ValueError)):  # fmt: skip
        with pytest.raises(error, match=next(iter(wrong))):
            compress_module(module, **wrong)
    assert not compressed(module)
    for function in (compress_module, decompress_module, lambda m: load_compressed(m, {})):
        with pytest.raises(TypeError, match=r"module must be a torch.nn.Module, got str"):
            function("model")
    with pytest.raises(TypeError, match="tensors must be a mapping"):
        load_compressed(module, [1])
