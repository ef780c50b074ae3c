// Decode rows of packed codes: the twin of sketches/kernels/loss_aware_grid.py.
//
// A thread decodes eight codes, which are `bits` bytes, and writes their values. Floor on an H100 (3.0 TB/s):
// 4 bytes written and bits / 8 read a weight, 1.5 ps.
#include "common.cuh"

extern "C" __global__ void decode_rows(const u8* codes, i64 row_bytes, const float* tables, i64 bits,
                                       i64 n_columns, i64 start, i64 stop, float* out) {
    i64 groups = (n_columns + 7) / 8;
    u64 mask = ((u64)1 << bits) - 1;
    for (i64 i = thread_number(); i < (stop - start) * groups; i += thread_count()) {
        i64 row = i / groups, group = i % groups;
        const u8* packed = codes + (start + row) * row_bytes + group * bits;
        const float* table = tables + ((start + row) << bits);
        u64 word = 0;
        for (i64 byte = 0; byte < bits; byte++) word |= (u64)packed[byte] << (8 * byte);
        float* decoded = out + row * n_columns + 8 * group;
        i64 n = n_columns - 8 * group < 8 ? n_columns - 8 * group : 8;
        for (i64 j = 0; j < n; j++) decoded[j] = table[word >> (j * bits) & mask];
    }
}
