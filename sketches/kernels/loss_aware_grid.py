"""The kernel that decodes rows of packed codes by the table of each row."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel

__all__ = ["decode_rows"]


@kernel
def decode_rows(codes, tables, bits, start, stop, out):
    """Write the values of the codes of rows [start, stop) to the rows of `out`, from its row 0 on.

    Eight codes of a row are `bits` bytes in little-endian order. ``tables[row, code]`` is a code's value.
    """
    n_columns = out.shape[1]
    mask = np.uint64((1 << bits) - 1)
    for row in range(start, stop):
        table, decoded, packed = tables[row], out[row - start], codes[row]
        for group in range((n_columns + 7) // 8):
            word = np.uint64(0)
            for byte in range(bits):
                word |= np.uint64(packed[group * bits + byte]) << np.uint64(8 * byte)
            first = 8 * group
            if first + 8 <= n_columns:
                # The compiler unrolls a loop of a fixed length.
                for j in range(8):
                    decoded[first + j] = table[(word >> np.uint64(j * bits)) & mask]
            else:
                for j in range(n_columns - first):
                    decoded[first + j] = table[(word >> np.uint64(j * bits)) & mask]
