"""Draw docs/images/sparse_code_index.svg: codes of items, and recall by candidates."""

import matplotlib.pyplot as plt
import numpy as np
from learned_curves import draw_recalls
from mergesketch import SparseCodeIndex
from picture import GREY, WIDTH, legend, save

OURS = {
    ("SparseCodeIndex", "16 x 256 buckets"): ("SparseCodeIndex", "C0"),
    ("LearnedHash", "16 x 8 bits"): ("LearnedHash", "C1"),
}


def main():
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.0))
    ax, index = axes[0], SparseCodeIndex(n_features=8, n_chunks=8, n_buckets=16, seed=2)
    ax.vlines(np.arange(8), -0.5, 15.5, color=GREY, linewidth=0.5)
    for number, code in enumerate(index.codes([0, 1, 2])):
        ax.plot(np.arange(8), code, "o-", label=f"item {number}", color=f"C{2 + number}", linewidth=0.6)
    ax.set(title="8 chunks of 16 buckets", xlabel="chunk", ylabel="bucket", yticks=range(0, 16, 5))
    ax.grid(visible=False)
    draw_recalls(axes[1], "debian labels", OURS)
    draw_recalls(axes[2], "glove", OURS)
    axes[1].set_ylabel("recall")
    legend(figure, ncols=4)
    save(figure, "sparse_code_index")


if __name__ == "__main__":
    main()
