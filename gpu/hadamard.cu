// Signs of pseudo-random rotations by Walsh-Hadamard transforms: the twins of lsh/kernels/hadamard.py.
//
// A block takes a row. Floors on an H100 (3.0 TB/s): a row is read once, 4 d bytes; a transform of 1,024
// coordinates moves 3 * 4 * 4 KiB through shared memory and 3 * 5 * 4 KiB by shuffles, which take the same
// path of 29 TB/s on the device: 4 ns a row and transform, of 1,024 bits. Products are written as well, 4
// bytes each.
#include "rotation.cuh"

template <class Rows>
__device__ void signs(const Rows& rows, const u16* masks, i64 blocks, i64 size, i64 n_hashes, i64 power,
                      i64 start, i64 stop, bool in_shared, u8* memory, u32* out) {
    DYNAMIC_SHARED(unsigned char, shared);
    i64 n_words = (n_hashes * power + 31) / 32;
    unsigned char* room = in_shared ? shared : memory + blockIdx.x * (size + n_words) * 4;
    float* block = (float*)room;
    u32* bits = (u32*)(block + size);
    for (i64 i = start + blockIdx.x; i < stop; i += gridDim.x) {
        double scale = scale_of(rows, i);
        for (i64 b = 0; b < blocks; ++b) {
            place_row(rows, i, scale, block, size);
            rotate(block, size, masks + b * 3 * (size / 16));
            for (i64 j = threadIdx.x; j < size; j += blockDim.x) {
                u32 word = __ballot_sync(ALL_LANES, block[j] >= 0.0f);
                i64 at = (b * size + j) / 32;
                if (lane_number() == 0 && at < n_words) bits[at] = word;
            }
            __syncthreads();
        }
        for (i64 h = threadIdx.x; h < n_hashes; h += blockDim.x) {
            u32 code = 0;
            for (i64 k = 0, bit = h; k < power; ++k, bit += n_hashes)
                code |= ((bits[bit / 32] >> (bit % 32)) & 1u) << k;
            out[i * n_hashes + h] = code;
        }
        __syncthreads();
    }
}

// Write the first P coordinates of all rotations to row i - start of `out`.
template <class Rows>
__device__ void products(const Rows& rows, const u16* masks, i64 blocks, i64 size, i64 P, i64 start, i64 stop,
                         bool in_shared, u8* memory, float* out) {
    DYNAMIC_SHARED(unsigned char, shared);
    float* block = (float*)(in_shared ? shared : memory + blockIdx.x * size * 4);
    for (i64 i = start + blockIdx.x; i < stop; i += gridDim.x) {
        double scale = scale_of(rows, i);
        for (i64 b = 0; b < blocks; ++b) {
            place_row(rows, i, scale, block, size);
            rotate(block, size, masks + b * 3 * (size / 16));
            for (i64 j = threadIdx.x; j < min(size, P - b * size); j += blockDim.x)
                out[(i - start) * P + b * size + j] = block[j];
            __syncthreads();
        }
    }
}

#define SIGNS(suffix, rows, ...)                                                                            \
    extern "C" __global__ void hadamard_signs_##suffix(__VA_ARGS__, const u16* masks, i64 blocks, i64 size, \
                                                       bool in_shared, u8* memory, i64 n_hashes, i64 power, \
                                                       i64 start, i64 stop, u32* out) {                     \
        signs(rows, masks, blocks, size, n_hashes, power, start, stop, in_shared, memory, out);             \
    }
FOR_ALL_ROWS(SIGNS)

#define PRODUCTS(suffix, rows, ...)                                                                    \
    extern "C" __global__ void hadamard_products_##suffix(__VA_ARGS__, const u16* masks, i64 blocks,   \
                                                          i64 size, bool in_shared, u8* memory, i64 P, \
                                                          i64 start, i64 stop, float* out) {           \
        products(rows, masks, blocks, size, P, start, stop, in_shared, memory, out);                   \
    }
FOR_ALL_ROWS(PRODUCTS)
