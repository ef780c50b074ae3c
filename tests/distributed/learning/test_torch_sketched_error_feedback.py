"""Test the hook of DistributedDataParallel: exact with a full memory, kept over new buckets, and failures."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import environment

torch = pytest.importorskip("torch")

from mergesketch.distributed import SketchedErrorFeedbackState  # noqa: E402
from torch import nn  # noqa: E402

#: Two processes, of which each prints "done". The network has buckets of its own from the second step on.
PROCESSES = """
import copy
import math
import sys

import numpy as np
import torch
import torch.distributed as dist
from mergesketch.distributed import SketchedErrorFeedbackState, sketched_error_feedback_hook
from mergesketch.errors import DistributedError
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_wrapper
from torch.nn.parallel import DistributedDataParallel

rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)


def gathered(value):
    every = [None] * size
    dist.all_gather_object(every, value)
    return every


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 3))


def train(state_of, n_steps, factor=1.0):
    # Train and return the summed gradients of this rank, the summed updates, the state and the buckets.
    plain, model = network(), DistributedDataParallel(network(), bucket_cap_mb=0.002)
    state, buckets = state_of(model), []

    def hook(state, bucket):
        buckets.append([parameter.numel() for parameter in bucket.parameters()])
        return sketched_error_feedback_hook(state, bucket)

    # DistributedDataParallel compares the annotations of the hook itself.
    model.register_comm_hook(state, hook if n_steps > 1 else sketched_error_feedback_hook)
    rng = torch.Generator().manual_seed(rank)
    gradients, updates = 0, 0
    for _ in range(n_steps):
        rows = torch.randn(8, 20, generator=rng) * factor
        for one in (plain, model):
            one.zero_grad()
            one(rows).square().sum().backward()
        gradients = gradients + torch.cat([p.grad.flatten() for p in plain.parameters()])
        updates = updates + torch.cat([p.grad.flatten() for p in model.parameters()])
    return gradients, updates, state, buckets


for options in (
    {"compressor": "top_k", "compression": 0.05},
    {"compressor": "random_block", "compression": 0.1},
    {"compressor": "power_sgd", "rank": 2},
):
    for memory in (1.0, 0.25):
        make = lambda model: SketchedErrorFeedbackState(model, memory=memory, **options)
        gradients, updates, state, buckets = train(make, 5)
        # New buckets were made, in another order, and nothing is lost: the memory of all ranks is the sketch
        # of all gradients less all updates.
        assert len(buckets[0]) == 6 and len(set(map(tuple, buckets))) > 2, buckets
        left = torch.from_numpy(np.mean(gathered(gradients.numpy()), 0)) - updates
        empty = SketchedErrorFeedbackState(network(), memory=memory, **options)
        empty._memory.add(left.numpy(), 0)
        places = np.mean(gathered(state._memory.places), 0)
        np.testing.assert_allclose(places, empty._memory.places, rtol=0, atol=2e-3)
        assert np.abs(places).max() > 0.1
        words = gathered(updates.numpy().tobytes())
        assert words == words[:1] * size
        assert state.n_steps == 5 and state.bytes_sent > 0
        if options["compressor"] == "top_k":
            kept = [max(1, round(0.05 * sum(sizes))) for sizes in buckets]
            # Each step sends a checksum of the configuration, too.
            assert state.bytes_sent == (sum(4 + 8 * k for k in kept) + 5 * 8) * (size - 1)

        # A loaded state goes on in the same way.
        other = SketchedErrorFeedbackState(network(), memory=memory, **options)
        other.load_state_dict(state.state_dict())
        assert str(other.state_dict()) == str(state.state_dict())


def refused(text, make, factor=1.0):
    try:
        train(make, 1, factor)
    except DistributedError as raised:
        assert text in str(raised), raised
        assert gathered(str(raised)) == [str(raised)] * size
    else:
        raise AssertionError(text)


last = rank == size - 1
for compressor in ("top_k", "random_block", "power_sgd"):
    refused(
        f"rank {size - 1} failed: ValueError: a gradient is not finite",
        lambda model: SketchedErrorFeedbackState(model, compressor=compressor),
        math.nan if last else 1.0,
    )
refused("differ in seed: 0 here, 1 there", lambda model: SketchedErrorFeedbackState(model, seed=int(last)))


def ahead(model):
    # One rank goes on from a saved state, and the others do not.
    state = SketchedErrorFeedbackState(model)
    if last:
        state.load_state_dict(state.state_dict() | {"n_steps": 3})
    return state


refused("differ in n_steps: 0 here, 3 there", ahead)
# One rank's state is of another module.
refused(
    f"rank {size - 1} failed: ValueError: the module must have the parameters",
    lambda model: SketchedErrorFeedbackState(network() if last else model),
)


def wrapped(module, hook=sketched_error_feedback_hook, **options):
    model = DistributedDataParallel(module, find_unused_parameters=hasattr(module, "other"))
    state = SketchedErrorFeedbackState(module, memory=1.0, **options)
    model.register_comm_hook(state, hook)
    return model, state


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False)

    def forward(self, rows, with_other):
        return self.one(rows) + (self.other(rows) if with_other else 0)


# What is remembered of a branch stays in the memory while no rank uses it. All get it when one rank does.
for options in (
    {"compressor": "top_k", "compression": 0.05},
    {"compressor": "random_block", "compression": 0.3},
    {"compressor": "power_sgd", "rank": 2},
):
    model, state = wrapped(Branches(), **options)
    gradients, updates = np.zeros(100), np.zeros(100)
    for step, users in enumerate([(0, 1), (), (), (), (1,), ()]):
        model.zero_grad()
        rows = torch.randn(4, 10, generator=torch.Generator().manual_seed(2 * step + rank))
        model(rows, rank in users).square().sum().backward()
        if rank in users:
            plain = copy.deepcopy(model.module)
            plain.zero_grad()
            plain(rows, True).square().sum().backward()
            gradients += plain.other.weight.grad.numpy().ravel()
        if model.module.other.weight.grad is not None:
            assert len(users) > 0
            updates += model.module.other.weight.grad.numpy().ravel()
    remembered = state._memory.corrected(np.zeros(200, np.float32), 0)[100:]
    owed, left = np.mean(gathered(gradients), 0) - updates, np.mean(gathered(remembered), 0)
    np.testing.assert_allclose(left, owed, rtol=0, atol=1e-4)
    assert np.abs(left).max() > 0.1


class Product(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, left, right):
        return left @ self.weight.flatten(1) @ right


# A gradient of rank one is sent in full, whatever the order of the parameter's memory.
rng = torch.Generator().manual_seed(4)
left, right = torch.randn(30, generator=rng), torch.randn(40, generator=rng)
for weight in (
    torch.zeros(30, 40),
    torch.zeros(40, 30).T,
    torch.zeros(30, 10, 2, 2).to(memory_format=torch.channels_last),
    torch.zeros(2, 2, 10, 30).permute(3, 2, 1, 0),
    torch.zeros(40, 60)[:, ::2].T,
):
    model, state = wrapped(Product(weight), compressor="power_sgd")
    model(left, right).backward()
    found = model.module.weight.grad
    torch.testing.assert_close(found.flatten(1), torch.outer(left, right), rtol=1e-4, atol=1e-5)

# A gradient of zeros does not end PowerSGD, though the first row of later gradients is zero.
model, state = wrapped(Product(torch.zeros(30, 40)), compressor="power_sgd")
left[0] = 0
for factor in (0.0, 1.0, 0.0, 0.0, 1e-20, 1.0):
    model.zero_grad()
    (model(left, right) * factor).backward()
# Of the steps before, nothing is owed.
torch.testing.assert_close(model.module.weight.grad, torch.outer(left, right), rtol=1e-4, atol=1e-5)
state._matrices.factors[0].zero_()
model.zero_grad()
model(left, right).backward()
torch.testing.assert_close(model.module.weight.grad, torch.outer(left, right), rtol=1e-4, atol=1e-5)


def stopped(text, model, *rows):
    try:
        model(*rows).sum().backward()
    except DistributedError as raised:
        assert text in str(raised), raised
    else:
        raise AssertionError(text)


# After an error, training goes on from saved states, in a new network and a new state.
module = nn.Linear(4, 3)
model, state = wrapped(module)
model(torch.ones(2, 4)).sum().backward()
saved, weights = state.state_dict(), copy.deepcopy(module.state_dict())
stopped("a gradient is not finite", model, torch.full((2, 4), math.nan))
module = nn.Linear(4, 3)
module.load_state_dict(weights)
model, state = wrapped(module)
state.load_state_dict(saved)
model(torch.ones(2, 4)).sum().backward()
assert state.n_steps == 2 and bool(module.weight.grad.isfinite().all())

# Numbers beyond float32 are refused before the memory changes.
for compressor in ("top_k", "random_block", "power_sgd"):
    model, state = wrapped(nn.Linear(4, 3), compressor=compressor)
    stopped("a gradient is so large", model, torch.full((1, 4), 2.5e38))
    assert not state._memory.places.any() and state.n_steps == 0

stopped("use Embedding with sparse=False", wrapped(nn.Embedding(5, 3, sparse=True))[0], torch.tensor([1]))
halves = fp16_compress_wrapper(sketched_error_feedback_hook)
model, state = wrapped(nn.Linear(4, 3), halves)
stopped("got torch.float16: register the hook without wrapper", model, torch.ones(2, 4))
dist.destroy_process_group()
print("done")
"""


def test_two_processes(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(PROCESSES)
    commands = [[sys.executable, "work.py", str(rank), "2", str(tmp_path)] for rank in range(2)]
    started = [
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment(MERGESKETCH_NUM_THREADS="1", OMP_NUM_THREADS="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    try:
        ended = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [out.strip() for out, _ in ended] == ["done"] * 2, ended[0][1] + ended[1][1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"module": None}, TypeError, "module must be a torch.nn.Module, got NoneType"),
        ({"module": nn.Tanh()}, ValueError, "module must have a parameter that needs a gradient, got none"),
        ({"module": nn.Linear(2, 3).double()}, TypeError, "got weight of torch.float64 on cpu"),
        ({"compression": 0.0}, ValueError, r"compression must be a number in \(0, 1\], got 0.0"),
        ({"compression": True}, TypeError, r"compression must be a number in \(0, 1\], got True"),
        ({"memory": 2}, ValueError, r"memory must be a number in \(0, 1\], got 2"),
        ({"beta": -1.0}, ValueError, r"beta must be a number in \[0, 1\], got -1.0"),
        (
            {"compressor": "sign"},
            ValueError,
            "compressor must be one of 'top_k', 'random_block', 'power_sgd'",
        ),
        ({"rank": 0}, ValueError, "rank must be an integer from 1 to 1024, got 0"),
        ({"seed": 0.5}, TypeError, "seed must be an integer"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        SketchedErrorFeedbackState(**{"module": nn.Linear(2, 3), **arguments})


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copies_and_pickles_are_refused(copied) -> None:
    state = SketchedErrorFeedbackState(nn.Linear(2, 3))
    with pytest.raises(TypeError, match=r"cannot be copied or pickled: save its state_dict\(\)"):
        copied(state)


def test_states_of_other_configurations_or_shapes_are_refused() -> None:
    module = nn.Linear(20, 30)
    state = SketchedErrorFeedbackState(module, compressor="power_sgd", rank=2)
    good = state.state_dict()
    good["factors"] = {0: torch.ones(20, 2)}
    state.load_state_dict(good)
    with pytest.raises(AttributeError, match="seed of a SketchedErrorFeedbackState cannot change"):
        state.seed = 3
    assert state.nbytes == 4 * (63 + 40)
    for change, message in (
        ({"memory": torch.ones(5)}, "finite numbers of the shapes"),
        ({"memory": [0.0] * 63}, "finite numbers of the shapes"),
        ({"factors": None}, "finite numbers of the shapes"),
        ({"memory": torch.full((63,), np.nan)}, "finite numbers of the shapes"),
        ({"factors": {0: torch.ones(3, 2)}}, "finite numbers of the shapes"),
        ({"factors": {1: torch.ones(20, 2)}}, "finite numbers of the shapes"),
        ({"memory": torch.zeros(63).to_sparse()}, "finite numbers of the shapes"),
        ({"config": None}, r"state\['config'\] must be a dict, got NoneType"),
        ({"config": [1]}, r"state\['config'\] must be a dict, got list"),
        ({"n_steps": -1}, "n_steps"),
        ({"config": {**good["config"], "seed": 4}}, "differs in seed: 0 here, 4 there"),
    ):
        with pytest.raises(ValueError, match=message):
            state.load_state_dict({**copy.deepcopy(good), **change})
    with pytest.raises(ValueError, match="state must be a dict with the keys"):
        state.load_state_dict({})
    assert str(state.state_dict()) == str(good)
