// The blocked Bloom filter: the twins of sketches/kernels/bloom.py.
//
// Floors on an H100 (3.0 TB/s): a key reads 8 bytes, and its block of 64 bytes at a random place: two sectors
// of 32 bytes, 24 ps a key from memory, and from the second-level cache (50 MB) about a third of that. Adding
// makes n_hashes atomic operations there. A thread takes a key.
#include "xxh3.cuh"

#define BLOCK_WORDS 8
#define FIELDS 7  // of 9 bits in a word

__device__ __forceinline__ u64 bloom_mix(u64 x) {
    x *= 0x9E3779B97F4A7C15ull;
    return x ^ (x >> 32);
}

extern "C" __global__ void bloom_add(const u64* keys, i64 n, u64 seed, bool hashed, i64 n_blocks,
                                     i64 n_hashes, u64 low, u64 width, u64* words) {
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        u64 h = hash_of(keys, i, seed, hashed);
        if (h - low > width) continue;
        u64* block = words + __umul64hi(h, (u64)n_blocks) * BLOCK_WORDS;
        u64 w = bloom_mix(h);
        for (i64 left = n_hashes; left > 0; left -= FIELDS, w = bloom_mix(w)) {
            u64 fields = w;
            i64 now = left < FIELDS ? left : FIELDS;
            for (i64 j = 0; j < now; ++j, fields <<= 9) {
                u64 bit = 1ull << ((fields >> 55) & 63);
                u64* word = block + (fields >> 61);
                // Most bits of a full filter are set, and a bit that is set is only read.
                if (!(*word & bit)) atomicOr(word, bit);
            }
        }
    }
}

extern "C" __global__ void bloom_contains(const u64* words, const u64* keys, u64 seed, bool hashed,
                                          i64 n_blocks, i64 n_hashes, i64 start, i64 stop, bool* out) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        u64 h = hash_of(keys, i, seed, hashed);
        const u64* block = words + __umul64hi(h, (u64)n_blocks) * BLOCK_WORDS;
        u64 w = bloom_mix(h), found = 1;
        for (i64 left = n_hashes; left > 0; left -= FIELDS, w = bloom_mix(w)) {
            u64 fields = w;
            i64 now = left < FIELDS ? left : FIELDS;
            for (i64 j = 0; j < now; ++j, fields <<= 9) found &= block[fields >> 61] >> ((fields >> 55) & 63);
        }
        out[i] = found & 1;
    }
}

extern "C" __global__ void bloom_fills(const u64* words, const u64* others, i64 start, i64 stop, i64* fills) {
    for (i64 block = start + thread_number(); block < stop; block += thread_count()) {
        int n = 0;
        for (i64 i = BLOCK_WORDS * block; i < BLOCK_WORDS * (block + 1); ++i)
            n += __popcll(words[i] | others[i]);
        atomicAdd((u64*)(fills + n), 1ull);
    }
}
