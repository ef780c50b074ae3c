// Checks of callers' arrays: the twins of lsh/kernels/checks.py.
//
// Floors on an H100 (3.0 TB/s): the array is read once.
#include "common.cuh"

// Set `found` to 1 if any value is NaN or infinite. Floor: one read.
extern "C" __global__ void any_nonfinite_float32(const float* values, i64 n, u32* found) {
    u32 largest = 0;
    for (i64 t = thread_number(); t < n; t += thread_count()) {
        u32 bits = __float_as_uint(values[t]) & 0x7FFFFFFFu;
        largest = bits > largest ? bits : largest;
    }
    if (largest >= 0x7F800000u) atomicMax(found, 1u);
}
extern "C" __global__ void any_nonfinite_float64(const double* values, i64 n, u32* found) {
    i64 largest = 0;
    for (i64 t = thread_number(); t < n; t += thread_count()) {
        i64 bits = __double_as_longlong(values[t]) & 0x7FFFFFFFFFFFFFFFll;
        largest = bits > largest ? bits : largest;
    }
    if (largest >= 0x7FF0000000000000ll) atomicMax(found, 1u);
}

// Count the indices in the rows of a CSR matrix that are not above the one before, in found[0]. Set found[1]
// to 1 if an offset falls or lies outside the indices, or an index outside [0, n_columns); nothing is read
// out of bounds. A warp takes a row. Floor: one read.
template <class Index>
__device__ void falls(const i64* indptr, const Index* indices, i64 n_indices, i64 n_columns, i64 start,
                      i64 stop, u64* found) {
    u64 mine = 0;
    bool fault = false;
    for (i64 row = start + warp_number(); row < stop; row += warp_count()) {
        i64 left = indptr[row], right = indptr[row + 1];
        if (left < 0 || right < left || right > n_indices) {
            fault = true;
            continue;
        }
        for (i64 j = left + lane_number(); j < right; j += 32) {
            mine += j > left && indices[j] <= indices[j - 1];
            fault |= indices[j] < 0 || indices[j] >= n_columns;
        }
    }
    if (mine) atomicAdd(found, mine);
    if (fault) atomicMax(found + 1, (u64)1);
}
extern "C" __global__ void count_falls_int32(const i64* indptr, const i32* indices, i64 n_indices,
                                             i64 n_columns, i64 start, i64 stop, u64* found) {
    falls(indptr, indices, n_indices, n_columns, start, stop, found);
}
extern "C" __global__ void count_falls_int64(const i64* indptr, const i64* indices, i64 n_indices,
                                             i64 n_columns, i64 start, i64 stop, u64* found) {
    falls(indptr, indices, n_indices, n_columns, start, stop, found);
}
