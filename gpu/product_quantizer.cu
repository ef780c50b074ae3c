// Codes of groups of channels, and sums of table entries: the twin of sketches/kernels/product_quantizer.py.
//
// A thread encodes 8 groups of a row, whose codes fill whole bytes. A block scores CHUNK rows for one query,
// whose tables it copies to shared memory where they fit.
#include "common.cuh"

#define CHUNK 4096

// Return the code of a row of `size` bytes that begins at a bit.
__device__ __forceinline__ u32 code_at(const u8* row, i64 size, i64 first_bit, u32 mask) {
    i64 byte = first_bit >> 3;
    int shift = (int)(first_bit & 7);
    u32 word = row[byte];
    if (shift && byte + 1 < size) word |= (u32)row[byte + 1] << 8;
    return (word >> shift) & mask;
}

extern "C" __global__ void encode_groups(const double* X, const double* weights, const double* centroids,
                                         i64 G, i64 c, i64 K, i64 bits, i64 start, i64 stop, i64 size,
                                         u8* packed) {
    i64 eights = (G + 7) / 8;
    for (i64 t = thread_number(); t < (stop - start) * eights; t += thread_count()) {
        i64 row = start + t / eights, first = t % eights * 8;
        u64 word = 0;
        for (i64 g = first; g < min(first + 8, G); ++g) {
            const double *x = X + (row * G + g) * c, *w = weights + g * c, *table = centroids + g * c * K;
            i64 best = 0;
            double least = 0.0;
            for (i64 k = 0; k < K; ++k) {
                double distance = 0.0;
                for (i64 j = 0; j < c; ++j) {
                    double difference = x[j] - table[j * K + k];
                    distance += w[j] * (difference * difference);
                }
                if (k == 0 || distance < least) {
                    best = k;
                    least = distance;
                }
            }
            word |= (u64)best << ((g - first) * bits);
        }
        i64 begin = first * bits / 8;
        for (i64 byte = begin; byte < min(begin + bits, size); ++byte)
            packed[row * size + byte] = (u8)(word >> (8 * (byte - begin)));
    }
}

extern "C" __global__ void decode_codes(const u8* packed, i64 size, const double* centroids, i64 G, i64 c,
                                        i64 K, i64 bits, i64 start, i64 stop, double* out) {
    for (i64 t = thread_number(); t < (stop - start) * G; t += thread_count()) {
        i64 row = start + t / G, g = t % G;
        u32 code = code_at(packed + row * size, size, g * bits, (u32)(K - 1));
        for (i64 j = 0; j < c; ++j) out[(row * G + g) * c + j] = centroids[(g * c + j) * K + code];
    }
}

template <class Sum, class Entry>
__device__ void score(const u8* packed, i64 size, const Entry* tables, const double* lows,
                      const double* steps, i64 Q, i64 G, i64 K, i64 bits,
                      bool in_shared, i64 start, i64 stop, i64 n, double* out) {
    DYNAMIC_SHARED(Entry, room);
    i64 chunks = (stop - start + CHUNK - 1) / CHUNK;
    for (i64 task = blockIdx.x; task < Q * chunks; task += gridDim.x) {
        i64 q = task / chunks, first = start + task % chunks * CHUNK, last = min(stop, first + CHUNK);
        const Entry* table = tables + q * G * K;
        if (in_shared) {
            __syncthreads();
            for (i64 i = threadIdx.x; i < G * K; i += blockDim.x) room[i] = table[i];
            __syncthreads();
            table = room;
        }
        for (i64 row = first + threadIdx.x; row < last; row += blockDim.x) {
            Sum sum = 0;
            for (i64 g = 0; g < G; ++g)
                sum += table[g * K + code_at(packed + row * size, size, g * bits, (u32)(K - 1))];
            out[q * n + row] = lows[q] + steps[q] * (double)sum;
        }
    }
}

extern "C" __global__ void score_codes_uint8(const u8* packed, i64 size, const u8* tables, const double* lows,
                                             const double* steps, i64 Q, i64 G, i64 K,
                                             i64 bits, bool in_shared, i64 start, i64 stop, i64 n, double* out) {
    score<i32>(packed, size, tables, lows, steps, Q, G, K, bits, in_shared, start, stop, n, out);
}
extern "C" __global__ void score_codes_float64(const u8* packed, i64 size, const double* tables, const double* lows,
                                               const double* steps, i64 Q, i64 G,
                                               i64 K, i64 bits, bool in_shared, i64 start, i64 stop, i64 n,
                                               double* out) {
    score<double>(packed, size, tables, lows, steps, Q, G, K, bits, in_shared, start, stop, n, out);
}
