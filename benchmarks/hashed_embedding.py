"""Measure the layers of PyTorch that share parameters: a classifier of real texts, and the speed of a step.

The texts are the short descriptions of Debian's packages, from the lists that ``apt-get update`` leaves
behind, and the classes are the sections of the archive. Features are words, and pairs of words that follow
each other. Packages of every fifth source are held back, so that no package is judged by its siblings. Each
classifier is a mean of embeddings and a linear layer, trained by Adam for EPOCHS epochs with each of SEEDS
seeds. "Four rows modulo" adds up four rows for each feature, at the remainders of four hashes, as the
HashEmbed of spaCy does.

The speed is that of sums of bags, and of a step of training them, on one thread in processor time, beside
the bag of PyTorch with a full table. It has sparse gradients: dense ones have the size of the table.
"""

import re
import subprocess
import sys
from collections import Counter
from functools import partial
from itertools import pairwise

import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from mergesketch import RobeMap

WIDTH, EPOCHS, BATCH, SEEDS = 32, 4, 256, 3
RATIOS = (1, 10, 100, 1000)
#: The step that is timed: bags of rows of 64 columns, and parameters that stay in the caches.
BAGS, SIZE, COLUMNS, PARAMETERS, REPEATS = 2048, 20, 64, 1 << 18, 15
TABLES = (100_000, 1_000_000, 4_000_000)
NEEDED = (
    "this benchmark needs PyTorch, and the lists of packages that apt-get update leaves on a Debian system"
)


def packages():
    """Return the descriptions, sections and sources of packages."""
    try:
        done = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    found = {}
    for stanza in done.stdout.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Source|Section|Description): (.*)$", stanza, re.MULTILINE))
        if len({"Package", "Section", "Description"} & fields.keys()) == 3:
            source = fields.get("Source", fields["Package"]).split()[0]
            found[fields["Package"]] = (fields["Description"], fields["Section"], source)
    return list(found.values())


def features(text):
    words = re.findall(r"\w+", text.lower())
    return words + [f"{a} {b}" for a, b in pairwise(words)] or [""]


class Texts:
    """Features of texts as numbers and as hashes, and their classes."""

    def __init__(self):
        from mergesketch import hash_ids

        rows = packages()
        common = {name for name, n in Counter(section for _, section, _ in rows).items() if n >= 100}
        rows = [row for row in rows if row[1] in common]
        lists = [features(text) for text, _, _ in rows]
        sections = sorted(common)
        self.classes = np.array([sections.index(section) for _, section, _ in rows])
        self.n_classes = len(sections)
        sources = mergesketch.hash_keys([source for _, _, source in rows], seed=1)
        self.is_held_back = sources % np.uint64(5) == 0
        flat = [feature for features in lists for feature in features]
        self.offsets = np.concatenate([[0], np.cumsum([len(features) for features in lists])])
        self.hashes = hash_ids(flat).numpy()
        # A vocabulary has the features of the texts that are trained on; others have one row.
        held = np.repeat(self.is_held_back, np.diff(self.offsets))
        known, numbers = np.unique(self.hashes[~held], return_inverse=True)
        self.n_known = len(known)
        self.numbers = np.full(len(flat), len(known))
        self.numbers[~held] = numbers
        places = np.minimum(np.searchsorted(known, self.hashes[held]), len(known) - 1)
        self.numbers[held] = np.where(known[places] == self.hashes[held], places, len(known))

    def batches(self, which, ids, rng=None):
        import torch

        which = which if rng is None else rng.permutation(which)
        for start in range(0, len(which), BATCH):
            rows = which[start : start + BATCH]
            parts = [np.arange(self.offsets[row], self.offsets[row + 1]) for row in rows]
            some = ids[np.concatenate(parts)]
            offsets = np.cumsum([0, *(len(part) for part in parts[:-1])]) * (some.size // len(some))
            yield (
                torch.from_numpy(some.reshape(-1)),
                torch.from_numpy(offsets),
                torch.from_numpy(self.classes[rows]),
            )


def kinds(texts):
    """Yield a name, a compression and a function that makes embeddings, their width and ids."""
    import torch
    from mergesketch import HashedEmbeddingBag

    full = (texts.n_known + 1) * WIDTH
    yield "full table", 1, partial(torch.nn.EmbeddingBag, texts.n_known + 1, WIDTH), WIDTH, texts.numbers
    for ratio in RATIOS[1:]:
        m = full // ratio
        arguments = {"n_parameters": m, "map": RobeMap(WIDTH)}
        yield (
            "HashedEmbeddingBag",
            ratio,
            partial(HashedEmbeddingBag, None, WIDTH, **arguments),
            WIDTH,
            texts.hashes,
        )
        rows = m // WIDTH
        modulo = texts.hashes.view(np.uint64) % np.uint64(rows)
        yield (
            "rows modulo",
            ratio,
            partial(torch.nn.EmbeddingBag, rows, WIDTH),
            WIDTH,
            modulo.astype(np.int64),
        )
        four = np.stack([mergesketch.hash_keys(texts.hashes, seed=seed) for seed in range(4)], axis=1)
        four = (four % np.uint64(rows)).astype(np.int64)
        yield "four rows modulo", ratio, partial(torch.nn.EmbeddingBag, rows, WIDTH), WIDTH, four
        width = WIDTH // ratio
        if width:
            yield (
                "fewer columns",
                ratio,
                partial(torch.nn.EmbeddingBag, texts.n_known + 1, width),
                width,
                texts.numbers,
            )


def accuracy(texts, make, width, ids, seed):
    """Return the share of held back texts whose class is found."""
    import torch

    torch.manual_seed(seed)
    bag = make()
    torch.nn.init.normal_(next(bag.parameters()), 0.0, 0.1)
    model = torch.nn.ModuleList([bag, torch.nn.Linear(width, texts.n_classes)])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        for some, offsets, classes in texts.batches(np.flatnonzero(~texts.is_held_back), ids, rng):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model[1](bag(some, offsets)), classes).backward()
            optimizer.step()
    with torch.inference_mode():
        right = [
            (model[1](bag(some, offsets)).argmax(dim=1) == classes).sum().item()
            for some, offsets, classes in texts.batches(np.flatnonzero(texts.is_held_back), ids)
        ]
    return sum(right) / int(texts.is_held_back.sum())


def accuracies():
    if not packages():
        print(NEEDED, file=sys.stderr)
        return []
    texts = Texts()
    found = []
    for name, ratio, make, width, ids in kinds(texts):
        shares = [accuracy(texts, make, width, ids, seed) for seed in range(SEEDS)]
        found.append(
            {
                "embedding": name,
                "compression": ratio,
                "parameters": sum(p.numel() for p in make().parameters()),
                "accuracy": float(np.mean(shares)),
                "deviation of seeds": float(np.std(shares, ddof=1)),
            }
        )
        print(found[-1], flush=True)
    return found


def kept():
    """Return how much of the word embeddings of a trained model is kept without further training."""
    import minilm
    import torch
    from mergesketch import HashedEmbedding

    if not minilm.is_installed():
        return []
    table = torch.from_numpy(np.ascontiguousarray(minilm.MiniLM().words, np.float32))
    spread = (table - table.mean(dim=0)).square().sum()
    found = []
    for ratio in (2, 4, 10):
        layer = HashedEmbedding.from_pretrained(table, table.numel() // ratio)
        error = (layer.weight.detach() - table).square().sum()
        found.append({"compression": ratio, "kept of the variance": 1.0 - (error / spread).item()})
    return found


def step(bag, optimizer, ids):
    """Compute sums of rows, the gradient of the parameters, and the parameters after a step."""
    optimizer.zero_grad()
    bag(ids).square().sum().backward()
    optimizer.step()


def speeds():
    import time

    import torch
    from mergesketch import HashedEmbeddingBag

    found = []
    for n_rows in TABLES:
        ids = torch.from_numpy(np.random.default_rng(0).integers(0, n_rows, (BAGS, SIZE)))
        ours = HashedEmbeddingBag(n_rows, COLUMNS, mode="sum", n_parameters=PARAMETERS)
        theirs = torch.nn.EmbeddingBag(n_rows, COLUMNS, mode="sum", sparse=True)
        with torch.inference_mode():
            forward = best_of(
                {"ours": partial(ours, ids), "theirs": partial(theirs, ids)}, REPEATS, time.process_time
            )
        both = best_of(
            {
                name: partial(step, bag, torch.optim.SGD(bag.parameters(), lr=1e-6), ids)
                for name, bag in (("ours", ours), ("theirs", theirs))
            },
            REPEATS,
            time.process_time,
        )
        for name, times in (("forward", forward), ("step of SGD", both)):
            found.append(
                {
                    "pass": name,
                    "rows of the table": n_rows,
                    "ours, rows/s": BAGS * SIZE / times["ours"],
                    "torch.nn.EmbeddingBag, rows/s": BAGS * SIZE / times["theirs"],
                    "ratio": times["theirs"] / times["ours"],
                }
            )
    return found


def main() -> None:
    arguments = parse(__doc__ or "", "hashed_embedding")
    try:
        import torch
    except ImportError:
        print(NEEDED, file=sys.stderr)
        return
    mergesketch.set_num_threads(1)
    torch.set_num_threads(1)
    fast = speeds()
    show("speed of a bag", fast)
    trained = kept()
    show("word embeddings of all-MiniLM-L6-v2, as hashed rows without training", trained)
    good = accuracies()
    show("sections of Debian's packages by their descriptions", good)
    write(arguments.json, [*good, *fast, *trained])


if __name__ == "__main__":
    main()
