// Cross-polytope hashes: the twins of lsh/kernels/cross_polytope_codes.py and
// lsh/kernels/cross_polytope_probing.py.
//
// A block takes a row, rotates it as hadamard.cu does, and finds the largest coordinate of each hash: a
// thread for hashes of up to 32 coordinates, a warp for those of more. Floors are those of hadamard.cu, and
// shared memory is read once more. Probing keeps the coordinates in memory, 4 bytes each, and a thread takes
// each row and hash: it sorts the few largest by insertion, then merges, in memory of its own.
#include "rotation.cuh"

#define TILE 256

// Add a row to `block`, with random signs, at places that the features and the key choose. In each tile a
// thread adds the entries of its own places in the order of features, so sums are those of the CPU.
template <class Rows>
__device__ void scatter(const Rows& rows, i64 i, double scale, u64 key, float* block, i64 size) {
    __shared__ i32 places[TILE];
    __shared__ u32 owners[TILE];
    __shared__ float entries[TILE];
    for (i64 j = threadIdx.x; j < size; j += blockDim.x) block[j] = 0.0f;
    int shift = 64;
    for (i64 s = size; s > 1; s /= 2) --shift;
    int width = min((int)blockDim.x, TILE);
    for (i64 first = 0; first < rows.size(i); first += width) {
        int n = (int)min((i64)width, rows.size(i) - first);
        __syncthreads();
        if ((int)threadIdx.x < n) {
            i64 j = first + threadIdx.x;
            u64 word = mix64((u64)rows.place(i, j) ^ key);
            float entry = (float)(rows.value(i, j) * scale);
            places[threadIdx.x] = (i32)(word >> shift);
            owners[threadIdx.x] = (u32)places[threadIdx.x] % blockDim.x;
            entries[threadIdx.x] = word & 1 ? -entry : entry;
        }
        __syncthreads();
        for (int e = 0; e < n; ++e)
            if (owners[e] == threadIdx.x) block[places[e]] += entries[e];
    }
    __syncthreads();
}

// Rank coordinate j: a larger magnitude has a higher rank, and of equal ones the lower j.
__device__ __forceinline__ u64 rank_of(float coordinate, i64 j) {
    return (u64)(__float_as_uint(coordinate) & 0x7FFFFFFFu) << 32 | (0xFFFFFFFFu - (u32)j);
}
// Return the axis of a rank: twice its place, plus one if the coordinate there is negative.
__device__ __forceinline__ u32 axis_of(u64 rank, const float* block) {
    u32 j = 0xFFFFFFFFu - (u32)rank;
    return 2 * j + (__float_as_uint(block[j]) >> 31);
}

// Take a value into a hash's word: mix it in, or append it as the next digit.
__device__ __forceinline__ u64 absorb(u64 word, u64 value, u64 base, bool mixed) {
    return mixed ? mix64(word ^ value) : word * base + value;
}
__device__ __forceinline__ u32 code_of(u64 word, u64 n_buckets, bool mixed) {
    return mixed ? reduce_word(word, n_buckets) : (u32)word;
}

template <class Rows>
__device__ void codes(const Rows& rows, const u16* masks, i64 rotations, i64 size, bool in_shared, u8* memory,
                      const u64* scatter_keys, bool scattered, i64 dimension, i64 power, const u64* keys,
                      bool mixed, u64 n_buckets, i64 n_hashes, i64 start, i64 stop, u32* out) {
    DYNAMIC_SHARED(unsigned char, shared);
    i64 n_values = n_hashes * power;
    float* block = (float*)(in_shared ? shared : memory + blockIdx.x * (size + n_values) * 4);
    u32* values = (u32*)(block + size);
    for (i64 i = start + blockIdx.x; i < stop; i += gridDim.x) {
        double scale = scale_of(rows, i);
        for (i64 turn = 0, first = 0; first < n_values; ++turn, first += size / dimension) {
            if (scattered)
                scatter(rows, i, scale, scatter_keys[turn], block, size);
            else
                place_row(rows, i, scale, block, size);
            rotate(block, size, masks + turn * 3 * (size / 16));
            i64 here = min(size / dimension, n_values - first);
            if (dimension <= 32) {
                for (i64 v = threadIdx.x; v < here; v += blockDim.x) {
                    u64 best = 0;
                    for (i64 k = 0; k < dimension; ++k) {
                        // Threads start in different banks, for dimensions are powers of two.
                        i64 j = (k + v) & (dimension - 1);
                        best = max(best, rank_of(block[v * dimension + j], j));
                    }
                    values[first + v] = axis_of(best, block + v * dimension);
                }
            } else {
                for (i64 v = threadIdx.x / 32; v < here; v += blockDim.x / 32) {
                    u64 best = 0;
                    for (i64 j = lane_number(); j < dimension; j += 32)
                        best = max(best, rank_of(block[v * dimension + j], j));
                    for (int by = 16; by; by /= 2) best = max(best, __shfl_xor_sync(ALL_LANES, best, by));
                    if (lane_number() == 0) values[first + v] = axis_of(best, block + v * dimension);
                }
            }
            __syncthreads();
        }
        for (i64 h = threadIdx.x; h < n_hashes; h += blockDim.x) {
            u64 word = mixed ? keys[h] : 0;
            for (i64 k = 0; k < power; ++k) word = absorb(word, values[h * power + k], 2 * dimension, mixed);
            out[i * n_hashes + h] = code_of(word, n_buckets, mixed);
        }
        __syncthreads();
    }
}

#define CODES(suffix, rows, ...)                                                                          \
    extern "C" __global__ void cross_polytope_codes_##suffix(                                             \
        __VA_ARGS__, const u16* masks, i64 rotations, i64 size, bool in_shared, u8* memory,               \
        const u64* scatter_keys, bool scattered, i64 dimension, i64 power, const u64* keys, bool mixed,   \
        u64 n_buckets, i64 n_hashes, i64 start, i64 stop, u32* out) {                                     \
        codes(rows, masks, rotations, size, in_shared, memory, scatter_keys, scattered, dimension, power, \
              keys, mixed, n_buckets, n_hashes, start, stop, out);                                        \
    }
FOR_ALL_ROWS(CODES)

// Write all coordinates of all rotations of row i in [start, stop) to row i - start of `out`.
template <class Rows>
__device__ void coordinates(const Rows& rows, const u16* masks, i64 rotations, i64 size, bool in_shared,
                            u8* memory, const u64* scatter_keys, bool scattered, i64 start, i64 stop,
                            float* out) {
    DYNAMIC_SHARED(unsigned char, shared);
    float* block = (float*)(in_shared ? shared : memory + blockIdx.x * size * 4);
    for (i64 i = start + blockIdx.x; i < stop; i += gridDim.x) {
        double scale = scale_of(rows, i);
        for (i64 turn = 0; turn < rotations; ++turn) {
            if (scattered)
                scatter(rows, i, scale, scatter_keys[turn], block, size);
            else
                place_row(rows, i, scale, block, size);
            rotate(block, size, masks + turn * 3 * (size / 16));
            for (i64 j = threadIdx.x; j < size; j += blockDim.x)
                out[((i - start) * rotations + turn) * size + j] = block[j];
            __syncthreads();
        }
    }
}

#define COORDINATES(suffix, rows, ...)                                                                     \
    extern "C" __global__ void cross_polytope_coordinates_##suffix(                                        \
        __VA_ARGS__, const u16* masks, i64 rotations, i64 size, bool in_shared, u8* memory,                \
        const u64* scatter_keys, bool scattered, i64 start, i64 stop, float* out) {                        \
        coordinates(rows, masks, rotations, size, in_shared, memory, scatter_keys, scattered, start, stop, \
                    out);                                                                                  \
    }
FOR_ALL_ROWS(COORDINATES)

// Find the `keep` least sums of a number of one rising list and a number of another, in rising order; write
// which numbers they add to `places` and `steps`.
__device__ i64 cheapest_sums(const double* left, i64 n_left, const double* right, i64 n_right, i64 keep,
                             double* sums, i32* places, i32* steps, double* heads, i32* cursors) {
    keep = min(keep, n_left * n_right);
    heads[0] = left[0] + right[0];
    cursors[0] = 0;
    i64 active = 1;
    for (i64 r = 0; r < keep; ++r) {
        i64 best = 0;
        for (i64 a = 1; a < active; ++a)
            if (heads[a] < heads[best]) best = a;
        i32 step = cursors[best];
        sums[r] = heads[best];
        places[r] = (i32)best;
        steps[r] = step;
        cursors[best] = step + 1;
        heads[best] =
            step + 1 < n_right ? left[best] + right[step + 1] : __longlong_as_double(0x7FF0000000000000ll);
        if (best == active - 1 && active < n_left) {
            heads[active] = left[active] + right[0];
            cursors[active] = 0;
            ++active;
        }
    }
    return keep;
}

// Write the codes of the likeliest cells of rows whose coordinates are given, `stride` for each row. Every
// thread has `room` bytes: ranks and costs of `keep` axes, sums (2 lists), heads, axes of every part, places
// and steps of every part, cursors.
extern "C" __global__ void cross_polytope_probes(const float* given, i64 stride, i64 size, i64 dimension,
                                                 i64 power, const u64* keys, bool mixed, u64 n_buckets, i64 n,
                                                 i64 n_hashes, i64 n_probes, u8* memory, i64 room, u32* out) {
    i64 keep = min(dimension, n_probes), each = size / dimension;
    u64* ranks = (u64*)(memory + thread_number() * room);
    double* costs = (double*)(ranks + keep);
    double* sums = costs + keep;
    double* heads = sums + 2 * n_probes;
    i32* axes = (i32*)(heads + n_probes + 1);
    i32* places = axes + power * keep;
    i32* steps = places + power * n_probes;
    i32* cursors = steps + power * n_probes;
    for (i64 t = thread_number(); t < n * n_hashes; t += thread_count()) {
        i64 i = t / n_hashes, h = t % n_hashes, held = 1;
        sums[0] = 0.0;
        for (i64 k = 0; k < power; ++k) {
            i64 value = h * power + k;
            const float* block = given + i * stride + value / each * size + value % each * dimension;
            i64 kept = 0;
            for (i64 j = 0; j < dimension; ++j) {
                u64 rank = rank_of(block[j], j);
                if (kept == keep && rank <= ranks[keep - 1]) continue;
                i64 at = min(kept, keep - 1);
                for (; at > 0 && rank > ranks[at - 1]; --at) ranks[at] = ranks[at - 1];
                ranks[at] = rank;
                kept = min(kept + 1, keep);
            }
            double largest = (double)fabs(block[0xFFFFFFFFu - (u32)ranks[0]]);
            for (i64 a = 0; a < keep; ++a) {
                double difference = largest - (double)fabs(block[0xFFFFFFFFu - (u32)ranks[a]]);
                costs[a] = difference * difference;
                axes[k * keep + a] = (i32)axis_of(ranks[a], block);
            }
            held = cheapest_sums(sums + k % 2 * n_probes, held, costs, keep, n_probes,
                                 sums + (k + 1) % 2 * n_probes, places + k * n_probes, steps + k * n_probes,
                                 heads, cursors);
        }
        for (i64 r = 0; r < n_probes; ++r) {
            // Find the values from the last part back to the first, and then absorb them in their order.
            i32 at = (i32)r;
            for (i64 k = power - 1; k >= 0; --k) {
                cursors[k] = axes[k * keep + steps[k * n_probes + at]];
                at = places[k * n_probes + at];
            }
            u64 word = mixed ? keys[h] : 0;
            for (i64 k = 0; k < power; ++k) word = absorb(word, (u64)cursors[k], 2 * dimension, mixed);
            out[t * n_probes + r] = code_of(word, n_buckets, mixed);
        }
    }
}
