// Random Fourier features: the twins of sketches/kernels/fourier.py.
//
// A thread takes a component, and adds up CHUNK rows. Products are added up in the order of the features, and
// cosines are the polynomials of the CPU, so that the integers are the same. Rows are in units of the width.
// Floors on an H100 (34 TFLOP/s float64 without fused operations: 17 T/s): 2 d + 40 operations a row and
// component, 10 ns a row at d = 64 and m = 1000. Frequencies come from the second-level cache.
#include "common.cuh"

#define CHUNK 64
#define ONE 1048576.0                // 2**20
#define ROUNDER 6755399441055744.0   // 1.5 2**52
#define TURN 6.283185307179586

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

__device__ __forceinline__ void cosine_and_sine(double turns, double* cosine, double* sine) {
    double part = turns - floor(turns), quarter = floor(4.0 * part + 0.5);
    double angle = TURN * (part - 0.25 * quarter), s = angle * angle;
    double up = angle * (1.0 + s * (-1.0 / 6.0 + s * (1.0 / 120.0 + s * (-1.0 / 5040.0 + s * (1.0 / 362880.0 + s * (-1.0 / 39916800.0))))));
    double across = 1.0 + s * (-1.0 / 2.0 + s * (1.0 / 24.0 + s * (-1.0 / 720.0 + s * (1.0 / 40320.0 + s * (-1.0 / 3628800.0 + s * (1.0 / 479001600.0))))));
    bool swapped = quarter == 1.0 || quarter == 3.0;
    double c = swapped ? up : across, t = swapped ? across : up;
    *cosine = quarter == 1.0 || quarter == 2.0 ? -c : c;
    *sine = quarter == 2.0 || quarter == 3.0 ? -t : t;
}

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
            cosines += weight * (i64)((cosine * ONE + ROUNDER) - ROUNDER);
            sines += weight * (i64)((sine * ONE + ROUNDER) - ROUNDER);
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
