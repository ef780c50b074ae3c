"""A cache of the most important tokens, written out: one token, and one product, after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


def rounded(row: list[float], bits: int) -> list[float]:
    """Return the numbers that stand for those of a row: 2**bits ones from the smallest to the largest."""
    low, top = min(row), 2**bits - 1
    step = np.float32((max(row) - low) / top)
    codes = [0 if step == 0.0 else min(round((x - low) / float(step)), top) for x in row]
    return [float(np.float32(code) * step + np.float32(low)) for code in codes]


@dataclass
class Token:
    """A token that is kept."""

    position: int
    key: list[float]
    value: list[float]
    importance: float = 0.0


class Cache:
    """Tokens in the order of their positions."""

    def __init__(self, budget: int, sinks: int, window: int, drop: int, history: int, by_weight: bool):
        self.budget, self.sinks, self.window, self.drop = budget, sinks, window, drop
        self.decay = 1.0 - 1.0 / history
        self.by_weight = by_weight
        self.tokens: list[Token] = []

    def add(self, token: Token, queries: list[list[float]] | None = None) -> list[tuple[list[float], float]]:
        """Add a token, and return the output and the mass of each of its queries."""
        if len(self.tokens) == self.budget:
            self.tokens = self.best(self.tokens, self.budget - self.drop)
        if all(token.position != kept.position for kept in self.tokens):
            self.tokens = sorted([*self.tokens, token], key=lambda kept: kept.position)
        if not queries:
            return []
        for kept in self.tokens:
            kept.importance *= self.decay
        return [self.attend(query) for query in queries]

    def best(self, tokens: list[Token], size: int) -> list[Token]:
        """Return the first ones, the latest ones, and the most important others, in all `size` tokens."""
        middle = len(tokens) - self.window
        others = sorted(tokens[self.sinks : middle], key=lambda kept: (-kept.importance, -kept.position))
        some = others[: size - self.sinks - self.window]
        return [
            kept
            for i, kept in enumerate(tokens)
            if i < self.sinks or i >= middle or any(kept is one for one in some)
        ]

    def attend(self, query: list[float]) -> tuple[list[float], float]:
        scale, n = 1.0 / math.sqrt(len(query)), len(self.tokens)
        logits = [scale * sum(q * k for q, k in zip(query, token.key, strict=True)) for token in self.tokens]
        powers = [math.exp(logit - max(logits)) for logit in logits]
        total = 0.0
        for power in powers:
            total += power
        for token, power in zip(self.tokens, powers, strict=True):
            gain = power / total if self.by_weight else float(power * n > total)
            token.importance += gain
        columns: Any = zip(*(token.value for token in self.tokens), strict=True)
        output = [sum(p / total * v for p, v in zip(powers, column, strict=True)) for column in columns]
        return output, math.log(total) + max(logits)

    def merged(self, *others: Cache) -> list[Token]:
        """Return what a merge keeps: the best tokens of all; of equal positions the most important one."""
        found: dict[int, Token] = {}
        for token in [token for cache in (self, *others) for token in cache.tokens]:
            kept = found.setdefault(token.position, token)
            if token.importance > kept.importance:
                found[token.position] = token
        tokens = sorted(found.values(), key=lambda kept: kept.position)
        return tokens if len(tokens) <= self.budget else self.best(tokens, self.budget)
