"""The search of the built site, as far as tests need it: titles and words, ranked as its JavaScript does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sphinx.search.en import SearchEnglish

#: What a match of a word in the text and in a title is worth, and the points of a page by its folder.
TEXT, TITLE = 5, 15


class Search:
    """The index of a built site.

    Parameters
    ----------
    site : Path
        The folder with ``searchindex.js``.
    scorer : Path
        The script that ranks pages.
    """

    def __init__(self, site: Path, scorer: Path) -> None:
        text = (site / "searchindex.js").read_text(encoding="utf-8")
        self.index = json.loads(text[text.index("{") : text.rindex("}") + 1])
        self.points = json.loads(re.search(r"FOLDER_POINTS = (\{.*?\})", scorer.read_text())[1])
        self.stem = SearchEnglish({}).stem

    def find(self, query: str) -> list[str]:
        """Return the pages for a query, the best one first."""
        scores: dict[int, float] = {}
        for title, places in self.index["alltitles"].items():
            if query.lower() in title.lower() and len(query) >= len(title) / 2:
                for page, _ in places:
                    scores[page] = max(scores.get(page, 0), round(TITLE * len(query) / len(title)))
        of_words = [self.of_word(self.stem(word)) for word in re.findall(r"\w{3,}", query.lower())]
        for page in set.intersection(*map(set, of_words)):
            scores[page] = max(scores.get(page, 0), *(found[page] for found in of_words))
        ranked = {self.index["docnames"][page]: score for page, score in scores.items()}
        return sorted(ranked, key=lambda page: (-ranked[page] - self.bonus(page), page))

    def of_word(self, stem: str) -> dict[int, int]:
        """Return the pages that have a word in their text or in a title, with their scores."""
        found: dict[int, int] = {}
        for terms, score in ((self.index["terms"], TEXT), (self.index["titleterms"], TITLE)):
            pages = terms.get(stem, [])
            found |= dict.fromkeys([pages] if isinstance(pages, int) else pages, score)
        return found

    def bonus(self, page: str) -> int:
        """Return the points for the folder of a page."""
        return next((points for folder, points in self.points.items() if page.startswith(folder)), 0)
