"""Entropy-coded floats, decoded one value and one bit at a time."""

from __future__ import annotations

PAIR, STREAM, PAD = 2048, 1024, 8


def words_of(lengths: list[int]) -> dict[str, int]:
    """Return the symbols of the canonical code by their words, as texts of bits."""
    words: dict[str, int] = {}
    order = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
    code, before = 0, 0
    for length, symbol in order:
        code <<= length - before
        words[format(code, f"0{length}b")] = symbol
        code, before = code + 1, length
    return words


def symbols_of(stream: bytes, n: int, lengths: list[int]) -> list[int]:
    """Return the first n symbols of a stream, whose bytes are read from their lowest bit on."""
    if len(lengths) == 1 or n == 0:
        return [0] * n
    words, word, symbols = words_of(lengths), "", []
    for byte in stream:
        for bit in range(8):
            word += str(byte >> bit & 1)
            if word in words:
                symbols.append(words[word])
                word = ""
            if len(symbols) == n:
                return symbols
    return symbols


def planes(data: bytes, n: int, n_bits: int) -> list[int]:
    """Return n numbers of `n_bits` bits, which lie in planes of 8 bits, and one each of 4, 2 and 1."""
    padded = -(-n // 8) * 8
    widths = [8] * (n_bits // 8) + [width for width in (4, 2, 1) if n_bits % 8 & width]
    numbers, place, shift = [0] * n, 0, 0
    for width in widths:
        size = padded * width // 8
        for j in range(n):
            part = data[place + j % size] >> (j // size * width)
            numbers[j] |= (part & ((1 << width) - 1)) << shift
        place, shift = place + size, shift + width
    return numbers


def turned_back(value: int, turn: int, width: int, n_mantissa: int) -> int:
    """Return a value with its sign on top: it was its lowest bit, or that above the mantissa."""
    if turn == 0:
        return value
    at = 0 if turn == 1 else n_mantissa
    sign, low = value >> at & 1, value & ((1 << at) - 1)
    return sign << (width - 1) | value >> (at + 1) << at | low


def decode(
    chunks: list[list[int]], lengths: list[int], data: bytes, width: int, n_mantissa: int
) -> list[int]:
    """Return the bits of all values of `width` bits, of which the mantissas have `n_mantissa`."""
    values: list[int] = []
    place, pair = PAD, 0
    for n, fill, packed in chunks:
        if packed == 0:
            for i in range(n):
                at = place + i * width // 8
                values.append(int.from_bytes(data[at : at + width // 8], "little"))
            place += n * width // 8
            continue
        bits, lead, constant, turn = (packed >> at & 255 for at in (0, 8, 16, 24))
        first, span = packed >> 32 & 0xFFFF, (packed >> 48) + 1
        raw = width - bits - lead - constant
        table = data[place : place + (span + 1) // 2]
        code = [table[i // 2] >> (4 * (i % 2)) & 15 for i in range(span)]
        place += len(table)
        for start in range(0, n, PAIR):
            sizes = [min(STREAM, n - start), max(0, min(STREAM, n - start - STREAM))]
            stored = []
            for size in sizes:
                stored.append(planes(data[place:], size, raw))
                place += -(-size // 8) * raw
            both = data[place : place + lengths[pair]]
            place += len(both)
            pair += 1
            for size, numbers, stream in zip(sizes, stored, (both, both[::-1]), strict=True):
                for number, symbol in zip(numbers, symbols_of(stream, size, code), strict=True):
                    value = fill | (first + symbol) << (raw + constant) | number << constant
                    values.append(turned_back(value, turn, width, n_mantissa))
    return values
