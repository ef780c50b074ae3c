// Pseudo-random rotations H D3 H D2 H D1 of rows, a block of threads for each row, for hadamard.cu and
// cross_polytope.cu.
//
// Coordinates lie in shared memory (those of more than 8,192 in memory). They are read and written once for
// the lowest seven levels of a transform, five by shuffles within a warp and two between four coordinates
// that a thread holds, and once for every three further ones, between eight. Sums are those of the CPU, level
// by level.
#pragma once
#include "common.cuh"

// Compute the levels between numbers of one thread, the lowest first.
template <int HELD>
__device__ __forceinline__ void transform_held(float* held) {
#pragma unroll
    for (int half = 1; half < HELD; half *= 2)
#pragma unroll
        for (int i = 0; i < HELD; ++i) {
            if (i & half) continue;
            float a = held[i], b = held[i + half];
            held[i] = a + b;
            held[i + half] = a - b;
        }
}

// Compute the levels of spans span, 2 span, ... HELD / 2 span; spans and sizes are powers of two.
template <int HELD>
__device__ __forceinline__ void transform_levels(float* block, u32 size, u32 span) {
    for (u32 t = threadIdx.x; t < size / HELD; t += blockDim.x) {
        // Coordinates of a thread lie `span` apart.
        u32 low = t & (span - 1);
        float *first = block + (t - low) * HELD + low, held[HELD];
#pragma unroll
        for (int i = 0; i < HELD; ++i) held[i] = first[i * span];
        transform_held<HELD>(held);
#pragma unroll
        for (int i = 0; i < HELD; ++i) first[i * span] = held[i];
    }
    __syncthreads();
}

// Compute block = H D3 H D2 H D1 block; the bits of `masks` are the signs of the three rounds. n is a power
// of two, at least 128.
__device__ void rotate(float* block, i64 n, const u16* masks) {
    u32 size = (u32)n, lane = threadIdx.x & 31u;
    for (int turn = 0; turn < 3; ++turn, masks += size / 16) {
        // A warp takes 128 coordinates together, with all of its lanes.
        for (u32 start = (threadIdx.x - lane) * 4; start < size; start += blockDim.x * 4) {
            float held[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                u32 j = start + 32 * i + lane;
                float value = block[j];
                held[i] = (masks[j / 16] >> (j % 16)) & 1 ? -value : value;
            }
#pragma unroll
            for (u32 span = 1; span < 32; span *= 2)
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    float other = __shfl_xor_sync(ALL_LANES, held[i], span);
                    held[i] = lane & span ? other - held[i] : held[i] + other;
                }
            transform_held<4>(held);
#pragma unroll
            for (int i = 0; i < 4; ++i) block[start + 32 * i + lane] = held[i];
        }
        __syncthreads();
        u32 span = 128;
        for (; span * 4 < size; span *= 8) transform_levels<8>(block, size, span);
        if (span * 2 < size)
            transform_levels<4>(block, size, span);
        else if (span < size)
            transform_levels<2>(block, size, span);
    }
}

template <class Real>
struct DenseRows {
    const Real* X;
    i64 d;
    __device__ i64 size(i64) const { return d; }
    __device__ double value(i64 i, i64 j) const { return (double)X[i * d + j]; }
    __device__ i64 place(i64, i64 j) const { return j; }
};

template <class Real, class Index>
struct SparseRows {
    const i64* indptr;
    const Index* indices;
    const Real* data;
    __device__ i64 size(i64 i) const { return indptr[i + 1] - indptr[i]; }
    __device__ double value(i64 i, i64 j) const { return (double)data[indptr[i] + j]; }
    __device__ i64 place(i64 i, i64 j) const { return indices[indptr[i] + j]; }
};

// Return the power of two by which a row is scaled, to all threads of the block.
template <class Rows>
__device__ double scale_of(const Rows& rows, i64 i) {
    __shared__ double largest_of[32];
    double largest = 0.0;
    for (i64 j = threadIdx.x; j < rows.size(i); j += blockDim.x)
        largest = max(largest, fabs(rows.value(i, j)));
    for (int by = 16; by; by /= 2) largest = max(largest, __shfl_xor_sync(ALL_LANES, largest, by));
    if (lane_number() == 0) largest_of[threadIdx.x / 32] = largest;
    __syncthreads();
    for (int warp = 0; warp < (int)(blockDim.x / 32); ++warp) largest = max(largest, largest_of[warp]);
    // The next row's numbers are written only when all threads have read these.
    __syncthreads();
    return power_of_two(largest);
}

// Write a row times its scale to `block`, and 0 to the other coordinates.
template <class Rows>
__device__ void place_row(const Rows& rows, i64 i, double scale, float* block, i64 size) {
    for (i64 j = threadIdx.x; j < size; j += blockDim.x) block[j] = 0.0f;
    __syncthreads();
    for (i64 j = threadIdx.x; j < rows.size(i); j += blockDim.x)
        block[rows.place(i, j)] = (float)(rows.value(i, j) * scale);
    __syncthreads();
}

// Define kernels for all kinds of rows: `KERNEL(suffix, rows, type of rows, arguments that make them)`.
#define DENSE_ROWS(Real) const Real *X, i64 d
#define SPARSE_ROWS(Real, Index) const i64 *indptr, const Index *indices, const Real *data
#define FOR_ALL_ROWS(KERNEL)                                                                              \
    KERNEL(dense_float32, (DenseRows<float>{X, d}), DENSE_ROWS(float))                                    \
    KERNEL(dense_float64, (DenseRows<double>{X, d}), DENSE_ROWS(double))                                  \
    KERNEL(csr_float32_int32, (SparseRows<float, i32>{indptr, indices, data}), SPARSE_ROWS(float, i32))   \
    KERNEL(csr_float32_int64, (SparseRows<float, i64>{indptr, indices, data}), SPARSE_ROWS(float, i64))   \
    KERNEL(csr_float64_int32, (SparseRows<double, i32>{indptr, indices, data}), SPARSE_ROWS(double, i32)) \
    KERNEL(csr_float64_int64, (SparseRows<double, i64>{indptr, indices, data}), SPARSE_ROWS(double, i64))
