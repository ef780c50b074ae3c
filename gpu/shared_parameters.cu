// Rows of virtual tables in shared parameters: the twins of sketches/kernels/shared_parameters.py.
//
// Floors on an H100 (3.0 TB/s): reading or adding rows moves 4 bytes an entry to or from main memory and 4 to or
// from the parameters, which lie in the second-level cache if they fit its 50 MB; additions there are atomic, and
// about as fast as the cache is wide. A thread takes one entry of a row, so that the threads of a warp read
// and write consecutive places of a run. Each computes the place of its run and its sign anew, which takes three
// mixed words, about 40 instructions, and so less than the memory does. Rows of a sum are added in their order,
// as on the CPU, so that reading gives the same bits. The order of atomic additions is not fixed: what they
// give agrees up to rounding.
#include "common.cuh"

#define STEP 0x9E3779B97F4A7C15ull

// Return the lower 52 bits of a word modulo m, computed as on the CPU.
__device__ __forceinline__ i64 start_of(u64 word, i64 m) {
    i64 low = (i64)(word & ((1ull << 52) - 1));
    i64 place = low - (i64)((double)low * (1.0 / (double)m)) * m;
    place = place < 0 ? place + m : place;
    return place >= m ? place - m : place;
}

__device__ __forceinline__ bool is_negative(u64 word, i64 t) {
    return (mix64(word + (u64)(t / 64 + 1)) >> (t & 63)) & 1;
}

// An entry of a copy of a row: its place, and whether its sign is negative.
struct Entry {
    i64 place;
    bool negative;
};

__device__ __forceinline__ Entry hashed_entry(u64 row, u64 key, i64 block, i64 column, i64 m) {
    i64 run = column / block, t = column - run * block;
    u64 word = mix64(mix64(row ^ key) + (u64)(run + 1) * STEP);
    i64 place = start_of(word, m) + t;
    return {place >= m ? place - m : place, is_negative(word, t)};
}

// The entry of a column in runs that have been written down; the runs of a copy are few.
__device__ __forceinline__ Entry written_entry(const i64* starts, const i64* lengths, const u64* words,
                                               i64 is_signed, i64 first, i64 column, i64 m) {
    i64 run = first, t = column;
    while (t >= lengths[run]) t -= lengths[run++];
    i64 place = (starts[run] + t) % m;
    return {place, is_signed && is_negative(words[run], t)};
}

template <class Real>
__device__ __forceinline__ Real factor_of(const Real* factors, i64 has_factors, double scale, i64 row) {
    return (Real)(has_factors ? scale * (double)factors[row] : scale);
}

#define ROWS_OF_BAG(b)                         \
    i64 first = has_offsets ? offsets[b] : b;  \
    i64 last = has_offsets ? offsets[b + 1] : b + 1

#define KERNELS(suffix, Real)                                                                                  \
    extern "C" __global__ void gather_hashed_##suffix(                                                         \
        const Real* weights, i64 m, const u64* words, const i64* offsets, i64 has_offsets, const Real* factors,\
        i64 has_factors, const u64* keys, i64 n_keys, i64 block, double scale, i64 start, i64 stop,            \
        i64 n_columns, Real* out) {                                                                            \
        for (i64 e = start * n_columns + thread_number(); e < stop * n_columns; e += thread_count()) {         \
            i64 b = e / n_columns, column = e - b * n_columns;                                                 \
            ROWS_OF_BAG(b);                                                                                    \
            Real sum = 0;                                                                                      \
            for (i64 i = first; i < last; ++i) {                                                               \
                Real factor = factor_of(factors, has_factors, scale, i);                                       \
                for (i64 j = 0; j < n_keys; ++j) {                                                             \
                    Entry entry = hashed_entry(words[i], keys[j], block, column, m);                           \
                    Real number = weights[entry.place] * factor;                                               \
                    sum += entry.negative ? -number : number;                                                  \
                }                                                                                              \
            }                                                                                                  \
            out[e] = sum;                                                                                      \
        }                                                                                                      \
    }                                                                                                          \
    extern "C" __global__ void scatter_hashed_##suffix(                                                        \
        const u64* words, const i64* offsets, i64 has_offsets, const Real* factors, i64 has_factors,           \
        const Real* gradients, i64 n_bags, i64 n_columns, const u64* keys, i64 n_keys, i64 block, double scale,\
        i64 start, i64 stop, i64 m, Real* weights) {                                                           \
        for (i64 e = thread_number(); e < n_bags * n_columns; e += thread_count()) {                           \
            i64 b = e / n_columns, column = e - b * n_columns;                                                 \
            ROWS_OF_BAG(b);                                                                                    \
            for (i64 i = first; i < last; ++i) {                                                               \
                Real number = gradients[e] * factor_of(factors, has_factors, scale, i);                        \
                for (i64 j = 0; j < n_keys; ++j) {                                                             \
                    Entry entry = hashed_entry(words[i], keys[j], block, column, m);                           \
                    if (entry.place >= start && entry.place < stop)                                            \
                        atomicAdd(weights + entry.place, entry.negative ? -number : number);                   \
                }                                                                                              \
            }                                                                                                  \
        }                                                                                                      \
    }                                                                                                          \
    extern "C" __global__ void gather_runs_##suffix(                                                           \
        const Real* weights, i64 m, const i64* starts, const i64* lengths, const u64* words, i64 is_signed,    \
        i64 n_copies, i64 n_runs, const i64* offsets, i64 has_offsets, const Real* factors, i64 has_factors,   \
        double scale, i64 start, i64 stop, i64 n_columns, Real* out) {                                         \
        for (i64 e = start * n_columns + thread_number(); e < stop * n_columns; e += thread_count()) {         \
            i64 b = e / n_columns, column = e - b * n_columns;                                                 \
            ROWS_OF_BAG(b);                                                                                    \
            Real sum = 0;                                                                                      \
            for (i64 i = first; i < last; ++i) {                                                               \
                Real factor = factor_of(factors, has_factors, scale, i);                                       \
                for (i64 j = 0; j < n_copies; ++j) {                                                           \
                    i64 run = (i * n_copies + j) * n_runs;                                                     \
                    Entry entry = written_entry(starts, lengths, words, is_signed, run, column, m);            \
                    Real number = weights[entry.place] * factor;                                               \
                    sum += entry.negative ? -number : number;                                                  \
                }                                                                                              \
            }                                                                                                  \
            out[e] = sum;                                                                                      \
        }                                                                                                      \
    }                                                                                                          \
    extern "C" __global__ void scatter_runs_##suffix(                                                          \
        const i64* starts, const i64* lengths, const u64* words, i64 is_signed, i64 n_copies, i64 n_runs,      \
        const i64* offsets, i64 has_offsets, const Real* factors, i64 has_factors, const Real* gradients,      \
        i64 n_bags, i64 n_columns, double scale, i64 start, i64 stop, i64 m, Real* weights) {                  \
        for (i64 e = thread_number(); e < n_bags * n_columns; e += thread_count()) {                           \
            i64 b = e / n_columns, column = e - b * n_columns;                                                 \
            ROWS_OF_BAG(b);                                                                                    \
            for (i64 i = first; i < last; ++i) {                                                               \
                Real number = gradients[e] * factor_of(factors, has_factors, scale, i);                        \
                for (i64 j = 0; j < n_copies; ++j) {                                                           \
                    i64 run = (i * n_copies + j) * n_runs;                                                     \
                    Entry entry = written_entry(starts, lengths, words, is_signed, run, column, m);            \
                    if (entry.place >= start && entry.place < stop)                                            \
                        atomicAdd(weights + entry.place, entry.negative ? -number : number);                   \
                }                                                                                              \
            }                                                                                                  \
        }                                                                                                      \
    }
KERNELS(float32, float)
KERNELS(float64, double)

// The runs of rows, a thread each; thread e has run r of copy j of row i.
extern "C" __global__ void hashed_runs(const u64* words, const u64* keys, i64 n_copies, i64 n_runs, i64 block,
                                       i64 n_columns, i64 m, i64 start, i64 stop, i64* starts, i64* lengths,
                                       u64* run_words) {
    i64 size = n_copies * n_runs;
    for (i64 e = start * size + thread_number(); e < stop * size; e += thread_count()) {
        i64 i = e / size, j = e / n_runs % n_copies, r = e % n_runs;
        u64 word = mix64(mix64(words[i] ^ keys[j]) + (u64)(r + 1) * STEP);
        starts[e] = start_of(word, m);
        run_words[e] = word;
        lengths[e] = n_columns - r * block < block ? n_columns - r * block : block;
    }
}

extern "C" __global__ void tile_runs(const u64* words, u64 key, i64 n_rows, i64 n_columns, i64 width, i64 m,
                                     i64 n_runs, i64 start, i64 stop, i64* starts, i64* lengths, u64* run_words) {
    for (i64 e = start * n_runs + thread_number(); e < stop * n_runs; e += thread_count()) {
        u64 row = words[e / n_runs];
        i64 r = e % n_runs, within = (i64)(row % (u64)n_rows) * n_columns % m;
        u64 word = mix64(mix64(row / (u64)n_rows ^ key) + (u64)(r + 1) * STEP);
        i64 place = start_of(word, m) + within;
        starts[e] = place >= m ? place - m : place;
        run_words[e] = mix64(word ^ row % (u64)n_rows);
        lengths[e] = width - r * n_columns < n_columns ? width - r * n_columns : n_columns;
    }
}

extern "C" __global__ void cyclic_runs(const u64* words, u64 key, i64 first, i64 n_columns, i64 m, i64 n_runs,
                                       i64 start, i64 stop, i64* starts, i64* lengths) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        i64 entry = first + (i64)words[i] * n_columns, left = n_columns;
        for (i64 r = 0; r < n_runs; ++r) {
            i64 chunk = entry / m, position = entry - chunk * m;
            i64 size = left < m - position ? left : m - position;
            starts[i * n_runs + r] = (start_of(mix64((u64)chunk ^ key), m) + position) % m;
            lengths[i * n_runs + r] = size;
            entry += size;
            left -= size;
        }
    }
}
