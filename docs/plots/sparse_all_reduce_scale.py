"""Draw docs/images/sparse_all_reduce_scale.svg: the computed time of an exchange against ranks."""

import matplotlib.pyplot as plt
from picture import WIDTH, plain_log, save
from sparse_all_reduce import WAYS, lines, rows


def main():
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    made = rows("sparse_all_reduce_scale")
    for axes, kind in zip(panels, ("words", "pairs of words"), strict=True):
        found = [r for r in made if r["ids"] == kind]
        ranks = [r["ranks"] for r in found]
        lines(axes, ranks, {name: [r[f"{name}, ms"] for r in found] for name in WAYS})
        axes.set_xticks(ranks, [str(p) for p in ranks])
        axes.minorticks_off()
        plain_log(axes.yaxis, subs=(1, 3))
        axes.set(title=f"{found[0]['number of ids']:,} {kind}", xlabel="ranks")
    panels[0].set_ylabel("ms for an exchange, computed")
    panels[0].legend(loc="upper left")
    save(figure, "sparse_all_reduce_scale")


if __name__ == "__main__":
    main()
