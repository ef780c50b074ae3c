"""Embedding tables in few parameters, which the benchmarks parameter_sharing_*.py train beside one another.

Each class has the rows of a table of `n` ids with `d` columns, made of no more than `budget` parameters, and
says with `fits` for which budgets it exists. A hash function of the peers is an array of random numbers, one
an id, which is not counted.
"""

import math

import torch
from mergesketch import (
    CafeMap,
    CyclicMap,
    MultiHashMap,
    QuotientRemainderMap,
    RobeMap,
    SharedParameters,
    TopK,
)

__all__ = ["TABLES", "Table"]


class Table(torch.nn.Module):
    """The full table, which the others replace."""

    name = "full table"

    @classmethod
    def fits(cls, sizes, d, budgets):
        """Return whether there is such a table for each number of ids with its budget."""
        return all(cls.fits_one(n, d, budget) for n, budget in zip(sizes, budgets, strict=True))

    @classmethod
    def fits_one(cls, n, d, budget):
        return budget >= n * d

    @classmethod
    def several(cls, sizes, d, budgets, std, generator):
        """Return the tables for each number of ids."""
        return [cls(n, d, budget, std, generator) for n, budget in zip(sizes, budgets, strict=True)]

    def __init__(self, n, d, budget, std, generator):
        super().__init__()
        self.n, self.d, self.std, self.generator = n, d, std, generator
        self.build(budget)

    def build(self, budget):
        self.rows = self.drawn(self.n, self.d)

    def drawn(self, rows, columns, std=None):
        values = torch.randn(rows, columns, generator=self.generator) * (self.std if std is None else std)
        return torch.nn.Parameter(values)

    def hashed(self, buckets):
        return torch.randint(buckets, (self.n,), generator=self.generator)

    def forward(self, ids):
        return torch.nn.functional.embedding(ids, self.rows)

    def trained_by(self, optimiser):
        """Take the optimiser, whose averages move with the parameters where a table moves them."""


class Fewer(Table):
    """The full table with fewer columns: the whole model has rows of that length."""

    name = "fewer columns"

    @classmethod
    def fits_one(cls, n, d, budget):
        return n <= budget < n * d

    def build(self, budget):
        self.rows = self.drawn(self.n, budget // self.n)


class Frequent(Table):
    """The most frequent ids have rows, and the others share one: ids must come sorted by their frequency."""

    name = "frequent ids only"

    @classmethod
    def fits_one(cls, n, d, budget):
        return d <= budget < n * d

    def build(self, budget):
        self.rows = self.drawn(budget // self.d, self.d)

    def forward(self, ids):
        return torch.nn.functional.embedding(ids.clamp(max=len(self.rows) - 1), self.rows)


class OneRow(Table):
    """Plain hashing: an id has one of few rows."""

    name = "hashing of ids"

    @classmethod
    def fits_one(cls, n, d, budget):
        return d <= budget < n * d

    def build(self, budget):
        self.rows = self.drawn(budget // self.d, self.d)
        self.places = self.hashed(len(self.rows))

    def forward(self, ids):
        return torch.nn.functional.embedding(self.places[ids], self.rows)


class FrequentAndHashed(Table):
    """Give half of the rows to the frequent ids, and hash the others, as CAFE does once it knows the ids."""

    name = "frequent ids, others hashed"

    @classmethod
    def fits_one(cls, n, d, budget):
        return 2 * d <= budget < n * d

    def build(self, budget):
        rows = budget // self.d
        self.rows = self.drawn(rows, self.d)
        own = rows // 2
        self.places = torch.cat([torch.arange(own), own + self.hashed(rows - own)[own:]])

    def forward(self, ids):
        return torch.nn.functional.embedding(self.places[ids], self.rows)


class QuotientRemainder(Table):
    """The product of two rows: those of the quotient and of the remainder of the id."""

    name = "quotient-remainder, product"

    @classmethod
    def split(cls, n, rows):
        """Return the most remainders r for which r + ceil(n / r) is at most `rows`, or None."""
        if rows * rows < 4 * n:
            return None
        r = int((rows + math.sqrt(rows * rows - 4 * n)) / 2)
        while r > 0 and r + -(-n // r) > rows:
            r -= 1
        return r or None

    @classmethod
    def fits_one(cls, n, d, budget):
        return budget < n * d and cls.split(n, budget // d) is not None

    def build(self, budget):
        self.remainders = self.split(self.n, budget // self.d)
        self.rows = self.drawn(self.remainders, self.d)
        # The product starts with the standard deviation of the rows.
        self.factors = torch.nn.Parameter(
            1.0 + 0.1 * self.drawn(-(-self.n // self.remainders), self.d, 1.0).detach()
        )
        # A random order, so that the numbers of ids tell nothing.
        self.order = torch.randperm(self.n, generator=self.generator)

    def forward(self, ids):
        number = self.order[ids]
        row = torch.nn.functional.embedding(number % self.remainders, self.rows)
        return row * torch.nn.functional.embedding(number // self.remainders, self.factors)


class DeepHash(Table):
    """Deep hash embeddings (DHE): a network whose input is 64 hash values of the id, uniform in [-1, 1]."""

    name = "deep hash embeddings"
    hashes = 64
    #: More parameters than this take many times as long as any table.
    most = 120_000

    @classmethod
    def width(cls, d, budget):
        """Return the width of two hidden layers with their biases: h (hashes + h + d + 2) + d parameters."""
        b = cls.hashes + d + 2
        return int((-b + math.sqrt(b * b + 4 * max(budget - d, 0))) / 2)

    @classmethod
    def fits_one(cls, n, d, budget):
        return budget <= min(cls.most, n * d) and cls.width(d, budget) >= 4

    def build(self, budget):
        h = self.width(self.d, budget)
        self.codes = torch.rand(self.n, self.hashes, generator=self.generator) * 2 - 1
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=self.generator)))
            layers = [torch.nn.Linear(self.hashes, h), torch.nn.Mish(), torch.nn.Linear(h, h)]
            self.network = torch.nn.Sequential(*layers, torch.nn.Mish(), torch.nn.Linear(h, self.d))
        with torch.no_grad():
            # The first outputs have the standard deviation of the rows of a table.
            sample = self.network(self.codes[: min(self.n, 4096)])
            scale = self.std / sample.std()
            self.network[-1].weight *= scale
            self.network[-1].bias *= scale

    def forward(self, ids):
        # Each id once: the network is the costly part.
        once, back = torch.unique(ids, return_inverse=True)
        return self.network(self.codes[once])[back]


class Gather(torch.autograd.Function):
    """Rows of shared parameters, and the gradients of the parameters."""

    @staticmethod
    def forward(ctx, weights, shared, rows, d, number):
        ctx.given = shared, rows.numpy(), number
        return torch.from_numpy(shared.gather(ctx.given[1], d, table=number))

    @staticmethod
    def backward(ctx, gradients):
        shared, rows, number = ctx.given
        added = shared.empty_like().scatter_add(rows, gradients.numpy(), table=number)
        return torch.from_numpy(added._arrays["weights"]), None, None, None, None


class Shared(Table):
    """Rows of `SharedParameters`. All tables of a model share one array, of the sum of their budgets."""

    @classmethod
    def map(cls, sizes, d, m):
        """Return the map for m parameters."""
        raise NotImplementedError

    @classmethod
    def fits(cls, sizes, d, budgets):
        return sum(budgets) >= d

    @classmethod
    def several(cls, sizes, d, budgets, std, generator):
        m, seed = sum(budgets), int(torch.randint(2**31, (1,), generator=generator))
        weights = torch.nn.Parameter(torch.randn(m, generator=generator) * std)
        shared = SharedParameters.from_weights(
            weights.detach().numpy(), cls.map(sizes, d, m), seed=seed, copy=False
        )
        tables = []
        for number, n in enumerate(sizes):
            tables.append(cls(d, weights, shared, number))
            tables[-1].order = cls.numbers(n, generator)
        return tables

    def __init__(self, d, weights, shared, number):
        torch.nn.Module.__init__(self)
        self.d, self.weights, self.shared, self.number = d, weights, shared, number

    @classmethod
    def numbers(cls, n, generator):
        """Return the numbers of ids: in any order, so that they do not tell which are frequent."""
        return torch.randperm(n, generator=generator)

    def forward(self, ids):
        return Gather.apply(self.weights, self.shared, self.order[ids], self.d, self.number)


class Rows(Shared):
    name = "RobeMap, blocks of a row"

    @classmethod
    def map(cls, sizes, d, m):
        return RobeMap(d)


class Blocks(Shared):
    name = "RobeMap, blocks of 4"

    @classmethod
    def map(cls, sizes, d, m):
        return RobeMap(4)


class Entries(Shared):
    name = "RobeMap, blocks of 1"

    @classmethod
    def map(cls, sizes, d, m):
        return RobeMap(1)


class Cycles(Shared):
    name = "CyclicMap"

    @classmethod
    def map(cls, sizes, d, m):
        return CyclicMap([(n, d) for n in sizes])


class SortedCycles(Cycles):
    """As many frequent ids as fit into the array share nothing with one another."""

    name = "CyclicMap, frequent ids first"

    @classmethod
    def numbers(cls, n, generator):
        return torch.arange(n)


class Mean(Shared):
    name = "MultiHashMap, 2 rows"

    @classmethod
    def map(cls, sizes, d, m):
        return MultiHashMap(2)


class Sum(Shared):
    """One array and map for each table, since the map knows one table."""

    name = "QuotientRemainderMap, sum"

    @classmethod
    def fits(cls, sizes, d, budgets):
        return QuotientRemainder.fits(sizes, d, budgets)

    @classmethod
    def several(cls, sizes, d, budgets, std, generator):
        if len(sizes) == 1:
            return super().several(sizes, d, budgets, std, generator)
        pairs = zip(sizes, budgets, strict=True)
        return [cls.several([n], d, [b], std, generator)[0] for n, b in pairs]

    @classmethod
    def map(cls, sizes, d, m):
        return QuotientRemainderMap(sizes[0], QuotientRemainder.split(sizes[0], m // d))


class Cafe(Shared):
    """Nine tenths of the parameters are those of frequent ids, which a `TopK` finds in training.

    Its counters, four for each of these ids, are needed in training only and are not counted as parameters.
    """

    name = "CafeMap, adapted in training"
    #: The frequent ids are chosen after 1, 2, 4, 8, ... batches, and after every 32.
    every = 32

    @classmethod
    def fits(cls, sizes, d, budgets):
        return len(sizes) == 1 and 2 * d <= budgets[0] < sizes[0] * d

    @classmethod
    def map(cls, sizes, d, m):
        return CafeMap(max(1, m * 9 // (10 * d)), d, block=d)

    def trained_by(self, optimiser):
        self.optimiser, self.steps = optimiser, 0
        n = self.shared.map.n_frequent
        self.counts = TopK(n, n_counters=max(1024, 4 * n), max_key_bytes=8)

    def forward(self, ids):
        if torch.is_grad_enabled():
            self.counts.update(self.order[ids].numpy().ravel())
            self.steps += 1
            if self.steps % self.every == 0 or self.steps & (self.steps - 1) == 0:
                self.adapt()
        return super().forward(ids)

    @torch.no_grad()
    def adapt(self):
        map, seed = self.shared.map, self.shared.seed
        importance = self.counts.top(2 * map.n_frequent)

        def moved(values):
            parameters = SharedParameters.from_weights(values.numpy(), map, seed=seed)
            return torch.from_numpy(parameters.adapt(importance)._arrays["weights"])

        new = self.shared.adapt(importance).map
        state = self.optimiser.state.get(self.weights, {})
        self.weights.copy_(moved(self.weights.detach()))
        if state:
            state["exp_avg"].copy_(moved(state["exp_avg"]))
            # Squares have no signs.
            state["exp_avg_sq"].copy_(moved(state["exp_avg_sq"]).abs())
        weights = self.weights.detach().numpy()
        self.shared = SharedParameters.from_weights(weights, new, seed=seed, copy=False)


PEERS = [Table, Fewer, Frequent, FrequentAndHashed, OneRow, QuotientRemainder, DeepHash]
TABLES = [*PEERS, Rows, Blocks, Entries, Cycles, SortedCycles, Mean, Sum, Cafe]
