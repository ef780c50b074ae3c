// Registers of distinct counts: the twins of sketches/kernels/hyperloglog.py.
//
// Floor on an H100 (3.0 TB/s): an update reads 8 bytes a key, and a byte of its register, which lies in
// the second-level cache. Most hashes change nothing once a register has had some, so atomics are rare.
#include "xxh3.cuh"

#define N_VALUES 256

// Return the register of the hashes of two registers.
__device__ __forceinline__ u32 join(u32 a, u32 b) {
    u32 high = a > b ? a : b, low = a > b ? b : a;
    u32 seen = (low & 3u) | (low ? 4u : 0u), distance = (high >> 2) - (low >> 2);
    return high | ((seen >> (distance < 3u ? distance : 3u)) & 3u);
}

// The registers lie in words of four, in little-endian order, because there are no atomics for bytes.
extern "C" __global__ void add_keys(const u64* keys, u64 seed, bool hashed, i64 n, i64 bits, i64 first,
                                    i64 size, i64 start, i64 stop, u32* registers) {
    u64 end = 1ull << (64 - bits);
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        u64 hash = hash_of(keys, i, seed, hashed);
        u64 place = ((hash >> 38) * (u64)n >> 26) - (u64)first;
        if (place >= (u64)size) continue;
        u32 value = (u32)__ffsll((i64)(hash | end));
        u32* word = registers + (place >> 2);
        int low = 8 * (int)(place & 3);
        u32 old = *(volatile u32*)word;
        for (;;) {
            u32 held = old >> low & 0xFFu;
            u32 joined = value + 2 < held >> 2 ? held : join(held, 4 * value);
            if (joined == held) break;
            u32 found = atomicCAS(word, old, (old & ~(0xFFu << low)) | joined << low);
            if (found == old) break;
            old = found;
        }
    }
}

extern "C" __global__ void find_tokens(const u64* keys, u64 seed, bool hashed, i64 start, i64 stop, u32* tokens) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        u64 hash = hash_of(keys, i, seed, hashed);
        tokens[i - start] = (u32)(hash >> 38 << 6) | (u32)__ffsll((i64)(hash | 1ull << 38));
    }
}

extern "C" __global__ void join_registers(const u8* others, i64 start, i64 stop, u8* registers) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count())
        registers[i] = (u8)join(registers[i], others[i]);
}

// A block counts in shared memory first, because most registers have one of a few values.
extern "C" __global__ void count_registers(const u8* registers, i64 start, i64 stop, i64* counts) {
    __shared__ u32 own[N_VALUES];
    for (int value = threadIdx.x; value < N_VALUES; value += blockDim.x) own[value] = 0;
    __syncthreads();
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) atomicAdd(own + registers[i], 1u);
    __syncthreads();
    for (int value = threadIdx.x; value < N_VALUES; value += blockDim.x)
        if (own[value]) add_to(counts + value, (i64)own[value]);
}

extern "C" __global__ void count_pairs(const u8* registers, const u8* others, i64 start, i64 stop, i64* counts) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count())
        add_to(counts + N_VALUES * (i64)registers[i] + others[i], (i64)1);
}
