"""Small classifiers of texts with exact, RACE and linear attention.

A classifier of one layer finds the package of the standard library that a piece of source is from, by the
mean over the piece. A piece has 512 words and signs, of which the 1,000 most frequent have numbers of their
own. Packages have at least LEAST pieces, and files of training and of the test are different ones. All models
are trained on the same PIECES pieces, once, with the same optimiser and learning rate. RACE attention has 8
tables of 2 bits. "none" has no attention: it is the mean of what a small network makes of each word.

± is the standard error over SEEDS. Seconds are processor time of training on one thread.
"""

import small_models
import torch
from measure import parse, show, write
from parameter_sharing import summarised
from small_models import Model, one_thread, shuffled, train
from torch.nn.functional import cross_entropy

SEEDS, PIECES, BATCH = (1, 2, 3), 1600, 4
WORDS, LENGTH, LEAST = 1000, 512, 100
KINDS = {
    "none": None,
    "exact": small_models.exact,
    "RACE": small_models.race(8, 2, 4.0),
    "linear": small_models.linear,
}


def loss_of(model, batch):
    return cross_entropy(model(batch[0]), batch[1])


def main():
    arguments = parse(__doc__, "attention_classifiers")
    one_thread()
    training, test, n_classes = small_models.pieces(LENGTH, WORDS, LEAST)
    print(f"{len(training[0]):,} pieces for training, {len(test[0]):,} held out, {n_classes} packages")
    largest = test[1].bincount().max().item() / len(test[1])
    print(f"share of the largest package: {largest:.3f}", flush=True)
    runs, sizes = {}, {}
    for n_seeds, seed in enumerate(SEEDS, 1):
        for name, kind in KINDS.items():
            model = Model(kind, WORDS, seed, layers=1, n_classes=n_classes)
            sizes[name] = sum(p.numel() for p in model.parameters())
            mixed = [tensor[:PIECES] for tensor in shuffled(seed, *training)]
            batches = list(zip(*(tensor.split(BATCH) for tensor in mixed), strict=True))
            spent = train(model, batches, loss_of)
            with torch.no_grad():
                found = torch.cat([model(some).argmax(1) for some in test[0].split(16)])
            accuracy = (found == test[1]).float().mean().item()
            runs.setdefault(name, []).append({"accuracy": accuracy, "training, s": spent})
            print(seed, name, runs[name][-1], flush=True)
        # A run takes minutes: what the first seeds have found is kept.
        rows = [{"attention": name, "parameters": sizes[name]} | summarised(runs[name]) for name in KINDS]
        for row in rows:
            row.pop("training, s ±", None)
            row["seeds"] = n_seeds
        write(arguments.json, rows)
    show("package of a piece of source", rows)


if __name__ == "__main__":
    main()
