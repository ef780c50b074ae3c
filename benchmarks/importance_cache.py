"""Measure how much attention a bounded cache of keys and values keeps, beside other rules, and its time.

Attention (`importance_cache.json`): queries, keys and values are those of all-MiniLM-L6-v2 on the Python
language reference, which Python ships as `pydoc_data`: a window of 512 tokens, 6 layers of 12 heads, 32
columns. The model is an encoder; here a token attends to those before it only. Others are those of the small
causal language model of `attention_models.py`: 256 words, 2 layers of 4 heads, 16 columns. Tokens arrive one
after the other. "mass" is the share of the full causal attention that falls on the tokens that are kept, and
"error" the length of the difference from the full attention's output, over that output's length. Both are
means over the second half of the tokens, heads and layers. The budget is a share of the window.

- "best of each query": the tokens with the largest weights, which needs all keys.
- "largest future attention": the tokens that all later queries together will attend to most.
- "ImportanceCache": the defaults. With bits, it has as many bytes as that with float32, and so more tokens.
- "drop = 1": the same, but a full cache drops one token at once.
- "without fading": the defaults, with weights that add up for ever.
- "H2O": weights that add up for ever, no sinks, half of the budget as the window, one token dropped at once.
- "Scissorhands": counts that fade over 400 queries, no sinks, a window of 10 (of a quarter of the budget if
  that is less), and half of the budget dropped at once.
- "sinks and window": the first 4 and the latest tokens (StreamingLLM).
- "random": each token has a random priority.

Times (`importance_cache_times.json`): a token of 64 columns with values of 64 is added, and its query
attends, on one thread, in microseconds of processor time. The cache is full. "query" does not change the
cache. "all tokens" is `scaled_dot_product_attention` of PyTorch for one query over a context of 32,768
tokens in float32.
"""

import time
from pydoc_data.topics import topics

import minilm
import numpy as np
import torch
from measure import best_of, parse, show, write
from mergesketch import ImportanceCache, set_num_threads

SHARES = (2, 4, 8, 16, 32)
D, LENGTH, BUDGETS, TOKENS = 64, 32_768, (256, 1024, 4096), 256
FOREVER = 1 << 62


def caches(d, budget):
    """Return empty caches by name."""
    window = min(10, budget // 4)
    made = {
        "ImportanceCache": ImportanceCache(d, d, budget),
        "ImportanceCache, drop = 1": ImportanceCache(d, d, budget, drop=1),
        "without fading": ImportanceCache(d, d, budget, history=FOREVER),
        "H2O": ImportanceCache(d, d, budget, sinks=0, window=budget // 2, drop=1, history=FOREVER),
        "Scissorhands": ImportanceCache(
            d, d, budget, sinks=0, window=window, drop=budget // 2, measure="count", history=400
        ),
        "sinks and window": ImportanceCache(d, d, budget, window=budget - 5, drop=1),
    }
    for bits in (8, 4):
        token = ImportanceCache(d, d, 100, bits=bits).nbytes / 100
        more = int(made["ImportanceCache"].nbytes / token)
        made[f"ImportanceCache, {bits} bits"] = ImportanceCache(d, d, more, bits=bits)
    return made


def kept_by_rules(weights, budget, rng):
    """Return which tokens rules keep for each query, by name: (n, n) bool."""
    n = len(weights)
    future = np.cumsum(weights[::-1], axis=0)[::-1]
    priorities = np.broadcast_to(rng.random(n), (n, n))
    rules = {
        "best of each query": weights,
        "largest future attention": future,
        "random": priorities,
    }
    found = {}
    for name, scores in rules.items():
        scores = np.where(np.tri(n) > 0, scores, -1.0)
        # The query's own token is always there.
        np.fill_diagonal(scores, np.inf)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :budget]
        kept = np.zeros((n, n), bool)
        np.put_along_axis(kept, best, True, axis=1)
        found[name] = kept & (np.tri(n) > 0)
    return found


def measure(q, k, v, rng):
    """Yield the method, the share, the mass and the error of one head."""
    n, d = q.shape
    products = np.where(np.tri(n) > 0, q @ k.T / np.sqrt(d), -np.inf)
    largest = products.max(axis=1)
    weights = np.exp(products - largest[:, None])
    totals = weights.sum(axis=1)
    weights = weights / totals[:, None]
    output, half = weights @ v, slice(n // 2, None)

    def error(outputs):
        change = np.linalg.norm(outputs - output, axis=1) / np.linalg.norm(output, axis=1)
        return change[half].mean()

    for share in SHARES:
        budget = n // share
        for name, kept in kept_by_rules(weights, budget, rng).items():
            some = weights * kept
            mass = some.sum(axis=1)
            yield name, share, mass[half].mean(), error(some / mass[:, None] @ v)
        for name, cache in caches(d, budget).items():
            outputs, log_masses = cache.causal(q, k, v)
            mass = np.exp(log_masses - np.log(totals) - largest)[half].mean()
            # The products of rounded keys are no part of the full mass.
            yield name, share, None if cache.bits else mass, error(outputs)


def minilm_heads():
    """Yield the queries, keys and values of heads."""
    model = minilm.MiniLM()
    (window,) = model.windows("\n".join(topics.values()), 1)
    for layer in model.attention(window):
        yield from zip(*layer, strict=True)


def small_model_heads():
    """Yield the queries, keys and values of heads of the small language model."""
    # It is trained when they are first asked for.
    from attention_models import trained_qkv

    arrays = trained_qkv()
    yield from zip(*(array.reshape(-1, *array.shape[2:]) for array in arrays), strict=True)


def attention(heads, model):
    """Return rows of masses and errors by method and share."""
    rng, found = np.random.default_rng(0), {}
    for q, k, v in heads:
        for name, share, mass, error in measure(q, k, v, rng):
            found.setdefault((name, share), []).append((mass, error))
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        row = {"model": model, "method": name}
        for column, what in enumerate(("mass", "error")):
            for share in SHARES:
                values = [pair[column] for pair in found[name, share]]
                row[f"{what}, 1/{share}"] = "" if values[0] is None else float(np.mean(values))
        rows.append(row)
    return sorted(rows, key=lambda row: row["error, 1/8"])


def times():
    """Yield rows of times by budget."""
    rng = np.random.default_rng(0)
    Q, K, V = rng.standard_normal((3, LENGTH, D), dtype=np.float32)
    tensors = [torch.from_numpy(X)[None, None] for X in (Q, K, V)]

    def dense():
        for i in range(32):
            one = tensors[0][:, :, i : i + 1]
            torch.nn.functional.scaled_dot_product_attention(one, *tensors[1:])

    part = slice(0, TOKENS)

    def together(cache):
        cache.causal(Q[part], K[part], V[part])

    def one_by_one(cache):
        for i in range(TOKENS):
            cache.causal(Q[i : i + 1], K[i : i + 1], V[i : i + 1])

    for budget in BUDGETS:
        options = {"": {}, ", drop = 1": {"drop": 1}, ", 4 bits": {"bits": 4}}
        full = {
            name: ImportanceCache(D, D, budget, **given).update(K[:budget], V[:budget])
            for name, given in options.items()
        }
        calls = {
            "all tokens": (dense, 32),
            "query": (lambda full=full: full[""].query(Q[part]), TOKENS),
            "in batches": (lambda full=full: together(full[""]), TOKENS),
            **{
                f"one by one{name}": (lambda cache=cache: one_by_one(cache), TOKENS)
                for name, cache in full.items()
            },
        }
        found = best_of({name: call for name, (call, _) in calls.items()}, 3, time.process_time)
        each = {f"{name}, us": 1e6 * found[name] / n for name, (_, n) in calls.items()}
        yield {
            "budget": budget,
            **each,
            "all tokens / one by one": each["all tokens, us"] / each["one by one, us"],
        }


def main():
    arguments = parse(__doc__, "importance_cache")
    set_num_threads(1)
    torch.set_num_threads(1)
    timed = list(times())
    show("microseconds a token", timed)
    write(arguments.json.with_name("importance_cache_times.json"), timed)
    if not minilm.is_installed():
        print(f"{minilm.PACKAGE} is not installed: no attention is measured")
        return
    rows = attention(minilm_heads(), "MiniLM") + attention(small_model_heads(), "small causal model")
    show("attention that is kept", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
