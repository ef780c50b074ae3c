"""Train on Fashion-MNIST with gradients that are sent in part, with error memories of different size.

DistributedDataParallel of PyTorch trains a network with layers 784-256-256-10 in 2 and in 4 processes over
gloo, by SGD with momentum 0.9, a rate that rises to 0.1 and falls, and batches of 128 over all processes. One
pass is made over the 60,000 images. Hooks decide on what is sent:

- "all": gradients as they are
- "top 1 %", "top 0.1 %": the largest entries of each process
- "rank 1": PowerSGD; the rows "PyTorch" are the hook `powerSGD_hook` of PyTorch
- "block 10 %": a random block; the rate rises to 0.01 here, because larger rates diverge with full memory

"memory" is the size of the memory of errors as a share of the model: 0 is no feedback. "loss" and
"accuracy" are those of the 10,000 test images, ± is the standard error over 3 seeds. "bytes a step" are sent
by each process, if all-reduces use the best known algorithm. "diverged" is the number of training runs that
diverged.
"""

import functools
import gzip
import itertools
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from measure import parse, show, write
from mergesketch import set_num_threads
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook as power_sgd
from torch.nn.parallel import DistributedDataParallel

FASHION = Path("/usr/share/datasets/fashion-mnist")
LAYERS = (784, 256, 256, 10)
EPOCHS, BATCH, RATE, SEEDS = 1, 128, 0.1, (1, 2, 3)

ALL = [{"sent": "all"}]
TOP = [{"sent": "top 1 %", "memory": m} for m in (0.0, 1.0, 0.2, 0.1, 0.05)]
RANK = [{"sent": "rank 1, PyTorch", "memory": m} for m in (0.0, 1.0)]
RANK += [{"sent": "rank 1", "memory": m} for m in (0.2, 0.1)]
FEW = [{"sent": "top 0.1 %", "memory": m} for m in (0.0, 1.0, 0.1)]
BLOCK = [{"sent": "all", "rate": 0.01}]
BLOCK += [{"sent": "block 10 %", "memory": m, "rate": 0.01} for m in (0.0, 1.0, 0.1)]
#: The number of processes, and what they train.
RUNS = [(2, ALL + TOP), (2, RANK), (2, FEW), (2, BLOCK), (4, [*ALL, *(TOP[i] for i in (0, 1, 3))])]


@functools.cache
def images(part):
    """Return the images as numbers of mean 0, and their classes."""
    pixels, labels = (
        np.frombuffer(
            gzip.decompress((FASHION / f"{part}-{name}-ubyte.gz").read_bytes()), np.uint8, offset=at
        )
        for name, at in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return torch.tensor(pixels.reshape(-1, 784) / 255.0 - 0.286, dtype=torch.float32) / 0.353, torch.tensor(
        labels.astype(np.int64)
    )


def hook_of(model, sent, memory):
    """Return a communication hook and its state."""
    from mergesketch.distributed import SketchedErrorFeedbackState, sketched_error_feedback_hook

    if sent.endswith("PyTorch"):
        options = {"use_error_feedback": memory > 0, "start_powerSGD_iter": 2}
        return power_sgd.powerSGD_hook, power_sgd.PowerSGDState(None, 1, **options)
    options = {"memory": memory} if memory else {"memory": 1e-9, "beta": 1.0}
    kind, _, share = sent.partition(" ")
    options["compressor"] = {"top": "top_k", "block": "random_block", "rank": "power_sgd"}[kind]
    if kind != "rank":
        options["compression"] = float(share.removesuffix(" %")) / 100
    return sketched_error_feedback_hook, SketchedErrorFeedbackState(model, **options)


def bytes_of_power_sgd(network, size):
    """Return the bytes of a step of PyTorch's hook: factors of matrices, and vectors in full."""
    n = 0
    for p in network.parameters():
        factors = sum(p.shape) if p.dim() > 1 else math.inf
        # By default the hook factors a matrix if that halves it at least.
        n += factors if 2 * factors < p.numel() else p.numel()
    return 2 * 4 * n * (size - 1) / size


def train(rank, size, seed, sent, memory=1.0, rate=RATE):
    """Return the test loss, the test accuracy and the bytes that are sent in a step."""
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(LAYERS)]
    network = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    model, state = DistributedDataParallel(network), None
    if sent != "all":
        hook, state = hook_of(model, sent, memory)
        model.register_comm_hook(state, hook)
    x, y = images("train")
    rng, steps = np.random.default_rng(seed), len(x) // BATCH
    optimiser = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    falling = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, EPOCHS * steps, pct_start=0.1)
    diverged = False
    for _ in range(EPOCHS):
        for batch in np.array_split(rng.permutation(len(x))[: steps * BATCH], steps):
            own = batch[rank::size]
            loss = torch.nn.functional.cross_entropy(model(x[own]), y[own])
            # All processes have the same weights, and stop together.
            bad = torch.tensor([float(not loss.item() < 1e4)])
            dist.all_reduce(bad)
            if bad > 0:
                diverged = True
                break
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            falling.step()
    n = sum(p.numel() for p in network.parameters())
    sent_bytes = 2 * 4 * n * (size - 1) / size
    if isinstance(state, power_sgd.PowerSGDState):
        sent_bytes = bytes_of_power_sgd(network, size)
    elif state is not None and state.n_steps:
        sent_bytes = state.bytes_sent / state.n_steps
    if diverged:
        return math.nan, math.nan, sent_bytes
    x, y = images("t10k")
    with torch.no_grad():
        scores = network(x)
        loss = float(torch.nn.functional.cross_entropy(scores, y))
        return loss, float((scores.argmax(1) == y).double().mean()), sent_bytes


def work(rank, size, runs, folder):
    """Train in one of the processes; the first one writes what it finds."""
    torch.set_num_threads(1)
    set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    found = []
    for run in runs:
        results = np.array([train(rank, size, seed, **run) for seed in SEEDS])
        row = {"processes": size, "sent": run["sent"], "rate": run.get("rate", RATE)}
        row |= {"memory": run.get("memory")}
        fine = results[~np.isnan(results[:, 0])]
        for column, name in enumerate(("loss", "accuracy")):
            row[name] = float(fine[:, column].mean()) if len(fine) else None
            error = fine[:, column].std(ddof=1) / math.sqrt(len(fine)) if len(fine) > 1 else math.nan
            row[f"{name} ±"] = float(error) if math.isfinite(error) else None
        row |= {"bytes a step": float(results[0, 2]), "seeds": len(SEEDS), "diverged": len(SEEDS) - len(fine)}
        found.append(row)
        if rank == 0:
            print(row, flush=True)
            (Path(folder) / "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def main():
    arguments = parse(__doc__, "error_feedback")
    if not FASHION.exists():
        print("Debian's package dataset-fashion-mnist is not installed: nothing is measured")
        return
    rows = []
    for size, runs in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(work, (size, runs, folder), nprocs=size)
            rows += json.loads((Path(folder) / "found.json").read_text())
        write(arguments.json, rows)
    show("error feedback", rows)


if __name__ == "__main__":
    main()
