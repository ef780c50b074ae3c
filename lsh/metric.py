"""Metrics: the measures of distance or similarity that families, rankers and suggestions share."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["METRICS", "Metric"]


@dataclass(frozen=True)
class Metric:
    """A measure of how far apart two rows are, or how similar.

    Attributes
    ----------
    name : str
        The `metric` of the families that are sensitive to it.
    compares : str
        What rows are: "vectors", "bits", "sets", "weights" or "orders".
    largest : float
        The largest distance, which may be infinite.
    is_similarity : bool
        The nearest rows have the largest values.
    """

    name: str
    compares: str
    largest: float
    is_similarity: bool = False


#: The metrics by their names. The largest Hamming distance is the family's number of bits or features.
METRICS = {
    metric.name: metric
    for metric in (
        Metric("angle", "vectors", math.pi),
        Metric("euclidean", "vectors", math.inf),
        Metric("cityblock", "vectors", math.inf),
        Metric("inner_product", "vectors", math.inf, is_similarity=True),
        Metric("jaccard", "sets", 1.0),
        Metric("weighted_jaccard", "weights", 1.0),
        Metric("hamming", "bits", math.inf),
        Metric("rank", "orders", 2.0),
    )
}
