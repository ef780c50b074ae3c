// MinHash of sets in CSR: the twins of lsh/kernels/minhash.py (minhash_permutations.py, minhash_bins.py,
// minhash_stream.py and minhash_counts.py).
//
// A warp takes a set: lanes finalise 32 tokens together and pass them round by shuffles. Permutations: a lane
// holds 4 hash functions; a token and hash function cost a multiplication, an exclusive or, an addition and a
// minimum, and half a shuffle: on an H100 (132 processors of 128 lanes, 1.7 GHz) about 5 * 10^12 of them a
// second, 1.3 ns of the whole device a set of 100 tokens and 64 values. One permutation: a token costs 4 or 8
// bytes read and an atomic minimum in the set's row, which stays in the caches.
#include "common.cuh"

#define EMPTY 0xFFFFFFFFu
#define HELD 4

__device__ __forceinline__ u64 finalised(u64 token, u64 key) { return mix64(token ^ key); }

__device__ __forceinline__ i64 bin_of(u64 word, u64 multiplier, u64 m) {
    return (i64)((((word * multiplier) >> 32) * m) >> 32);
}

// Return the word of a lane to all lanes of the warp, which call it with the same `lane`.
__device__ __forceinline__ u64 shown(u64 word, int lane) { return __shfl_sync(ALL_LANES, word, lane); }

template <class Token>
__device__ void permutations(const Token* tokens, const i64* offsets, i64 n, u64 key, const u32* a,
                             const u32* b, i64 m, u32* out) {
    int lane = lane_number();
    for (i64 row = warp_number(); row < n; row += warp_count()) {
        i64 left = offsets[row], right = offsets[row + 1];
        for (i64 first = 0; first < m; first += 32 * HELD) {
            u32 multiplier[HELD], offset[HELD], least[HELD];
            for (int j = 0; j < HELD; ++j) {
                i64 k = first + 32 * j + lane;
                multiplier[j] = k < m ? a[k] : 0;
                offset[j] = k < m ? b[k] : 0;
                least[j] = EMPTY;
            }
            for (i64 begin = left; begin < right; begin += 32) {
                u64 word = begin + lane < right ? finalised((u64)tokens[begin + lane], key) : 0;
                int here = (int)min((i64)32, right - begin);
                for (int i = 0; i < here; ++i) {
                    u64 other = shown(word, i);
                    u32 x = (u32)other, y = (u32)(other >> 32);
                    for (int j = 0; j < HELD; ++j)
                        least[j] = min(least[j], multiplier[j] * x + (y ^ offset[j]));
                }
            }
            for (int j = 0; j < HELD; ++j) {
                i64 k = first + 32 * j + lane;
                // Only the empty set has the value EMPTY.
                if (k < m) out[row * m + k] = left == right ? EMPTY : min(least[j], EMPTY - 1);
            }
        }
    }
}

// Throw the tokens [left, right) into the warp's row of bins.
template <class Token>
__device__ void throw_row(const Token* tokens, i64 left, i64 right, u64 key, u64 multiplier, u32 flip,
                          int shift, u32 prefix, u32* row, i64 m) {
    for (i64 i = left + lane_number(); i < right; i += 32) {
        u64 word = finalised((u64)tokens[i], key);
        atomicMin(row + bin_of(word, multiplier, (u64)m), (((u32)word ^ flip) >> shift) | prefix);
    }
    __syncwarp();
}

__device__ void clear_row(u32* row, i64 m) {
    for (i64 k = lane_number(); k < m; k += 32) row[k] = EMPTY;
    __syncwarp();
}

template <class Token>
__device__ void throw_sets(const Token* tokens, const i64* offsets, i64 n, u64 key, u64 multiplier, i64 m,
                           u32* out) {
    for (i64 row = warp_number(); row < n; row += warp_count()) {
        clear_row(out + row * m, m);
        throw_row(tokens, offsets[row], offsets[row + 1], key, multiplier, 0, 1, 0, out + row * m, m);
    }
}

__device__ __forceinline__ u64 rank_of(u64 key, u64 bin, u64 draw) { return mix64(key ^ (bin << 32) ^ draw); }

// Fill the empty bins of rows by optimal densification; `full` is work space for the full bins of each row.
extern "C" __global__ void densify_signatures(const u32* minima, u64 walk_key, u64 rank_key, i64 attempts,
                                              i64 start, i64 stop, i64 m, u32* full, u32* out) {
    int lane = lane_number();
    for (i64 row = start + warp_number(); row < stop; row += warp_count()) {
        const u32* native = minima + row * m;
        u32* places = full + (row - start) * m;
        i64 n_full = 0;
        for (i64 first = 0; first < m; first += 32) {
            i64 k = first + lane;
            bool here = k < m && native[k] != EMPTY;
            u32 mask = __ballot_sync(ALL_LANES, here);
            if (here) places[n_full + __popc(mask & ((1u << lane) - 1))] = (u32)k;
            n_full += __popc(mask);
        }
        __syncwarp();
        for (i64 k = lane; k < m; k += 32) {
            u32 value = native[k];
            if (value == EMPTY && n_full) {
                for (i64 attempt = 0; attempt < attempts && value == EMPTY; ++attempt)
                    value = native[((rank_of(walk_key, (u64)k, (u64)attempt) >> 32) * (u64)m) >> 32];
                u64 least = ~0ull;
                if (value == EMPTY) {
                    for (i64 i = 0; i < n_full; ++i) {
                        u64 rank = rank_of(rank_key, (u64)k, places[i]);
                        if (rank < least) {
                            least = rank;
                            value = native[places[i]];
                        }
                    }
                }
            }
            out[row * m + k] = value;
        }
        __syncwarp();
    }
}

template <class Token>
__device__ void fast_similarity(const Token* tokens, const i64* offsets, i64 n, u64 key,
                                const u64* multipliers, i64 rounds, const u32* a, const u32* b, i64 m,
                                u32* out) {
    int lane = lane_number();
    for (i64 row = warp_number(); row < n; row += warp_count()) {
        i64 left = offsets[row], right = offsets[row + 1];
        u32* signature = out + row * m;
        clear_row(signature, m);
        if (left == right) continue;
        bool some_empty = true;
        for (i64 r = 0; r < rounds && some_empty; ++r) {
            u32 prefix = ~(EMPTY >> r);
            throw_row(tokens, left, right, key, multipliers[r], r ? EMPTY : 0, (int)r + 1, prefix, signature,
                      m);
            some_empty = false;
            for (i64 first = 0; first < m && !some_empty; first += 32)
                some_empty = __any_sync(ALL_LANES, first + lane < m && signature[first + lane] == EMPTY);
        }
        // A bin that is still empty takes the least of all tokens in an order of its own.
        for (i64 first = 0; first < m && some_empty; first += 32) {
            i64 k = first + lane;
            bool mine = k < m && signature[k] == EMPTY;
            if (!__any_sync(ALL_LANES, mine)) continue;
            u32 multiplier = mine ? a[k] : 0, offset = mine ? b[k] : 0, least = EMPTY;
            for (i64 begin = left; begin < right; begin += 32) {
                u64 word = begin + lane < right ? finalised((u64)tokens[begin + lane], key) : 0;
                int here = (int)min((i64)32, right - begin);
                for (int i = 0; i < here; ++i) {
                    u64 other = shown(word, i);
                    least = min(least, multiplier * (u32)other + ((u32)(other >> 32) ^ offset));
                }
            }
            if (mine) signature[k] = min((least >> rounds) | ~(EMPTY >> rounds), EMPTY - 1);
        }
        __syncwarp();
    }
}

#define SETS(suffix, Token)                                                                                  \
    extern "C" __global__ void minhash_permutations_##suffix(const Token* tokens, const i64* offsets, i64 n, \
                                                             u64 key, const u32* a, const u32* b, i64 m,     \
                                                             u32* out) {                                     \
        permutations(tokens, offsets, n, key, a, b, m, out);                                                 \
    }                                                                                                        \
    extern "C" __global__ void throw_sets_##suffix(const Token* tokens, const i64* offsets, i64 n, u64 key,  \
                                                   u64 multiplier, i64 m, u32* out) {                        \
        throw_sets(tokens, offsets, n, key, multiplier, m, out);                                             \
    }                                                                                                        \
    extern "C" __global__ void minhash_fast_similarity_##suffix(                                             \
        const Token* tokens, const i64* offsets, i64 n, u64 key, const u64* multipliers, i64 rounds,         \
        const u32* a, const u32* b, i64 m, u32* out) {                                                       \
        fast_similarity(tokens, offsets, n, key, multipliers, rounds, a, b, m, out);                         \
    }
SETS(int32, i32)
SETS(uint64, u64)

extern "C" __global__ void concatenate_codes(const u32* signatures, const u64* keys, u64 n_buckets, i64 n,
                                             i64 n_hashes, i64 power, u32* out) {
    for (i64 t = thread_number(); t < n * n_hashes; t += thread_count()) {
        i64 j = t % n_hashes;
        const u32* values = signatures + t * power;
        u64 z = keys[j];
        for (i64 i = 0; i < power; ++i) z = mix64(z ^ values[i]);
        out[t] = reduce_word(z, n_buckets);
    }
}

extern "C" __global__ void count_equal(const u32* A, const u32* B, i64 m, i64 start, i64 stop, u32* out) {
    int lane = lane_number();
    for (i64 row = start + warp_number(); row < stop; row += warp_count()) {
        u32 same = 0;
        for (i64 first = 0; first < m; first += 32) {
            i64 k = first + lane;
            same += __popc(__ballot_sync(ALL_LANES, k < m && A[row * m + k] == B[row * m + k]));
        }
        if (lane == 0) out[row] = same;
    }
}

// Throw the tokens of many sets into their bins; `sets` is empty if all belong to set 0.
extern "C" __global__ void throw_tokens(const u64* tokens, const i64* sets, bool one_set, u64 key,
                                        u64 multiplier, i64 first_set, i64 last_set, i64 start, i64 stop,
                                        i64 m, u32* minima) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        i64 row = one_set ? 0 : sets[i];
        if (row < first_set || row >= last_set) continue;
        u64 word = finalised(tokens[i], key);
        u32 value = (u32)word >> 1, *bin = minima + (row - first_set) * m + bin_of(word, multiplier, (u64)m);
        // Most tokens of a large set change nothing, and then the bin is only read.
        if (value < *bin) atomicMin(bin, value);
    }
}

// Count the bins that are full in one of two sets or both, and the equal ones, and sum up the lesser values.
extern "C" __global__ void compare_bins(const u32* minima, const i64* left, const i64* right, i64 m,
                                        i64 start, i64 stop, i64* full, i64* equal, double* total) {
    int lane = lane_number();
    for (i64 p = start + warp_number(); p < stop; p += warp_count()) {
        const u32 *a = minima + left[p] * m, *b = minima + right[p] * m;
        i64 n_full = 0, n_equal = 0;
        u64 sum = 0;
        for (i64 k = lane; k < m; k += 32) {
            u32 least = min(a[k], b[k]);
            bool is_full = least != EMPTY;
            n_full += is_full;
            n_equal += is_full && a[k] == b[k];
            sum += is_full ? 2 * (u64)least + 1 : 1ull << 32;
        }
        for (int by = 16; by; by /= 2) {
            n_full += __shfl_xor_sync(ALL_LANES, n_full, by);
            n_equal += __shfl_xor_sync(ALL_LANES, n_equal, by);
            sum += __shfl_xor_sync(ALL_LANES, sum, by);
        }
        if (lane == 0) {
            full[p] = n_full;
            equal[p] = n_equal;
            total[p] = (double)sum * ldexp(1.0, -32);
        }
    }
}
