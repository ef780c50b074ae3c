"""Time of causal attention in PyTorch, and of its gradients: `race_attention` beside the exact one.

One sequence of n tokens has 4 heads of 64 columns, in float32. Times are the least of REPEATS, in processor
time of one thread, of the output and of the gradients of queries, keys and values. "exact" is
`scaled_dot_product_attention`. Codes are of 8 tables of 3 bits, and of 32 tables of 4 bits, the default.
"""

import time

import torch
from measure import best_of, parse, show, write
from mergesketch import race_attention
from torch.nn.functional import scaled_dot_product_attention

LENGTHS, HEADS, COLUMNS, REPEATS = (256, 1024, 4096), 4, 64, 2


def pass_of(attend, n, **options):
    q, k, v = (x.requires_grad_() for x in torch.randn(3, 1, HEADS, n, COLUMNS))

    def forward_and_backward():
        torch.autograd.grad(attend(q, k, v, is_causal=True, **options).sum(), (q, k, v))

    return forward_and_backward


def main():
    arguments = parse(__doc__, "torch_race_attention")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for n in LENGTHS:
        functions = {
            "exact, ms": pass_of(scaled_dot_product_attention, n),
            "8 tables of 3 bits, ms": pass_of(race_attention, n, n_hashes=8, power=3),
            "32 tables of 4 bits, ms": pass_of(race_attention, n),
        }
        best = best_of(functions, REPEATS, clock=time.process_time)
        exact, small, _ = best.values()
        rows.append({"tokens": n} | {name: 1e3 * s for name, s in best.items()} | {"ratio": exact / small})
        print(rows[-1], flush=True)
    show("causal attention with gradients", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
