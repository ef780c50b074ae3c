// Signatures of neighbourhoods: the twins of sketches/kernels/bloom_signatures.py. A signature is a row of W
// words.
//
// Floors on an H100 (3.0 TB/s): an edge reads 16 bytes and makes one or two atomic operations at random
// places; passing signatures reads 8 W bytes and makes atomic operations on 8 W bytes for each edge and
// direction; a pair reads 16 bytes and 16 W of signatures. A warp takes a pair, its lanes neighbouring words.
#include "common.cuh"

__device__ __forceinline__ i64 node_bit(i64 node, u64 key, u64 n_bits) {
    return (i64)(((mix64((u64)node ^ key) >> 32) * n_bits) >> 32);
}

extern "C" __global__ void fill_node_bits(u64 key, u64 n_bits, i64 start, i64 stop, i64* bits) {
    for (i64 node = start + thread_number(); node < stop; node += thread_count())
        bits[node] = node_bit(node, key, n_bits);
}

__device__ __forceinline__ void set_bit(u64* signature, i64 bit) {
    atomicOr(signature + (bit >> 6), 1ull << (bit & 63));
}

extern "C" __global__ void set_neighbour_bits(const i64* sources, const i64* targets, i64 n, bool both,
                                              u64 key, i64 W, i64 first, i64 last, u64* signatures) {
    u64 n_bits = 64 * (u64)W;
    for (i64 e = thread_number(); e < n; e += thread_count()) {
        i64 u = sources[e], v = targets[e];
        if (u == v) continue;
        if (first <= u && u < last) set_bit(signatures + u * W, node_bit(v, key, n_bits));
        if (both && first <= v && v < last) set_bit(signatures + v * W, node_bit(u, key, n_bits));
    }
}

extern "C" __global__ void pass_signatures(const i64* sources, const i64* targets, const u64* signatures,
                                           i64 n, bool both, i64 W, i64 first, i64 last, u64* out) {
    for (i64 t = thread_number(); t < n * W; t += thread_count()) {
        i64 e = t / W, w = t % W, u = sources[e], v = targets[e];
        if (first <= u && u < last) atomicOr(out + u * W + w, signatures[v * W + w]);
        if (both && first <= v && v < last) atomicOr(out + v * W + w, signatures[u * W + w]);
    }
}

extern "C" __global__ void count_signature_bits(const u64* signatures, const u64* others, i64 W, const i64* u,
                                                const i64* v, i64 start, i64 stop, i64* counts) {
    int lane = lane_number();
    for (i64 i = start + warp_number(); i < stop; i += warp_count()) {
        const u64 *left = signatures + u[i] * W, *right = others + v[i] * W;
        int a = 0, b = 0, c = 0;
        for (i64 w = lane; w < W; w += 32) {
            a += __popcll(left[w]);
            b += __popcll(right[w]);
            c += __popcll(left[w] & right[w]);
        }
        for (int by = 16; by; by /= 2) {
            a += __shfl_xor_sync(ALL_LANES, a, by);
            b += __shfl_xor_sync(ALL_LANES, b, by);
            c += __shfl_xor_sync(ALL_LANES, c, by);
        }
        if (lane < 3) counts[3 * i + lane] = lane == 0 ? a : lane == 1 ? b : c;
    }
}

// A thread takes a pair, and adds up in the order of the bits, as the CPU does.
extern "C" __global__ void weigh_signatures(const u64* signatures, i64 W, const i64* u, const i64* v,
                                            const double* weights, i64 K, i64 start, i64 stop, double* sums) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        const u64 *left = signatures + u[i] * W, *right = signatures + v[i] * W;
        for (i64 k = 0; k < K; ++k) {
            double sum = 0.0;
            for (i64 w = 0; w < W; ++w)
                for (u64 common = left[w] & right[w]; common; common &= common - 1)
                    sum += weights[(64 * w + __ffsll((i64)common) - 1) * K + k];
            sums[i * K + k] = sum;
        }
    }
}
