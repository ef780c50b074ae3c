"""Predict the next word with hashed pairs of words in place of attention (PairConnect), beside attention.

The text is the Python language reference, which Python ships as `pydoc_data`, and the docstrings of the
standard library, in lower case: the 1,000 most frequent words and signs, all others being one word. Each
tenth document is held out. Windows have 32 words, and a model predicts each word from those before it in
the window.

All models have the same table of words (32 columns), which is also the output layer, the same hidden layer,
and the same optimiser, Adam; arrays of pairs have Adagrad. "attention" has 4 heads in each layer. "pairs"
adds up a row of `PairMap` for each pair of the last word and one of the 8 before it, times a number of
their distance: a million pairs with 32 columns are 32 million entries, in the parameters stated. "last word
only" has neither. "loss" is the mean negative logarithm of the probability, in nats a word, on the held-out
documents. Every model takes one pass. ± is the standard error over the seeds. "ms a step" is processor time
of training on 512 words.
"""

import ast
import re
import sysconfig
import time
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import torch
from measure import parse, show, write
from mergesketch import PairMap, SharedParameters, set_num_threads
from parameter_sharing import summarised
from parameter_tables import Gather

WORDS, WINDOW, REACH, D, HIDDEN, HEADS = 1000, 32, 8, 32, 128, 4
BATCH, RATE, PAIR_RATE, SEEDS = 16, 0.015, 0.1, (1, 2, 3)
ARRAYS = (10_000, 100_000, 1_000_000)


def documents():
    """Yield the topics of the reference, and the docstrings of the library that is installed."""
    yield from topics.values()
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if {"site-packages", "test", "tests", "idle_test"} & set(path.parts):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (
                told := ast.get_docstring(node)
            ):
                yield told


def windows():
    """Return the windows of training and of the test: (n, WINDOW + 1) numbers of words."""
    texts = [re.findall(r"[a-z]+|[0-9]+|[^\sa-z0-9]", text.lower()) for text in documents()]
    counts = Counter(word for text in texts for word in text)
    number = {word: i for i, (word, _) in enumerate(counts.most_common(WORDS - 1))}
    parts = []
    for held in (False, True):
        some = [text for i, text in enumerate(texts) if (i % 10 == 9) == held]
        stream = np.array([number.get(word, WORDS - 1) for text in some for word in text])
        n = (len(stream) - 1) // WINDOW
        parts.append(torch.tensor(np.stack([stream[i * WINDOW : (i + 1) * WINDOW + 1] for i in range(n)])))
    return parts


class LastWord(torch.nn.Module):
    """A model that sees the last word alone; others add the words before it."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.words = torch.nn.Embedding(WORDS, D)
        torch.nn.init.normal_(self.words.weight, std=0.1)
        self.hidden = torch.nn.Sequential(
            torch.nn.LayerNorm(D), torch.nn.Linear(D, HIDDEN), torch.nn.GELU(), torch.nn.Linear(HIDDEN, D)
        )
        self.norm = torch.nn.LayerNorm(D)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def context(self, ids, rows):
        return rows

    def forward(self, ids):
        rows = self.context(ids, self.words(ids))
        rows = self.norm(rows + self.hidden(rows))
        return self.scale * rows @ self.words.weight.T


class Attention(LastWord):
    def __init__(self, seed, layers):
        super().__init__(seed)
        self.places = torch.nn.Parameter(torch.randn(WINDOW, D) * 0.1)
        self.layers = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(
                D, HEADS, HIDDEN, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.later = torch.nn.Transformer.generate_square_subsequent_mask(WINDOW)

    def context(self, ids, rows):
        rows = rows + self.places
        for layer in self.layers:
            rows = layer(rows, src_mask=self.later, is_causal=True)
        return rows


class Pairs(LastWord):
    def __init__(self, seed, m):
        super().__init__(seed)
        self.array = torch.nn.Parameter(torch.zeros(m))
        self.factors = torch.nn.Parameter(torch.ones(REACH, 1))
        self.shared = SharedParameters.from_weights(
            self.array.detach().numpy(), PairMap(D), seed=seed, copy=False
        )

    def context(self, ids, rows):
        # Words before the window are the number WORDS, which no word has.
        before = torch.nn.functional.pad(ids, (REACH, 0), value=WORDS).unfold(1, REACH, 1)[:, :-1].flip(-1)
        pairs = torch.stack([before, ids[..., None].expand_as(before)], dim=-1)
        return rows + (self.factors * Gather.apply(self.array, self.shared, pairs, D, 0)).sum(-2)


def loss_of(model, some):
    logits = model(some[:, :-1])
    return torch.nn.functional.cross_entropy(logits.reshape(-1, WORDS), some[:, 1:].reshape(-1))


def run(make, seed, train, test):
    """Train a model, and return its loss and the time of a step."""
    model, rng = make(seed), np.random.default_rng(seed)
    steps = len(train) // BATCH
    # Most pairs are seen a few times: Adagrad takes short steps for them, Adam long ones.
    pairs = [p for name, p in model.named_parameters() if name == "array"]
    others = [p for name, p in model.named_parameters() if name != "array"]
    optimisers = [torch.optim.Adam(others, RATE, fused=True)]
    optimisers += [torch.optim.Adagrad(pairs, PAIR_RATE)] if pairs else []
    falling = torch.optim.lr_scheduler.OneCycleLR(optimisers[0], RATE, steps, pct_start=0.1)
    start = time.process_time()
    for at in torch.tensor(rng.permutation(len(train))[: steps * BATCH]).split(BATCH):
        model.zero_grad()
        loss_of(model, train[at]).backward()
        for optimiser in optimisers:
            optimiser.step()
        falling.step()
    took = (time.process_time() - start) / steps
    with torch.no_grad():
        losses = [loss_of(model, some) * len(some) for some in test.split(BATCH)]
    return {"loss": sum(losses).item() / len(test), "ms a step": 1e3 * took}


def main():
    arguments = parse(__doc__, "parameter_sharing_words")
    torch.set_num_threads(1)
    set_num_threads(1)
    train, test = windows()
    print(f"{train.numel():,} words for training, {test.numel():,} held out")
    models = {"last word only": LastWord}
    models |= {f"attention, {n} layer{'s' * (n > 1)}": lambda seed, n=n: Attention(seed, n) for n in (1, 2)}
    models |= {f"pairs, {m:,} shared": lambda seed, m=m: Pairs(seed, m) for m in ARRAYS}
    found = []
    for name, make in models.items():
        row = {"model": name, "parameters": sum(p.numel() for p in make(0).parameters())}
        row |= summarised([run(make, seed, train, test) for seed in SEEDS])
        row.pop("ms a step ±")
        found.append(row)
        print(row, flush=True)
    show("next word", found)
    write(arguments.json, found)


if __name__ == "__main__":
    main()
