"""Write the report of a de-duplication: one page of HTML that needs no network and no script.

Names and texts of documents may contain anything. All of them are escaped, and the page forbids itself to
load or run anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DocumentError, readable
from ...lsh.support.wording import counted
from ..dedup.old_documents import is_old
from ..dedup.result import Deduplication
from ..documents.source import DocumentSource
from ..documents.summary import ReadSummary
from .dedup_lists import Lists
from .giant_groups import GiantGroup, giant_groups
from .messages import common_folder, percent, si_bytes
from .output import writing
from .report_style import PAGE
from .word_differences import beginning, differences

__all__ = ["ReportedRun", "write_report"]

#: Groups and pairs that are shown, and characters of a text's beginning.
N_GROUPS, N_PAIRS, N_CHARACTERS = 10, 12, 160


class ReportedRun(NamedTuple):
    """A run that the report describes.

    Attributes
    ----------
    source : DocumentSource
    result : Deduplication
    summary : ReadSummary
    lists : Lists
    threshold : float
    settings : mapping of str to object
        The settings by the names of options.
    facts : list of (str, str)
        Further lines of the table of the run: what was written, time and memory.
    """

    source: DocumentSource
    result: Deduplication
    summary: ReadSummary
    lists: Lists
    threshold: float
    settings: Mapping[str, object]
    facts: Sequence[tuple[str, str]]

    @property
    def folder(self) -> str:
        """The folder that contains all files, with its slash, or an empty name."""
        return common_folder(self.source.files)


def write_report(path: str, run: ReportedRun) -> None:
    """Write the report, so that `path` has either all of it or its old contents."""
    sections = [
        _numbers(run),
        _sizes(run.result),
        _largest(run),
        _pairs(run),
        _skipped(run.summary),
        _run(run),
    ]
    page = PAGE.replace("{{body}}", "\n".join(sections))
    with writing(path) as file:
        file.write(page.encode(errors="backslashreplace"))


def _text(value: object) -> str:
    """Return a value as one escaped line, without characters that could change how others are shown."""
    return escape(readable(str(value)))


def _numbers(run: ReportedRun) -> str:
    result, summary, removed = run.result, run.summary, run.lists.removed
    n_removed, n_copies = len(removed.ids), int(removed.is_copy.sum())
    share = percent(n_removed / max(1, summary.n_documents))
    cards = [
        ("documents", f"{summary.n_documents:,}", f"{si_bytes(summary.bytes_read)} read"),
        ("duplicates", f"{n_removed:,}", f"{share} of the documents"),
        ("of these, copies", f"{n_copies:,}", "with the same shingles as the kept document"),
        ("near-duplicates", f"{n_removed - n_copies:,}", "with some other words"),
        ("groups", f"{result.n_groups:,}", "of two or more documents"),
        ("empty", f"{result.n_empty:,}", "documents without a word or symbol, all kept"),
        ("bad bytes", f"{result.n_invalid:,}", "documents in which bad bytes separate words"),
        ("skipped", f"{summary.n_skipped:,}", "files and documents that could not be read"),
    ]
    items = (
        f"<div><dt>{name}</dt><dd><b>{value}</b><span>{note}</span></dd></div>" for name, value, note in cards
    )
    verdict = f"{n_removed:,} of {counted(summary.n_documents, 'document')} are duplicates ({share})"
    return f"<h1>{verdict}</h1>\n<dl class=cards>{''.join(items)}</dl>"


# -- groups ---------------------------------------------------------------------------------------


def _sizes(result: Deduplication) -> str:
    sizes = np.diff(result.offsets)
    if not len(sizes):
        return _section("Sizes of groups", "<p>There is no group: no two documents are similar enough.</p>")
    counts = _counts_by_size(sizes)
    most = max(n for _, n in counts)
    rows, height = [], 24 * len(counts)
    for i, (label, n) in enumerate(counts):
        # A length in proportion to the logarithm shows one group beside a million.
        width = 4 + 172 * np.log1p(n) / np.log1p(most) if n else 0
        y = 24 * i
        rows.append(
            f'<text x="94" y="{y + 16}" text-anchor="end">{label}</text>'
            f'<rect x="102" y="{y + 4}" width="{width:.1f}" height="16" rx="3"/>'
            f'<text x="{108 + width:.1f}" y="{y + 16}">{n:,}</text>'
        )
    label = "Number of groups by size"
    picture = f'<svg viewBox="0 0 360 {height}" role="img" aria-label="{label}">{"".join(rows)}</svg>'
    note = "Documents in a group, and the number of such groups. The lengths grow with the logarithm."
    return _section("Sizes of groups", f"<figure>{picture}<figcaption>{note}</figcaption></figure>")


def _counts_by_size(sizes: NDArray[np.int64]) -> list[tuple[str, int]]:
    """Return the numbers of groups of 2, 3, 4, 5 to 8, 9 to 16 documents and so on."""
    counts = []
    low, high = 2, 2
    while low <= int(sizes.max()):
        n = int(((sizes >= low) & (sizes <= high)).sum())
        counts.append((f"{low:,}" if low == high else f"{low:,} to {high:,}", n))
        low, high = high + 1, high + 1 if high < 4 else 2 * high
    return counts


def _largest(run: ReportedRun) -> str:
    result = run.result
    sizes = np.diff(result.offsets)
    order = np.lexsort((np.arange(len(sizes)), -sizes))[:N_GROUPS].tolist()
    if not order:
        return ""
    groups = [slice(result.offsets[i], result.offsets[i + 1]) for i in order]
    kept = result.kept[order]
    texts = _texts(run.source, kept)
    names = run.lists.names(kept)
    rows = []
    for group, name, text in zip(groups, names, texts, strict=True):
        near = result.member_similarity[group]
        least = float(near.min())  # NaN if a similarity was not computed
        shown = "" if text is None else f"<p class=text>{escape(beginning(text, N_CHARACTERS))}</p>"
        cells = f"<td class=n>{len(near):,}</td><td class=n>{_similarity(least)}</td>"
        rows.append(f"<tr>{cells}<td>{_name(name, run.folder)}{shown}</td></tr>")
    body = (
        "<p>Large groups are often templates: licence texts, empty forms, cookie notices. Look at them "
        "before you use the cleaned corpus.</p>"
        + "".join(_giant(giant, run) for giant in giant_groups(result))
    )
    head = ("size", "least similarity to the kept document", "the document that is kept")
    return _section("Largest groups", body + _table(head, rows))


def _similarity(value: float) -> str:
    return "unknown" if value != value else f"{value:.3f}"


def _giant(giant: GiantGroup, run: ReportedRun) -> str:
    chain = (
        f" This is below the threshold of {run.threshold:g}: the group is a chain, in which neighbours are "
        "similar and the ends are not. Raise the threshold, or use --grouping star."
        if giant.least < run.threshold
        else ""
    )
    share = percent(giant.size / run.summary.n_documents)
    return (
        f"<p class=warning><b>A giant group:</b> {giant.size:,} documents ({share} of all) are one group. "
        f"The least similarity to the kept document is {_similarity(giant.least)}.{chain}</p>"
    )


# -- pairs ----------------------------------------------------------------------------------------


def _pairs(run: ReportedRun) -> str:
    title = "Pairs near the threshold"
    rows = _near_threshold(run)
    if not len(rows):
        return _section(title, "<p>No near-duplicate has a similarity that was computed.</p>")
    pairs = run.lists.removed.take(rows)
    texts = _texts(run.source, np.concatenate([pairs.ids, pairs.kept]))
    names, kept_names = run.lists.names(pairs.ids), run.lists.names(pairs.kept)
    items = []
    for i, (name, kept, similarity) in enumerate(
        zip(names, kept_names, pairs.similarity.tolist(), strict=True)
    ):
        first, second = texts[i], texts[i + len(rows)]
        if first is None or second is None:
            again = "is of an earlier run" if is_old(pairs.kept[i]) else "cannot be read again"
            body = f"<p class=text>A document {again}.</p>"
        else:
            body = f"<p class=text>{_marked(first, second)}</p>"
        items.append(
            f"<article><h3>similarity {similarity:.3f}</h3>"
            f"<p class=names>removed: <del>{_name(name, run.folder)}</del><br>"
            f"kept: <ins>{_name(kept, run.folder)}</ins></p>{body}</article>"
        )
    intro = (
        f"<p>These pairs show what a threshold of {run.threshold:g} means for your texts. If you would keep "
        "both documents of a pair, raise the threshold. <del>Words like these</del> are in the removed "
        "document only, and <ins>words like these</ins> in the kept one only.</p>"
    )
    return _section(title, intro + "".join(items))


def _near_threshold(run: ReportedRun) -> NDArray[np.int64]:
    """Return the rows of the removed documents nearest to the threshold, each with another kept document."""
    removed = run.lists.removed
    rows = np.flatnonzero(~removed.is_copy & ~np.isnan(removed.similarity))
    distance = np.abs(removed.similarity[rows] - np.float32(run.threshold))
    rows = rows[np.lexsort((rows, distance))]
    _, first = np.unique(removed.kept[rows], return_index=True)
    return rows[np.sort(first)[:N_PAIRS]]


def _marked(first: bytes, second: bytes) -> str:
    """Return the words of both texts, marked by the text that has them."""
    tags = {"both": "span", "first": "del", "second": "ins", "gap": "i"}
    parts = differences(first, second)
    if all(part.kind in ("both", "gap") for part in parts):
        parts = [*parts, parts[-1]._replace(kind="gap", text="the same words, in other shingles")][-1:]
    return " ".join(
        f"<{tags[part.kind]}>{'[' if part.kind == 'gap' else ''}{escape(part.text)}"
        f"{']' if part.kind == 'gap' else ''}</{tags[part.kind]}>"
        for part in parts
    )


def _texts(source: DocumentSource, ids: NDArray[np.uint64]) -> list[bytes | None]:
    """Return the texts of documents, or None for those of earlier runs or if files have changed."""
    texts: list[bytes | None] = [None] * len(ids)
    read = np.flatnonzero(~is_old(ids))
    try:
        for row, text in zip(read.tolist(), source.texts_of(ids[read]), strict=True):
            texts[row] = text
    except DocumentError:
        return [None] * len(ids)
    return texts


# -- the rest -------------------------------------------------------------------------------------


def _skipped(summary: ReadSummary) -> str:
    if not summary.n_skipped:
        return _section("Skipped", "<p>Everything could be read.</p>")
    rows = [f"<tr><td>{_text(name)}</td><td>{_text(reason)}</td></tr>" for name, reason in summary.skipped]
    more = summary.n_skipped - len(summary.skipped)
    note = f"<p>and {more:,} more</p>" if more else ""
    return _section("Skipped", _table(("what", "why"), rows) + note)


def _run(run: ReportedRun) -> str:
    rows = [f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in run.facts]
    rows += [
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in run.settings.items()
    ]
    return _section("The run", _table((), rows))


def _name(name: Mapping[str, Any], folder: str) -> str:
    """Return the name of a document: its path below the folder of all files, its line, and its id."""
    line = "" if name["line"] is None else f":{name['line']}"
    own = f" <small>id {_text(name['id'])}</small>" if name.get("id") is not None else ""
    return f"<code>{_text(name['path'].removeprefix(folder))}{line}</code>{own}"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _table(head: Sequence[str], rows: Iterable[str]) -> str:
    columns = "".join(f"<th>{name}</th>" for name in head)
    return f"<div class=wide><table>{f'<tr>{columns}</tr>' if head else ''}{''.join(rows)}</table></div>"
