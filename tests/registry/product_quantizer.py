"""Product quantizers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import COUNTS, ROWS, Case
from later import Later
from mergesketch import ProductQuantizer, fit_over_ranks
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS

COUNTS_OF_COLUMNS = np.arange(1, ROWS.shape[1] + 1)


def argument_cases() -> Iterator[Case]:
    def fit(X, weights, feature_weights):
        return ProductQuantizer(12, 4, 4).fit(X, weights, feature_weights=feature_weights).centroids

    def fit_all(X, weights):
        return fit_over_ranks(ProductQuantizer(12, 4, 4), X, weights).centroids

    fitted = Later(lambda: ProductQuantizer(12, 4, 4).fit(ROWS))

    def coded():
        return {"codes": fitted.encode(ROWS)}

    def asked():
        return {"Q": ROWS.astype(np.float32), **coded()}

    yield Case(
        "ProductQuantizer.fit", fit, {"X": ROWS, "weights": COUNTS, "feature_weights": COUNTS_OF_COLUMNS}
    )
    yield Case("distributed.fit_over_ranks", fit_all, {"X": ROWS, "weights": COUNTS})
    yield Case("ProductQuantizer.encode", fitted.encode, {"X": ROWS}, "X")
    # Codes are bytes, and nothing else.
    yield Case("ProductQuantizer.decode", fitted.decode, coded, "codes", any_dtype=False)
    yield Case("ProductQuantizer.scores", fitted.scores, asked, "Q", any_dtype=False)
    yield Case("ProductQuantizer.entropy", lambda X: tuple(ProductQuantizer(12, 12).entropy(X)), {"X": ROWS})


def stored_examples() -> dict[str, Stored]:
    return {
        "ProductQuantizer": ProductQuantizer(4, 2, 8, n_iterations=3).fit(SMALL_ROWS),
        "ProductQuantizer, not fitted": ProductQuantizer(4, 2),
    }
