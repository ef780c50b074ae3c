"""Product quantisation with loops over plain lists: codes, scores, and one step of Lloyd."""

from __future__ import annotations

Row = list[float]
#: The centroids of each group.
Codebook = list[list[Row]]


def distance(x: Row, y: Row, weights: Row) -> float:
    """Return the weighted squared distance, added in the order of channels."""
    total = 0.0
    for a, b, w in zip(x, y, weights, strict=True):
        total += w * ((a - b) * (a - b))
    return total


def groups(row: Row, n_groups: int) -> list[Row]:
    """Cut a row into groups of as many channels."""
    width = len(row) // n_groups
    return [row[g * width : (g + 1) * width] for g in range(n_groups)]


def encode(row: Row, book: Codebook, weights: Row) -> list[int]:
    """Return the number of the nearest centroid of each group, the lowest of equally near ones."""
    parts = zip(groups(row, len(book)), book, groups(weights, len(book)), strict=True)
    return [
        min(range(len(centroids)), key=lambda k: distance(part, centroids[k], w))
        for part, centroids, w in parts
    ]


def pack(codes: list[int], bits: int) -> list[int]:
    """Return the bytes of codes: one large number, the first code in its lowest bits."""
    number = sum(code << (bits * g) for g, code in enumerate(codes))
    return list(number.to_bytes(-(-bits * len(codes) // 8), "little"))


def decode(codes: list[int], book: Codebook) -> Row:
    """Return the centroids of codes, joined."""
    return [value for code, centroids in zip(codes, book, strict=True) for value in centroids[code]]


def inner_product(query: Row, codes: list[int], book: Codebook) -> float:
    """Return the inner product of a query with the row that codes stand for."""
    return sum(a * b for a, b in zip(query, decode(codes, book), strict=True))


def squared_distance(query: Row, codes: list[int], book: Codebook) -> float:
    """Return the squared distance of a query from the row that codes stand for."""
    return sum((a - b) ** 2 for a, b in zip(query, decode(codes, book), strict=True))


def lloyd_step(rows: list[Row], row_weights: Row, book: Codebook, weights: Row) -> Codebook:
    """Return each centroid's mean of the rows nearest to it; a centroid without rows stays."""
    new: Codebook = []
    for g, centroids in enumerate(book):
        sums, masses = [[0.0] * len(c) for c in centroids], [0.0] * len(centroids)
        for row, weight in zip(rows, row_weights, strict=True):
            code = encode(row, book, weights)[g]
            masses[code] += weight
            for j, value in enumerate(groups(row, len(book))[g]):
                sums[code][j] += weight * value
        new.append(
            [
                [s / mass for s in total] if mass else centroid
                for total, mass, centroid in zip(sums, masses, centroids, strict=True)
            ]
        )
    return new


def error(rows: list[Row], row_weights: Row, book: Codebook, weights: Row) -> float:
    """Return the weighted squared distance of all rows from what their codes stand for."""
    return sum(
        weight * distance(row, decode(encode(row, book, weights), book), weights)
        for row, weight in zip(rows, row_weights, strict=True)
    )
