// Bins of numbers: the twins of sketches/kernels/ddsketch.py.
//
// Floors on an H100 (3.0 TB/s): additions read 8 bytes a value (and 8 of weight), 2.7 ps. Values that follow a
// narrow distribution share few counters, whose atomic additions in the second-level cache wait for one
// another. So a block of a large batch counts in shared memory, and then adds its counters to the sketch's.
#include "common.cuh"

// The number of a float's bin, given its bits: 0 below the lowest octave, up to `last`, with the float's sign.
__device__ __forceinline__ i64 signed_bin(i64 word, const i32* firsts, const i64* edges, i64 shift,
                                          i64 per_octave, i64 lowest, i64 last) {
    i64 magnitude = word & 0x7FFFFFFFFFFFFFFFll, fraction = magnitude & 0xFFFFFFFFFFFFFll;
    i64 cell = fraction >> shift;
    i64 number = ((magnitude >> 52) - lowest) * per_octave + firsts[cell] + (fraction >= edges[cell]) + 1;
    number = number < 0 ? 0 : number < last ? number : last;
    return word < 0 ? -number : number;
}

template <class Counter>
__device__ void add(const i64* words, const i64* weights, const i32* firsts, const i64* edges, i64 shift,
                    i64 per_octave, i64 lowest, i64 weighted, bool in_shared, i64 start, i64 stop, i64 size,
                    Counter* counts) {
    DYNAMIC_SHARED(Counter, shared_counts);
    Counter* held = in_shared ? shared_counts : counts;
    if (in_shared) {
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) held[j] = 0;
        __syncthreads();
    }
    i64 middle = size / 2;
    for (i64 i = start + thread_number(); i < stop; i += thread_count())
        add_to(held + middle + signed_bin(words[i], firsts, edges, shift, per_octave, lowest, middle),
               weighted ? weights[i] : (i64)1);
    if (in_shared) {
        __syncthreads();
        for (i64 j = threadIdx.x; j < size; j += blockDim.x)
            if (held[j] != 0) add_to(counts + j, (i64)held[j]);
    }
}

#define ADD(suffix, Counter)                                                                                 \
    extern "C" __global__ void add_to_bins_##suffix(                                                         \
        const i64* words, const i64* weights, const i32* firsts, const i64* edges, i64 shift,                \
        i64 per_octave, i64 lowest, i64 weighted, bool in_shared, i64 start, i64 stop, i64 size,             \
        Counter* counts) {                                                                                   \
        add(words, weights, firsts, edges, shift, per_octave, lowest, weighted, in_shared, start, stop,      \
            size, counts);                                                                                   \
    }
ADD(int32, i32)
ADD(int64, i64)

extern "C" __global__ void find_bins(const i64* words, const i32* firsts, const i64* edges, i64 shift,
                                     i64 per_octave, i64 lowest, i64 last, i64 start, i64 stop, i64* places) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count())
        places[i] = last + signed_bin(words[i], firsts, edges, shift, per_octave, lowest, last);
}
