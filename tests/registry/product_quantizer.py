"""Product quantizers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from argument_cases import COUNTS, ROWS, Case
from later import Later
from mergesketch import ProductQuantizer, fit_over_ranks
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS


def argument_cases() -> Iterator[Case]:
    def fit(X, weights):
        return ProductQuantizer(12, 4, 4).fit(X, weights).centroids

    def fit_all(X, weights):
        return fit_over_ranks(ProductQuantizer(12, 4, 4), X, weights).centroids

    fitted = Later(lambda: ProductQuantizer(12, 4, 4).fit(ROWS))
    codes = cache(lambda: fitted.encode(ROWS))

    def scores(Q):
        return fitted.scores(Q, codes())

    yield Case("ProductQuantizer.fit", fit, {"X": ROWS, "weights": COUNTS})
    yield Case("distributed.fit_over_ranks", fit_all, {"X": ROWS, "weights": COUNTS})
    yield Case("ProductQuantizer.encode", fitted.encode, {"X": ROWS}, "X")
    yield Case("ProductQuantizer.scores", scores, {"Q": ROWS}, "Q")
    yield Case("ProductQuantizer.entropy", lambda X: tuple(ProductQuantizer(12, 12).entropy(X)), {"X": ROWS})


def stored_examples() -> dict[str, Stored]:
    return {
        "ProductQuantizer": ProductQuantizer(4, 2, 8, n_iterations=3).fit(SMALL_ROWS),
        "ProductQuantizer, not fitted": ProductQuantizer(4, 2),
    }
