// Attention from counters: the twins of sketches/kernels/race_attention.py.
//
// Every sum is added up in the order of the CPU, so results have its bits. Floors on an H100 (3.0 TB/s): an
// update reads its codes once for every counter of a table, from the caches; causal attention is bound by
// the chain of additions of a counter, some 30 cycles a token.
#include "common.cuh"

// A thread takes a counter, and goes through the tokens.
extern "C" __global__ void add_tokens(const float* weights, const double* columns, i64 n, i64 n_tables, i64 n_codes,
                                      i64 m, i64 start, i64 stop, double* counters) {
    for (i64 at = thread_number(); at < (stop - start) * n_codes * m; at += thread_count()) {
        i64 t = start + at / (n_codes * m), c = at / m % n_codes, j = at % m;
        double sum = counters[(t * n_codes + c) * m + j];
        for (i64 i = 0; i < n; ++i) {
            double weight = weights[(i * n_tables + t) * n_codes + c];
            if (weight != 0.0) sum += weight * columns[i * m + j];
        }
        counters[(t * n_codes + c) * m + j] = sum;
    }
}

extern "C" __global__ void add_tokens_hard(const unsigned* codes, const double* columns, i64 n, i64 n_tables,
                                           i64 n_codes, i64 m, i64 start, i64 stop, double* counters) {
    for (i64 at = thread_number(); at < (stop - start) * n_codes * m; at += thread_count()) {
        i64 t = start + at / (n_codes * m), c = at / m % n_codes, j = at % m;
        double sum = counters[(t * n_codes + c) * m + j];
        for (i64 i = 0; i < n; ++i)
            if (codes[i * n_tables + t] == c) sum += columns[i * m + j];
        counters[(t * n_codes + c) * m + j] = sum;
    }
}

// A thread takes a column of a query. Neighbouring threads read neighbouring counters.
extern "C" __global__ void query_counters(const float* weights, const double* counters, i64 n_tables, i64 n_codes,
                                          i64 m, i64 start, i64 stop, double* out) {
    for (i64 at = thread_number(); at < (stop - start) * m; at += thread_count()) {
        i64 i = start + at / m, j = at % m;
        double sum = 0.0;
        for (i64 t = 0; t < n_tables; ++t) {
            double part = 0.0;
            for (i64 c = 0; c < n_codes; ++c) {
                double weight = weights[(i * n_tables + t) * n_codes + c];
                if (weight != 0.0) part += weight * counters[(t * n_codes + c) * m + j];
            }
            sum += part;
        }
        out[i * m + j] = sum;
    }
}

extern "C" __global__ void query_counters_hard(const unsigned* codes, const double* counters, i64 n_tables,
                                               i64 n_codes, i64 m, i64 start, i64 stop, double* out) {
    for (i64 at = thread_number(); at < (stop - start) * m; at += thread_count()) {
        i64 i = start + at / m, j = at % m;
        double sum = 0.0;
        for (i64 t = 0; t < n_tables; ++t) sum += counters[(t * n_codes + codes[i * n_tables + t]) * m + j];
        out[i * m + j] = sum;
    }
}

// A thread takes a column of a table, and writes the part of each query, which `add_parts` adds up.
extern "C" __global__ void attend_parts(const float* query_weights, const float* key_weights, const double* columns,
                                        i64 n, i64 n_tables, i64 n_codes, i64 m, i64 start, i64 stop,
                                        double* counters, double* parts) {
    i64 width = stop - start;
    for (i64 at = thread_number(); at < n_tables * width; at += thread_count()) {
        i64 t = at / width, j = start + at % width;
        for (i64 i = 0; i < n; ++i) {
            double value = columns[i * m + j], part = 0.0;
            for (i64 c = 0; c < n_codes; ++c) {
                double added = key_weights[(i * n_tables + t) * n_codes + c];
                double weight = query_weights[(i * n_tables + t) * n_codes + c];
                double* counter = counters + (t * n_codes + c) * m + j;
                if (added != 0.0) *counter += added * value;
                if (weight != 0.0) part += weight * *counter;
            }
            parts[(i * n_tables + t) * m + j] = part;
        }
    }
}

extern "C" __global__ void attend_parts_hard(const unsigned* query_codes, const unsigned* key_codes,
                                             const double* columns, i64 n, i64 n_tables, i64 n_codes, i64 m,
                                             i64 start, i64 stop, double* counters, double* parts) {
    i64 width = stop - start;
    for (i64 at = thread_number(); at < n_tables * width; at += thread_count()) {
        i64 t = at / width, j = start + at % width;
        for (i64 i = 0; i < n; ++i) {
            counters[(t * n_codes + key_codes[i * n_tables + t]) * m + j] += columns[i * m + j];
            parts[(i * n_tables + t) * m + j] = counters[(t * n_codes + query_codes[i * n_tables + t]) * m + j];
        }
    }
}

extern "C" __global__ void add_parts(const double* parts, i64 n, i64 n_tables, i64 m, i64 start, i64 stop,
                                     double* out) {
    i64 width = stop - start;
    for (i64 at = thread_number(); at < n * width; at += thread_count()) {
        i64 i = at / width, j = start + at % width;
        double sum = 0.0;
        for (i64 t = 0; t < n_tables; ++t) sum += parts[(i * n_tables + t) * m + j];
        out[i * m + j] = sum;
    }
}
