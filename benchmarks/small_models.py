"""Small transformers whose attention can be exchanged, and the texts on which they are trained.

The texts are shipped with Python: the language reference, which is `pydoc_data`, and the docstrings and
sources of the standard library. "exact" is `scaled_dot_product_attention`, "RACE" is `race_attention` of
queries and keys of length 1, and "linear" is that of Katharopoulos et al. 2020 with the features elu + 1.
"pairs" add up a row of `PairMap` for the last token and each of the 8 before it, times a number of their
distance, in place of attention (PairConnect). "none" sees the last token alone.
"""

import re
import sysconfig
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from mergesketch import PairMap, SharedParameters, race_attention, set_num_threads
from parameter_sharing_words import documents
from parameter_tables import Gather
from torch.nn import functional

__all__ = [
    "CONTEXT",
    "Model",
    "exact",
    "linear",
    "one_thread",
    "pieces",
    "race",
    "shuffled",
    "train",
    "windows",
]

WIDTH, HEADS, CONTEXT, REACH = 64, 4, 256, 8
RATE, PAIR_RATE = 4e-3, 0.1


def exact(q, k, v, causal):
    return functional.scaled_dot_product_attention(q, k, v, is_causal=causal)


def race(n_hashes, power, beta):
    def attend(q, k, v, causal):
        q, k = (functional.normalize(x, dim=-1) for x in (q, k))
        options = {"n_hashes": n_hashes, "power": power, "beta": beta}
        return race_attention(q, k, v, is_causal=causal, scale=1.0, **options)

    return attend


def linear(q, k, v, causal):
    """Return attention with the weights f(q) . f(k), where f = elu + 1."""
    q, k = functional.elu(q) + 1.0, functional.elu(k) + 1.0
    v = functional.pad(v, (0, 1), value=1.0)
    # At these lengths comparing all pairs is faster than carrying sums from token to token.
    sums = (q @ k.mT).tril() @ v if causal else q @ (k.mT @ v)
    return sums[..., :-1] / sums[..., -1:]


def rotated(x):
    """Return rows of which pairs of columns are turned by angles that grow with the position."""
    n, half = x.shape[-2], x.shape[-1] // 2
    angles = torch.arange(n)[:, None] * 100.0 ** (-torch.arange(half) / half)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], dim=-1)


class Attention(torch.nn.Module):
    """Attention of several heads, with matrices before and behind it."""

    def __init__(self, attend, causal):
        super().__init__()
        self.attend, self.causal = attend, causal
        self.inputs, self.output = torch.nn.Linear(WIDTH, 3 * WIDTH), torch.nn.Linear(WIDTH, WIDTH)

    def split(self, x):
        q, k, v = self.inputs(x).unflatten(-1, (3, HEADS, -1)).movedim((-3, -2), (0, 2))
        return rotated(q), rotated(k), v

    def forward(self, x, ids):
        return self.output(self.attend(*self.split(x), self.causal).transpose(1, 2).flatten(2))


class Pairs(torch.nn.Module):
    """The sum of a row for each pair of the last token and one before, times a number of the distance."""

    def __init__(self, n_parameters, n_tokens, seed):
        super().__init__()
        self.n_tokens = n_tokens
        self.array = torch.nn.Parameter(torch.zeros(n_parameters))
        self.factors = torch.nn.Parameter(torch.ones(REACH, 1))
        self.shared = SharedParameters.from_weights(
            self.array.detach().numpy(), PairMap(WIDTH), seed=seed, copy=False
        )

    def forward(self, x, ids):
        # Tokens before the window are the number n_tokens, which no token has.
        before = functional.pad(ids, (REACH, 0), value=self.n_tokens).unfold(1, REACH, 1)[:, :-1].flip(-1)
        pairs = torch.stack([before, ids[..., None].expand_as(before)], dim=-1)
        return (self.factors * Gather.apply(self.array, self.shared, pairs, WIDTH, 0)).sum(-2)


class Block(torch.nn.Module):
    def __init__(self, mix):
        super().__init__()
        self.mix = mix
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.hidden = torch.nn.Sequential(
            torch.nn.LayerNorm(WIDTH),
            torch.nn.Linear(WIDTH, 4 * WIDTH),
            torch.nn.GELU(),
            torch.nn.Linear(4 * WIDTH, WIDTH),
        )

    def forward(self, x, ids):
        if self.mix is not None:
            x = x + self.mix(self.norm(x), ids)
        return x + self.hidden(x)


class Model(torch.nn.Module):
    """Layers of attention, or of pairs, that predict the next token, or a class if `n_classes` is given.

    Positions are in the angles of queries and keys (rotary embeddings).

    `kind` is a function of attention, a number of parameters of pairs, or None. Pairs are in the first layer.
    """

    def __init__(self, kind, n_tokens, seed, layers=2, n_classes=None):
        super().__init__()
        torch.manual_seed(seed)
        self.n_classes = n_classes
        self.tokens = torch.nn.Embedding(n_tokens, WIDTH)
        torch.nn.init.normal_(self.tokens.weight, std=0.1)
        self.blocks = torch.nn.ModuleList()
        for layer in range(layers):
            mix = Attention(kind, causal=n_classes is None) if callable(kind) else None
            if isinstance(kind, int) and layer == 0:
                mix = Pairs(kind, n_tokens, seed)
            self.blocks.append(Block(mix))
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.output = torch.nn.Linear(WIDTH, n_tokens if n_classes is None else n_classes)

    def forward(self, ids):
        x = self.tokens(ids)
        for block in self.blocks:
            x = block(x, ids)
        x = self.norm(x)
        return self.output(x if self.n_classes is None else x.mean(1))

    def qkv(self, ids):
        """Return queries, keys and values of one window: arrays of shape (layers, heads, tokens, columns)."""
        x, found = self.tokens(ids[None]), []
        with torch.no_grad():
            for block in self.blocks:
                found.append(torch.cat(block.mix.split(block.norm(x))))
                x = block(x, ids)
        return torch.stack(found).detach().numpy().swapaxes(0, 1)


def one_thread():
    torch.set_num_threads(1)
    set_num_threads(1)


def shuffled(seed, *tensors):
    order = torch.tensor(np.random.default_rng(seed).permutation(len(tensors[0])))
    return [tensor[order] for tensor in tensors]


def train(model, batches, loss_of, watch=lambda step, seconds: None):
    """Train a model, and return the seconds that the steps took; `watch` is called after each."""
    named = list(model.named_parameters())
    # Most pairs are seen a few times: Adagrad takes short steps for them, Adam long ones.
    pairs = [p for name, p in named if name.endswith("array")]
    others = [p for name, p in named if not name.endswith("array")]
    optimisers = [torch.optim.AdamW(others, RATE, fused=True)]
    optimisers += [torch.optim.Adagrad(pairs, PAIR_RATE)] if pairs else []
    rate = torch.optim.lr_scheduler.OneCycleLR(optimisers[0], RATE, len(batches), pct_start=0.1)
    spent = 0.0
    for step, batch in enumerate(batches, 1):
        start = time.process_time()
        model.zero_grad()
        loss_of(model, batch).backward()
        for optimiser in optimisers:
            optimiser.step()
        rate.step()
        spent += time.process_time() - start
        watch(step, spent)
    return spent


def split_words(text):
    return re.findall(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]", text)


def numbered(texts, n_words):
    """Return a function that turns words into numbers: the most frequent ones, and one for all others."""
    counts = Counter(word for words in texts for word in words)
    number = {word: i for i, (word, _) in enumerate(counts.most_common(n_words - 1))}
    return lambda words: [number.get(word, n_words - 1) for word in words]


def windows(n_words):
    """Return windows of words for training, for validation and for the test: (n, CONTEXT + 1) numbers."""
    texts = [split_words(text.lower()) for text in documents()]
    numbers, parts = numbered([words for i, words in enumerate(texts) if i % 10 < 8], n_words), []
    for held in (range(8), (8,), (9,)):
        stream = np.array([n for i, words in enumerate(texts) if i % 10 in held for n in numbers(words)])
        n = (len(stream) - 1) // CONTEXT
        parts.append(torch.tensor(np.stack([stream[i * CONTEXT : (i + 1) * CONTEXT + 1] for i in range(n)])))
    return parts


def pieces(length, n_words, least):
    """Return pieces of sources of the standard library, and the packages that they are from.

    Packages have at least `least` pieces. Each fifth file is held out. Returns two pairs of tensors, of shape
    (n, length) and (n,), and the number of packages.
    """
    root, found = Path(sysconfig.get_paths()["stdlib"]), []
    for path in sorted(root.rglob("*.py")):
        package, *below = path.relative_to(root).parts
        if below and package not in ("site-packages", "test", "pydoc_data"):
            found.append((package, split_words(path.read_text(encoding="utf-8", errors="replace"))))
    sizes = Counter()
    for package, words in found:
        sizes[package] += len(words) // length
    packages = sorted(package for package, n in sizes.items() if n >= least)
    numbers, parts = numbered([words for i, (_, words) in enumerate(found) if i % 5 != 4], n_words), []
    for held in (False, True):
        rows, classes = [], []
        for i, (package, words) in enumerate(found):
            if package in packages and (i % 5 == 4) == held:
                for a in range(0, len(words) - length + 1, length):
                    rows.append(numbers(words[a : a + length]))
                    classes.append(packages.index(package))
        parts.append((torch.tensor(rows), torch.tensor(classes)))
    return *parts, len(packages)
