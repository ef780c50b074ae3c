"""Train a click model on twelve clients of different memory, each with other items, by FederatedTables.

The clicks are those of parameter_sharing_clicks.py: an example has one id of each of 6 fields, and the model
is a factorisation machine with rows of 16 columns, whose tables lie in one array of shared parameters. The
items (the ids of the fourth field) are dealt out to the clients at random, and a client has the examples of
its items. So an item is known to one client only. Four clients hold all 262,144 parameters, four a quarter,
and four a sixteenth. A round sends its fold to each client, which learns its examples once, by Adam in
batches of 512 at a rate of 0.005, and sends the table back. There are 500,000 examples and 8 rounds.

"clients" says what is done with different memories: all train their folds ("folds"), small ones are left
out ("large only"), all have the smallest size ("smallest for all"), or all have enough memory for the full
size ("full size for all", which these clients do not have). "folds, tables unfolded" unfolds the tables that
clients return, and not their changes. "folds by sums" adds parameters up, as `SharedParameters.fold` does.
"one client" trains on all examples in one place, with as many passes. "AUC" and "log loss" are those of
100,000 further examples. "gain" is the AUC less that of "smallest for all" after as many rounds on the same
data. "MB a round" are those that all clients together receive and send. ± is the standard error over 3 seeds,
each with data of its own.
"""

import numpy as np
import torch
from measure import parse, show, write
from mergesketch import HashedEmbedding, RobeMap, SharedArray, set_num_threads
from mergesketch.distributed import FederatedTables
from parameter_sharing import summarised
from parameter_sharing_clicks import FIELDS, STD, TRAIN, Clicks, D, Machine, scores

M, SHARES, CLIENTS = 1 << 18, (1, 4, 16), 12
EXAMPLES, ROUNDS, BATCH, RATE, SEEDS, SHOWN = 500_000, 8, 512, 0.005, (1, 2, 3), (1, 2, 4, 8)
FIELD = 3


class Unfolded:
    """The server with other rules, for comparison."""

    def __init__(self, weights):
        self.weights = weights.copy()

    def fold(self, size):
        return self.weights.reshape(-1, size).mean(axis=0)

    def opposite(self, table):
        return np.tile(table, M // table.size)

    def update(self, tables, n_rows):
        shares = np.array(n_rows) / sum(n_rows)
        new = sum(share * self.opposite(table) for share, table in zip(shares, tables, strict=True))
        self.weights = new.astype(np.float32)


class Sums(Unfolded):
    def fold(self, size):
        return self.weights.reshape(-1, size).sum(axis=0)

    def opposite(self, table):
        return self.weights + np.tile(table - self.fold(table.size), M // table.size) / (M // table.size)


def machine(size, constant, weights=None):
    """Return a model whose tables lie in an array of a given size."""
    shared = SharedArray(size, std=STD, seed=7)
    model = Machine(HashedEmbedding(None, D, shared=shared, map=RobeMap(D), scale=1.0))
    with torch.no_grad():
        model.constant.fill_(constant)
        if weights is not None:
            shared.weights.copy_(torch.from_numpy(weights))
    return model


def train(model, data, rows, rng):
    optimiser = torch.optim.Adam(model.parameters(), RATE, fused=True)
    order = rng.permutation(rows)
    for start in range(0, order.size, BATCH):
        at = torch.tensor(order[start : start + BATCH])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(data.ids[at]), data.clicked[at])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def rows_of_clients(data, seed):
    """Return the examples of each client: those of its items."""
    owner = np.random.default_rng(seed).integers(0, CLIENTS, data.n)
    owners = owner[data.ids[:EXAMPLES, FIELD].numpy()]
    return [np.flatnonzero(owners == client) for client in range(CLIENTS)]


def federated(data, seed, sizes, parts, start=FederatedTables.from_weights):
    """Yield measurements after each round; clients with the size 0 are left out."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    server = start(machine(max(sizes), 0.0).table.shared.weights.detach().numpy())
    constant = 0.0
    used = [(size, rows) for size, rows in zip(sizes, parts, strict=True) if size]
    for _ in range(ROUNDS):
        tables, constants = [], []
        for size, rows in used:
            model = machine(size, constant, server.fold(size))
            train(model, data, rows, rng)
            tables.append(model.table.shared.weights.detach().numpy())
            constants.append(model.constant.item())
        n_rows = [rows.size for _, rows in used]
        server.update(tables, n_rows)
        constant = float(np.average(constants, weights=n_rows))
        with torch.no_grad():
            found = machine(max(sizes), constant, server.weights.copy())(data.ids[TRAIN:])
        yield scores(found, data.clicked[TRAIN:]) | {"MB a round": 2 * sum(t.nbytes for t in tables) / 1e6}


def main():
    arguments = parse(__doc__, "federated_tables")
    torch.set_num_threads(1)
    set_num_threads(1)
    mixed = [M // SHARES[client % len(SHARES)] for client in range(CLIENTS)]
    arms = {
        "folds": mixed,
        "folds, tables unfolded": mixed,
        "folds by sums": mixed,
        "large only": [size if size == M else 0 for size in mixed],
        "smallest for all": [min(mixed)] * CLIENTS,
        "full size for all": [M] * CLIENTS,
        "one client": [M],
    }
    others = {"folds, tables unfolded": Unfolded, "folds by sums": Sums}
    found = {}
    for seed in SEEDS:
        data = Clicks(seed, FIELDS)
        parts = rows_of_clients(data, seed)
        for name, sizes in arms.items():
            start = others.get(name, FederatedTables.from_weights)
            here = parts if len(sizes) > 1 else [np.arange(EXAMPLES)]
            for number, row in enumerate(federated(data, seed, sizes, here, start), 1):
                found.setdefault((name, number), []).append(row)
                print(name, seed, number, row, flush=True)
    rows = []
    for (name, number), measured in found.items():
        if number in SHOWN:
            smallest = found["smallest for all", number]
            gains = [{"gain": a["AUC"] - b["AUC"]} for a, b in zip(measured, smallest, strict=True)]
            row = {"clients": name, "rounds": number} | summarised(measured) | summarised(gains)
            row.pop("MB a round ±", None)
            rows.append({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()})
    show("federated tables", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
