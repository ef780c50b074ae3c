"""Measure ActiveUnits and sparse_layer on real layers: units that are found, errors of outputs, and time.

The feed-forward layers of MiniLM (384 features, 1,536 units, GELU) get sentences, and are means over its 6
layers. The ReLU layer is the first of a network 784-1024-1024-10 that is trained here on Fashion-MNIST.
Predictors are fitted to some inputs and measured on others. Of n units, k are selected: n / 2, n / 4, n / 10.

- "recall" is the share that is selected of the k units with the largest magnitude of activation (of those
  that are active at all, for ReLU).
- "error" is the squared error of the layer's outputs over the squared outputs, without the output bias.
- "result" is the cosine of a sentence's vector to that of the dense model, with all 6 layers sparse, and the
  accuracy of the ReLU network.

"exact" selects by the activations themselves, which no predictor can, "the same units" are those with the
largest mean magnitude over the inputs of the fit, and "hash tables" is an `LSHIndex` over the weights.

Times are processor times on one thread. "dense" is the faster of NumPy and PyTorch.
"""

import functools
import itertools
import sys
import time
from typing import Any, NamedTuple

import minilm
import numpy as np
import torch
from loss_aware_grid import Encoder, sentences
from measure import best_of, parse, show, write
from mergesketch import ActiveUnits, InnerProduct, LSHIndex, SecondMoments, set_num_threads, sparse_layer
from parameter_sharing_dense import images
from threadpoolctl import threadpool_limits

CALIBRATION, HELD_OUT, IMAGES = 200, 40, 2000
SPARSITIES = (2, 4, 10)
HIDDEN, EPOCHS, BATCH, RATE = 1024, 3, 128, 1e-3
#: Features and units of the layers that are timed: MiniLM, BERT-base, and OPT with 6.7 billion parameters.
SIZES = ((384, 1536), (768, 3072), (4096, 16384))
BATCHES = (1, 16)
#: Inputs of a measurement, at least.
INPUTS = 32


class Layer(NamedTuple):
    """A layer with the inputs of the fit, and those on which it is measured."""

    W: Any
    bias: Any
    V: Any
    activation: str
    seen: Any
    X: Any


def magnitudes(layer, X):
    """Return the activations of a layer."""
    z = X @ layer.W.T + layer.bias
    if layer.activation == "relu":
        return np.maximum(z, 0.0)
    return (z * 0.5 * (1.0 + torch.erf(torch.from_numpy(z / np.sqrt(2.0))).numpy())).astype(np.float32)


def largest(strengths, k):
    """Return the numbers of the k largest of each row, rising."""
    return np.sort(np.argpartition(-strengths, k - 1, axis=1)[:, :k], axis=1)


def by_predictor(layer, **options):
    moments = SecondMoments(layer.W.shape[1]).update(layer.seen) if "rank" in options else None
    made = ActiveUnits(layer.W, layer.bias, moments, activation=layer.activation, **options)
    return made.select


def by_exact(layer):
    return lambda X, k: largest(np.abs(magnitudes(layer, X)), k)


def by_mean(layer):
    means = np.abs(magnitudes(layer, layer.seen)).mean(axis=0, keepdims=True)
    return lambda X, k: np.repeat(largest(means, k), len(X), axis=0)


def at_random(layer):
    rng = np.random.default_rng(0)
    return lambda X, k: largest(rng.random((len(X), len(layer.W))), k)


def by_tables(layer):
    """Return a selection by the number of shared buckets in 64 tables over weights and biases."""
    rows = np.column_stack([layer.W, layer.bias])
    longest = float(np.linalg.norm(rows, axis=1).max())
    family = InnerProduct(rows.shape[1], 64, max_norm=longest, power=4, seed=1)
    index = LSHIndex(family, capacity=len(rows), seed=1).update(rows)
    return lambda X, k: index.query(np.column_stack([X, np.ones(len(X))]), k=k).ids


METHODS = {
    "exact": by_exact,
    "low rank, d / 16": lambda layer: by_predictor(layer, rank=layer.W.shape[1] // 16),
    "low rank, d / 8": lambda layer: by_predictor(layer, rank=layer.W.shape[1] // 8),
    "low rank, d / 4": lambda layer: by_predictor(layer, rank=layer.W.shape[1] // 4),
    "codes, 1 bit": lambda layer: by_predictor(layer, method="codes", bits=1),
    "codes, 4 bits": lambda layer: by_predictor(layer, method="codes", bits=4),
    "hash tables": by_tables,
    "the same units": by_mean,
    "random": at_random,
}


def recall_and_error(layer, units):
    active = magnitudes(layer, layer.X)
    is_chosen = np.zeros(active.shape, bool)
    rows, places = np.nonzero(units >= 0)
    is_chosen[rows, units[rows, places]] = True
    truth = np.zeros(active.shape, bool)
    np.put_along_axis(truth, largest(np.abs(active), units.shape[1]), True, axis=1)
    truth &= active != 0.0
    exact = active @ layer.V
    found = sparse_layer(layer.X, layer.W, layer.V, units, bias=layer.bias, activation=layer.activation)
    error = np.square(found - exact).sum() / np.square(exact).sum()
    return (is_chosen & truth).sum() / truth.sum(), float(error)


def sentence_layers():
    """Return the encoder, the names of its wide layers, those layers, and the texts to measure."""
    texts = sentences(CALIBRATION + HELD_OUT)
    encoder = Encoder()
    names = [f"encoder.layer.{i}.intermediate.dense" for i in range(minilm.LAYERS)]
    seen = [inputs_of(encoder, names, part) for part in (texts[:CALIBRATION], texts[CALIBRATION:])]
    layers = [
        Layer(
            encoder.matrix(name),
            encoder.vector(f"{name}.bias"),
            np.ascontiguousarray(encoder.matrix(name.replace("intermediate", "output")).T),
            "gelu",
            *(part[name] for part in seen),
        )
        for name in names
    ]
    return encoder, names, layers, texts[CALIBRATION:]


def inputs_of(encoder, names, texts):
    parts, exact = {name: [] for name in names}, dict(encoder.layers)

    def watched(name, x):
        parts[name].append(x)
        return exact[name](x)

    encoder.layers = exact | {name: functools.partial(watched, name) for name in names}
    encoder.encode(texts)
    encoder.layers = exact
    return {name: np.concatenate(part) for name, part in parts.items()}


def sentence_cosine(encoder, names, layers, texts, selections, k, vectors):
    """Return the mean cosine of vectors to the exact ones, if every wide layer computes k units only."""
    exact = dict(encoder.layers)

    def sparse(name, layer, select, x):
        z = np.full((len(x), len(layer.W)), -1e4, np.float32)  # GELU makes it 0.
        units = np.maximum(select(x, k), 0)
        np.put_along_axis(z, units, np.take_along_axis(exact[name](x), units, axis=1), axis=1)
        return z

    encoder.layers = exact | {
        name: functools.partial(sparse, name, layer, select)
        for name, layer, select in zip(names, layers, selections, strict=True)
    }
    found = (encoder.encode(texts) * vectors).sum(axis=1).mean()
    encoder.layers = exact
    return float(found)


def image_layer():
    """Train the ReLU network; return its first layer, and the accuracy of outputs of that layer."""
    torch.manual_seed(1)
    sizes = (784, HIDDEN, HIDDEN, 10)
    parts = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    network = torch.nn.Sequential(parts[0], torch.nn.ReLU(), parts[1], torch.nn.ReLU(), parts[2])
    optimizer, (X, y) = torch.optim.Adam(network.parameters(), RATE), images("train")
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(X)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(X[rows]), y[rows]).backward()
            optimizer.step()
    tests, labels = (part[:IMAGES] for part in images("t10k"))
    first, second, last = ([p.detach().numpy() for p in part.parameters()] for part in parts)
    V = np.ascontiguousarray(second[0].T)

    def accuracy(outputs):
        classes = np.maximum(outputs + second[1], 0.0) @ last[0].T + last[1]
        return float((classes.argmax(axis=1) == labels.numpy()).mean())

    return Layer(*first, V, "relu", X[:IMAGES].numpy(), tests.numpy()), accuracy


def quality_of_sentences():
    encoder, names, layers, texts = sentence_layers()
    vectors = encoder.encode(texts)
    active = [np.abs(magnitudes(layer, layer.X)) for layer in layers]
    share = [
        np.square(-np.sort(-a, axis=1)[:, : a.shape[1] // 10]).sum() / np.square(a).sum() for a in active
    ]
    print("share of the squared activations in the largest tenth:", np.round(share, 3))
    results = []
    for name, make in METHODS.items():
        selections = [make(layer) for layer in layers]
        row = {"MiniLM, GELU": name}
        for sparsity in SPARSITIES:
            k = len(layers[0].W) // sparsity
            found = [
                recall_and_error(layer, select(layer.X, k))
                for layer, select in zip(layers, selections, strict=True)
            ]
            recall, error = np.mean(found, axis=0).tolist()
            row[f"recall, 1/{sparsity}"], row[f"error, 1/{sparsity}"] = recall, error
            row[f"cosine, 1/{sparsity}"] = sentence_cosine(
                encoder, names, layers, texts, selections, k, vectors
            )
        results.append(row)
        show("sentences", [row])
    return results


def quality_of_images():
    layer, accuracy = image_layer()
    active = magnitudes(layer, layer.X)
    dense = accuracy(active @ layer.V)
    print(f"accuracy {dense:.4f}, {(active > 0).mean():.3f} of the units are active")
    results = []
    for name, make in METHODS.items():
        select, row = make(layer), {f"ReLU, {(active > 0).mean():.0%} active": name}
        for sparsity in SPARSITIES:
            units = select(layer.X, len(layer.W) // sparsity)
            recall, error = recall_and_error(layer, units)
            row[f"recall, 1/{sparsity}"], row[f"error, 1/{sparsity}"] = float(recall), error
            row[f"accuracy, 1/{sparsity}"] = accuracy(
                sparse_layer(layer.X, layer.W, layer.V, units, bias=layer.bias)
            )
        results.append(row)
        show("images", [row])
    return [
        *results,
        {**dict.fromkeys(results[0], ""), next(iter(results[0])): f"dense: accuracy {dense:.4f}"},
    ]


def times():
    set_num_threads(1)
    torch.set_num_threads(1)
    results, rng = [], np.random.default_rng(0)
    for d, n_units in SIZES:
        W, V = rng.standard_normal((2, n_units, d), dtype=np.float32) / np.float32(np.sqrt(d))
        bias = np.zeros(n_units, np.float32)
        # Any moments: the predictor's values do not change the time.
        made = ActiveUnits.__new__(ActiveUnits)
        made._set_config({"method": "low_rank", "rank": d // 8, "bits": 4, "activation": "relu", "seed": 0})
        factors = rng.standard_normal((d // 8, n_units + d), dtype=np.float32) / np.float32(d)
        left, right = np.ascontiguousarray(factors[:, :n_units].T), np.ascontiguousarray(factors[:, n_units:])
        shape = np.array([n_units, d], np.int64)
        made._set_arrays({"shape": shape, "bias": bias, "left": left, "right": right})
        codes = ActiveUnits(W, method="codes", bits=1)
        tensors = [torch.from_numpy(array) for array in (W, bias, V)]
        for n in BATCHES:
            # Other units for every call, as in use, so that no call finds its rows in the caches.
            batches = [rng.standard_normal((n, d), dtype=np.float32) for _ in range(max(1, INPUTS // n))]
            for sparsity in (4, 10, 50):
                k = n_units // sparsity
                pairs = [(X, made.select(X, k)) for X in batches]

                def in_torch(X, tensors=tensors):
                    with torch.no_grad():
                        z = torch.addmm(tensors[1], torch.from_numpy(X), tensors[0].T)
                        return torch.relu_(z) @ tensors[2]

                # With GELU no unit is exactly 0, so that all rows of V are read.
                layer = functools.partial(sparse_layer, W=W, V=V, bias=bias, activation="gelu")
                calls = {
                    "numpy": lambda W=W, V=V, bias=bias, batches=batches: [
                        np.maximum(X @ W.T + bias, 0.0) @ V for X in batches
                    ],
                    "torch": lambda in_torch=in_torch, batches=batches: [in_torch(X) for X in batches],
                    "select": lambda k=k, made=made, batches=batches: [made.select(X, k) for X in batches],
                    "codes": lambda k=k, codes=codes, batches=batches: [codes.select(X, k) for X in batches],
                    "layer": lambda layer=layer, pairs=pairs: [layer(X, units=units) for X, units in pairs],
                }
                with threadpool_limits(1):
                    found = best_of(calls, repeats=3, clock=time.process_time)
                each = {name: 1e6 * seconds / (n * len(batches)) for name, seconds in found.items()}
                dense = min(each["numpy"], each["torch"])
                results.append(
                    {
                        "features x units": f"{d:,} x {n_units:,}",
                        "inputs": n,
                        "selected": k,
                        "dense, us": dense,
                        "select, low rank, us": each["select"],
                        "select, codes, us": each["codes"],
                        "sparse_layer, us": each["layer"],
                        "dense / sparse_layer": dense / each["layer"],
                        "dense / (low rank and sparse_layer)": dense / (each["select"] + each["layer"]),
                    }
                )
                show("microseconds an input", [results[-1] | each])
    return results


def main():
    arguments = parse(__doc__, "active_units")
    if not minilm.is_installed():
        sys.exit(f"{minilm.PACKAGE} is not installed: nothing is measured")
    torch.set_num_threads(1)
    write(arguments.json, [*quality_of_sentences(), *quality_of_images(), *times()])


if __name__ == "__main__":
    main()
