// Codes are counted in tables, and their counters are read: the twins of sketches/kernels/code_counters.py.
//
// A table has R rows of W groups of K counters (K = 1 for scatter_add). A thread takes one code; neighbours
// in a warp take neighbouring columns r, so codes are read in full lines and additions go to different rows.
//
// Floors on an H100 (3.0 TB/s): scatter_add reads 4 n R bytes of codes once, 1.3 ps a code; its n R K atomic
// additions go to the second-level cache (50 MB), where a table of 500 x 256 counters of 4 bytes stays.
// scatter_tiles makes them in shared memory, where a processor makes up to 32 a cycle, 7 * 10^12 a second on
// the device. gather_mean reads 4 n R bytes of codes and n R K counters from there, twice, and writes 16 n K
// bytes.
#include "common.cuh"

template <class Counter, class Weight>
__device__ void scatter(const u32* codes, const Weight* weights, i64 n, i64 R, i64 W, i64 K, i64 weighted,
                        i64 start, i64 stop, Counter* counts) {
    i64 width = stop - start;
    for (i64 t = thread_number(); t < n * width; t += thread_count()) {
        i64 i = t / width, r = start + t % width;
        Counter* group = counts + (r * W + codes[i * R + r]) * K;
        for (i64 k = 0; k < K; ++k) add_to(group + k, weighted ? weights[i * K + k] : (Weight)1);
    }
}

// For many rows a block counts TILE repetitions of a chunk of rows in shared memory, where additions to a
// counter that many rows share wait for no other processor. Then it adds its counters to the table's. A row's
// codes of a tile are one sector of 32 bytes.
template <class Counter, class Weight>
__device__ void scatter_tiles(const u32* codes, const Weight* weights, i64 n, i64 R, i64 W, i64 K,
                              i64 weighted, i64 tile, i64 chunk, i64 start, i64 stop, Counter* counts) {
    DYNAMIC_SHARED(Counter, held);
    i64 tiles = (stop - start + tile - 1) / tile, chunks = (n + chunk - 1) / chunk;
    for (i64 job = blockIdx.x; job < tiles * chunks; job += gridDim.x) {
        i64 first = start + job % tiles * tile, width = min(tile, stop - first), size = width * W * K;
        i64 left = job / tiles * chunk, right = min(n, left + chunk);
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) held[j] = 0;
        __syncthreads();
        // Their number fits 32 bits, whose division takes a third of the time of 64 bits.
        u32 n_codes = (u32)((right - left) * width);
        for (u32 t = threadIdx.x; t < n_codes; t += blockDim.x) {
            i64 i = left + t / (u32)width, r = t % (u32)width;
            Counter* group = held + (r * W + codes[i * R + first + r]) * K;
            for (i64 k = 0; k < K; ++k) add_to(group + k, weighted ? weights[i * K + k] : (Weight)1);
        }
        __syncthreads();
        for (i64 j = threadIdx.x; j < size; j += blockDim.x)
            if (held[j] != 0) add_to(counts + first * W * K + j, (Weight)held[j]);
        __syncthreads();
    }
}

#define SCATTER(suffix, Counter, Weight)                                                                     \
    extern "C" __global__ void scatter_add_##suffix(const u32* codes, const Weight* weights, i64 n, i64 R,   \
                                                    i64 W, i64 K, i64 weighted, i64 start, i64 stop,         \
                                                    Counter* counts) {                                       \
        scatter(codes, weights, n, R, W, K, weighted, start, stop, counts);                                  \
    }                                                                                                        \
    extern "C" __global__ void scatter_tiles_##suffix(const u32* codes, const Weight* weights, i64 n, i64 R, \
                                                      i64 W, i64 K, i64 weighted, i64 tile, i64 chunk,       \
                                                      i64 start, i64 stop, Counter* counts) {                \
        scatter_tiles(codes, weights, n, R, W, K, weighted, tile, chunk, start, stop, counts);               \
    }
SCATTER(int32, i32, i64)
SCATTER(int64, i64, i64)

// Real counters take their additions in the order of the rows, as on the CPU, so that the result does not
// depend on the schedule and equals the CPU's bit for bit: a warp owns a row of the table. Its lanes read 32
// codes together; the first of the lanes with one code adds the weights of all of them, in order.
template <class Counter>
__device__ void scatter_in_order(const u32* codes, const double* weights, i64 n, i64 R, i64 W, i64 K,
                                 i64 weighted, i64 start, i64 stop, Counter* counts) {
    int lane = lane_number();
    for (i64 r = start + warp_number(); r < stop; r += warp_count()) {
        for (i64 left = 0; left < n; left += 32) {
            i64 i = left + lane;
            u32 code = i < n ? codes[i * R + r] : 0xFFFFFFFFu;
            bool first = i < n;
            u32 peers = 0;
            for (int other = 0; other < 32; ++other) {
                if (__shfl_sync(ALL_LANES, code, other) != code) continue;
                peers |= 1u << other;
                if (other < lane) first = false;
            }
            if (first) {
                Counter* group = counts + (r * W + code) * K;
                for (u32 left_over = peers; left_over; left_over &= left_over - 1) {
                    i64 row = left + __ffs((int)left_over) - 1;
                    for (i64 k = 0; k < K; ++k)
                        group[k] = (Counter)((double)group[k] + (weighted ? weights[row * K + k] : 1.0));
                }
            }
            __syncwarp();
        }
    }
}

extern "C" __global__ void scatter_add_float32(const u32* codes, const double* weights, i64 n, i64 R, i64 W,
                                               i64 K, i64 weighted, i64 start, i64 stop, float* counts) {
    scatter_in_order(codes, weights, n, R, W, K, weighted, start, stop, counts);
}
extern "C" __global__ void scatter_add_float64(const u32* codes, const double* weights, i64 n, i64 R, i64 W,
                                               i64 K, i64 weighted, i64 start, i64 stop, double* counts) {
    scatter_in_order(codes, weights, n, R, W, K, weighted, start, stop, counts);
}

// A thread owns a query and output, and adds up in the order of the table's rows, as the CPU does.
template <class Counter>
__device__ void gather(const Counter* counts, const u32* codes, i64 R, i64 W, i64 K, i64 start, i64 stop,
                       double* means, double* stds) {
    for (i64 t = thread_number(); t < (stop - start) * K; t += thread_count()) {
        i64 i = start + t / K, k = t % K;
        const u32* row = codes + i * R;
        double mean = 0.0, total = 0.0;
        for (i64 r = 0; r < R; ++r) mean += (double)counts[(r * W + row[r]) * K + k];
        mean /= (double)R;
        for (i64 r = 0; r < R; ++r) {
            double deviation = (double)counts[(r * W + row[r]) * K + k] - mean;
            total += deviation * deviation;
        }
        means[i * K + k] = mean;
        stds[i * K + k] = R > 1 ? sqrt(total / (double)(R - 1)) : __longlong_as_double(0x7FF8000000000000ll);
    }
}

template <class Counter>
__device__ void groups(const Counter* counts, const u32* codes, const i64* edges, i64 R, i64 W, i64 K, i64 G,
                       i64 start, i64 stop, double* out) {
    for (i64 t = thread_number(); t < (stop - start) * G * K; t += thread_count()) {
        i64 k = t % K, g = t / K % G, i = start + t / K / G;
        double mean = 0.0;
        for (i64 r = edges[g]; r < edges[g + 1]; ++r)
            mean += (double)counts[(r * W + codes[i * R + r]) * K + k];
        out[(i * G + g) * K + k] = mean / (double)(edges[g + 1] - edges[g]);
    }
}

#define GATHER(suffix, Counter)                                                                            \
    extern "C" __global__ void gather_mean_##suffix(const Counter* counts, const u32* codes, i64 R, i64 W, \
                                                    i64 K, i64 start, i64 stop, double* means,             \
                                                    double* stds) {                                        \
        gather(counts, codes, R, W, K, start, stop, means, stds);                                          \
    }                                                                                                      \
    extern "C" __global__ void gather_groups_##suffix(const Counter* counts, const u32* codes,             \
                                                      const i64* edges, i64 R, i64 W, i64 K, i64 G,        \
                                                      i64 start, i64 stop, double* out) {                  \
        groups(counts, codes, edges, R, W, K, G, start, stop, out);                                        \
    }
GATHER(int32, i32)
GATHER(int64, i64)
GATHER(float32, float)
GATHER(float64, double)

// Hash all codes of a row: four chains, and one over their words, as on the CPU.
extern "C" __global__ void code_keys(const u32* codes, i64 R, u64 key, i64 start, i64 stop, u64* out) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        u64 chain[4];
        for (u64 c = 0; c < 4; ++c) chain[c] = key ^ (c + 1);
        const u32* row = codes + i * R;
        i64 whole = R - R % 4;
        for (i64 j = 0; j < whole; j += 4)
            for (int c = 0; c < 4; ++c) chain[c] = mix64(chain[c] ^ row[j + c]);
        for (i64 j = whole; j < R; ++j) chain[0] = mix64(chain[0] ^ row[j]);
        out[i] = mix64(mix64(mix64(chain[0] ^ 5) ^ chain[1]) ^ mix64(mix64(chain[2] ^ 6) ^ chain[3]));
    }
}

// A thread owns a query and computes one output after the other, as the CPU does; `means` has 1 + K means a
// query.
extern "C" __global__ void gather_ratio(const double* counts, const u32* codes, const double* totals,
                                        double chance, i64 R, i64 W, i64 K, i64 start, i64 stop,
                                        double* means, double* mass, double* mass_std, double* ratio,
                                        double* ratio_std) {
    double none = __longlong_as_double(0x7FF8000000000000ll);
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        const u32* row = codes + i * R;
        double* mean = means + i * (1 + K);
        for (i64 k = 0; k <= K; ++k) {
            double sum = 0.0;
            for (i64 r = 0; r < R; ++r) sum += counts[(r * W + row[r]) * (1 + K) + k];
            mean[k] = sum / (double)R;
        }
        double here = (mean[0] - chance * totals[0]) / (1.0 - chance);
        double scale = R > 1 ? 1.0 / (double)R / (double)(R - 1) : none;
        mass[i] = here;
        double spread = 0.0;
        for (i64 r = 0; r < R; ++r) {
            double below = counts[(r * W + row[r]) * (1 + K)] - mean[0];
            spread += below * below;
        }
        mass_std[i] = sqrt(spread * scale) / (1.0 - chance);
        for (i64 k = 0; k < K; ++k) {
            double numerator = (mean[k + 1] - chance * totals[k + 1]) / (1.0 - chance);
            double quotient = here != 0.0 ? numerator / here : none, total = 0.0;
            for (i64 r = 0; r < R; ++r) {
                const double* group = counts + (r * W + row[r]) * (1 + K);
                double residual = (group[k + 1] - mean[k + 1]) - quotient * (group[0] - mean[0]);
                total += residual * residual;
            }
            double error = sqrt(total * scale) / (1.0 - chance);
            ratio[i * K + k] = quotient;
            ratio_std[i * K + k] = here != 0.0 ? error / fabs(here) : none;
        }
    }
}
