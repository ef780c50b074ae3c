// Soft collisions of queries with keys: the twins of sketches/kernels/soft_collisions.py.
//
// Floors on an H100 (3.0 TB/s): codes are read once for all queries that fit the caches, n_tables bytes a key,
// and an entry of a table, 4 bytes of the second-level cache, is read for each query, key and table.
#include "common.cuh"

// A thread takes a product of a query with a vector.
extern "C" __global__ void project_queries(const double* Q, const float* vectors, i64 d, i64 n_values,
                                           i64 start, i64 stop, double* out) {
    for (i64 at = thread_number(); at < (stop - start) * n_values; at += thread_count()) {
        i64 i = start + at / n_values, p = at % n_values;
        double sum = 0.0;
        for (i64 j = 0; j < d; ++j) sum += Q[i * d + j] * (double)vectors[j * n_values + p];
        out[i * n_values + p] = sum;
    }
}

// A thread takes an entry of a table, and multiplies in the order of bits, as the CPU does.
extern "C" __global__ void fill_tables(const double* bits, i64 n_tables, i64 power, i64 start, i64 stop,
                                       float* tables) {
    for (i64 at = thread_number(); at < ((stop - start) * n_tables) << power; at += thread_count()) {
        i64 q = start + (at >> power) / n_tables, t = (at >> power) % n_tables, code = at & ((1ll << power) - 1);
        const double* chance = bits + q * power * n_tables + t;
        double product = 1.0;
        for (i64 k = 0; k < power; ++k) {
            double set = chance[k * n_tables];
            product *= code >> k & 1 ? set : 1.0 - set;
        }
        tables[((q * n_tables + t) << power) + code] = (float)product;
    }
}

// A thread takes a key of a query; neighbouring threads take neighbouring keys of one query.
template <class Code>
__device__ void score(const Code* codes, const float* norms, bool has_norms, const float* tables, i64 n_queries,
                      i64 n_tables, i64 n_codes, const i64* numbers, bool has_numbers, i64 start, i64 stop,
                      i64 width, double* out) {
    for (i64 at = thread_number(); at < n_queries * (stop - start); at += thread_count()) {
        i64 q = at / (stop - start), i = start + at % (stop - start);
        i64 row = has_numbers ? numbers[q * width + i] : i;
        const Code* code = codes + row * n_tables;
        const float* table = tables + q * n_tables * n_codes;
        double total = 0.0;
        for (i64 t = 0; t < n_tables; ++t) total += (double)table[t * n_codes + code[t]];
        out[q * width + i] = has_norms ? total * (double)norms[row] : total;
    }
}

#define SCORE(suffix, Code)                                                                                  \
    extern "C" __global__ void score_keys_##suffix(                                                         \
        const Code* codes, const float* norms, bool has_norms, const float* tables, i64 n_queries,           \
        i64 n_tables, i64 n_codes, const i64* numbers, bool has_numbers, i64 start, i64 stop, i64 width,     \
        double* out) {                                                                                       \
        score<Code>(codes, norms, has_norms, tables, n_queries, n_tables, n_codes, numbers, has_numbers,     \
                    start, stop, width, out);                                                                \
    }
SCORE(uint8, u8)
SCORE(uint16, u16)
