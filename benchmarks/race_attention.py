"""Attention from counters: its error against the kernel that it converges to, and its time.

Errors (`race_attention_errors.json`): queries, keys and values are those of all-MiniLM-L6-v2 on the Python
language reference, which Python ships as `pydoc_data`: windows of 512 tokens, 6 layers of 12 heads, 32
columns. "of the angular kernel" is the length of the difference from attention with the weights
(1 - angle / pi)^4, over that output's length. "of softmax attention" compares with the attention that the
model was trained with. Both are means over queries, heads, layers and windows.

Times (`race_attention.json`): n tokens of 64 columns with values of 64, all of them queries, on one thread,
in processor time. "all tokens" attends to the whole sequence, and "causal" to the tokens up to the query.
Exact attention is `scaled_dot_product_attention` of PyTorch in float32, and counters are of 32 tables of 4
bits. "state" is what must be kept of n tokens to answer further queries: counters, or keys and values in
float32.
"""

import time
from functools import partial
from pydoc_data.topics import topics

import minilm
import numpy as np
import torch
from measure import parse, show, write
from mergesketch import RaceAttention, set_num_threads

WINDOWS, QUERIES, POWER = 2, 16, 4
TABLES, BETAS = (8, 32, 128, 512), (1.0, 4.0, 16.0, None)
D, M, LENGTHS = 64, 64, (1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000)
LONGEST_EXACT = 30_000
#: Tokens that are given in one call.
PART = 1 << 17


def errors():
    """Yield rows of errors by number of tables and sharpness."""
    model, rng = minilm.MiniLM(), np.random.default_rng(0)
    found = {}
    for window in model.windows("\n".join(topics.values()), WINDOWS):
        for layer in model.attention(window):
            for q, k, v in zip(*layer, strict=True):
                asked = q[rng.choice(len(window), QUERIES, replace=False)]
                softmax = minilm.weights(asked, k) @ v
                for n_tables in TABLES:
                    for beta in BETAS:
                        made = RaceAttention(
                            k.shape[1],
                            v.shape[1],
                            n_tables,
                            power=POWER,
                            beta=beta,
                            seed=int(rng.integers(1e9)),
                        )
                        output = made.update(k, v).query(asked)
                        kernel = made.family.kernel(asked, k)
                        angular = kernel @ v / kernel.sum(axis=1, keepdims=True)
                        known = ~np.isnan(output[:, 0])
                        row = found.setdefault((n_tables, beta), [])
                        row.append((relative(output, angular, known), relative(output, softmax, known)))
                        row[-1] += (1.0 - known.mean(),)
    for (n_tables, beta), measured in found.items():
        angular, softmax, missing = np.mean(measured, axis=0)
        yield {
            "tables": n_tables,
            "codes": "hard" if beta is None else f"soft, beta = {beta:g}",
            "error of the angular kernel": float(angular),
            "error of softmax attention": float(softmax),
            "queries without a token": float(missing),
        }


def relative(output, expected, known):
    change = np.linalg.norm(output - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return change[known].mean()


def seconds(function, n, repeats=3):
    best = float("inf")
    for _ in range(repeats if n <= LONGEST_EXACT else 1):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def race(causal, beta, n):
    """Answer n queries over n tokens that come in parts."""
    made = RaceAttention(D, M, 32, power=POWER, beta=beta, seed=1)
    parts = [(a, min(n, a + PART)) for a in range(0, n, PART)]
    for a, b in parts:
        Q, K, V = (X[: b - a] for X in TOKENS)
        if causal:
            made.causal(Q, K, V)
        else:
            made.update(K, V)
    for a, b in [] if causal else parts:
        made.query(TOKENS[0][: b - a])
    return made


def exact(causal, n):
    Q, K, V = (torch.from_numpy(X[:n])[None, None] for X in TOKENS)
    torch.nn.functional.scaled_dot_product_attention(Q, K, V, is_causal=causal)


def times():
    """Yield rows of times by number of tokens."""
    for causal in (False, True):
        for n in LENGTHS if causal else (*LENGTHS, 10_000_000):
            row = {"kind": "causal" if causal else "all tokens", "tokens": n}
            row["exact, s"] = seconds(partial(exact, causal, n), n) if n <= LONGEST_EXACT else ""
            row["hard, s"] = seconds(partial(race, causal, None, n), n)
            row["soft, s"] = seconds(partial(race, causal, 4.0, n), n) if n <= 1_000_000 else ""
            one = (X[:1] for X in TOKENS[1:])
            row["state, MB"] = RaceAttention(D, M, 32, power=POWER).update(*one).nbytes / 1e6
            row["keys and values, MB"] = n * 4 * (D + M) / 1e6
            yield row


def main():
    global TOKENS
    arguments = parse(__doc__, "race_attention")
    set_num_threads(1)
    torch.set_num_threads(1)
    TOKENS = np.random.default_rng(0).standard_normal((3, PART, D), dtype=np.float32)
    race(False, None, 10), race(False, 4.0, 10), race(True, None, 10), race(True, 4.0, 10)
    timed = list(times())
    show("seconds for n queries over n tokens", timed)
    write(arguments.json, timed)
    if minilm.is_installed():
        found = list(errors())
        show("errors on MiniLM's queries, keys and values", found)
        write(arguments.json.with_name(f"{arguments.json.stem}_errors.json"), found)


if __name__ == "__main__":
    main()
