"""Time of `top_tokens_attention` in PyTorch beside exact attention, in processor time of one thread.

A head has n tokens of 64 columns, in float32. "all queries" are those of all tokens of 2 heads, each of which
sees the tokens up to its own. "one query" is that of the last token, in each of 8 heads, as in decoding.
"gradients" are all queries and the gradients of queries, keys and values. "exact" is
`scaled_dot_product_attention`. "products" selects k tokens by their products, and "pages" in pages of 16 by
bounds. Numbers are normal: they hardly change the time. Times are the least of REPEATS.
"""

import time

import torch
from measure import best_of, parse, show, write
from mergesketch import top_tokens_attention
from torch.nn.functional import scaled_dot_product_attention

LENGTHS, COLUMNS, PAGE = (1024, 4096, 16384, 32768), 64, 16
SELECTED, REPEATS = (64, 256, 1024), 2
#: The longest context in which products of all queries are measured, and gradients.
LONGEST = 4096


def call(attend, tensors, gradients, **options):
    if not gradients:
        return lambda: attend(*tensors, **options)
    leaves = [x.requires_grad_() for x in tensors]
    return lambda: torch.autograd.grad(attend(*leaves, **options).sum(), leaves)


def main():
    arguments = parse(__doc__, "torch_top_tokens")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for what, heads in (("one query", 8), ("all queries", 2), ("gradients", 2)):
        for n in LENGTHS:
            if what == "gradients" and n > LONGEST:
                continue
            q, k, v = torch.randn(3, 1, heads, n, COLUMNS)
            one = what == "one query"
            tensors, options = (q[:, :, -1:] if one else q, k, v), {"is_causal": not one}
            for selected in SELECTED:
                if selected >= n // 2:
                    continue
                calls = {
                    "exact": (scaled_dot_product_attention, {}),
                    "products": (top_tokens_attention, {"k": selected}),
                    "pages": (top_tokens_attention, {"k": selected, "page_size": PAGE}),
                }
                if not one and n > LONGEST:
                    calls.pop("products")
                functions = {
                    name: call(attend, tensors, what == "gradients", **options, **more)
                    for name, (attend, more) in calls.items()
                }
                best = best_of(functions, 20 if one else REPEATS, clock=time.process_time)
                row = {"what": what, "tokens": n, "selected": selected}
                row |= {
                    f"{name}, ms": 1e3 * best[name] if name in best else ""
                    for name in ("exact", "products", "pages")
                }
                row |= {
                    f"exact / {name}": best["exact"] / best[name] if name in best else ""
                    for name in ("products", "pages")
                }
                rows.append(row)
                print(row, flush=True)
    show("attention to few tokens", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
