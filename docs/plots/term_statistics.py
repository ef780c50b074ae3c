"""Draw docs/images/term_statistics.svg: two shards count their documents, and their lists are added."""

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, Rectangle
from mergesketch import TermStatistics
from picture import GREY, WIDTH, save

SHARDS = (
    [["tea", "and", "cake"], ["tea", "tea", "and", "jam"]],
    [["cake", "and", "milk"], ["and", "tea"]],
)
TERMS = ("and", "tea", "cake", "jam", "milk")
HIGH = 0.75
ROW = 0.62


def documents(axes, x, y, texts, colour):
    for i, terms in enumerate(texts):
        axes.text(x, y - ROW * i, " ".join(terms), color=colour, va="center")


def statistics(axes, x, y, sketch, colour, width=2.6):
    """Draw the list of a sketch, from the top `y` down, and return its height."""
    found = [(term, sketch.query(term)) for term in TERMS if sketch.query(term)]
    height = ROW * (len(found) + 2) + 0.15
    axes.add_patch(Rectangle((x, y - height), width, height, facecolor="none", edgecolor=colour))
    for i, (term, frequency) in enumerate(found):
        axes.text(x + 0.2, y - ROW * (i + 0.6), term, color=colour, va="center")
        axes.text(x + width - 0.2, y - ROW * (i + 0.6), frequency, color=colour, va="center", ha="right")
    for i, (name, value) in enumerate((("documents", sketch.n_documents), ("tokens", sketch.n_tokens))):
        at = y - ROW * (len(found) + i + 0.7)
        axes.text(x + 0.2, at, name, color=GREY, va="center")
        axes.text(x + width - 0.2, at, value, color=GREY, va="center", ha="right")
    return height


def arrow(axes, start, end):
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color=GREY))


def main():
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6))
    sketches = [TermStatistics().update(shard) for shard in SHARDS]
    for i, (shard, sketch) in enumerate(zip(SHARDS, sketches, strict=True)):
        y = 8.4 - 4.3 * i
        documents(axes, 0, y - 1.4, shard, f"C{i}")
        height = statistics(axes, 4.3, y, sketch, f"C{i}")
        arrow(axes, (3.3, y - 1.7), (4.2, y - 1.7))
        arrow(axes, (7.0, y - height / 2), (8.1, 4.4 + 0.6 * (0.5 - i)))
    axes.text(0, 9.1, "documents of a shard", color=GREY)
    axes.text(4.3, 9.1, "its statistics", color=GREY)
    whole = sketches[0] | sketches[1]
    top = 6.6
    statistics(axes, 8.2, top, whole, "C2")
    axes.text(8.2, 9.1, "added: exactly those\nof all documents", color=GREY, va="center")
    axes.text(11.1, 9.1, "weight", color=GREY)
    axes.text(12.9, 9.1, f"keep, high={HIGH:g}", color=GREY)
    for i, term in enumerate(TERMS):
        y = top - ROW * (i + 0.6)
        weight = whole.weights(term)
        axes.add_patch(Rectangle((11.1, y - 0.2), weight, 0.4, facecolor="C2", edgecolor="none"))
        axes.text(12.9, y, "yes" if whole.keep(term, high=HIGH) else "no", color="C2", va="center")
    axes.set(xlim=(-0.1, 15.2), ylim=(0, 9.8))
    axes.set_axis_off()
    save(figure, "term_statistics")


if __name__ == "__main__":
    main()
