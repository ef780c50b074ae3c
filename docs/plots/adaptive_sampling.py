"""Draw docs/images/adaptive_sampling.svg: what examples/adaptive_sampling.py gains in 12 seconds.

On one thread, whose own time is counted, so that other programs do not change the picture.
"""

import sys
import time

import matplotlib.pyplot as plt
from mergesketch import set_num_threads
from picture import ROOT, WIDTH, legend, plain_log, save
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(ROOT / "examples"))

from adaptive_sampling import digits, train

SECONDS = 12.0


def main():
    X, y = digits()
    set_num_threads(1)
    threadpool_limits(1)
    train(X, y, sketched=True, seconds=0.1)  # compile first
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharey=True)
    for label, sketched in (("uniform", False), ("by sketched loss", True)):
        history = train(X, y, sketched=sketched, seconds=SECONDS, clock=time.process_time)
        seconds, steps, losses = zip(*history, strict=True)
        print(f"{label:18s} {steps[-1]:6,} steps, mean loss of all rows {losses[-1]:.5f}")
        axes[0].semilogy(seconds, losses, label=label)
        axes[1].semilogy([step / 1000 for step in steps], losses, label=label)
    axes[0].set(xlabel="seconds of training", ylabel="mean loss of all rows")
    axes[1].set(xlabel="thousand steps")
    plain_log(axes[0].yaxis, subs=(1, 3))
    legend(figure, ncols=2)
    save(figure, "adaptive_sampling")


if __name__ == "__main__":
    main()
