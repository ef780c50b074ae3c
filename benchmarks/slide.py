"""Time to precision of SlideClassifier, beside the full softmax in PyTorch, other samplers, and omikuji.

All networks have 128 hidden units, the same distribution of first weights, Adam with the same learning rate
and batches of 256 rows. PyTorch reads the first layer as an `EmbeddingBag` with sparse gradients, and takes
steps with its fused Adam, which is its fastest way. Times are processor seconds of training steps on one
thread. Precision at 1 is that of 1,000 rows that were held out, and is measured outside of the time.

Targets of all labels as a dense matrix, which scikit-learn's `MLPClassifier` needs, and a linear model for
each label would take hours here, and are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", RAYON_NUM_THREADS="1")

import mergesketch
import numpy as np
from label_data import LabelData, debian_labels, generated_labels
from measure import RESULTS, show, write
from mergesketch import SlideClassifier
from mergesketch.sketches.learned.slide_batches import sparse_rows, take_batch
from mergesketch.sketches.learned.slide_targets import read_labels

HIDDEN, BATCH, RATE, TESTED = 128, 256, 0.004, 1000
#: Data sets: how they are made, the seconds of our networks and of PyTorch's, and the precisions whose times
#: are compared.
DATA: dict[str, tuple[Callable[[], Any], float, float, tuple[float, ...]]] = {
    "Debian": (debian_labels, 12.0, 36.0, (0.7, 0.75, 0.77)),
    "100,000 labels": (lambda: generated_labels(100_000, 200_000), 14.0, 100.0, (0.2, 0.25)),
    "1,000,000 labels": (lambda: generated_labels(1_000_000, 200_000), 28.0, 60.0, (0.1, 0.2)),
}
POINTS = 7
OURS: dict[str, dict[str, Any]] = {
    "lsh": {},
    "uniform": {"negatives": "uniform"},
    "frequency": {"negatives": "frequency"},
    "lsh, bfloat16": {"weights": "bfloat16"},
    "lsh, bfloat16 to nearest": {"weights": "bfloat16", "rounding": "nearest"},
    "lsh, winner take all": {"family": "winner_take_all"},
}

Row = dict[str, Any]


class Curve:
    """Precision against processor seconds, and the time of steps."""

    def __init__(self, limit: float, precision: Callable[[], float]) -> None:
        self.limit, self.used, self.steps, self.points = limit, 0.0, 0, []
        self._precision, self._next = precision, limit / POINTS

    def step(self, call: Callable[[], object]) -> bool:
        """Take a step, and tell whether there is time for another one."""
        start = time.process_time()
        call()
        self.used += time.process_time() - start
        self.steps += 1
        if self.used >= self._next:
            self.points.append((round(self.used, 2), round(self._precision(), 4)))
            print(f"    {self.points[-1]}", flush=True)
            self._next += self.limit / POINTS
        return self.used < self.limit

    def seconds_to(self, precision: float) -> float | str:
        """Return when the precision was reached, on straight lines between the points."""
        before = (0.0, 0.0)
        for point in self.points:
            if point[1] >= precision:
                share = (precision - before[1]) / (point[1] - before[1])
                return before[0] + share * (point[0] - before[0])
            before = point
        return ""


def ours(data: LabelData, options: Row, limit: float) -> Curve:
    """Train our network, a batch at a time, as `fit` does."""
    model = SlideClassifier(HIDDEN, learning_rate=RATE, **options).partial_fit(data.X[:1], data.Y[:1])
    targets, rows, network = read_labels(data.Y), sparse_rows(data.X), model.network_
    if options.get("negatives") == "frequency":
        for part in network.ranges:
            part.set_frequencies(targets.counts(data.Y.shape[1])[part.first : part.stop])
    few, few_labels = data.X_test[:TESTED], data.Y_test[:TESTED]
    curve = Curve(limit, lambda: model.precision_at_k(few, few_labels, 1))
    # The first tables were built for the row that made the network. Their time counts, too.
    start = time.process_time()
    for part in network.ranges:
        if part.tables is not None:
            part.tables.rebuild(part.layer.weights)
    curve.used = time.process_time() - start
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(targets.n)
        for a in range(0, len(order), BATCH):
            chosen = order[a : a + BATCH]
            if not curve.step(lambda chosen=chosen: network.train(take_batch(rows, targets, chosen))):
                return curve


def full_softmax(data: LabelData, limit: float) -> Curve | None:
    """Train the same network with the softmax over all labels in PyTorch."""
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: left out")
        return None
    torch.set_num_threads(1)
    torch.manual_seed(0)
    n, n_labels = data.X.shape[0], data.Y.shape[1]
    bag = torch.nn.EmbeddingBag(data.X.shape[1], HIDDEN, mode="sum", sparse=True)
    bias, out = torch.nn.Parameter(torch.zeros(HIDDEN)), torch.nn.Linear(HIDDEN, n_labels)
    torch.nn.init.uniform_(bag.weight, -0.05, 0.05)
    torch.nn.init.uniform_(out.weight, -(HIDDEN**-0.5), HIDDEN**-0.5)
    torch.nn.init.zeros_(out.bias)
    optimizers = (
        torch.optim.SparseAdam(list(bag.parameters()), lr=RATE),
        torch.optim.Adam([bias, *out.parameters()], lr=RATE, fused=True),
    )

    def scores(X: Any) -> Any:
        ids, bounds = X.indices.astype(np.int64), X.indptr[:-1].astype(np.int64)
        hidden = bag(
            torch.from_numpy(ids), torch.from_numpy(bounds), per_sample_weights=torch.from_numpy(X.data)
        )
        return out(torch.relu(hidden + bias))

    def step(X: Any, Y: Any) -> None:
        sizes = np.diff(Y.indptr)
        rows = np.repeat(np.arange(len(sizes)), sizes)
        shares = torch.from_numpy((1.0 / np.maximum(sizes, 1))[rows].astype(np.float32))
        logs = torch.log_softmax(scores(X), dim=1)
        own = logs[torch.from_numpy(rows), torch.from_numpy(Y.indices.astype(np.int64))]
        loss = -(own * shares).sum() / max(np.count_nonzero(sizes), 1)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()

    def precision() -> float:
        best = []
        with torch.no_grad():
            for a in range(0, TESTED, 250):
                best.append(scores(data.X_test[a : a + 250]).argmax(dim=1).numpy())
        found = np.concatenate(best)
        return float(np.asarray(data.Y_test[np.arange(len(found)), found]).mean())

    curve, rng = Curve(limit, precision), np.random.default_rng(0)
    while True:
        order = rng.permutation(n)
        for a in range(0, n, BATCH):
            rows = order[a : a + BATCH]
            X, Y = data.X[rows], data.Y[rows]
            if not curve.step(lambda X=X, Y=Y: step(X, Y)):
                return curve


def trees(data: LabelData) -> Row | None:
    """Train omikuji's trees with its defaults, and measure precision and time."""
    try:
        import omikuji
    except ImportError:
        print("omikuji is not installed: left out")
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        with path.open("w") as file:
            file.write(f"{data.X.shape[0]} {data.X.shape[1]} {data.Y.shape[1]}\n")
            for i in range(data.X.shape[0]):
                X, Y = data.X[i], data.Y[i]
                labels = ",".join(map(str, Y.indices))
                file.write(
                    f"{labels} {' '.join(f'{j}:{v:.6g}' for j, v in zip(X.indices, X.data, strict=True))}\n"
                )
        start = time.process_time()
        model = omikuji.Model.train_on_data(str(path), n_threads=1)
        trained = time.process_time() - start
    model.init_prediction_thread_pool(1)
    rows = [
        list(zip(data.X_test[i].indices.tolist(), data.X_test[i].data.tolist(), strict=True))
        for i in range(TESTED)
    ]
    start = time.process_time()
    best = [[label for label, _ in model.predict(row, top_k=5)] for row in rows]
    predicted = time.process_time() - start
    return {"training, s": trained, "prediction, ms a row": 1e3 * predicted / TESTED} | precisions(best, data)


def precisions(best: list[list[int]], data: LabelData) -> Row:
    wanted = [set(data.Y_test[i].indices.tolist()) for i in range(len(best))]
    found = {}
    for k in (1, 3, 5):
        shares = [len(own & set(row[:k])) / k for own, row in zip(wanted, best, strict=True)]
        found[f"precision at {k}"] = float(np.mean(shares))
    return found


def whole(data: LabelData) -> Row:
    """Fit ours with its defaults to all rows, and measure what omikuji is measured by."""
    model = SlideClassifier()
    start = time.process_time()
    model.fit(data.X, data.Y)
    trained = time.process_time() - start
    found: Row = {}
    for search in ("exact", "tables"):
        model.top_k(data.X_test[:1], 5, search=search)
        start = time.process_time()
        best = model.top_k(data.X_test[:TESTED], 5, search=search)
        predicted = 1e3 * (time.process_time() - start) / TESTED
        found[search] = {
            "training, s": trained,
            "prediction, ms a row": predicted,
            **precisions(best.tolist(), data),
        }
    return found


def curves(name: str, methods: list[str]) -> Iterator[Row]:
    make, limit, longer, targets = DATA[name]
    data = make()
    if data is None:
        print(f"{name}: no data here")
        return
    for method in methods:
        print(f"{name}: {method}", flush=True)
        if method == "full softmax, PyTorch":
            curve = full_softmax(data, longer)
        else:
            curve = ours(data, OURS[method], limit)
        if curve is not None:
            yield {
                "what": "curve",
                "data": name,
                "method": method,
                "steps": curve.steps,
                "ms a step": 1e3 * curve.used / curve.steps,
                "seconds to": {str(p): curve.seconds_to(p) for p in targets},
                "points": curve.points,
            }


def models(name: str) -> Iterator[Row]:
    data = DATA[name][0]()
    if data is None:
        return
    row = trees(data)
    if row is not None:
        yield {"what": "model", "data": name, "method": "omikuji", **row}
    for search, row in whole(data).items():
        yield {"what": "model", "data": name, "method": f"ours, {search}", **row}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    methods = ["full softmax, PyTorch", *OURS]
    parser.add_argument("--data", nargs="*", choices=list(DATA), default=list(DATA)[:2])
    parser.add_argument("--methods", nargs="*", choices=[*methods, "models"], default=[*methods, "models"])
    parser.add_argument("--json", type=Path, default=RESULTS / "slide.json")
    arguments = parser.parse_args()
    mergesketch.set_num_threads(1)
    # Other rows stay: all take an hour.
    kept = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else []
    rows: list[Row] = []
    for name in arguments.data:
        found = [method for method in arguments.methods if method != "models"]
        for row in curves(name, found):
            rows = _with(kept, [*rows, row])
            write(arguments.json, rows)
        if "models" in arguments.methods:
            for row in models(name):
                rows = _with(kept, [*rows, row])
                write(arguments.json, rows)
    for what in ("curve", "model"):
        some = [
            {k: v for k, v in r.items() if k not in ("what", "points")} for r in rows if r["what"] == what
        ]
        show(what, some)


def _with(kept: list[Row], rows: list[Row]) -> list[Row]:
    """Return all rows, the later ones in place of those with the same data and method."""
    every = {(row["what"], row["data"], row["method"]): row for row in [*kept, *rows]}
    return [every[key] for key in sorted(every)]


if __name__ == "__main__":
    main()
