// Signs of pseudo-random rotations by Walsh-Hadamard transforms: the twins of lsh/hadamard.py.
//
// A block takes a row: its coordinates lie in shared memory (those of more than 8,192 in memory), five levels of
// each transform are shuffles within a warp, the others additions between pairs. Sums are those of the CPU, level
// by level, so codes are its bit for bit. Floors on an H100 (3.0 TB/s): a row is read once, 4 d bytes; a transform
// of 1,024 coordinates moves 3 (2 + 4 * 5) * 4 KiB through shared memory, of which the device moves 29 TB/s: 9 ns
// a row and transform, of 1,024 bits.
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

template <class Rows>
__device__ void signs(const Rows& rows, const u16* masks, i64 blocks, i64 size, i64 n_hashes, i64 power, i64 start,
                      i64 stop, bool in_shared, u8* memory, u32* out) {
    DYNAMIC_SHARED(unsigned char, shared);
    __shared__ double largest_of[32];
    i64 n_words = (n_hashes * power + 31) / 32;
    unsigned char* room = in_shared ? shared : memory + blockIdx.x * (size + n_words) * 4;
    float* block = (float*)room;
    u32* bits = (u32*)(block + size);
    int lane = lane_number();
    for (i64 i = start + blockIdx.x; i < stop; i += gridDim.x) {
        double largest = 0.0;
        for (i64 j = threadIdx.x; j < rows.size(i); j += blockDim.x) largest = max(largest, fabs(rows.value(i, j)));
        for (int by = 16; by; by /= 2) largest = max(largest, __shfl_xor_sync(ALL_LANES, largest, by));
        if (lane == 0) largest_of[threadIdx.x / 32] = largest;
        __syncthreads();
        for (int warp = 0; warp < (int)(blockDim.x / 32); ++warp) largest = max(largest, largest_of[warp]);
        double scale = power_of_two(largest);
        for (i64 b = 0; b < blocks; ++b) {
            for (i64 j = threadIdx.x; j < size; j += blockDim.x) block[j] = 0.0f;
            __syncthreads();
            for (i64 j = threadIdx.x; j < rows.size(i); j += blockDim.x)
                block[rows.place(i, j)] = (float)(rows.value(i, j) * scale);
            __syncthreads();
            rotate(block, size, masks + b * 3 * (size / 16));
            for (i64 j = threadIdx.x; j < size; j += blockDim.x) {
                u32 word = __ballot_sync(ALL_LANES, block[j] >= 0.0f);
                i64 at = (b * size + j) / 32;
                if (lane == 0 && at < n_words) bits[at] = word;
            }
            __syncthreads();
        }
        for (i64 h = threadIdx.x; h < n_hashes; h += blockDim.x) {
            u32 code = 0;
            for (i64 k = 0, bit = h; k < power; ++k, bit += n_hashes) code |= ((bits[bit / 32] >> (bit % 32)) & 1u) << k;
            out[i * n_hashes + h] = code;
        }
        __syncthreads();
    }
}

#define DENSE(suffix, Real)                                                                                       \
    extern "C" __global__ void hadamard_signs_dense_##suffix(const Real* X, i64 d, const u16* masks, i64 blocks,  \
                                                             i64 size, i64 n_hashes, i64 power, i64 start,        \
                                                             i64 stop, bool in_shared, u8* memory, u32* out) {    \
        DenseRows<Real> rows = {X, d};                                                                            \
        signs(rows, masks, blocks, size, n_hashes, power, start, stop, in_shared, memory, out);                   \
    }
DENSE(float32, float)
DENSE(float64, double)

#define SPARSE(suffix, Real, Index)                                                                               \
    extern "C" __global__ void hadamard_signs_csr_##suffix(const i64* indptr, const Index* indices,               \
                                                           const Real* data, const u16* masks, i64 blocks,        \
                                                           i64 size, i64 n_hashes, i64 power, i64 start,          \
                                                           i64 stop, bool in_shared, u8* memory, u32* out) {      \
        SparseRows<Real, Index> rows = {indptr, indices, data};                                                   \
        signs(rows, masks, blocks, size, n_hashes, power, start, stop, in_shared, memory, out);                   \
    }
SPARSE(float32_int32, float, i32)
SPARSE(float32_int64, float, i64)
SPARSE(float64_int32, double, i32)
SPARSE(float64_int64, double, i64)
