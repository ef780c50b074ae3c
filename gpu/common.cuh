// Definitions for all kernels: names of types, the 64-bit mixer, loops over more work than there are threads.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

#define ALL_LANES 0xFFFFFFFFu

// Declare shared memory whose size the launch states; `name` points to it.
#ifdef MERGESKETCH_HOST
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(host::dynamic_shared)
#else
#define DYNAMIC_SHARED(type, name)                                \
    extern __shared__ __align__(16) unsigned char shared_bytes[]; \
    type* name = reinterpret_cast<type*>(shared_bytes)
#endif

// The number of this thread in the grid, and the number of threads.
__device__ __forceinline__ i64 thread_number() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ i64 thread_count() { return (i64)gridDim.x * blockDim.x; }
// The same for warps; blocks are whole numbers of warps.
__device__ __forceinline__ i64 warp_number() { return thread_number() >> 5; }
__device__ __forceinline__ i64 warp_count() { return thread_count() >> 5; }
__device__ __forceinline__ int lane_number() { return (int)(threadIdx.x & 31u); }

// Mix the bits of a word: Stafford's mix 13, the finaliser of SplitMix64.
__device__ __forceinline__ u64 mix64(u64 z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

// Reduce a random word to [0, n_buckets), n_buckets <= 2**32.
__device__ __forceinline__ u32 reduce_word(u64 word, u64 n_buckets) {
    return (u32)(((word >> 32) * n_buckets) >> 32);
}

// Return the power of two that brings `largest` into [1/2, 1), as far as a double has one; 1 for 0.
__device__ __forceinline__ double power_of_two(double largest) {
    if (largest == 0.0) return 1.0;
    int exponent;
    frexp(largest, &exponent);
    exponent = -exponent;
    return ldexp(1.0, exponent < -1022 ? -1022 : exponent > 1022 ? 1022 : exponent);
}

// CUDA has no atomic addition to signed 64-bit words; that to unsigned ones wraps alike.
__device__ __forceinline__ void add_to(i32* place, i64 value) { atomicAdd(place, (i32)value); }
__device__ __forceinline__ void add_to(i64* place, i64 value) { atomicAdd((u64*)place, (u64)value); }
__device__ __forceinline__ void add_to(double* place, double value) { atomicAdd(place, value); }
