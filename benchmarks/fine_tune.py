"""Train MiniLM a little further, for pairs of checkpoints: before and after, and two steps of a training.

Sentences that follow each other in the documentation of Python's standard library should have close vectors,
and others of the batch should not (the loss of contrastive training). AdamW, learning rate 2e-5, float32.
"""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import minilm
import numpy as np
from float_weights import Weights

BATCH, LENGTH, RATE, TEMPERATURE = 16, 32, 2e-5, 0.05


def pairs() -> list[tuple[str, str]]:
    """Return the first two sentences of docstrings."""
    found: dict[tuple[str, str], None] = {}
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                first, stop, rest = " ".join((ast.get_docstring(node) or "").split()).partition(". ")
                second = rest.partition(". ")[0]
                if stop and min(len(first), len(second)) >= 20:
                    found[first, second] = None
    texts = list(found)
    return [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]


def vectors(weights: dict[str, Any], words: Any, mask: Any) -> Any:
    """Return the vectors of a batch of texts, of length 1."""
    from torch.nn import functional as F

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    def linear(x: Any, name: str) -> Any:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = F.embedding(words, weights["embeddings.word_embeddings.weight"])
    x = x + weights["embeddings.position_embeddings.weight"][: words.shape[1]]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(minilm.LAYERS):
        at = f"encoder.layer.{layer}"
        q, k, v = (
            linear(x, f"{at}.attention.self.{name}").unflatten(-1, (minilm.HEADS, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        mixed = linear(mixed.transpose(1, 2).flatten(2), f"{at}.attention.output.dense")
        x = norm(x + mixed, f"{at}.attention.output.LayerNorm")
        wide = linear(F.gelu(linear(x, f"{at}.intermediate.dense")), f"{at}.output.dense")
        x = norm(x + wide, f"{at}.output.LayerNorm")
    return F.normalize((x * mask[..., None]).sum(dim=1), dim=1)


def batches(n_steps: int) -> Iterator[tuple[Any, Any]]:
    """Yield the tokens of batches, the first sentences before the second, and which are not padding."""
    import torch

    vocabulary, texts = minilm.MiniLM().vocabulary, pairs()
    for step in range(n_steps):
        chosen = [texts[(step * BATCH + i) % len(texts)] for i in range(BATCH)]
        words = torch.zeros((2 * BATCH, LENGTH), dtype=torch.int64)
        mask = torch.zeros((2 * BATCH, LENGTH), dtype=torch.bool)
        for i, text in enumerate([first for first, _ in chosen] + [second for _, second in chosen]):
            pieces = [
                vocabulary["[CLS]"],
                *minilm.tokens(text, vocabulary)[: LENGTH - 2],
                vocabulary["[SEP]"],
            ]
            words[i, : len(pieces)] = torch.tensor(pieces)
            mask[i, : len(pieces)] = True
        yield words, mask


def checkpoints(base: Weights, steps: tuple[int, ...]) -> Iterator[Weights]:
    """Yield the weights after each of some numbers of steps."""
    import torch

    torch.manual_seed(0)
    weights = {name: torch.tensor(values, requires_grad=True) for name, values in base.items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=RATE)
    for step, (words, mask) in enumerate(batches(max(steps)), start=1):
        found = vectors(weights, words, mask)
        loss = torch.nn.functional.cross_entropy(
            found[:BATCH] @ found[BATCH:].T / TEMPERATURE, torch.arange(BATCH)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in steps:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
            yield {name: values.detach().numpy().copy() for name, values in weights.items()}
