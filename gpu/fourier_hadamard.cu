// Random Fourier features by Hadamard transforms: the twins of sketches/kernels/fourier_hadamard.py.
//
// A block of threads takes a matrix and a row, or CHUNK rows that are added up. Sums and differences are those
// of the CPU, the largest span first, so that the integers are the same.
// Floors on an H100 (17 T/s without fused operations): 3 log2(size) + 40 operations a row and component, 4 ns
// a row at 1,024 coordinates and components.
#include "features.cuh"

// Compute H of `block`; its size is a power of two.
__device__ void transform(double* block, i64 size) {
    for (i64 span = size / 2; span > 0; span /= 2) {
        for (i64 t = threadIdx.x; t < size / 2; t += blockDim.x) {
            i64 low = t & (span - 1), j = 2 * (t - low) + low;
            double a = block[j], b = block[j + span];
            block[j] = a + b;
            block[j + span] = a - b;
        }
        __syncthreads();
    }
}

// Compute block = H D3 H D2 H D1 row / width. A thread has written and read the same coordinates before.
template <class Real>
__device__ void rotate(const Real* row, i64 d, double width, const double* signs, double* block, i64 size) {
    for (int turn = 0; turn < 3; ++turn, signs += size) {
        for (i64 j = threadIdx.x; j < size; j += blockDim.x)
            block[j] = (turn ? block[j] : j < d ? (double)row[j] / width : 0.0) * signs[j];
        __syncthreads();
        transform(block, size);
    }
}

template <class Real>
__device__ void add_hadamard(const Real* X, i64 d, double width, const double* signs, i64 blocks, i64 size,
                             const double* scales, i64 m, bool in_shared, u8* memory, const i64* weights,
                             bool weighted, i64 start, i64 stop, i64* sums) {
    DYNAMIC_SHARED(unsigned char, shared);
    double* block = (double*)(in_shared ? shared : memory + blockIdx.x * size * 24);
    i64 *cosines = (i64*)(block + size), *sines = cosines + size;
    i64 work = blocks * ((stop - start + CHUNK - 1) / CHUNK);
    for (i64 t = blockIdx.x; t < work; t += gridDim.x) {
        i64 b = t % blocks, first = start + t / blocks * CHUNK, last = min(stop, first + CHUNK);
        i64 at = b * size, n = min(size, m - at);
        for (i64 j = threadIdx.x; j < n; j += blockDim.x) cosines[j] = sines[j] = 0;
        for (i64 i = first; i < last; ++i) {
            i64 weight = weighted ? weights[i] : 1;
            rotate(X + i * d, d, width, signs + 3 * at, block, size);
            for (i64 j = threadIdx.x; j < n; j += blockDim.x) {
                double cosine, sine;
                cosine_and_sine(block[j] * scales[at + j], &cosine, &sine);
                cosines[j] += weight * rounded(cosine);
                sines[j] += weight * rounded(sine);
            }
        }
        for (i64 j = threadIdx.x; j < n; j += blockDim.x) {
            add_to(sums + at + j, cosines[j]);
            add_to(sums + m + at + j, sines[j]);
        }
    }
}

template <class Real>
__device__ void hadamard_terms(const Real* X, i64 d, double width, const double* signs, i64 blocks, i64 size,
                               const double* scales, i64 m, bool in_shared, u8* memory, const double* sums,
                               i64 start, i64 stop, double* terms) {
    DYNAMIC_SHARED(unsigned char, shared);
    double* block = (double*)(in_shared ? shared : memory + blockIdx.x * size * 8);
    for (i64 t = blockIdx.x; t < blocks * (stop - start); t += gridDim.x) {
        i64 at = t % blocks * size, i = start + t / blocks, n = min(size, m - at);
        rotate(X + i * d, d, width, signs + 3 * at, block, size);
        for (i64 j = threadIdx.x; j < n; j += blockDim.x) {
            double cosine, sine;
            cosine_and_sine(block[j] * scales[at + j], &cosine, &sine);
            terms[i * m + at + j] = sums[at + j] * cosine + sums[m + at + j] * sine;
        }
    }
}

#define HADAMARD(suffix, Real)                                                                                \
    extern "C" __global__ void add_hadamard_##suffix(                                                         \
        const Real* X, i64 d, double width, const double* signs, i64 blocks, i64 size, const double* scales,  \
        i64 m, bool in_shared, u8* memory, const i64* weights, bool weighted, i64 start, i64 stop,            \
        i64* sums) {                                                                                          \
        add_hadamard(X, d, width, signs, blocks, size, scales, m, in_shared, memory, weights, weighted,       \
                     start, stop, sums);                                                                      \
    }                                                                                                         \
    extern "C" __global__ void hadamard_terms_##suffix(                                                       \
        const Real* X, i64 d, double width, const double* signs, i64 blocks, i64 size, const double* scales,  \
        i64 m, bool in_shared, u8* memory, const double* sums, i64 start, i64 stop, double* terms) {          \
        hadamard_terms(X, d, width, signs, blocks, size, scales, m, in_shared, memory, sums, start, stop,     \
                       terms);                                                                                \
    }
HADAMARD(float32, float)
HADAMARD(float64, double)
