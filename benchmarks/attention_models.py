"""Small models with exact, RACE and linear attention, and with pairs of tokens in place of attention.

A language model predicts the next word of the Python language reference and of docstrings of the standard
library: the 1,000 most frequent words and signs, all others being one. It has 2 layers of 64 columns with 4
heads, and windows of 256 words. Of ten documents, eight are for training, one for validation, and one for
the test. All models take one pass over the same windows, with the optimiser AdamW (Adagrad for arrays of
pairs) and the same learning rate. "loss" is the mean negative logarithm of the probability, in nats a word,
on the test documents. The tables, bits and beta of RACE attention are those with the least loss on
validation documents after TRIED steps with the first seed.

A classifier of one layer finds the package of the standard library that a piece of 512 words of source is
from, by the mean over the piece. Files of training and of the test are different ones.

± is the standard error over SEEDS. Seconds are processor time of training on one thread. Curves of the loss
on validation documents against time are in `attention_models_curves.json`.
"""

import time
from pathlib import Path

import numpy as np
import small_models
import torch
from measure import parse, show, write
from mergesketch import set_num_threads
from parameter_sharing import summarised
from small_models import Model
from torch.nn.functional import cross_entropy

SEEDS, TRIED, BATCH, RATE, PAIR_RATE = (1, 2, 3), 200, 2, 8e-3, 0.1
#: Tables, bits and beta that are tried for RACE attention.
RACES = ((8, 2, 2.0), (16, 2, 2.0), (8, 3, 1.0), (8, 3, 2.0), (8, 3, 4.0))
ARRAYS = (100_000, 1_000_000)
#: Evaluations on the way, of some windows.
EVERY, SOME = 100, 64
WORDS, LENGTH, LEAST = 1000, 512, 100
#: Queries, keys and values of the trained model, which other benchmarks read.
CACHE = Path.home() / ".cache" / "mergesketch_benchmarks"


def one_thread():
    torch.set_num_threads(1)
    set_num_threads(1)


def train(model, batches, loss_of, watch=lambda step, seconds: None):
    """Train a model, and return the seconds that the steps took; `watch` is called every EVERY steps."""
    named = list(model.named_parameters())
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
        if step % EVERY == 0:
            watch(step, spent)
    return spent


def next_word(model, windows):
    return cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())


def mean_loss(model, windows):
    with torch.no_grad():
        losses = [next_word(model, some).item() * len(some) for some in windows.split(32)]
    return sum(losses) / len(windows)


def shuffled(seed, *tensors):
    order = torch.tensor(np.random.default_rng(seed).permutation(len(tensors[0])))
    return [tensor[order] for tensor in tensors]


def language_model(kind, seed, parts, steps=None):
    """Return a trained model, the seconds of training, and its curve."""
    training, validation, _ = parts
    some = validation[:: len(validation) // SOME]
    model, curve = Model(kind, WORDS, seed), []
    batches = shuffled(seed, training)[0].split(BATCH)[:steps]

    def watch(step, seconds):
        curve.append({"step": step, "seconds": seconds, "loss": mean_loss(model, some)})

    spent = train(model, batches, next_word, watch)
    return model, spent, curve


def chosen_race(parts):
    """Return the options of RACE attention that have the least loss on validation windows, and all losses."""
    losses = {}
    for options in RACES:
        _, _, curve = language_model(small_models.race(*options), SEEDS[0], parts, TRIED)
        losses[options] = curve[-1]["loss"]
        print(
            f"{options[0]} tables of {options[1]} bits, beta {options[2]}: {losses[options]:.3f}", flush=True
        )
    return min(losses, key=losses.get)


def language(kinds, parts):
    """Yield a row and a curve for each kind of model."""
    for name, kind in kinds.items():
        runs, curves = [], []
        for seed in SEEDS:
            model, spent, curve = language_model(kind, seed, parts)
            runs.append({"loss": mean_loss(model, parts[2]), "training, s": spent})
            curves.append(curve)
            if name == "exact" and seed == SEEDS[0]:
                save_qkv(model, parts[1][0, :-1])
        row = {"model": name, "parameters": sum(p.numel() for p in model.parameters())}
        row |= summarised(runs)
        row.pop("training, s ±")
        print(row, flush=True)
        yield row, curves_of(name, curves)


def curves_of(name, curves):
    """Return rows of the means over the seeds, and of their standard errors."""
    for points in zip(*curves, strict=True):
        losses = [point["loss"] for point in points]
        yield {
            "model": name,
            "step": points[0]["step"],
            "seconds": float(np.mean([point["seconds"] for point in points])),
            "loss": float(np.mean(losses)),
            "loss ±": float(np.std(losses, ddof=1) / np.sqrt(len(losses))),
        }


def save_qkv(model, window):
    CACHE.mkdir(parents=True, exist_ok=True)
    np.savez(CACHE / "attention_models_qkv.npz", **dict(zip("qkv", model.qkv(window), strict=True)))


def trained_qkv():
    """Return queries, keys and values of the model with exact attention in the first validation window.

    Three float32 arrays of shape (layers, heads, tokens, columns) = (2, 4, 256, 16). The model is causal.
    It is trained now, for some 20 seconds, unless its arrays have been kept.
    """
    path = CACHE / "attention_models_qkv.npz"
    if not path.exists():
        one_thread()
        parts = small_models.windows(WORDS)
        save_qkv(language_model(small_models.exact, SEEDS[0], parts)[0], parts[1][0, :-1])
    with np.load(path) as found:
        return found["q"], found["k"], found["v"]


def classified(kinds):
    """Yield a row for each kind of classifier."""
    training, test, n_classes = small_models.pieces(LENGTH, WORDS, LEAST)
    print(f"{len(training[0]):,} pieces for training, {len(test[0]):,} held out, {n_classes} packages")

    def loss_of(model, batch):
        return cross_entropy(model(batch[0]), batch[1])

    for name, kind in kinds.items():
        runs = []
        for seed in SEEDS:
            model = Model(kind, WORDS, seed, layers=1, n_classes=n_classes)
            mixed = shuffled(seed, *training)
            batches = list(zip(*(tensor.split(BATCH) for tensor in mixed), strict=True))
            spent = train(model, batches, loss_of)
            with torch.no_grad():
                found = torch.cat([model(some).argmax(1) for some in test[0].split(BATCH)])
            runs.append({"accuracy": (found == test[1]).float().mean().item(), "training, s": spent})
        row = {"classifier": name, "parameters": sum(p.numel() for p in model.parameters())}
        row |= summarised(runs)
        row.pop("training, s ±")
        print(row, flush=True)
        yield row


def main():
    arguments = parse(__doc__, "attention_models")
    one_thread()
    parts = small_models.windows(WORDS)
    options = chosen_race(parts)
    name = f"RACE, {options[0]} tables of {options[1]} bits, beta {options[2]:g}"
    kinds = {"exact": small_models.exact, name: small_models.race(*options), "linear": small_models.linear}
    attentions = {"none": None, **kinds}
    pairs = {f"pairs, {n:,} shared": n for n in ARRAYS}
    rows, curves = [], []
    for row, curve in language(attentions | pairs, parts):
        rows.append(row)
        curves += curve
    show("next word", rows)
    classifiers = list(classified(attentions))
    show("package of a piece of source", classifiers)
    write(arguments.json, rows + classifiers)
    write(arguments.json.with_name(f"{arguments.json.stem}_curves.json"), curves)


if __name__ == "__main__":
    main()
