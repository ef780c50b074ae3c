"""Test HashedEmbedding and HashedEmbeddingBag beside the modules of PyTorch that have the same table."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
from mergesketch import CyclicMap, MultiHashMap, PairMap, ParameterMap, RobeMap, SharedParameters

torch = pytest.importorskip("torch")

from mergesketch import HashedEmbedding, HashedEmbeddingBag, SharedArray, hash_ids  # noqa: E402
from torch import Tensor  # noqa: E402

N_ROWS, WIDTH, M = 40, 12, 101
MAPS: list[ParameterMap] = [RobeMap(5), MultiHashMap(2), CyclicMap([(N_ROWS, WIDTH)])]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def gradient_of_table(layer: HashedEmbedding, gradient: Tensor) -> np.ndarray:
    """Return the gradient of the parameters for that of the table, by the class that needs no PyTorch."""
    sketch = SharedParameters(M, layer.map, seed=layer.shared.seed, dtype="float64")
    return sketch.scatter_add(np.arange(N_ROWS), gradient.numpy(), scale=layer.scale.item()).weights


@pytest.mark.parametrize("map", MAPS, ids=repr)
@pytest.mark.parametrize("padding_idx", [None, 3, -1])
def test_an_embedding_is_that_of_pytorch_with_the_same_table(map: ParameterMap, padding_idx: int | None):
    ours = HashedEmbedding(
        N_ROWS, WIDTH, padding_idx, n_parameters=M, map=map, seed=5, scale=0.5, dtype=torch.float64
    )
    theirs = torch.nn.Embedding(N_ROWS, WIDTH, padding_idx, _weight=ours.weight.detach().clone())
    assert ours.padding_idx == theirs.padding_idx
    ids = torch.randint(0, N_ROWS, (4, 3, 2))
    ids[0, 0] = N_ROWS - 1
    given = torch.randn(4, 3, 2, WIDTH, dtype=torch.float64)
    for layer in (ours, theirs):
        (layer(ids) * given).sum().backward()
    assert torch.equal(ours(ids), theirs(ids))
    expected = gradient_of_table(ours, theirs.weight.grad)
    np.testing.assert_allclose(ours.shared.weights.grad, expected, atol=1e-12)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize("form", ["2d", "offsets", "last offset", "int32"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_bag_is_that_of_pytorch_with_the_same_table(mode, padding_idx, form, weighted):
    if weighted and mode != "sum":
        pytest.skip("PyTorch has weights for sums only")
    last = form == "last offset"
    arguments = {"mode": mode, "padding_idx": padding_idx, "include_last_offset": last}
    ours = HashedEmbeddingBag(N_ROWS, WIDTH, n_parameters=M, map=RobeMap(5), dtype=torch.float64, **arguments)
    theirs = torch.nn.EmbeddingBag(N_ROWS, WIDTH, _weight=ours.weight.detach().clone(), **arguments)
    ids = torch.randint(0, 6, (20,))
    offsets = torch.tensor([0, 4, 4, 9, 9])
    if form == "2d":
        ids, offsets = ids.reshape(4, 5), None
    elif last:
        offsets = torch.cat([offsets, torch.tensor([20])])
    elif form == "int32":
        ids, offsets = ids.int(), offsets.int()
    gradients = []
    for layer in (ours, theirs):
        weights = torch.linspace(-1, 1, 20, dtype=torch.float64).reshape(ids.shape).requires_grad_()
        out = layer(ids, offsets, weights if weighted else None)
        (out * torch.linspace(1, 2, out.numel(), dtype=torch.float64).reshape(out.shape)).sum().backward()
        gradients.append((out.detach(), weights.grad))
    np.testing.assert_allclose(gradients[0][0], gradients[1][0], atol=1e-12)
    if weighted:
        np.testing.assert_allclose(gradients[0][1], gradients[1][1], atol=1e-12)
    expected = gradient_of_table(ours, theirs.weight.grad)
    np.testing.assert_allclose(ours.shared.weights.grad, expected, atol=1e-12)


def test_input_behind_the_last_offset_lies_in_no_bag_in_any_mode():
    """PyTorch's three modes disagree about it on the CPU: github.com/pytorch/pytorch/issues/191965."""
    ids, offsets = torch.tensor([0, 1, 2]), torch.tensor([0, 2])
    for mode, reduce in (("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax)):
        layer = HashedEmbeddingBag(3, 4, mode=mode, include_last_offset=True, n_parameters=50)
        out = layer(ids, offsets)
        np.testing.assert_allclose(out.detach()[0], reduce(layer.weight.detach()[:2], dim=0), rtol=1e-6)
        out.sum().backward()
        alone = HashedEmbeddingBag(3, 4, mode=mode, shared=copy.deepcopy(layer.shared), table=0)
        alone.zero_grad()
        alone(ids[None, :2]).sum().backward()
        np.testing.assert_allclose(layer.shared.weights.grad, alone.shared.weights.grad)


def test_gradients_of_both_orders_are_those_of_finite_differences():
    ids = torch.tensor([3, 5, 3, 9, 7])
    layer = HashedEmbeddingBag(
        None, 7, mode="sum", include_last_offset=True, n_parameters=30, map=RobeMap(3), dtype=torch.float64
    )
    factors = torch.randn(5, dtype=torch.float64, requires_grad=True)
    offsets = torch.tensor([0, 2, 2, 4])

    def read(weights: Tensor, factors: Tensor) -> Tensor:
        arguments = (ids, offsets, factors)
        return torch.func.functional_call(layer, {"shared.weights": weights}, arguments)

    given = (layer.shared.weights.detach().clone().requires_grad_(), factors)
    assert torch.autograd.gradcheck(read, given)
    assert torch.autograd.gradgradcheck(read, given)


@pytest.mark.parametrize("map", MAPS, ids=repr)
@pytest.mark.parametrize("scaled", [False, True])
def test_a_sparse_gradient_is_the_dense_one(map, scaled):
    shared = SharedArray(M)
    ids, weights = torch.randint(0, 9, (30,)), torch.randn(30)
    found = []
    for sparse in (False, True):
        layer = HashedEmbeddingBag(
            N_ROWS,
            WIDTH,
            mode="sum",
            sparse=sparse,
            shared=copy.deepcopy(shared),
            map=map,
            table=0,
            scale=2.0,
        )
        if scaled:
            layer.shared.scale_gradients([layer])
        (layer(ids, torch.tensor([0, 7, 7]), weights) ** 2).sum().backward()
        found.append(layer.shared.weights.grad)
    assert found[1].is_sparse
    torch.testing.assert_close(found[1].to_dense(), found[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["SGD", "SparseAdam", "Adagrad"])
def test_optimizers_step_by_sparse_gradients(optimizer):
    layer = HashedEmbedding(None, WIDTH, sparse=True, n_parameters=5000)
    before = layer.shared.weights.detach().clone()
    step = getattr(torch.optim, optimizer)(layer.parameters(), lr=0.1)
    layer(torch.tensor([2**62, -5])).square().sum().backward()
    step.step()
    changed = layer.shared.weights.detach() != before
    assert 0 < int(changed.sum()) <= 2 * WIDTH


def test_strings_are_ids():
    words = [["green", "tea"], ["cake", "tea"]]
    ids = hash_ids(words, seed=3)
    assert ids.dtype == torch.int64 and ids.shape == (2, 2) and ids[0, 1] == ids[1, 1]
    layer = HashedEmbedding(None, WIDTH, n_parameters=M, seed=3)
    read = layer.sketch().gather(np.array(words), WIDTH, table=layer.table, scale=layer.scale.item())
    np.testing.assert_array_equal(layer(ids).detach(), read)
    assert torch.equal(hash_ids(np.array([3, -1])), torch.tensor([3, -1]))
    assert hash_ids("tea").shape == () and hash_ids([b"tea"]).shape == (1,)


def test_pairs_are_rows():
    layer = HashedEmbedding(None, WIDTH, n_parameters=M, map=PairMap())
    out = layer(torch.tensor([[[1, 2], [2, 1]]]))
    assert out.shape == (1, 2, WIDTH) and not torch.equal(out[0, 0], out[0, 1])
    bags = HashedEmbeddingBag(None, WIDTH, mode="sum", shared=layer.shared, map=PairMap(), table=0)
    pairs = torch.tensor([[[1, 2], [2, 1]]])
    torch.testing.assert_close(bags(pairs, None, torch.ones(1, 2)), out.sum(dim=1))
    with pytest.raises(ValueError, match="input must be pairs"):
        layer(torch.tensor([1, 2, 3]))


def test_tables_of_one_array_differ_and_learn_together():
    shared = SharedArray(M, std=0.1)
    first, second = (HashedEmbedding(None, WIDTH, shared=shared) for _ in range(2))
    ids = torch.arange(5)
    assert (first.table, second.table, first.scale.item()) == (0, 1, pytest.approx(10))
    assert not torch.equal(first(ids), second(ids))
    module = torch.nn.ModuleList([first, second])
    assert [parameter.numel() for parameter in module.parameters()] == [M]
    before = second(torch.arange(100)).detach()
    with torch.no_grad():
        first.shared.weights += 1
    assert not torch.equal(second(torch.arange(100)), before)


def test_state_copies_and_pickles():
    layer = HashedEmbedding(None, WIDTH, 2, n_parameters=M, seed=2**63, map=RobeMap(4))
    ids = torch.arange(6)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    again = HashedEmbedding(None, WIDTH, 2, n_parameters=M, seed=2**63, map=RobeMap(4))
    again.load_state_dict(state)
    for one in (again, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(one(ids), layer(ids))
    other = HashedEmbedding(None, WIDTH, n_parameters=M, seed=1, map=RobeMap(4))
    with pytest.raises(ValueError, match="the saved layer has seed 9223372036854775808, this one has 1"):
        other.load_state_dict(state)
    pair = torch.nn.ModuleList([layer, HashedEmbedding(None, 3, shared=layer.shared)])
    copied = copy.deepcopy(pair)
    assert copied[0].shared is copied[1].shared is not layer.shared


def test_half_precision_and_other_devices():
    layer = HashedEmbedding(None, WIDTH, n_parameters=M)
    ids, wanted = torch.arange(6), layer(torch.arange(6)).detach()
    half = copy.deepcopy(layer).to(torch.bfloat16)
    out = half(ids)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), wanted, rtol=0.01, atol=0)
    out.sum().backward()
    assert half.shared.weights.grad.dtype == torch.bfloat16
    meta = HashedEmbeddingBag(None, WIDTH, n_parameters=M, device="meta")
    assert meta(torch.zeros(4, 5, dtype=torch.int64, device="meta")).shape == (4, WIDTH)


@pytest.mark.parametrize("kind", ["embedding", "mean", "max"])
def test_compiled_modules_have_no_graph_break(kind):
    if kind == "embedding":
        layer = HashedEmbedding(N_ROWS, WIDTH, 3, n_parameters=M)
    else:
        layer = HashedEmbeddingBag(N_ROWS, WIDTH, mode=kind, padding_idx=3, n_parameters=M)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    ids = torch.randint(0, 9, (4, 5))
    out = compiled(ids)
    torch.testing.assert_close(out, layer(ids))
    out.square().sum().backward()
    compiled_gradient = layer.shared.weights.grad.clone()
    layer.zero_grad()
    layer(ids).square().sum().backward()
    torch.testing.assert_close(compiled_gradient, layer.shared.weights.grad)


def test_the_operators_keep_to_the_rules_of_pytorch():
    layer = HashedEmbedding(None, WIDTH, n_parameters=M)
    weights = layer.shared.weights
    given = (
        weights,
        torch.arange(4),
        torch.tensor([0, 2, 4]),
        weights.new_empty(0),
        layer.scale,
        layer._text,
    )
    torch.library.opcheck(torch.ops.mergesketch.gather.default, given)


def test_a_table_is_fitted_by_least_squares():
    table = torch.randn(N_ROWS, WIDTH, dtype=torch.float64)
    layer = HashedEmbedding.from_pretrained(table, M, map=RobeMap(5))
    error = (layer.weight - table).square().sum()
    error.backward()
    assert float(layer.shared.weights.grad.abs().max()) < 1e-12  # a stationary point of a convex function
    exact = HashedEmbedding.from_pretrained(table.float(), N_ROWS * WIDTH, map=MAPS[2])
    assert torch.equal(exact.weight, table.float())


@pytest.mark.parametrize("map", [RobeMap(8), MultiHashMap(4)], ids=repr)
def test_rows_have_the_deviation_1_at_first(map):
    m = 20_000
    own = HashedEmbedding(2000, 64, n_parameters=m, map=map)
    given = HashedEmbedding(2000, 64, shared=SharedArray(m, std=0.01), map=map)
    for layer in (own, given):
        # The standard error of a deviation of m normal numbers is std / sqrt(2 m).
        assert abs(layer.weight.std().item() - 1) < 6 / np.sqrt(2 * m)


BAD = [
    ({"max_norm": 1.0}, ValueError, "max_norm must be None"),
    ({"scale_grad_by_freq": True}, ValueError, "scale_grad_by_freq must be False"),
    ({"num_embeddings": 0}, ValueError, "num_embeddings must be an integer of at least 1"),
    ({"embedding_dim": 2.0}, TypeError, "embedding_dim must be an integer"),
    ({"padding_idx": N_ROWS}, ValueError, "padding_idx must be an integer from -40 to 39"),
    ({"n_parameters": None}, ValueError, "give either n_parameters or shared"),
    ({"n_parameters": 0}, ValueError, "n_parameters must be an integer"),
    ({"map": "robe"}, TypeError, "map must be a ParameterMap"),
    ({"map": CyclicMap([(3, 4)])}, ValueError, "n_columns must be 4"),
    ({"num_embeddings": None, "map": CyclicMap([(3, 4)])}, ValueError, "n_columns must be 4"),
    ({"map": PairMap()}, ValueError, "must be None for a PairMap"),
    ({"seed": -1}, ValueError, "seed must be"),
    ({"dtype": torch.float16}, ValueError, "dtype must be torch.float32 or torch.float64"),
    ({"scale": "large"}, TypeError, "scale must be a number"),
    ({"table": -1}, ValueError, "table must be"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_arguments_are_refused(arguments, error, message):
    given = {"num_embeddings": N_ROWS, "embedding_dim": WIDTH, "n_parameters": M, **arguments}
    for cls in (HashedEmbedding, HashedEmbeddingBag):
        with pytest.raises(error, match=message):
            cls(**given)


def test_bad_input_is_refused():
    layer = HashedEmbedding(N_ROWS, WIDTH, n_parameters=M)
    for bad, got in (([N_ROWS], N_ROWS), ([0, -1], -1)):
        with pytest.raises(IndexError, match=f"input must be row numbers from 0 to 39, got {got}"):
            layer(torch.tensor(bad))
    with pytest.raises(TypeError, match=r"input must be a tensor of integers.*got list"):
        layer([1, 2])
    with pytest.raises(TypeError, match=r"got a tensor of torch\.float32"):
        layer(torch.ones(2))
    bags = HashedEmbeddingBag(N_ROWS, WIDTH, n_parameters=M)
    for offsets in ([1, 2], [0, 3, 2], [0, 9]):
        with pytest.raises(ValueError, match="offsets must begin with 0"):
            bags(torch.arange(5), torch.tensor(offsets))
    for arguments, message in (
        ((torch.arange(5),), "offsets must be a tensor"),
        ((torch.zeros(2, 2, dtype=torch.int64), torch.tensor([0])), "offsets must be None"),
        ((torch.zeros(2, 2, 2, dtype=torch.int64),), "one or two dimensions"),
        ((torch.arange(5)[None], None, torch.ones(1, 5)), "per_sample_weights must be None unless"),
    ):
        with pytest.raises(ValueError, match=message):
            bags(*arguments)
    sums = HashedEmbeddingBag(N_ROWS, WIDTH, mode="sum", n_parameters=M)
    with pytest.raises(ValueError, match="per_sample_weights must have the shape"):
        sums(torch.arange(5)[None], None, torch.ones(5))
    assert layer(torch.empty(0, 3, dtype=torch.int64)).shape == (0, 3, WIDTH)
    assert bags(torch.empty(0, dtype=torch.int64), torch.tensor([0, 0])).tolist() == [[0.0] * WIDTH] * 2
