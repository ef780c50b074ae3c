"""The tables of results/negative_sampling.json."""

from markdown_parts import short, table
from summary import rows

__all__ = ["costs", "gradients", "training"]


def gradients() -> str:
    """Return bias and deviation of each sampler's gradients."""
    found = [r for r in rows("negative_sampling") if "sampler" in r]
    columns = ("bias", "deviation", "median bias", "median deviation", "plain bias")
    lines = [(r["sampler"], *(f"{r[column]:.3f}" for column in columns)) for r in found]
    return table(("sampler", *columns), lines)


def training() -> str:
    """Return what training with each sampler has reached at the end, and the time that it took."""
    found = [r for r in rows("negative_sampling") if "training" in r]
    last = {(r["training"], r["data"]): r for r in found}
    sets = list(dict.fromkeys(r["data"] for r in found))
    lines = []
    for name in dict.fromkeys(r["training"] for r in found):
        line = [name]
        for data in sets:
            r = last.get((name, data))
            line += [short(r["seconds"]), f"{r['p@1']:.3f}", f"{r['loss']:.2f}"] if r else ["", "", ""]
        lines.append(line)
    heads = [f"{data}: {what}" for data in sets for what in ("seconds", "p@1", "test loss")]
    return table(("sampler", *heads), lines)


def costs() -> str:
    """Return the time of a query."""
    found = [r for r in rows("negative_sampling") if "ids in buckets" in r]
    return table(tuple(found[0]), [(r["ids in buckets"], *map(short, list(r.values())[1:])) for r in found])
