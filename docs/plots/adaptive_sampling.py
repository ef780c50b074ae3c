"""Draw docs/images/adaptive_sampling.svg: what examples/adaptive_sampling.py gains in 8,000 steps."""

import sys

import matplotlib.pyplot as plt
from mergesketch import set_num_threads
from picture import ROOT, WIDTH, legend, plain_log, save
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(ROOT / "examples"))

from adaptive_sampling import digits, train

ROUNDS = 40


def main():
    X, y = digits()
    set_num_threads(1)
    threadpool_limits(1)
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4))
    for label, sketched in (("uniform", False), ("by sketched loss", True)):
        history = train(X, y, sketched=sketched, rounds=ROUNDS)
        steps, losses = zip(*history, strict=True)
        print(f"{label:18s} {steps[-1]:6,} steps, mean loss of all rows {losses[-1]:.5f}")
        axes.semilogy([step / 1000 for step in steps], losses, label=label)
    axes.set(xlabel="thousand steps", ylabel="mean loss of all rows")
    plain_log(axes.yaxis, subs=(1, 3))
    legend(figure, ncols=2)
    save(figure, "adaptive_sampling")


if __name__ == "__main__":
    main()
