// Random Fourier features: the twins of sketches/kernels/fourier.py.
//
// A thread takes a component, and adds up CHUNK rows. Products are added up in the order of the features, and
// cosines are the polynomials of the CPU, so that the integers are the same. Rows are in units of the width.
// Floors on an H100 (34 TFLOP/s float64 without fused operations: 17 T/s): 2 d + 40 operations a row and
// component, 10 ns a row at d = 64 and m = 1000. Frequencies come from the second-level cache.
#include "features.cuh"

// The phase of a row and a component, in turns. `frequencies` begins at the component.
struct DenseRows {
    const double* X;
    i64 d;
    __device__ double turns(i64 i, const double* frequencies, i64 m) const {
        double sum = 0.0;
        for (i64 j = 0; j < d; ++j) sum += X[i * d + j] * frequencies[j * m];
        return sum;
    }
};
template <class Index>
struct SparseRows {
    const i64* indptr;
    const Index* indices;
    const double* data;
    __device__ double turns(i64 i, const double* frequencies, i64 m) const {
        double sum = 0.0;
        for (i64 k = indptr[i]; k < indptr[i + 1]; ++k) sum += data[k] * frequencies[(i64)indices[k] * m];
        return sum;
    }
};

template <class Rows>
__device__ void add_features(const Rows& rows, const double* frequencies, i64 m, const i64* weights,
                             bool weighted, i64 start, i64 stop, i64* sums) {
    i64 chunks = (stop - start + CHUNK - 1) / CHUNK;
    for (i64 t = thread_number(); t < m * chunks; t += thread_count()) {
        i64 c = t % m, first = start + t / m * CHUNK, last = min(stop, first + CHUNK), cosines = 0, sines = 0;
        for (i64 i = first; i < last; ++i) {
            double cosine, sine;
            cosine_and_sine(rows.turns(i, frequencies + c, m), &cosine, &sine);
            i64 weight = weighted ? weights[i] : 1;
            cosines += weight * rounded(cosine);
            sines += weight * rounded(sine);
        }
        add_to(sums + c, cosines);
        add_to(sums + m + c, sines);
    }
}

template <class Rows>
__device__ void fourier_terms(const Rows& rows, const double* frequencies, i64 m, const double* sums,
                              i64 start, i64 stop, double* terms) {
    for (i64 t = thread_number(); t < m * (stop - start); t += thread_count()) {
        i64 i = t / m, c = t % m;
        double cosine, sine;
        cosine_and_sine(rows.turns(start + i, frequencies + c, m), &cosine, &sine);
        terms[t] = sums[c] * cosine + sums[m + c] * sine;
    }
}

extern "C" __global__ void add_features_dense(const double* X, i64 d, const double* frequencies, i64 m,
                                              const i64* weights, bool weighted, i64 start, i64 stop,
                                              i64* sums) {
    add_features(DenseRows{X, d}, frequencies, m, weights, weighted, start, stop, sums);
}
extern "C" __global__ void fourier_terms_dense(const double* X, i64 d, const double* frequencies, i64 m,
                                               const double* sums, i64 start, i64 stop, double* terms) {
    fourier_terms(DenseRows{X, d}, frequencies, m, sums, start, stop, terms);
}

#define SPARSE(suffix, Index)                                                                              \
    extern "C" __global__ void add_features_csr_##suffix(                                                  \
        const i64* indptr, const Index* indices, const double* data, const double* frequencies, i64 m,     \
        const i64* weights, bool weighted, i64 start, i64 stop, i64* sums) {                               \
        add_features(SparseRows<Index>{indptr, indices, data}, frequencies, m, weights, weighted, start,   \
                     stop, sums);                                                                          \
    }                                                                                                      \
    extern "C" __global__ void fourier_terms_csr_##suffix(                                                 \
        const i64* indptr, const Index* indices, const double* data, const double* frequencies, i64 m,     \
        const double* sums, i64 start, i64 stop, double* terms) {                                          \
        fourier_terms(SparseRows<Index>{indptr, indices, data}, frequencies, m, sums, start, stop, terms); \
    }
SPARSE(int32, i32)
SPARSE(int64, i64)
