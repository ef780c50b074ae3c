// Winner-take-all hashing: the twins of lsh/kernels/winner_take_all.py.
//
// A block takes a row and scatters its entries into the bins of one permutation after another, by atomics in
// shared memory: first the largest value of each bin, then the first of the entries that have it. Floors on
// an H100: a row is read once from memory, 8 bytes of a permutation an entry from the second-level cache (5.5
// TB/s): two atomics and a byte or so of time for each entry and permutation.
#include "common.cuh"

#define NOTHING 0xFFFFFFFFFFFFFFFFull

// Map values to numbers of the same order, which are never 0.
__device__ __forceinline__ u64 order_of(double value) {
    u64 bits = (u64)__double_as_longlong(value);
    return bits >> 63 ? ~bits : bits | 0x8000000000000000ull;
}
// Mix a bin, and an attempt or another bin, into a random word.
__device__ __forceinline__ u64 rank_of(u64 key, u64 bin, u64 other) {
    return mix64(key ^ (bin << 32) ^ other);
}

struct Settings {
    i64 n_features, permutations, n_hashes, own, n_bins, power;
    u64 base, n_buckets;
    i64 attempts;
    const i32 *bins, *spots;
    const u64 *walk_keys, *rank_keys, *keys;
    __device__ u64 absorb(u64 word, u64 label) const {
        return n_buckets == 0 ? word * base + label : mix64(word ^ label);
    }
    __device__ u32 reduce(u64 word) const {
        return n_buckets == 0 ? (u32)word : reduce_word(word, n_buckets);
    }
};

// Find the bin that an empty one copies: the first full one of a walk, or else the first by rank.
__device__ i64 donor(const Settings& s, i64 p, i64 bin, const u64* best, const i32* full, i64 n_full) {
    for (i64 attempt = 0; attempt < s.attempts; ++attempt) {
        i64 other = (i64)(((rank_of(s.walk_keys[p], bin, attempt) >> 32) * (u64)s.n_bins) >> 32);
        if (best[other]) return other;
    }
    u64 low = 0x7FFFFFFF, least = NOTHING;
    for (i64 i = 0; i < n_full; ++i)
        least = min(least, (rank_of(s.rank_keys[p], bin, full[i]) & ~low) | (u64)full[i]);
    return (i64)(least & low);
}

// Draw the number that a bin adds to places that it copies from a donor; its highest bit excludes those of
// attempts.
__device__ u64 turn(const Settings& s, i64 p, i64 bin, i64 donor) {
    return ((rank_of(s.walk_keys[p], bin, (u64)donor | 1ull << 63) >> 32) * s.base) >> 32;
}

template <class Real, class Index>
__device__ void winners(const i64* indptr, const Index* indices, const Real* data, i64 d, const Settings& s,
                        i64 start, i64 stop, bool in_shared, u8* memory, i64 room, u32* out) {
    DYNAMIC_SHARED(unsigned char, shared);
    __shared__ u32 n_full;
    u64* best = (u64*)(in_shared ? shared : memory + blockIdx.x * room);
    u64* first = best + s.n_bins;
    u64* words = first + s.n_bins;
    i32* full = (i32*)(words + s.n_hashes);
    i64 rounds = s.permutations / s.power;
    for (i64 b = threadIdx.x; b < s.n_bins; b += blockDim.x) best[b] = 0, first[b] = NOTHING;
    for (i64 i = start + blockIdx.x; i < stop; i += gridDim.x) {
        // Rows without indptr are dense.
        i64 begin = indptr ? indptr[i] : i * d, end = indptr ? indptr[i + 1] : begin + d;
        for (i64 h = threadIdx.x; h < s.n_hashes; h += blockDim.x) words[h] = s.keys[h];
        for (i64 p = 0; p < s.permutations; ++p) {
            const i32 *bin_of = s.bins + p * s.n_features, *spot_of = s.spots + p * s.n_features;
            if (threadIdx.x == 0) n_full = 0;
            __syncthreads();
            for (i64 j = begin + threadIdx.x; j < end; j += blockDim.x) {
                if (data[j] == 0) continue;
                i32 bin = bin_of[indptr ? (i64)indices[j] : j - begin];
                if (atomicMax(best + bin, order_of((double)data[j])) == 0) full[atomicAdd(&n_full, 1u)] = bin;
            }
            __syncthreads();
            for (i64 j = begin + threadIdx.x; j < end; j += blockDim.x) {
                if (data[j] == 0) continue;
                i64 feature = indptr ? (i64)indices[j] : j - begin;
                i32 bin = bin_of[feature];
                if (best[bin] == order_of((double)data[j]))
                    atomicMin(first + bin, (u64)spot_of[feature] << 32 | (u64)feature);
            }
            __syncthreads();
            i64 from = p % rounds * s.own, to = min(from + s.own, s.n_hashes), held = n_full;
            for (i64 h = from + threadIdx.x; h < to; h += blockDim.x) {
                u64 label = s.n_buckets == 0 ? 0 : (u64)s.n_features;  // the label of a row of zeros
                if (held) {
                    i64 bin = h - from;
                    u64 turned = 0;
                    if (!best[bin]) {
                        i64 copied = donor(s, p, bin, best, full, held);
                        turned = turn(s, p, bin, copied);
                        bin = copied;
                    }
                    label =
                        s.n_buckets == 0 ? ((first[bin] >> 32) + turned) % s.base : first[bin] & 0xFFFFFFFFu;
                }
                words[h] = s.absorb(words[h], label);
            }
            __syncthreads();
            for (i64 f = threadIdx.x; f < held; f += blockDim.x) best[full[f]] = 0, first[full[f]] = NOTHING;
            __syncthreads();
        }
        for (i64 h = threadIdx.x; h < s.n_hashes; h += blockDim.x)
            out[i * s.n_hashes + h] = s.reduce(words[h]);
        __syncthreads();
    }
}

#define SETTINGS                                                                                             \
    i64 n_features, i64 permutations, i64 n_hashes, i64 own, i64 n_bins, i64 power, u64 base, u64 n_buckets, \
        i64 attempts, const i32 *bins, const i32 *spots, const u64 *walk_keys, const u64 *rank_keys,         \
        const u64 *keys
#define MADE                                                                             \
    Settings s = {n_features, permutations, n_hashes, own,   n_bins,    power,     base, \
                  n_buckets,  attempts,     bins,     spots, walk_keys, rank_keys, keys}
#define DENSE(suffix, Real)                                                                                \
    extern "C" __global__ void winners_dense_##suffix(const Real* X, SETTINGS, i64 start, i64 stop,        \
                                                      bool in_shared, u8* memory, i64 room, u32* out) {    \
        MADE;                                                                                              \
        winners<Real, i32>(nullptr, nullptr, X, n_features, s, start, stop, in_shared, memory, room, out); \
    }
DENSE(float32, float)
DENSE(float64, double)
#define SPARSE(suffix, Real)                                                                                 \
    extern "C" __global__ void winners_csr_##suffix(const i64* indptr, const i32* indices, const Real* data, \
                                                    SETTINGS, i64 start, i64 stop, bool in_shared,           \
                                                    u8* memory, i64 room, u32* out) {                        \
        MADE;                                                                                                \
        winners<Real, i32>(indptr, indices, data, n_features, s, start, stop, in_shared, memory, room, out); \
    }
SPARSE(float32, float)
SPARSE(float64, double)
