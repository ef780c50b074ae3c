// XXH3-64 of bytes at any address, the twin of lsh/kernels/xxh3.py; constants are those of its specification.
#pragma once
#include "common.cuh"

// The default secret, 192 bytes, as little-endian words.
__constant__ u64 XXH3_SECRET[24] = {
    0xbe4ba423396cfeb8ull, 0x1cad21f72c81017cull, 0xdb979083e96dd4deull, 0x1f67b3b7a4a44072ull,
    0x78e5c0cc4ee679cbull, 0x2172ffcc7dd05a82ull, 0x8e2443f7744608b8ull, 0x4c263a81e69035e0ull,
    0xcb00c391bb52283cull, 0xa32e531b8b65d088ull, 0x4ef90da297486471ull, 0xd8acdea946ef1938ull,
    0x3f349ce33f76faa8ull, 0x1d4f0bc7c7bbdcf9ull, 0x3159b4cd4be0518aull, 0x647378d9c97e9fc8ull,
    0xc3ebd33483acc5eaull, 0xeb6313faffa081c5ull, 0x49daf0b751dd0d17ull, 0x9e68d429265516d3ull,
    0xfca1477d58be162bull, 0xce31d07ad1b8f88full, 0x280416958f3acb45ull, 0x7e404bbbcafbd7afull};

#define P32_1 0x9E3779B1ull
#define P32_2 0x85EBCA77ull
#define P32_3 0xC2B2AE3Dull
#define P64_1 0x9E3779B185EBCA87ull
#define P64_2 0xC2B2AE3D27D4EB4Full
#define P64_3 0x165667B19E3779F9ull
#define P64_4 0x85EBCA77C2B2AE63ull
#define P64_5 0x27D4EB2F165667C5ull
#define MX_1 0x165667919E3779F9ull
#define MX_2 0x9FB21C651E98DF25ull

// Load a word at any address, from the two aligned ones around it: GPUs load aligned words only. No word is
// read that has none of the requested bytes.
__device__ __forceinline__ u64 load_u64(const u8* at) {
    u64 address = (u64)at;
    const u64* word = (const u64*)(address & ~7ull);
    u32 shift = (u32)(address & 7) * 8;
    u64 low = *word;
    return shift ? (low >> shift) | (word[1] << (64 - shift)) : low;
}
__device__ __forceinline__ u64 load_u32(const u8* at) {
    return (u64)at[0] | (u64)at[1] << 8 | (u64)at[2] << 16 | (u64)at[3] << 24;
}
__device__ __forceinline__ u64 rotate(u64 x, int n) { return (x << n) | (x >> (64 - n)); }
__device__ __forceinline__ u64 swap_bytes(u64 x) {
    x = (x & 0x00FF00FF00FF00FFull) << 8 | (x >> 8 & 0x00FF00FF00FF00FFull);
    x = (x & 0x0000FFFF0000FFFFull) << 16 | (x >> 16 & 0x0000FFFF0000FFFFull);
    return x << 32 | x >> 32;
}
__device__ __forceinline__ u64 fold_multiply(u64 a, u64 b) { return (a * b) ^ __umul64hi(a, b); }
__device__ __forceinline__ u64 avalanche(u64 h) {
    h = (h ^ h >> 37) * MX_1;
    return h ^ h >> 32;
}
__device__ __forceinline__ u64 avalanche_short(u64 h) {
    h = (h ^ h >> 33) * P64_2;
    h = (h ^ h >> 29) * P64_3;
    return h ^ h >> 32;
}
// Return the secret's word at a byte offset.
__device__ __forceinline__ u64 secret(int offset) {
    int j = offset >> 3, shift = 8 * (offset & 7);
    return shift ? XXH3_SECRET[j] >> shift | XXH3_SECRET[j + 1] << (64 - shift) : XXH3_SECRET[j];
}
// Return the same word of a seed's secret: the seed is added to even words and subtracted from odd ones.
__device__ __forceinline__ u64 secret_word(int offset, u64 seed) {
    int j = offset >> 3, shift = 8 * (offset & 7);
    u64 even = XXH3_SECRET[j] + (j & 1 ? 0 - seed : seed);
    if (shift == 0) return even;
    u64 odd = XXH3_SECRET[j + 1] + (j & 1 ? seed : 0 - seed);
    return even >> shift | odd << (64 - shift);
}
__device__ __forceinline__ u64 hash_4_to_8(u64 swapped, u64 length, u64 seed) {
    seed ^= swap_bytes(seed & 0xFFFFFFFFull);
    u64 h = swapped ^ ((secret(8) ^ secret(16)) - seed);
    h ^= rotate(h, 49) ^ rotate(h, 24);
    h *= MX_2;
    h ^= (h >> 35) + length;
    h *= MX_2;
    return h ^ h >> 28;
}
// Hash the eight little-endian bytes of a word.
__device__ __forceinline__ u64 xxh3_64_u64(u64 value, u64 seed) {
    return hash_4_to_8(rotate(value, 32), 8, seed);
}

// Return the hash of key i, which may be one already.
__device__ __forceinline__ u64 hash_of(const u64* keys, i64 i, u64 seed, bool hashed) {
    return hashed ? keys[i] : xxh3_64_u64(keys[i], seed);
}
__device__ __forceinline__ u64 mix_16(const u8* at, int key, u64 seed) {
    return fold_multiply(load_u64(at) ^ (secret(key) + seed), load_u64(at + 8) ^ (secret(key + 8) - seed));
}
__device__ __forceinline__ u64 product_of_halves(u64 word) { return (word & 0xFFFFFFFFull) * (word >> 32); }

__device__ __forceinline__ void accumulate(const u8* at, int key, u64 seed, u64* a) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        u64 word = load_u64(at + 8 * i);
        a[i ^ 1] += word;
        a[i] += product_of_halves(word ^ secret_word(key + 8 * i, seed));
    }
}

__device__ inline u64 hash_long(const u8* data, i64 length, u64 seed) {
    u64 a[8] = {P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1};
    i64 last = (length - 1) / 64;
    for (i64 stripe = 0; stripe < last; ++stripe) {
        int key = 8 * (int)(stripe & 15);
        accumulate(data + 64 * stripe, key, seed, a);
        if (key == 120) {
#pragma unroll
            for (int i = 0; i < 8; ++i) a[i] = (a[i] ^ a[i] >> 47 ^ secret_word(128 + 8 * i, seed)) * P32_1;
        }
    }
    accumulate(data + length - 64, 121, seed, a);
    u64 h = (u64)length * P64_1;
#pragma unroll
    for (int i = 0; i < 4; ++i)
        h += fold_multiply(a[2 * i] ^ secret_word(16 * i + 11, seed),
                           a[2 * i + 1] ^ secret_word(16 * i + 19, seed));
    return avalanche(h);
}

__device__ inline u64 xxh3_64(const u8* data, i64 length, u64 seed) {
    const u8* end = data + length;
    if (length > 240) return hash_long(data, length, seed);
    if (length > 16) {
        u64 h = (u64)length * P64_1;
        if (length <= 128) {
            // Mix all pairs from the middle outwards: one for 17 to 32 bytes, up to four.
            for (int i = (int)(length - 1) / 32; i >= 0; --i)
                h += mix_16(data + 16 * i, 32 * i, seed) + mix_16(end - 16 * (i + 1), 32 * i + 16, seed);
            return avalanche(h);
        }
        for (int i = 0; i < 8; ++i) h += mix_16(data + 16 * i, 16 * i, seed);
        h = avalanche(h);
        for (int i = 8; i < (int)length / 16; ++i) h += mix_16(data + 16 * i, 16 * i - 125, seed);
        return avalanche(h + mix_16(end - 16, 119, seed));
    }
    if (length > 8) {
        u64 low = load_u64(data) ^ ((secret(24) ^ secret(32)) + seed);
        u64 high = load_u64(end - 8) ^ ((secret(40) ^ secret(48)) - seed);
        return avalanche((u64)length + swap_bytes(low) + high + fold_multiply(low, high));
    }
    if (length >= 4) return hash_4_to_8((load_u32(data) << 32) + load_u32(end - 4), (u64)length, seed);
    if (length == 0) return avalanche_short(seed ^ secret(56) ^ secret(64));
    u64 word = (u64)data[0] << 16 | (u64)data[length >> 1] << 24 | (u64)end[-1] | (u64)length << 8;
    return avalanche_short(word ^ (((secret(0) & 0xFFFFFFFFull) ^ secret(0) >> 32) + seed));
}
