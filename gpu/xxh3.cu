// XXH3-64 of keys: the twins of the kernels of lsh/kernels/xxh3.py.
//
// Floors on an H100 (3.0 TB/s): hash_u64 reads and writes 8 bytes a key, 5.3 ps a key. hash_slices reads the
// bytes, 8 bytes of offset and writes 8 a key; neighbouring threads read neighbouring strings, so lines are
// shared through the first-level cache.
#include "xxh3.cuh"

extern "C" __global__ void hash_u64(const u64* values, u64 seed, i64 start, i64 stop, u64* out) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count())
        out[i] = xxh3_64_u64(values[i], seed);
}

extern "C" __global__ void hash_slices(const u8* data, const i64* offsets, u64 seed, i64 start, i64 stop,
                                       u64* out) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count())
        out[i] = xxh3_64(data + offsets[i], offsets[i + 1] - offsets[i], seed);
}

extern "C" __global__ void hash_fixed(const u8* data, i64 width, u64 seed, i64 start, i64 stop, u64* out) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        const u8* field = data + i * width;
        i64 length = width;
        while (length > 0 && field[length - 1] == 0) --length;
        out[i] = xxh3_64(field, length, seed);
    }
}
