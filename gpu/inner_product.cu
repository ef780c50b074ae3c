// One more coordinate brings all rows to one length: the twins of lsh/kernels/inner_product.py.
//
// A warp takes a row, and each lane one of the CPU's 32 running sums, so norms are the CPU's bit for bit.
// Floors on an H100 (3.0 TB/s): a row of d numbers is read, and written as float64: 12 d bytes from float32.
#include "common.cuh"

template <class Real>
struct DenseRow {
    const Real* values;
    i64 size;
    __device__ double sum_of_squares(double scale) const {
        double sum = 0.0;
        for (i64 j = lane_number(); j < size; j += 32) {
            double value = (double)values[j] * scale;
            sum += value * value;
        }
        return sum;
    }
};

template <class Real, class Index>
struct SparseRow {
    const Real* values;
    const Index* indices;
    i64 size;
    __device__ double sum_of_squares(double scale) const {
        double sum = 0.0;
        for (i64 j = 0; j < size; ++j) {
            if ((int)(indices[j] & 31) != lane_number()) continue;
            double value = (double)values[j] * scale;
            sum += value * value;
        }
        return sum;
    }
};

// Add up the 32 sums by halves, as the CPU does; every lane gets the result.
__device__ __forceinline__ double add_up(double sum) {
    for (int by = 16; by; by /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, by);
    return sum;
}

// Return the row's Euclidean norm over `bound`; it is infinite only where a double cannot hold it.
template <class Row>
__device__ double relative_norm(const Row& row, double bound) {
    double scale = power_of_two(bound), total = add_up(row.sum_of_squares(scale));
    if (total < __longlong_as_double(0x7FF0000000000000ll)) return sqrt(total) / (bound * scale);
    double largest = 0.0;
    for (i64 j = lane_number(); j < row.size; j += 32) largest = max(largest, fabs((double)row.values[j]));
    for (int by = 16; by; by /= 2) largest = max(largest, __shfl_xor_sync(ALL_LANES, largest, by));
    scale = power_of_two(largest);
    return sqrt(add_up(row.sum_of_squares(scale))) / scale / bound;
}

__device__ __forceinline__ double missing(double norm, double bound) {
    return norm < 1.0 ? bound * sqrt((1.0 - norm) * (1.0 + norm)) : 0.0;
}

template <class Row>
__device__ void norms_of(const Row& row, double bound, i64 i, double* norms) {
    double norm = relative_norm(row, bound);
    if (lane_number() == 0) norms[i] = norm;
}

#define DENSE(suffix, Real)                                                                                 \
    extern "C" __global__ void relative_norms_dense_##suffix(const Real* X, i64 d, double bound, i64 start, \
                                                             i64 stop, double* norms) {                     \
        for (i64 i = start + warp_number(); i < stop; i += warp_count()) {                                  \
            DenseRow<Real> row = {X + i * d, d};                                                            \
            norms_of(row, bound, i, norms);                                                                 \
        }                                                                                                   \
    }                                                                                                       \
    extern "C" __global__ void extend_rows_dense_##suffix(const Real* X, i64 d, double bound, i64 column,   \
                                                          i64 start, i64 stop, i64 width, double* out,      \
                                                          double* norms) {                                  \
        for (i64 i = start + warp_number(); i < stop; i += warp_count()) {                                  \
            DenseRow<Real> row = {X + i * d, d};                                                            \
            double norm = bound > 0.0 ? relative_norm(row, bound) : 0.0,                                    \
                   *target = out + (i - start) * width;                                                     \
            for (i64 j = lane_number(); j < width; j += 32)                                                 \
                target[j] = j < d ? (double)row.values[j] : j == column ? missing(norm, bound) : 0.0;       \
            if (lane_number() == 0) norms[i] = norm;                                                        \
        }                                                                                                   \
    }
DENSE(float32, float)
DENSE(float64, double)

#define SPARSE(suffix, Real, Index)                                                                     \
    extern "C" __global__ void relative_norms_csr_##suffix(const i64* indptr, const Index* indices,     \
                                                           const Real* data, double bound, i64 start,   \
                                                           i64 stop, double* norms) {                   \
        for (i64 i = start + warp_number(); i < stop; i += warp_count()) {                              \
            i64 a = indptr[i];                                                                          \
            SparseRow<Real, Index> row = {data + a, indices + a, indptr[i + 1] - a};                    \
            norms_of(row, bound, i, norms);                                                             \
        }                                                                                               \
    }                                                                                                   \
    extern "C" __global__ void extend_rows_csr_##suffix(                                                \
        const i64* indptr, const Index* indices, const Real* data, double bound, i64 column, i64 start, \
        i64 stop, i64* new_indptr, Index* new_indices, double* new_data, double* norms) {               \
        int lane = lane_number();                                                                       \
        for (i64 i = start + warp_number(); i < stop; i += warp_count()) {                              \
            i64 a = indptr[i], k = i - start, first = a - indptr[start] + k;                            \
            SparseRow<Real, Index> row = {data + a, indices + a, indptr[i + 1] - a};                    \
            double norm = bound > 0.0 ? relative_norm(row, bound) : 0.0;                                \
            for (i64 j = lane; j < row.size; j += 32) {                                                 \
                new_indices[first + j] = row.indices[j];                                                \
                new_data[first + j] = (double)row.values[j];                                            \
            }                                                                                           \
            if (lane == 0) {                                                                            \
                norms[i] = norm;                                                                        \
                if (k == 0) new_indptr[0] = 0;                                                          \
                new_indptr[k + 1] = first + row.size + 1;                                               \
                new_indices[first + row.size] = (Index)column;                                          \
                new_data[first + row.size] = missing(norm, bound);                                      \
            }                                                                                           \
        }                                                                                               \
    }
SPARSE(float32_int32, float, i32)
SPARSE(float32_int64, float, i64)
SPARSE(float64_int32, double, i32)
SPARSE(float64_int64, double, i64)
