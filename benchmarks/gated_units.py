"""Measure ActiveUnits and sparse_layer on gated layers: those of SmolLM2-135M, which has the design of Llama.

A gated layer is `(silu(X @ gate.T) * (X @ up.T)) @ down`, 576 features and 1,536 units. Predictors are fitted
to CALIBRATION windows of a text and measured on the next one, and figures are means over the 30 layers. Of n
units, k are selected: n / 2, n / 4, n / 10.

- "recall" is the share that is selected of the k units with the largest magnitude of activation times factor.
- "error" is the squared error of a layer's outputs over the squared outputs.
- "loss" is the mean negative logarithm of the probability of the next token, in nats, with all 30 layers
  sparse.

"exact" selects by that magnitude itself, which no predictor can. "exact gate" computes the gate for all
units, and selects by its activation (CATS). "gate" predicts this activation, and "gate and up" multiplies it
by a predicted factor. "the same units" are those with the largest mean magnitude over the inputs of the fit.

Times are processor times on one thread, with codes of 1 bit, of layers with the sizes of SmolLM2, and of
Llama with 1 and 8 billion parameters. Weights are random. "dense" is the faster of NumPy and PyTorch.
"""

import sys
import time

import numpy as np
import smollm
import torch
from active_units import BATCHES, INPUTS, SPARSITIES, largest
from measure import best_of, parse, show, write
from mergesketch import ActiveUnits, SecondMoments, set_num_threads, sparse_layer, top_tokens
from threadpoolctl import threadpool_limits

CALIBRATION, LENGTH = 6, 512
SIZES = ((576, 1536), (2048, 8192), (4096, 14_336))
TIMED = (2, 4, 10)


class Layer:
    """The matrices of a gated layer, and inputs of the fit."""

    def __init__(self, mlp, seen):
        self.gate, self.up, down = (
            part.weight.detach().numpy() for part in (mlp.gate_proj, mlp.up_proj, mlp.down_proj)
        )
        self.down, self.seen = np.ascontiguousarray(down.T), seen
        self.moments = SecondMoments(seen.shape[1]).update(seen)

    def active(self, X):
        return silu(X @ self.gate.T) * (X @ self.up.T)

    def predictor(self, matrix, **options):
        moments = self.moments if "rank" in options else None
        return ActiveUnits(matrix, calibration=moments, activation="silu", **options)


def silu(z):
    return z / (1.0 + np.exp(-z))


def by_gate(**options):
    return lambda layer: layer.predictor(layer.gate, **options).select


def by_both(gate, up):
    """Return a selection by the magnitude of the predicted activation times the predicted factor."""
    return lambda X, k: top_tokens(np.abs(silu(gate.scores(X)) * up.scores(X)), k)


def by_product(**options):
    return lambda layer: by_both(*(layer.predictor(matrix, **options) for matrix in (layer.gate, layer.up)))


def by_mean(layer):
    means = np.abs(layer.active(layer.seen)).mean(axis=0, keepdims=True)
    return lambda X, k: np.repeat(largest(means, k), len(X), axis=0)


def at_random(layer):
    rng = np.random.default_rng(0)
    return lambda X, k: largest(rng.random((len(X), len(layer.gate))), k)


METHODS = {
    "exact": lambda layer: lambda X, k: largest(np.abs(layer.active(X)), k),
    "exact gate": lambda layer: lambda X, k: largest(np.abs(silu(X @ layer.gate.T)), k),
    "gate, low rank, d / 4": by_gate(rank=144),
    "gate, codes, 1 bit": by_gate(method="codes", bits=1),
    "gate, codes, 4 bits": by_gate(method="codes", bits=4),
    "gate and up, low rank, d / 4": by_product(rank=144),
    "gate and up, codes, 1 bit": by_product(method="codes", bits=1),
    "gate and up, codes, 4 bits": by_product(method="codes", bits=4),
    "the same units": by_mean,
    "random": at_random,
}


def recall_and_error(layer, X, units):
    active = layer.active(X)
    is_chosen, truth = np.zeros((2, *active.shape), bool)
    np.put_along_axis(is_chosen, units, True, axis=1)
    np.put_along_axis(truth, largest(np.abs(active), units.shape[1]), True, axis=1)
    exact = active @ layer.down
    found = sparse_layer(X, layer.gate, layer.down, units, up=layer.up, activation="silu")
    return (is_chosen & truth).sum() / truth.sum(), np.square(found - exact).sum() / np.square(exact).sum()


def loss(model, window):
    with torch.no_grad():
        scores = model(window[None]).logits[0]
    return float(torch.nn.functional.cross_entropy(scores[:-1], window[1:]))


def sparse_loss(model, layers, selections, k, window):
    """Return the loss if every gated layer computes k units only."""
    parts = [layer.mlp for layer in model.model.layers]
    dense = [part.forward for part in parts]

    def sparse(layer, select, x):
        X = x.flatten(0, -2).numpy()
        found = sparse_layer(X, layer.gate, layer.down, select(X, k), up=layer.up, activation="silu")
        return torch.from_numpy(found).reshape(x.shape)

    for part, layer, select in zip(parts, layers, selections, strict=True):
        part.forward = lambda x, layer=layer, select=select: sparse(layer, select, x)
    found = loss(model, window)
    for part, forward in zip(parts, dense, strict=True):
        part.forward = forward
    return found


def quality():
    model, windows = smollm.load(CALIBRATION + 1, LENGTH)
    seen, held = smollm.inputs(model, windows[:-1]), smollm.inputs(model, windows[-1:])
    layers = [Layer(part.mlp, X) for part, X in zip(model.model.layers, seen, strict=True)]
    dense = loss(model, windows[-1])
    print(f"dense loss {dense:.4f}", flush=True)
    results = []
    for name, make in METHODS.items():
        selections, row = [make(layer) for layer in layers], {"SmolLM2, gated SiLU": name}
        for sparsity in SPARSITIES:
            k = len(layers[0].gate) // sparsity
            found = [
                recall_and_error(layer, X, select(X, k))
                for layer, X, select in zip(layers, held, selections, strict=True)
            ]
            row[f"recall, 1/{sparsity}"], row[f"error, 1/{sparsity}"] = np.mean(found, axis=0).tolist()
            row[f"loss, 1/{sparsity}"] = sparse_loss(model, layers, selections, k, windows[-1])
        results.append(row)
        show("gated layers", [row])
    return [*results, {**dict.fromkeys(results[0], ""), next(iter(results[0])): f"dense: loss {dense:.4g}"}]


def times():
    set_num_threads(1)
    results, rng = [], np.random.default_rng(0)
    for d, n_units in SIZES:
        gate, up, down = (
            rng.standard_normal((n_units, d), dtype=np.float32) / np.float32(np.sqrt(d)) for _ in range(3)
        )
        codes = [ActiveUnits(matrix, method="codes", bits=1, activation="silu") for matrix in (gate, up)]
        by_gate, by_product = codes[0].select, by_both(*codes)
        tensors = [torch.from_numpy(array) for array in (gate, up, down)]

        def in_torch(X, tensors=tensors):
            with torch.no_grad():
                x = torch.from_numpy(X)
                z = torch.nn.functional.silu(x @ tensors[0].T, inplace=True).mul_(x @ tensors[1].T)
                return z @ tensors[2]

        def in_numpy(X, gate=gate, up=up, down=down):
            return (silu(X @ gate.T) * (X @ up.T)) @ down

        def layer(X, units, gate=gate, up=up, down=down):
            return sparse_layer(X, gate, down, units, up=up, activation="silu")

        for n in BATCHES:
            # Other units for every call, as in use, so that no call finds its rows in the caches.
            batches = [rng.standard_normal((n, d), dtype=np.float32) for _ in range(max(1, INPUTS // n))]
            for sparsity in TIMED:
                k = n_units // sparsity
                pairs = [(X, by_gate(X, k)) for X in batches]
                calls = {
                    "numpy": lambda call=in_numpy, batches=batches: [call(X) for X in batches],
                    "torch": lambda call=in_torch, batches=batches: [call(X) for X in batches],
                    "gate": lambda k=k, select=by_gate, batches=batches: [select(X, k) for X in batches],
                    "both": lambda k=k, select=by_product, batches=batches: [select(X, k) for X in batches],
                    "layer": lambda layer=layer, pairs=pairs: [layer(X, units) for X, units in pairs],
                }
                with threadpool_limits(1):
                    found = best_of(calls, repeats=3, clock=time.process_time)
                each = {name: 1e6 * seconds / (n * len(batches)) for name, seconds in found.items()}
                dense = min(each["numpy"], each["torch"])
                results.append(
                    {
                        "gated layer": f"{d:,} x {n_units:,}",
                        "inputs": n,
                        "selected": k,
                        "dense, us": dense,
                        "select by the gate, us": each["gate"],
                        "select by gate and up, us": each["both"],
                        "sparse_layer, us": each["layer"],
                        "dense / sparse_layer": dense / each["layer"],
                        "dense / (gate and up, and sparse_layer)": dense / (each["both"] + each["layer"]),
                    }
                )
                show("microseconds an input", [results[-1] | each])
    return results


def main():
    arguments = parse(__doc__, "gated_units")
    if not smollm.is_installed():
        sys.exit(f"{smollm.PACKAGE} or what reads it is not installed: nothing is measured")
    torch.set_num_threads(1)
    write(arguments.json, [*quality(), *times()])


if __name__ == "__main__":
    main()
