"""Small language models with exact, RACE and linear attention, and with pairs of words in place of attention.

A model predicts the next word of the Python language reference and of docstrings of the standard library: the
1,000 most frequent words and signs, all others being one. It has 2 layers of 64 columns with 4 heads, and
windows of 256 words. Of ten documents, eight are for training, one for validation, and one for the test. All
models are trained on the same WINDOWS windows, once, with the optimiser AdamW (Adagrad for arrays of pairs)
and the same learning rate. "loss" is the mean negative logarithm of the probability, in nats a word, on the
test documents. The tables, bits and beta of RACE attention are those with the least loss on validation
documents after TRIED steps with the first seed.

± is the standard error over SEEDS. Seconds are processor time of training on one thread. Curves of the loss
on validation documents against time are in `attention_models_curves.json`.
"""

from pathlib import Path

import numpy as np
import small_models
import torch
from measure import parse, show, write
from parameter_sharing import summarised
from small_models import Model, one_thread, shuffled, train
from torch.nn.functional import cross_entropy

SEEDS, WINDOWS, TRIED, BATCH, WORDS = (1, 2, 3), 1200, 150, 2, 1000
#: Tables, bits and beta that are tried for RACE attention.
RACES = ((8, 2, 4.0), (4, 4, 4.0), (8, 3, 4.0))
#: Parameters of the arrays of pairs.
ARRAYS = (100_000, 1_000_000)
#: Steps from one evaluation to the next, and its windows.
EVERY, SOME = 150, 35
#: Queries, keys and values of the trained model, which other benchmarks read.
CACHE = Path.home() / ".cache" / "mergesketch_benchmarks"


def next_word(model, windows):
    return cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())


def mean_loss(model, windows):
    with torch.no_grad():
        losses = [next_word(model, some).item() * len(some) for some in windows.split(16)]
    return sum(losses) / len(windows)


def trained(kind, seed, parts, steps=WINDOWS // BATCH):
    """Return a trained model, the seconds of training, and rows of its loss on the way."""
    training, validation, _ = parts
    some = validation[:: len(validation) // SOME]
    model, curve = Model(kind, WORDS, seed), []
    batches = shuffled(seed, training)[0][:WINDOWS].split(BATCH)[:steps]

    def watch(step, seconds):
        if step % EVERY == 0:
            curve.append({"step": step, "seconds": seconds, "loss": mean_loss(model, some)})

    return model, train(model, batches, next_word, watch), curve


def chosen_race(parts):
    """Return the options of RACE attention that have the least loss on validation windows."""
    losses = {}
    for options in RACES:
        losses[options] = trained(small_models.race(*options), SEEDS[0], parts, TRIED)[2][-1]["loss"]
        print(
            f"{options[0]} tables of {options[1]} bits, beta {options[2]}: {losses[options]:.3f}", flush=True
        )
    return min(losses, key=losses.get)


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
        save_qkv(trained(small_models.exact, SEEDS[0], parts)[0], parts[1][0, :-1])
    with np.load(path) as found:
        return found["q"], found["k"], found["v"]


def main():
    arguments = parse(__doc__, "attention_models")
    one_thread()
    parts = small_models.windows(WORDS)
    print(
        "words of training, validation and test:", *(f"{part[:, 1:].numel():,}" for part in parts), flush=True
    )
    options = chosen_race(parts)
    race = "RACE, {} tables of {} bits, beta {:g}".format(*options)
    kinds = {"none": None, "exact": small_models.exact, race: small_models.race(*options)}
    kinds |= {"linear": small_models.linear} | {f"pairs, {n:,} shared": n for n in ARRAYS}
    runs, curves, sizes = {}, {}, {}
    for n_seeds, seed in enumerate(SEEDS, 1):
        for name, kind in kinds.items():
            model, spent, curve = trained(kind, seed, parts)
            sizes[name] = sum(p.numel() for p in model.parameters())
            runs.setdefault(name, []).append({"loss": mean_loss(model, parts[2]), "training, s": spent})
            curves.setdefault(name, []).append(curve)
            print(seed, name, runs[name][-1], flush=True)
            if name == "exact" and n_seeds == 1:
                save_qkv(model, parts[1][0, :-1])
        # A run takes minutes: what the first seeds have found is kept.
        rows = [{"model": name, "parameters": sizes[name]} | summarised(runs[name]) for name in kinds]
        for row in rows:
            row.pop("training, s ±", None)
            row["seeds"] = n_seeds
        write(arguments.json, rows)
        points = [
            {"model": name, "step": at[0]["step"]}
            | summarised([{"seconds": point["seconds"], "loss": point["loss"]} for point in at])
            for name in kinds
            for at in zip(*curves[name], strict=True)
        ]
        write(arguments.json.with_name(f"{arguments.json.stem}_curves.json"), points)
    show("next word", rows)


if __name__ == "__main__":
    main()
