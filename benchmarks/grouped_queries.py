"""Measure ImportanceCache where several heads of queries share a head of keys, and its time.

Queries, keys and values are those of SmolLM2-135M on WINDOW tokens of a text: every third of its 30 layers,
and in each 3 heads of keys, which 3 heads of queries share. Tokens arrive one after the other. "mass" and
"error" are those of `importance_cache.py`, means over the second half of the tokens, and over heads of
queries. The budget of a head of keys is a share of the window, and all methods keep the same number of keys
and values for it. So "a cache for each query" keeps a third of the budget for each head of queries. "best of
each query" and "largest future attention" are as in `importance_cache.py`: the first reads all keys, and the
second adds up the attention of all queries to come.

Times (`grouped_queries_times.json`): GROUP queries of a token of 64 columns attend and are counted, on one
thread, in microseconds of processor time a token. The cache is full. "shared" is one cache that gets all
queries of a token, and "apart" is a cache for each head of queries, with the same budget.
"""

import sys
import time

import numpy as np
import smollm
import torch
from importance_cache import BUDGETS, SHARES, TOKENS, D, caches, kept_by_rules
from measure import best_of, parse, show, write
from mergesketch import ImportanceCache, set_num_threads

WINDOW, EVERY, GROUP = 1024, 3, 4
APART = "a cache for each query"


def exact_attention(q, k, v):
    """Return causal weights, the logarithms of their totals, and outputs."""
    products = np.where(np.tri(len(q)) > 0, q @ k.T / np.sqrt(q.shape[1]), -np.inf)
    largest = products.max(axis=1)
    weights = np.exp(products - largest[:, None])
    totals = weights.sum(axis=1)
    weights /= totals[:, None]
    return weights, np.log(totals) + largest, weights @ v


def by_rules(exact, v, budget, rng):
    """Yield the rule, the head of queries, its masses and its outputs."""
    weights = [head[0] for head in exact]
    together = kept_by_rules(sum(weights), budget, rng)
    for h, part in enumerate(weights):
        kept = together | {"best of each query": kept_by_rules(part, budget, rng)["best of each query"]}
        for name, chosen in kept.items():
            some = part * chosen
            mass = some.sum(axis=1)
            yield name, h, mass, some / mass[:, None] @ v


def by_caches(exact, Q, k, v, budget):
    """Yield the cache, the head of queries, its masses and its outputs."""
    d = k.shape[1]
    for name, cache in caches(d, budget).items():
        outputs, log_masses = cache.causal(Q, k, v)
        for h, (_, log_totals, _) in enumerate(exact):
            # The products of rounded keys are no part of the full mass.
            mass = None if cache.bits else np.exp(log_masses[:, h] - log_totals)
            yield name, h, mass, outputs[:, h]
    for h, (_, log_totals, _) in enumerate(exact):
        alone = ImportanceCache(d, d, budget // len(exact))
        outputs, log_masses = alone.causal(Q[:, h], k, v)
        yield APART, h, np.exp(log_masses - log_totals), outputs


def measure(Q, k, v, rng):
    """Yield the method, the share, the mass and the error of each head of queries that shares some keys."""
    exact = [exact_attention(Q[:, h], k, v) for h in range(Q.shape[1])]
    half = slice(len(k) // 2, None)
    for share in SHARES:
        budget = len(k) // share
        for part in (by_rules(exact, v, budget, rng), by_caches(exact, Q, k, v, budget)):
            for name, h, mass, outputs in part:
                right = exact[h][2]
                change = np.linalg.norm(outputs - right, axis=1) / np.linalg.norm(right, axis=1)
                yield name, share, None if mass is None else mass[half].mean(), change[half].mean()


def quality():
    model, windows = smollm.load(1, WINDOW)
    rng, found = np.random.default_rng(0), {}
    for q, k, v in smollm.attention(model, windows[0])[::EVERY]:
        # Heads h * GROUP, h * GROUP + 1, ... of the queries share head h of the keys.
        shared = q.reshape(len(k), smollm.GROUP, *q.shape[1:]).swapaxes(1, 2)
        for Q, keys, values in zip(shared, k, v, strict=True):
            for name, share, mass, error in measure(Q, keys, values, rng):
                found.setdefault(name, {}).setdefault(share, []).append((mass, error))
        print(".", end="", flush=True)
    rows = []
    for name, parts in found.items():
        row = {"SmolLM2, 3 queries a key": name}
        for column, what in enumerate(("mass", "error")):
            for share in SHARES:
                values = [pair[column] for pair in parts[share]]
                row[f"{what}, 1/{share}"] = "" if values[0] is None else float(np.mean(values))
        rows.append(row)
    return sorted(rows, key=lambda row: row["error, 1/8"])


def times():
    """Yield rows of times by budget."""
    rng = np.random.default_rng(0)
    Q = rng.standard_normal((TOKENS, GROUP, D), dtype=np.float32)
    K, V = rng.standard_normal((2, max(BUDGETS), D), dtype=np.float32)

    def together(cache, queries):
        cache.causal(queries, K[:TOKENS], V[:TOKENS])

    def one_by_one(cache, queries):
        for i in range(TOKENS):
            cache.causal(queries[i : i + 1], K[i : i + 1], V[i : i + 1])

    for budget in BUDGETS:
        full = [ImportanceCache(D, D, budget).update(K[:budget], V[:budget]) for _ in range(GROUP + 1)]
        shared, apart = full[0], full[1:]
        calls = {}
        for what, call in {"in batches": together, "one by one": one_by_one}.items():
            calls[f"shared, {what}"] = lambda call=call, shared=shared: call(shared, Q)
            calls[f"apart, {what}"] = lambda call=call, apart=apart: [
                call(cache, Q[:, h]) for h, cache in enumerate(apart)
            ]
        found = best_of(calls, 3, time.process_time)
        yield {
            "budget": budget,
            **{f"{name}, us": 1e6 * seconds / TOKENS for name, seconds in found.items()},
            "apart / shared, in batches": found["apart, in batches"] / found["shared, in batches"],
            "apart / shared, one by one": found["apart, one by one"] / found["shared, one by one"],
            "apart / shared, bytes": sum(cache.nbytes for cache in apart) / shared.nbytes,
        }


def main():
    arguments = parse(__doc__, "grouped_queries")
    set_num_threads(1)
    torch.set_num_threads(1)
    timed = list(times())
    show("microseconds a token", timed)
    write(arguments.json.with_name("grouped_queries_times.json"), timed)
    if not smollm.is_installed():
        sys.exit(f"{smollm.PACKAGE} or what reads it is not installed: no attention is measured")
    rows = quality()
    show("attention that is kept", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
