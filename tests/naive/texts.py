"""Reading of coded texts from the description of their arrays, and replacing of pairs of symbols."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

BLOCK = 8


class Bits:
    """The bits of words, from the highest bit of the first word on."""

    def __init__(self, words: list[int], at: int = 0) -> None:
        self.text = "".join(f"{word:064b}" for word in words)
        self.at = at

    def number(self, n: int) -> int:
        self.at += n
        return int(self.text[self.at - n : self.at] or "0", 2)

    def word(self, code: dict[str, int]) -> int:
        start = self.at
        while self.text[start : self.at] not in code:
            self.at += 1
            assert self.at <= len(self.text)
        return code[self.text[start : self.at]]

    def coded_number(self, code: dict[str, int]) -> int:
        index = self.word(code)
        if index < 256:
            return index
        n = index - 247
        return 1 << (n - 1) | self.number(n - 1)


def canonical_code(sizes: list[int], values: list[int]) -> dict[str, int]:
    """Return the values by the words of a canonical code, as texts of zeros and ones."""
    code, word, rest = {}, 0, iter(values)
    for length, size in enumerate(sizes):
        word <<= 1
        for _ in range(size):
            code[f"{word:0{length}b}"] = next(rest)
            word += 1
    return code


def expanded(rules: list[int], symbol: int) -> bytes:
    """Return the bytes that a symbol stands for."""
    left, right = rules[symbol] & 0xFFFF, rules[symbol] >> 16
    return bytes([left]) if right == 0xFFFF else expanded(rules, left) + expanded(rules, right)


def coded_texts(arrays: dict[str, Any], starts: list[int], n: int) -> Iterator[bytes]:
    """Yield all texts; `starts` are the bits where the blocks start."""
    rules, codes = arrays["text_rules"].tolist(), arrays["text_codes"].tolist()
    sizes = []
    for _ in range(3):
        sizes.append(codes[1 : 1 + codes[0]])
        codes = codes[1 + codes[0] :]
    n_changes = sum(sizes[0])
    changes = canonical_code(sizes[0], codes[:n_changes])
    numbers = canonical_code(sizes[1], codes[n_changes:])
    symbols = canonical_code(sizes[2], list(range(sum(sizes[2]))))
    words, text, prefix = arrays["text_bits"].tolist(), b"", 0
    for i in range(n):
        if i % BLOCK == 0:
            bits, prefix = Bits(words, starts[i // BLOCK]), 0
        else:
            change = bits.coded_number(changes)
            prefix += -((change + 1) // 2) if change % 2 else change // 2
        n_symbols = bits.coded_number(numbers)
        n_bits = bits.number(48) if n_symbols >= 256 else None
        start = bits.at
        text = text[:prefix] + b"".join(expanded(rules, bits.word(symbols)) for _ in range(n_symbols))
        assert n_bits in (None, bits.at - start)
        yield text


def pairs_replaced(stream: list[int], symbols: dict[tuple[int, int], int], end: int) -> list[int]:
    """Replace pairs by their symbols, from left to right."""
    out, i = [], 0
    while i < len(stream):
        pair = tuple(stream[i : i + 2])
        if end not in pair and pair in symbols:
            out.append(symbols[pair])  # type: ignore[index]
            i += 2
        else:
            out.append(stream[i])
            i += 1
    return out


def pairs_counted(stream: list[int], end: int) -> dict[tuple[int, int], int]:
    """Count neighbours; in a run of one symbol, those that do not overlap."""
    counts: dict[tuple[int, int], int] = {}
    i = 0
    while i + 1 < len(stream):
        pair = stream[i], stream[i + 1]
        if end not in pair:
            counts[pair] = counts.get(pair, 0) + 1
        i += 1
        # The next pair overlaps this one if it is equal, and does not count.
        i += pair[0] == pair[1] != end and stream[i : i + 2] == [pair[0]] * 2
    return counts
