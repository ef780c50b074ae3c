// Tables that count keys, Count-Min and Count-Sketch: the twins of sketches/kernels/counting.py.
//
// Floors on an H100 (3.0 TB/s): additions read 8 bytes of hash (and 8 of weight) a key and make n_rows atomic
// additions to a table in the second-level cache, which takes about 1 a clock for each of its slices; queries
// read 8 bytes, write 8 and read n_rows counters there. A thread takes one key and all rows of the table, so
// that a hash is read once.
#include "common.cuh"

#define MOST_ROWS 64  // most rows whose counters a query sorts in registers

__device__ __forceinline__ u64 hash32(u64 key, const u64* words) {
    return ((words[0] + (key & 0xFFFFFFFFull)) * (words[1] + (key >> 32)) + words[2]) >> 32;
}

template <class Counter>
__device__ void add_keys(const u64* keys, const i64* weights, const u64* words, i64 n, u64 buckets,
                         i64 weighted, bool with_signs, i64 start, i64 stop, Counter* counts) {
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        u64 key = keys[i];
        i64 weight = weighted ? weights[i] : 1;
        for (i64 r = start; r < stop; ++r) {
            u64 h = hash32(key, words + 3 * r);
            add_to(counts + r * (i64)buckets + (i64)(h * buckets >> 32),
                   with_signs && !(h & 1) ? -weight : weight);
        }
    }
}

template <class Counter>
__device__ __forceinline__ i64 least_counter(const Counter* counts, const u64* words, u64 key, i64 rows,
                                             u64 buckets) {
    i64 least = 0x7FFFFFFFFFFFFFFFll;
    for (i64 r = 0; r < rows; ++r) {
        i64 value = counts[r * (i64)buckets + (i64)(hash32(key, words + 3 * r) * buckets >> 32)];
        least = value < least ? value : least;
    }
    return least;
}

template <class Counter>
__device__ __forceinline__ i64 signed_counter(const Counter* counts, const u64* words, u64 key, i64 r,
                                              u64 buckets) {
    u64 h = hash32(key, words + 3 * r);
    i64 value = counts[r * (i64)buckets + (i64)(h * buckets >> 32)];
    return h & 1 ? value : -value;
}

// Find the value of a rank among a key's signed counters: the one that `rank` others come before. It serves
// tables with more rows than registers can sort, and takes a number of operations quadratic in the rows.
template <class Counter>
__device__ i64 value_of_rank(const Counter* counts, const u64* words, u64 key, i64 rows, u64 buckets,
                             i64 rank) {
    for (i64 r = 0; r < rows; ++r) {
        i64 value = signed_counter(counts, words, key, r, buckets), below = 0, equal = 0;
        for (i64 other = 0; other < rows; ++other) {
            i64 theirs = signed_counter(counts, words, key, other, buckets);
            below += theirs < value;
            equal += theirs == value;
        }
        if (below <= rank && rank < below + equal) return value;
    }
    return 0;
}

template <class Counter>
__device__ void query_medians(const Counter* counts, const u64* keys, const u64* words, i64 rows, u64 buckets,
                              i64 start, i64 stop, double* out) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        u64 key = keys[i];
        i64 low, high;
        if (rows <= MOST_ROWS) {
            i64 ordered[MOST_ROWS];
            for (int r = 0; r < (int)rows; ++r) {
                i64 value = signed_counter(counts, words, key, r, buckets);
                int j = r;
                for (; j > 0 && ordered[j - 1] > value; --j) ordered[j] = ordered[j - 1];
                ordered[j] = value;
            }
            low = ordered[(rows - 1) / 2];
            high = ordered[rows / 2];
        } else {
            low = value_of_rank(counts, words, key, rows, buckets, (rows - 1) / 2);
            high = value_of_rank(counts, words, key, rows, buckets, rows / 2);
        }
        out[i] = 0.5 * ((double)low + (double)high);
    }
}

#define COUNTING(suffix, Counter)                                                                            \
    extern "C" __global__ void count_min_add_##suffix(const u64* keys, const i64* weights, const u64* words, \
                                                      i64 n, u64 buckets, i64 weighted, i64 start, i64 stop, \
                                                      Counter* counts) {                                     \
        add_keys(keys, weights, words, n, buckets, weighted, false, start, stop, counts);                    \
    }                                                                                                        \
    extern "C" __global__ void count_sketch_add_##suffix(const u64* keys, const i64* weights,                \
                                                         const u64* words, i64 n, u64 buckets, i64 weighted, \
                                                         i64 start, i64 stop, Counter* counts) {             \
        add_keys(keys, weights, words, n, buckets, weighted, true, start, stop, counts);                     \
    }                                                                                                        \
    extern "C" __global__ void count_min_query_##suffix(const Counter* counts, const u64* keys,              \
                                                        const u64* words, i64 rows, u64 buckets, i64 start,  \
                                                        i64 stop, i64* out) {                                \
        for (i64 i = start + thread_number(); i < stop; i += thread_count())                                 \
            out[i] = least_counter(counts, words, keys[i], rows, buckets);                                   \
    }                                                                                                        \
    extern "C" __global__ void count_sketch_query_##suffix(const Counter* counts, const u64* keys,           \
                                                           const u64* words, i64 rows, u64 buckets,          \
                                                           i64 start, i64 stop, double* out) {               \
        query_medians(counts, keys, words, rows, buckets, start, stop, out);                                 \
    }
COUNTING(int32, i32)
COUNTING(int64, i64)
