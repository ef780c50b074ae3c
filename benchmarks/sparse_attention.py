"""Attention over selected tokens beside attention over all: processor time of a query on one thread.

A head has n tokens of 64 columns with values of 64, in float32. "all tokens" is
`scaled_dot_product_attention` of PyTorch for one query. "selected" is `sparse_attention` over the tokens
that are already known; "select and attend" scores all tokens by `VectorCodes` of 1 bit first, and "pages"
scores pages of 16 tokens by `PageBounds` and selects as many tokens in whole pages. Tokens are normal
numbers: their values hardly change the time.
"""

import time

import numpy as np
import torch
from measure import best_of, parse, show, write
from mergesketch import PageBounds, VectorCodes, set_num_threads, sparse_attention, top_tokens

D, QUERIES, SPARSITIES, PAGE = 64, 32, (2, 10, 50), 16
LENGTHS = (1_000, 10_000, 100_000)


def main():
    arguments = parse(__doc__, "sparse_attention")
    set_num_threads(1)
    torch.set_num_threads(1)
    results, rng = [], np.random.default_rng(0)
    for n in LENGTHS:
        K, V = rng.standard_normal((2, n, D), dtype=np.float32)
        Q = rng.standard_normal((QUERIES, D), dtype=np.float32)
        codes = VectorCodes(D, 1, seed=1).update(K)
        bounds = PageBounds(D, PAGE).update(K)
        tensors = [torch.from_numpy(X)[None, None] for X in (Q, K, V)]

        def dense(tensors=tensors):
            for q in range(QUERIES):
                one = tensors[0][:, :, q : q + 1]
                torch.nn.functional.scaled_dot_product_attention(one, *tensors[1:])

        for sparsity in SPARSITIES:
            k = n // sparsity
            tokens = np.sort(np.argpartition(rng.random((QUERIES, n)), k)[:, :k])

            def selected(tokens=tokens, Q=Q, K=K, V=V):
                sparse_attention(Q, K, V, tokens)

            def both(k=k, Q=Q, K=K, V=V, codes=codes):
                sparse_attention(Q, K, V, top_tokens(codes.scores(Q), k))

            def pages(k=k, Q=Q, K=K, V=V, bounds=bounds):
                chosen = top_tokens(bounds.page_scores(Q), max(k // PAGE, 1))
                sparse_attention(Q, K, V, bounds.tokens(chosen))

            calls = {"all": dense, "selected": selected, "both": both, "pages": pages}
            found = best_of(calls, repeats=3, clock=time.process_time)
            each = {name: 1e6 * seconds / QUERIES for name, seconds in found.items()}
            results.append(
                {
                    "tokens": n,
                    "selected": k,
                    "all tokens, us": each["all"],
                    "selected, us": each["selected"],
                    "all / selected": each["all"] / each["selected"],
                    "select and attend, us": each["both"],
                    "pages, us": each["pages"],
                    "all / pages": each["all"] / each["pages"],
                }
            )
    show("microseconds a query", results)
    write(arguments.json, results)


if __name__ == "__main__":
    main()
