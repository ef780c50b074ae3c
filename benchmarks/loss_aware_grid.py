"""Measure LossAwareGrid on the layers of MiniLM: errors of outputs, cosines of vectors, times of products.

All methods get the same calibration, the inputs of the layers for some sentences, and are measured on the
inputs for others. "relative error" is that of the squared outputs, the mean of all 36 layers.
"""

from __future__ import annotations

import ast
import re
import sys
import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import minilm
import numpy as np
from measure import best_of, parse, show, write
from mergesketch import LossAwareGrid, SecondMoments, set_num_threads
from mergesketch.sketches.coding.grid_fitting import Feedback, expand_grids, feedback, importances_of
from mergesketch.sketches.kernels import grid_fitting as kernels
from numpy.typing import NDArray

CALIBRATION, HELD_OUT = 400, 150
BITS = (2, 3, 4)
Matrix = NDArray[Any]
Method = Callable[[Matrix, SecondMoments, int], Any]


def min_max(W: Matrix, bits: int) -> Matrix:
    """Return grids from the least to the largest weight of each row, as tables of their points."""
    low, high = W.min(axis=1), W.max(axis=1)
    return expand_grids(np.stack([low, (high - low) / ((1 << bits) - 1)], axis=1), "affine", 1 << bits)


def k_means(W: Matrix, bits: int, importances: Matrix) -> Matrix:
    """Return the grids of the best weighted k-means of each row."""
    order, grids = np.argsort(W, axis=1), np.zeros((len(W), 1 << bits), np.float32)
    ordered = np.take_along_axis(W, order, axis=1)
    kernels.place_free_grids(ordered, importances[order], 0, len(W), grids)
    return grids


_feedbacks: dict[int, Feedback] = {}


def feedback_of(moments: SecondMoments) -> Feedback:
    """Return the feedback of moments, which are kept until the end; it is computed once."""
    if id(moments) not in _feedbacks:
        _feedbacks[id(moments)] = feedback(moments.mean_products())
    return _feedbacks[id(moments)]


class Encoder(minilm.MiniLM):
    """The encoder with a function for each linear layer, without its bias, in `layers`."""

    def __init__(self) -> None:
        self.read: dict[str, Matrix] = {}
        super().__init__()
        parts = (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        )
        parts += ("intermediate.dense", "output.dense")
        names = [f"encoder.layer.{i}.{part}" for i in range(minilm.LAYERS) for part in parts]
        self.layers: dict[str, Callable[[Matrix], Matrix]] = {
            name: lambda x, name=name: x @ self.matrix(name).T for name in names
        }

    def weight(self, name: str) -> Matrix:
        if name not in self.read:
            self.read[name] = super().weight(name)
        return self.read[name]

    def matrix(self, name: str) -> Matrix:
        """Return the weights of a layer, shape (n_outputs, n_features)."""
        return self.weight(f"{name}.weight")

    def linear(self, x: Matrix, name: str) -> Matrix:
        return self.layers[name](x.astype(np.float32, copy=False)) + self.vector(f"{name}.bias")

    def encode(self, texts: list[str]) -> Matrix:
        """Return the vectors of texts, of length 1. Texts are cut after 128 tokens."""
        out = np.empty((len(texts), len(self.words[0])), np.float32)
        first, last = self.vocabulary["[CLS]"], self.vocabulary["[SEP]"]
        for text, vector in zip(texts, out, strict=True):
            for _ in self.attention([first, *minilm.tokens(text, self.vocabulary)[:126], last]):
                pass
            vector[:] = self.last.mean(axis=0)
        return out / np.linalg.norm(out, axis=1, keepdims=True)


def sentences(n: int) -> list[str]:
    """Return n sentences from the documentation of Python's standard library, in a random order."""
    found: dict[str, None] = {}
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", ast.get_docstring(node) or ""):
                    words = " ".join(sentence.split())
                    if 30 <= len(words) <= 400 and words[0].isalpha():
                        found[words] = None
    texts = list(found)
    return [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:n]]


class Decoded:
    """A matrix that stands for one in few bits."""

    def __init__(self, W: Matrix) -> None:
        self.W = W

    def decode(self) -> Matrix:
        return self.W

    def matmul(self, X: Matrix) -> Matrix:
        return X @ self.W.T


def by_hand(
    W: Matrix, moments: SecondMoments, bits: int, *, grid: str, loop: bool, p: float = 0.0
) -> Decoded:
    """Return weights on min-max or k-means grids, rounded with or without the loop over columns."""
    weights = W.astype(np.float64)
    factor, inverse = feedback_of(moments)
    tables = (
        min_max(weights, bits) if grid == "min-max" else k_means(weights, bits, importances_of(inverse, p))
    )
    codes = np.zeros(W.shape, np.uint8)
    kernels.quantize_rows(weights, factor if loop else np.zeros_like(factor), tables, 0, len(W), codes)
    return Decoded(np.take_along_axis(tables, codes.astype(np.int64), axis=1))


METHODS: dict[str, Method] = {
    "round to nearest, min-max": partial(by_hand, grid="min-max", loop=False),
    "GPTQ, min-max": partial(by_hand, grid="min-max", loop=True),
    "k-means": partial(by_hand, grid="k-means", loop=False),
    "weighted k-means, p = 1": partial(by_hand, grid="k-means", loop=False, p=1.0),
    "k-means and GPTQ": partial(by_hand, grid="k-means", loop=True),
    "LossAwareGrid, affine": partial(LossAwareGrid, grid="affine"),
    "LossAwareGrid, p = 4": partial(LossAwareGrid, p=4.0),
    "LossAwareGrid": LossAwareGrid,
}
#: Methods whose sentence vectors are compared.
END_TO_END = ("round to nearest, min-max", "GPTQ, min-max", "LossAwareGrid, affine", "LossAwareGrid")


def input_of(name: str) -> str:
    """Return the name of the layer whose inputs a layer shares: queries, keys and values have the same."""
    return name.replace("self.key", "self.query").replace("self.value", "self.query")


def inputs(encoder: Encoder, texts: list[str]) -> dict[str, SecondMoments]:
    """Return the second moments of the inputs of each layer."""
    parts: dict[str, list[Matrix]] = {}
    exact = dict(encoder.layers)

    def watched(name: str, x: Matrix) -> Matrix:
        parts.setdefault(name, []).append(x)
        return exact[name](x)

    encoder.layers = {
        name: partial(watched, name) if input_of(name) == name else layer for name, layer in exact.items()
    }
    encoder.encode(texts)
    encoder.layers = exact
    moments = {name: SecondMoments(x[0].shape[1]).update(np.concatenate(x)) for name, x in parts.items()}
    return {name: moments[input_of(name)] for name in exact}


def main() -> None:
    arguments = parse(__doc__ or "", "loss_aware_grid")
    if not minilm.is_installed():
        sys.exit(f"{minilm.PACKAGE} is not installed: nothing is measured")
    texts = sentences(CALIBRATION + HELD_OUT)
    encoder = Encoder()
    calibration = inputs(encoder, texts[:CALIBRATION])
    held_out = inputs(encoder, texts[CALIBRATION:])
    exact, vectors = dict(encoder.layers), encoder.encode(texts[CALIBRATION:])
    errors: list[dict[str, Any]] = []
    cosines: list[dict[str, Any]] = []
    for method, make in METHODS.items():
        error: dict[str, Any] = {"relative error of outputs": method}
        cosine: dict[str, Any] = {"mean cosine to the exact vectors": method}
        for bits in BITS:
            layers = {name: make(encoder.matrix(name), calibration[name], bits) for name in exact}
            found = [
                held_out[name].relative_error(encoder.matrix(name), layers[name].decode()) for name in exact
            ]
            error[f"{bits} bits"] = float(np.mean(found))
            if method in END_TO_END:
                encoder.layers = {name: layer.matmul for name, layer in layers.items()}
                cosine[f"{bits} bits"] = float(
                    (encoder.encode(texts[CALIBRATION:]) * vectors).sum(axis=1).mean()
                )
                encoder.layers = exact
        errors.append(error)
        if method in END_TO_END:
            cosines.append(cosine)
        show("errors", [error])
    rows = [*errors, *cosines, *times(encoder, calibration)]
    show("all", rows)
    write(arguments.json, rows)


def times(encoder: Encoder, calibration: dict[str, SecondMoments]) -> list[dict[str, Any]]:
    """Return the times of products with a layer, and the bytes of its weights."""
    set_num_threads(1)
    name = "encoder.layer.0.output.dense"
    W, rng, rows = encoder.matrix(name), np.random.default_rng(0), []
    for bits in BITS:
        layer = LossAwareGrid(W, calibration[name], bits)
        for n in (1, 32, 1024):
            X = rng.standard_normal((n, W.shape[1])).astype(np.float32)
            found = best_of({"ours": partial(layer.matmul, X), "numpy": partial(np.matmul, X, W.T)}, 9)
            rows.append(
                {
                    "product with 384 x 1536 weights": f"{bits} bits, {n} rows",
                    "bytes": layer.nbytes,
                    "of float32": layer.nbytes / W.nbytes,
                    "matmul, us": 1e6 * found["ours"],
                    "numpy float32, us": 1e6 * found["numpy"],
                    "ratio": found["ours"] / found["numpy"],
                }
            )
    return rows


if __name__ == "__main__":
    main()
