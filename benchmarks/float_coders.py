"""Provide what CompressedFloats is measured beside: coders of one tensor in memory.

The peers run on one thread, ours on as many as `mergesketch.set_num_threads` says.

`ZipNN` and `lmzip` are made for weights of models, `pcodec` for columns of numbers, Zstandard for bytes.
`constriction` has entropy coders: it codes the sign, the exponent and the top of the mantissa as one symbol,
up to 12 bits, with the frequencies of the tensor, and the other bits count as they are. What splits the
values for it is not timed. A coder that is not installed is left out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from float_weights import DTYPES, JOINT, bits_of
from numpy.typing import NDArray

__all__ = ["Coder", "coders"]

Array = NDArray[Any]


@dataclass
class Coder:
    """Functions of one coder.

    Attributes
    ----------
    name : str
    prepare : callable
        ``prepare(values, dtype)`` gives what `encode` reads. It is not timed.
    encode : callable
        ``encode(prepared, dtype)`` gives the code.
    size : callable
        ``size(code)``: the bytes of a code.
    decode : callable
        ``decode(code, dtype)`` gives the values, in any form that `same` reads.
    """

    name: str
    prepare: Callable[[Array, str], Any]
    encode: Callable[[Any, str], Any]
    size: Callable[[Any], int]
    decode: Callable[[Any, str], Any]


def unsigned(values: Array, dtype: str) -> Array:
    return bits_of(values)


def ours() -> Coder:
    from mergesketch import CompressedFloats

    return Coder(
        "ours",
        lambda values, _: values,
        lambda values, _: CompressedFloats(values),
        lambda code: int(code.nbytes),
        lambda code, _: code.decode(),
    )


def zipnn() -> Coder:
    from zipnn import ZipNN

    def make(dtype: str) -> Any:
        return ZipNN(input_format="byte", bytearray_dtype=dtype, threads=1)

    return Coder(
        "zipnn",
        # It may reorder the bits of its input in place.
        lambda values, _: bytearray(bits_of(values)),
        lambda prepared, dtype: make(dtype).compress(prepared),
        len,
        lambda code, dtype: make(dtype).decompress(code),
    )


def lmzip() -> Coder:
    from lmz import DEFAULT_CHUNK_SIZE
    from lmz.codec import decode_chunk, encode_chunk
    from lmz.planner import KIND_BF16, KIND_BYTES

    def encode(values: Array, dtype: str) -> list[Any]:
        kind, chunks = KIND_BF16 if dtype == "bfloat16" else KIND_BYTES, []
        data = memoryview(values).cast("B")
        for start in range(0, len(data), DEFAULT_CHUNK_SIZE):
            part = data[start : start + DEFAULT_CHUNK_SIZE]
            payload, codec, flags, _ = encode_chunk(part, values.itemsize, checksum=False, kind=kind)
            chunks.append((b"".join(payload), codec, values.itemsize, flags, len(part)))
        return chunks

    def decode(code: list[Any], dtype: str) -> Array:
        out = np.empty(sum(chunk[-1] for chunk in code), np.uint8)
        start = 0
        for payload, *told, size in code:
            part = decode_chunk(payload, *told, size, verify=False)
            out[start : start + size] = np.frombuffer(part, np.uint8, size)
            start += size
        return out

    return Coder("lmzip", unsigned, encode, lambda code: sum(len(chunk[0]) for chunk in code), decode)


def pcodec() -> Coder:
    from pcodec import ChunkConfig, standalone

    def prepare(values: Array, dtype: str) -> Array:
        return values.reshape(-1) if dtype in ("float16", "float32") else bits_of(values)

    config = ChunkConfig(enable_8_bit=True)
    return Coder(
        "pcodec",
        prepare,
        lambda values, _: standalone.simple_compress(values, config),
        len,
        lambda code, _: standalone.simple_decompress(code),
    )


def zstd(level: int) -> Coder:
    import zstandard

    packer, unpacker = zstandard.ZstdCompressor(level=level), zstandard.ZstdDecompressor()
    return Coder(
        f"zstd {level}",
        unsigned,
        lambda values, _: packer.compress(values),
        len,
        lambda code, _: unpacker.decompress(code),
    )


def constriction() -> Coder:
    import constriction as library

    def split(values: Array, dtype: str) -> Any:
        n_bits = 1 + sum(DTYPES[dtype][1:])
        symbols = (bits_of(values) >> (n_bits - min(JOINT, n_bits))).astype(np.int32)
        return symbols, np.bincount(symbols, minlength=2), n_bits - min(JOINT, n_bits)

    def model(counts: Array) -> Any:
        return library.stream.model.Categorical(counts / counts.sum(), perfect=False)

    def encode(prepared: Any, _: str) -> Any:
        symbols, counts, rest = prepared
        coder = library.stream.stack.AnsCoder()
        coder.encode_reverse(symbols, model(counts))
        return coder.get_compressed(), counts, rest

    def decode(code: Any, _: str) -> Any:
        words, counts, _ = code
        return library.stream.stack.AnsCoder(words).decode(model(counts), int(counts.sum()))

    def size(code: Any) -> int:
        words, counts, rest = code
        # A frequency of each symbol that occurs, in 2 bytes and the bits of a list of those that do.
        table = 2 * np.count_nonzero(counts) + counts.size // 8
        return int(words.nbytes + -(-int(counts.sum()) * rest // 8) + table)

    return Coder("constriction", split, encode, size, decode)


def coders() -> list[Coder]:
    """Return the coders that are installed, and ours first."""
    makers: dict[str, Callable[[], Coder]] = {
        "zipnn": zipnn,
        "lmz": lmzip,
        "pcodec": pcodec,
        "zstandard": lambda: zstd(3),
        "constriction": constriction,
    }
    found = [ours()]
    for package, make in makers.items():
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: left out")
        else:
            found.append(make())
    return found


def same(values: Array, decoded: Any) -> bool:
    """Return if what was decoded has the bytes of the values."""
    found = np.frombuffer(decoded, np.uint8) if isinstance(decoded, (bytes, bytearray)) else decoded
    return bool(
        np.array_equal(np.asarray(found).reshape(-1).view(np.uint8), values.reshape(-1).view(np.uint8))
    )
