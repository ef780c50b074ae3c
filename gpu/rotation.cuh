// Pseudo-random rotations H D3 H D2 H D1 of rows, by a block of threads each: what hadamard.cu and
// cross_polytope.cu share.
//
// Coordinates lie in shared memory (those of more than 8,192 in memory), five levels of each transform are
// shuffles within a warp, the others additions between pairs. Sums are those of the CPU, level by level.
#pragma once
#include "common.cuh"

// block = H D3 H D2 H D1 block, the signs of the three rounds being the bits of `masks`.
__device__ void rotate(float* block, i64 size, const u16* masks) {
    for (int turn = 0; turn < 3; ++turn, masks += size / 16) {
        // Sizes and blocks are multiples of 32: all lanes of a warp come along.
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) {
            float value = block[j];
            if ((masks[j / 16] >> (j % 16)) & 1) value = -value;
            for (int span = 1; span < 32; span *= 2) {
                float other = __shfl_xor_sync(ALL_LANES, value, span);
                value = threadIdx.x & span ? other - value : value + other;
            }
            block[j] = value;
        }
        __syncthreads();
        for (i64 span = 32; span < size; span *= 2) {
            for (i64 t = threadIdx.x; t < size / 2; t += blockDim.x) {
                i64 low = t / span * 2 * span + t % span;
                float a = block[low], b = block[low + span];
                block[low] = a + b;
                block[low + span] = a - b;
            }
            __syncthreads();
        }
    }
}

template <class Real> struct DenseRows {
    const Real* X;
    i64 d;
    __device__ i64 size(i64) const { return d; }
    __device__ double value(i64 i, i64 j) const { return (double)X[i * d + j]; }
    __device__ i64 place(i64, i64 j) const { return j; }
};

template <class Real, class Index> struct SparseRows {
    const i64* indptr;
    const Index* indices;
    const Real* data;
    __device__ i64 size(i64 i) const { return indptr[i + 1] - indptr[i]; }
    __device__ double value(i64 i, i64 j) const { return (double)data[indptr[i] + j]; }
    __device__ i64 place(i64 i, i64 j) const { return indices[indptr[i] + j]; }
};

// The power of two by which a row is scaled; all threads of the block get it.
template <class Rows> __device__ double scale_of(const Rows& rows, i64 i) {
    __shared__ double largest_of[32];
    double largest = 0.0;
    for (i64 j = threadIdx.x; j < rows.size(i); j += blockDim.x) largest = max(largest, fabs(rows.value(i, j)));
    for (int by = 16; by; by /= 2) largest = max(largest, __shfl_xor_sync(ALL_LANES, largest, by));
    if (lane_number() == 0) largest_of[threadIdx.x / 32] = largest;
    __syncthreads();
    for (int warp = 0; warp < (int)(blockDim.x / 32); ++warp) largest = max(largest, largest_of[warp]);
    // The next row's numbers come only when all threads have read these.
    __syncthreads();
    return power_of_two(largest);
}

// A row times its scale to `block`, the other coordinates 0.
template <class Rows> __device__ void place_row(const Rows& rows, i64 i, double scale, float* block, i64 size) {
    for (i64 j = threadIdx.x; j < size; j += blockDim.x) block[j] = 0.0f;
    __syncthreads();
    for (i64 j = threadIdx.x; j < rows.size(i); j += blockDim.x)
        block[rows.place(i, j)] = (float)(rows.value(i, j) * scale);
    __syncthreads();
}

// Instances of kernels for all kinds of rows: `KERNEL(suffix, rows, type of rows, arguments that make them)`.
#define DENSE_ROWS(Real) const Real *X, i64 d
#define SPARSE_ROWS(Real, Index) const i64 *indptr, const Index *indices, const Real *data
#define FOR_ALL_ROWS(KERNEL)                                                                                     \
    KERNEL(dense_float32, (DenseRows<float>{X, d}), DENSE_ROWS(float))                                           \
    KERNEL(dense_float64, (DenseRows<double>{X, d}), DENSE_ROWS(double))                                         \
    KERNEL(csr_float32_int32, (SparseRows<float, i32>{indptr, indices, data}), SPARSE_ROWS(float, i32))          \
    KERNEL(csr_float32_int64, (SparseRows<float, i64>{indptr, indices, data}), SPARSE_ROWS(float, i64))          \
    KERNEL(csr_float64_int32, (SparseRows<double, i32>{indptr, indices, data}), SPARSE_ROWS(double, i32))        \
    KERNEL(csr_float64_int64, (SparseRows<double, i64>{indptr, indices, data}), SPARSE_ROWS(double, i64))
