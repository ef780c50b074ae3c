"""Train dense layers in few shared parameters, beside pruned and smaller networks, on Fashion-MNIST.

The network has layers 784-256-256-10. All its matrices share one array; biases are its own, and counted.
"pruned" is the dense network whose smallest weights are set to 0, more and more of them over the first two
thirds of the steps, and its compression counts only the values that are left, without their places.
"smaller network" has fewer units in both hidden layers. Training takes 20,000 images, 3 epochs, SGD with
momentum 0.9 and a falling rate. All have the learning rate 0.1, which suits the dense network, and shared
arrays have scaled gradients, see below. "accuracy" is that of the 10,000 test images, ± is the standard
error over the seeds.

A second table counts the seeds of which training diverges: of the first 100 steps, the last 20 have a mean
loss above that of guessing, or no number. The learning rate is again that of the dense network. "unscaled"
uses the gradient of the shared array as it is, and "scaled" divides the gradient of a parameter by the sum
of the squared factors of the entries that it stands for (STABLE-RPS). Factors are the standard deviations
that layers begin with, over that of the array, "std".
"""

import functools
import gzip
import itertools
import math
from pathlib import Path

import numpy as np
import torch
from measure import parse, show, write
from mergesketch import CyclicMap, RobeMap, SharedParameters, TileMap, set_num_threads
from parameter_sharing import summarised
from parameter_tables import Gather

FASHION = Path("/usr/share/datasets/fashion-mnist")
LAYERS = (784, 256, 256, 10)
TRAIN, EPOCHS, BATCH, RATE = 20_000, 3, 128, 0.1
COMPRESSIONS, SEEDS, TRIALS, STEPS = (1, 10, 100, 1000), (1, 2, 3), 20, 100
#: The sides of tiles; the smallest array has room for one tile.
TILE = 8


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


def shapes(layers):
    return list(itertools.pairwise(layers))


N_WEIGHTS = sum(a * b for a, b in shapes(LAYERS))


class Dense(torch.nn.Module):
    """The network with matrices of its own."""

    name = "dense network"

    def __init__(self, budget, generator, layers=LAYERS):
        super().__init__()
        self.shapes = shapes(layers)
        self.biases = torch.nn.ParameterList([torch.zeros(b) for _, b in self.shapes])
        self.draw(budget, generator)

    def draw(self, budget, generator):
        drawn = [torch.randn(a, b, generator=generator) * math.sqrt(2 / a) for a, b in self.shapes]
        self.matrices = torch.nn.ParameterList(drawn)

    def weights(self):
        return self.matrices

    def forward(self, x):
        for i, (weight, bias) in enumerate(zip(self.weights(), self.biases, strict=True)):
            x = (torch.relu(x) if i else x) @ weight + bias
        return x

    def after_backward(self):
        """Change the gradients before a step."""

    def after_step(self, progress):
        """Change the weights after a step."""

    @property
    def n_parameters(self):
        return sum(p.numel() for p in self.parameters())


class Smaller(Dense):
    name = "smaller network"

    @staticmethod
    def width(budget):
        """Return the most units h with 784 h + h h + 10 h weights."""
        return int((math.sqrt(794 * 794 + 4 * budget) - 794) / 2)

    def __init__(self, budget, generator):
        h = self.width(budget)
        super().__init__(budget, generator, (784, h, h, 10))


class Pruned(Dense):
    name = "pruned"

    def draw(self, budget, generator):
        super().draw(budget, generator)
        self.budget = budget

    def after_step(self, progress):
        done = min(1.0, 1.5 * progress)
        kept = self.budget + int((N_WEIGHTS - self.budget) * (1 - done) ** 3)
        if kept >= N_WEIGHTS:
            return
        with torch.no_grad():
            sizes = torch.cat([m.abs().ravel() for m in self.matrices])
            least = torch.kthvalue(sizes, len(sizes) - kept).values
            for matrix in self.matrices:
                matrix.mul_(matrix.abs() > least)

    @property
    def n_parameters(self):
        return self.budget + sum(b.numel() for b in self.biases)


class Shared(Dense):
    """Matrices in one array, each with a factor: the wanted standard deviation over that of the array."""

    scaled, std = True, math.sqrt(2 / 784)

    @classmethod
    def map(cls, budget):
        raise NotImplementedError

    def draw(self, budget, generator):
        seed = int(torch.randint(2**31, (1,), generator=generator))
        self.array = torch.nn.Parameter(torch.randn(budget, generator=generator) * self.std)
        map = self.map(budget)
        self.shared = SharedParameters.from_weights(self.array.detach().numpy(), map, seed=seed, copy=False)
        self.rows = [torch.arange(a) for a, _ in self.shapes]
        self.factors = [math.sqrt(2 / a) / self.std for a, _ in self.shapes]
        # The places of all entries, without their signs, from an array of its own numbers.
        numbers = SharedParameters.from_weights(np.arange(1.0, budget + 1), map, seed=seed)
        squares = np.zeros(budget)
        for number, ((a, b), factor) in enumerate(zip(self.shapes, self.factors, strict=True)):
            places = np.abs(numbers.gather(np.arange(a), b, table=number)).astype(np.int64) - 1
            squares += factor**2 * np.bincount(places.ravel(), minlength=budget)
        self.divisors = torch.tensor(np.where(squares > 0, squares, 1.0), dtype=torch.float32)

    def weights(self):
        given = enumerate(zip(self.shapes, self.rows, self.factors, strict=True))
        return [
            Gather.apply(self.array, self.shared, rows, b, number) * factor
            for number, ((_, b), rows, factor) in given
        ]

    def after_backward(self):
        if self.scaled:
            self.array.grad.div_(self.divisors)


class Blocks(Shared):
    name = "RobeMap, blocks of 16"

    @classmethod
    def map(cls, budget):
        return RobeMap(16)


class Tiles(Shared):
    name = f"TileMap, {TILE} x {TILE}"

    @classmethod
    def map(cls, budget):
        return TileMap(TILE, TILE)


class Cycles(Shared):
    name = "CyclicMap"

    @classmethod
    def map(cls, budget):
        return CyclicMap(shapes(LAYERS))


def train(network, rate, seed, steps=None):
    """Train in place, and return the losses of all steps."""
    x, y = images("train")
    rng, losses = np.random.default_rng(seed), []
    total = EPOCHS * (TRAIN // BATCH)
    optimiser = torch.optim.SGD(network.parameters(), rate, momentum=0.9)
    falling = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total, pct_start=0.1)
    while len(losses) < (steps or total):
        for at in np.array_split(rng.permutation(TRAIN), TRAIN // BATCH):
            loss = torch.nn.functional.cross_entropy(network(x[at]), y[at])
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                return losses
            optimiser.zero_grad()
            loss.backward()
            network.after_backward()
            optimiser.step()
            falling.step()
            network.after_step(len(losses) / total)
            if len(losses) == steps:
                break
    return losses


@torch.no_grad()
def accuracy(network):
    x, y = images("t10k")
    return float((network(x).argmax(1) == y).double().mean())


def accuracies():
    """Yield a row for each kind of network and compression."""
    for kind in (Dense, Smaller, Pruned, Blocks, Tiles, Cycles):
        for compression in COMPRESSIONS:
            if (kind is Dense) != (compression == 1) and kind in (Dense, Smaller, Pruned):
                continue
            budget = N_WEIGHTS // compression
            if kind is Smaller and Smaller.width(budget) < 1:
                continue
            networks = [kind(budget, torch.Generator().manual_seed(seed)) for seed in SEEDS]
            row = {"network": kind.name, "compression": compression, "parameters": networks[0].n_parameters}
            for network, seed in zip(networks, SEEDS, strict=True):
                train(network, RATE, seed)
            yield row | summarised([{"accuracy": accuracy(network)} for network in networks])


def diverged(kind, budget, rate, scaled, std, seed):
    network = type("Tried", (kind,), {"scaled": scaled, "std": std})(
        budget, torch.Generator().manual_seed(seed)
    )
    try:
        losses = train(network, rate, seed, STEPS)
    except ValueError:
        return True
    return not np.mean(losses[-20:]) < math.log(10)


def divergences(rate):
    """Yield how many seeds diverge, with the learning rate of the dense network."""
    tried = {"unscaled": (Shared.std, 1.0), "scaled": (Shared.std,)}
    for compression in COMPRESSIONS[1:]:
        for gradient, stds in tried.items():
            for std in stds:
                given = Tiles, N_WEIGHTS // compression, rate, gradient == "scaled", std
                lost = sum(diverged(*given, seed) for seed in range(TRIALS))
                row = {"map": Tiles.name, "compression": compression, "gradient": gradient, "std": std}
                yield row | {"seeds": TRIALS, "diverged": lost, "rate": rate}


def main():
    arguments = parse(__doc__, "parameter_sharing_dense")
    if not FASHION.exists():
        print("Debian's package dataset-fashion-mnist is not installed: nothing is measured")
        return
    torch.set_num_threads(1)
    set_num_threads(1)
    found = []
    for row in accuracies():
        found.append(row)
        print(row, flush=True)
        write(arguments.json, found)
    for row in divergences(RATE):
        found.append(row)
        print(row, flush=True)
    show("accuracy", [row for row in found if "accuracy" in row])
    show("divergence", [row for row in found if "diverged" in row])
    write(arguments.json, found)


if __name__ == "__main__":
    main()
