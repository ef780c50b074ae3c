// Fields of b bits, packed into words and compared: the twins of lsh/kernels/bbit_minhash.py.
//
// A thread packs a word; a warp counts the equal fields of two rows. A field of an XOR is not 0 if its
// highest bit is set, or if adding the largest number to its other bits carries into that bit. Floors: 4
// bytes a code read and b / 8 written; 16 bytes a pair of words read.
#include "common.cuh"

extern "C" __global__ void pack_fields(const u32* codes, i64 n_fields, i64 bits, i64 n, i64 W, u64* out) {
    i64 each = 64 / bits;
    for (i64 t = thread_number(); t < n * W; t += thread_count()) {
        i64 i = t / W, first = t % W * each;
        u64 word = 0;
        for (i64 k = 0; k < min(each, n_fields - first); ++k)
            word |= (u64)codes[i * n_fields + first + k] << (k * bits);
        out[t] = word;
    }
}

extern "C" __global__ void count_equal_fields(const u64* A, const u64* B, i64 bits, i64 n_fields, i64 start,
                                              i64 stop, i64 W, i64* out) {
    u64 highest = 0;
    for (i64 k = 0; k < 64 / bits; ++k) highest |= 1ull << (k * bits + bits - 1);
    u64 others = ~highest;
    for (i64 i = start + warp_number(); i < stop; i += warp_count()) {
        int unlike = 0;
        for (i64 w = lane_number(); w < W; w += 32) {
            u64 word = A[i * W + w] ^ B[i * W + w];
            unlike += __popcll((((word & others) + others) | word) & highest);
        }
        for (int by = 16; by; by /= 2) unlike += __shfl_xor_sync(ALL_LANES, unlike, by);
        if (lane_number() == 0) out[i] = n_fields - unlike;
    }
}
