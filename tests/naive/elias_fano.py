"""Reading of Elias-Fano sequences."""

from __future__ import annotations


def elias_fano_values(
    words: list[int], n: int, low_bits: int, high_at: int, samples_at: int
) -> tuple[list[int], list[int]]:
    """Return all values of an Elias-Fano sequence and the places of their high bits."""
    lows = sum(word << (64 * i) for i, word in enumerate(words[:high_at]))
    highs = sum(word << (64 * i) for i, word in enumerate(words[high_at:samples_at]))
    places = [place for place in range(64 * (samples_at - high_at)) if highs >> place & 1]
    values = [
        ((place - i) << low_bits) | (lows >> (i * low_bits) & ((1 << low_bits) - 1))
        for i, place in enumerate(places[:n])
    ]
    return values, places
