// Codes of vectors in few bits: the twins of sketches/kernels/vector_codes.py.
//
// A block rotates a row, a warp encodes one, and a thread scores one. All numbers behind the rotation are
// integers, so their sums may have any order.
// Floors on an H100 (3.0 TB/s): a rotation reads 8 bytes and writes 4 bytes a coordinate, encoding reads them
// again. A query reads a row's code and 8 more bytes; the second-level cache has them for further queries,
// which take bits D / 32 counts of bits each for every bit of the query, at 64 a cycle and multiprocessor.
#include "rotation.cuh"

#define ONE 8388608.0
#define LARGEST 3.4028234663852886e38
#define SMALLEST 7.703719777548943e-34
#define HALF_ROOT 0.70710678118654752440f
#define POINT 21
#define N_SCALES 128
#define STRIDE 8
#define INNER_PRODUCT 0
#define COSINE 1
#define SQUARED_EUCLIDEAN 2

__device__ __forceinline__ double larger(double a, double b) { return a > b ? a : b; }
__device__ __forceinline__ i64 larger(i64 a, i64 b) { return a > b ? a : b; }

// Return the sum of the numbers of a warp, or the largest of them, to all of its lanes.
__device__ __forceinline__ i64 warp_sum(i64 mine) {
    for (int by = 16; by; by /= 2) mine += __shfl_xor_sync(ALL_LANES, mine, by);
    return mine;
}
template <class T>
__device__ __forceinline__ T warp_largest(T mine) {
    for (int by = 16; by; by /= 2) mine = larger(mine, __shfl_xor_sync(ALL_LANES, mine, by));
    return mine;
}

// Do the same for a block.
__device__ i64 block_sum(i64 mine) {
    __shared__ i64 of_warps[32];
    mine = warp_sum(mine);
    if (lane_number() == 0) of_warps[threadIdx.x / 32] = mine;
    __syncthreads();
    i64 total = 0;
    for (int warp = 0; warp < (int)(blockDim.x / 32); ++warp) total += of_warps[warp];
    // The next numbers are written only when all threads have read these.
    __syncthreads();
    return total;
}
__device__ double block_largest(double mine) {
    __shared__ double of_warps[32];
    mine = warp_largest(mine);
    if (lane_number() == 0) of_warps[threadIdx.x / 32] = mine;
    __syncthreads();
    for (int warp = 0; warp < (int)(blockDim.x / 32); ++warp) mine = larger(mine, of_warps[warp]);
    __syncthreads();
    return mine;
}

// Rotate `source` of D coordinates, and return where the result lies: in `out`, or in `source` itself.
__device__ float* rotate_row(float* source, const float* matrix, bool has_matrix, const u16* masks, i64 turns,
                             i64 size, float* out, i64 D) {
    if (has_matrix) {
        for (i64 i = threadIdx.x; i < D; i += blockDim.x) {
            float sum = 0.0f;
            for (i64 j = 0; j < D; ++j) sum += source[j] * matrix[j * D + i];
            out[i] = sum;
        }
        __syncthreads();
        return out;
    }
    float scale = (float)(1.0 / sqrt((double)size * (double)size * (double)size));
    for (i64 turn = 0; turn < turns; ++turn) {
        float* block = source + (turn % 2 == 0 ? 0 : D - size);
        rotate(block, size, masks + turn * 3 * (size / 16));
        for (i64 i = threadIdx.x; i < size; i += blockDim.x) block[i] *= scale;
        __syncthreads();
        if (turn % 2 == 0) continue;
        for (i64 i = threadIdx.x; i < D / 2; i += blockDim.x) {
            float a = source[i], b = source[i + D / 2];
            source[i] = (a + b) * HALF_ROOT;
            source[i + D / 2] = (a - b) * HALF_ROOT;
        }
        __syncthreads();
    }
    return source;
}

// `refused` becomes the first row that is too long.
extern "C" __global__ void rotate_rows(const double* X, i64 d, const double* center, bool centred,
                                       const float* matrix, bool has_matrix, const u16* masks, i64 turns,
                                       i64 size, bool in_shared, u8* memory, i64 start, i64 stop, i64 D,
                                       i32* numbers, double* sizes, double* radii, double* offsets,
                                       i64* refused) {
    DYNAMIC_SHARED(unsigned char, shared);
    float* source = (float*)(in_shared ? shared : memory + blockIdx.x * D * 8);
    double largest_center = 0.0;
    if (centred)
        for (i64 j = threadIdx.x; j < d; j += blockDim.x) largest_center = larger(largest_center, fabs(center[j]));
    largest_center = block_largest(largest_center);
    double center_scale = power_of_two(largest_center);
    for (i64 i = start + blockIdx.x; i < stop; i += gridDim.x) {
        const double* row = X + i * d;
        i32* out = numbers + i * D;
        double largest = 0.0;
        for (i64 j = threadIdx.x; j < d; j += blockDim.x) largest = larger(largest, fabs(row[j]));
        double first = power_of_two(larger(block_largest(largest), largest_center));
        largest = 0.0;
        for (i64 j = threadIdx.x; j < d; j += blockDim.x)
            largest = larger(largest, fabs(centred ? row[j] * first - center[j] * first : row[j] * first));
        double second = power_of_two(block_largest(largest));
        i64 squares = 0, product = 0;
        for (i64 j = threadIdx.x; j < D; j += blockDim.x) {
            double value = 0.0;
            if (j < d) {
                value = (centred ? row[j] * first - center[j] * first : row[j] * first) * second;
                i64 number = (i64)floor(value * ONE + 0.5);
                squares += number * number;
                if (centred) product += number * (i64)(center[j] * (center_scale * ONE));
            }
            source[j] = (float)value;
        }
        squares = block_sum(squares);
        product = block_sum(product);
        double radius = sqrt((double)squares) / ONE / first / second;
        double offset = centred ? (double)product / (ONE * ONE) / first / second / center_scale : 0.0;
        bool too_long = !(radius <= LARGEST && fabs(offset) <= LARGEST), at_center = radius < SMALLEST;
        if (threadIdx.x == 0) {
            radii[i] = at_center ? 0.0 : radius;
            offsets[i] = at_center ? 0.0 : offset;
            if (at_center) sizes[i] = 0.0;
            if (too_long) atomicMin(refused, i);
        }
        if (at_center)
            for (i64 j = threadIdx.x; j < D; j += blockDim.x) out[j] = 0;
        if (too_long || at_center) {
            __syncthreads();
            continue;
        }
        float* rotated = rotate_row(source, matrix, has_matrix, masks, turns, size, source + D, D);
        largest = 0.0;
        for (i64 j = threadIdx.x; j < D; j += blockDim.x) largest = larger(largest, (double)fabsf(rotated[j]));
        double scale = power_of_two(block_largest(largest)) * ONE;
        squares = 0;
        for (i64 j = threadIdx.x; j < D; j += blockDim.x) {
            i64 number = (i64)floor((double)rotated[j] * scale + 0.5);
            out[j] = (i32)number;
            squares += number * number;
        }
        squares = block_sum(squares);
        if (threadIdx.x == 0) sizes[i] = sqrt((double)squares);
    }
}

__device__ __forceinline__ i32 level_of(i32 magnitude, i32 scale, i32 top) {
    i32 level = magnitude * scale >> POINT;
    return level < top ? level : top;
}

// Return the squared cosine, up to a factor, of a row of a warp and its codeword at a scale.
__device__ double agreement(const i32* numbers, i64 D, i32 scale, i32 top) {
    i64 product = 0, squares = 0;
    for (i64 i = lane_number(); i < D; i += 32) {
        i32 magnitude = abs(numbers[i]) >> 8, odd = 2 * level_of(magnitude, scale, top) + 1;
        product += magnitude * odd;
        squares += odd * odd;
    }
    product = warp_sum(product);
    squares = warp_sum(squares);
    return (double)product * (double)product / (double)squares;
}

__device__ __forceinline__ i32 scale_number(const i64* scales, int m, i64 bits, i64 most) {
    return (i32)((scales[m] << (bits - 1 + POINT - 12)) / most);
}

__device__ i32 best_scale(const i32* numbers, i64 D, const i64* scales, i64 bits, i64 most) {
    i32 top = (1 << (bits - 1)) - 1;
    double best = -1.0;
    int found = 0;
    for (int m = 0; m < N_SCALES; m += STRIDE) {
        double value = agreement(numbers, D, scale_number(scales, m, bits, most), top);
        if (value > best) best = value, found = m;
    }
    int middle = found;
    for (int m = max(0, middle - STRIDE + 1); m < min(N_SCALES, middle + STRIDE); ++m) {
        double value = agreement(numbers, D, scale_number(scales, m, bits, most), top);
        if (value > best || (value == best && m < found)) best = value, found = m;
    }
    return scale_number(scales, found, bits, most);
}

__device__ __forceinline__ i64 largest_of(const i32* numbers, i64 D) {
    i64 largest = 0;
    for (i64 i = lane_number(); i < D; i += 32) largest = larger(largest, (i64)abs(numbers[i]));
    return warp_largest(largest);
}

// Words of 64 bits are written as two of 32, in little-endian order.
extern "C" __global__ void encode_rows(const i32* numbers, i64 D, const double* sizes, const double* radii,
                                       const i64* ratios, i64 bits, i64 start, i64 stop, u32* codes,
                                       float* scales) {
    for (i64 i = start + warp_number(); i < stop; i += warp_count()) {
        const i32* row = numbers + i * D;
        u32* code = codes + i * bits * (D / 32);
        if (radii[i] == 0.0) {
            for (i64 w = lane_number(); w < bits * (D / 32); w += 32) code[w] = 0;
            if (lane_number() == 0) scales[i] = 0.0f;
            continue;
        }
        i32 top = (1 << (bits - 1)) - 1;
        i32 scale = bits > 1 ? best_scale(row, D, ratios, bits, largest_of(row, D) >> 8) : 0;
        i64 product = 0;
        for (i64 w = 0; w < D / 32; ++w) {
            i32 number = row[32 * w + lane_number()], level = 0;
            if (bits > 1) level = level_of(abs(number) >> 8, scale, top);
            product += (i64)abs(number) * (2 * level + 1);
            i32 step = number >= 0 ? level + top + 1 : top - level;
            for (i64 b = 0; b < bits; ++b) {
                u32 plane = __ballot_sync(ALL_LANES, (step >> b) & 1);
                if (lane_number() == 0) code[b * (D / 32) + w] = plane;
            }
        }
        product = warp_sum(product);
        if (lane_number() == 0) scales[i] = (float)(radii[i] * sizes[i] / (double)product);
    }
}

__device__ __forceinline__ i64 floor_divide(i64 a, i64 b) {
    i64 quotient = a / b;
    return a % b != 0 && a < 0 ? quotient - 1 : quotient;
}

extern "C" __global__ void round_queries(const i32* numbers, i64 D, const double* sizes, const double* radii,
                                         i64 start, i64 stop, i64 n_planes, u32* planes, i64* sums,
                                         double* steps, double* errors) {
    i64 top = (1ll << (n_planes - 1)) - 1;
    for (i64 i = start + warp_number(); i < stop; i += warp_count()) {
        const i32* row = numbers + i * D;
        u32* query = planes + i * n_planes * (D / 32);
        bool at_center = radii[i] == 0.0;
        i64 most = at_center ? 1 : largest_of(row, D), total = 0, product = 0, squares = 0;
        for (i64 w = 0; w < D / 32; ++w) {
            i64 number = at_center ? 0 : row[32 * w + lane_number()];
            i64 nearest = floor_divide(2 * number * top + most, 2 * most);
            total += nearest;
            product += number * nearest;
            squares += nearest * nearest;
            for (i64 p = 0; p < n_planes; ++p) {
                u32 plane = __ballot_sync(ALL_LANES, (nearest >> p) & 1);
                if (lane_number() == 0) query[p * (D / 32) + w] = plane;
            }
        }
        total = warp_sum(total);
        product = warp_sum(product);
        squares = warp_sum(squares);
        if (lane_number()) continue;
        sums[i] = total;
        steps[i] = at_center ? 0.0 : radii[i] * sizes[i] / (double)product;
        double secant =
            at_center ? 1.0 : (double)squares * (sizes[i] * sizes[i]) / ((double)product * (double)product);
        errors[i] = radii[i] * sqrt(secant > 1.0 ? secant - 1.0 : 0.0);
    }
}

struct CodedRows {
    const u64* codes;
    i64 bits, words;
    const float *scales, *radii, *offsets;
    bool centred;
};

// Return the score of a row and a query, as the CPU's `_score_tile` computes it.
__device__ double score(const CodedRows& rows, i64 i, const u64* planes, i64 n_planes, const double* terms,
                        i64 metric) {
    const u64* code = rows.codes + i * rows.bits * rows.words;
    i64 products = 0;
    for (i64 b = 0; b < rows.bits; ++b)
        for (i64 p = 0; p < n_planes; ++p) {
            i64 ones = 0;
            for (i64 w = 0; w < rows.words; ++w)
                ones += __popcll(code[b * rows.words + w] & planes[p * rows.words + w]);
            // The last plane of a query counts below 0.
            products += (p == n_planes - 1 ? -ones : ones) * (1ll << (b + p));
        }
    i64 shift = ((1ll << rows.bits) - 1) * (i64)terms[0];
    double product = terms[1] * (double)(2 * products - shift) * (double)rows.scales[i];
    double radius = rows.radii[i], offset = rows.centred ? (double)rows.offsets[i] : 0.0;
    if (metric == SQUARED_EUCLIDEAN) return terms[2] + radius * radius - 2.0 * product;
    double found = product + (terms[2] + offset);
    if (metric == INNER_PRODUCT) return found;
    double norm = terms[3] * sqrt(larger(0.0, radius * radius + 2.0 * offset + terms[4]));
    return norm > 0.0 ? found / norm : 0.0;
}

#define CODED_ROWS                                                                                         \
    const u64 *codes, i64 bits, i64 words, const float *scales, const float *radii, const float *offsets, \
        bool centred

extern "C" __global__ void score_rows(CODED_ROWS, const u64* planes, i64 n_planes, const double* terms,
                                      i64 n_queries, i64 metric, i64 start, i64 stop, i64 n, double* out) {
    CodedRows rows = {codes, bits, words, scales, radii, offsets, centred};
    i64 m = stop - start;
    for (i64 t = thread_number(); t < n_queries * m; t += thread_count()) {
        i64 q = t / m, i = start + t % m;
        out[q * n + i] = score(rows, i, planes + q * n_planes * words, n_planes, terms + 5 * q, metric);
    }
}

// A block takes a query.
extern "C" __global__ void score_some_rows(CODED_ROWS, const u64* planes, i64 n_planes, const double* terms,
                                           i64 metric, const i64* numbers, const i64* bounds, i64 start,
                                           i64 stop, double* out) {
    CodedRows rows = {codes, bits, words, scales, radii, offsets, centred};
    for (i64 q = start + blockIdx.x; q < stop; q += gridDim.x)
        for (i64 at = bounds[q] + threadIdx.x; at < bounds[q + 1]; at += blockDim.x)
            out[at] = score(rows, numbers[at], planes + q * n_planes * words, n_planes, terms + 5 * q, metric);
}

extern "C" __global__ void code_norms(const u64* codes, i64 bits, i64 words, i64 start, i64 stop, double* out) {
    double top = (double)((1ll << bits) - 1);
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        const u64* code = codes + i * bits * words;
        i64 squares = 0, total = 0;
        for (i64 w = 0; w < words; ++w)
            for (i64 b = 0; b < bits; ++b) {
                u64 word = code[b * words + w];
                total += (i64)__popcll(word) << b;
                for (i64 other = 0; other < bits; ++other)
                    squares += (i64)__popcll(word & code[other * words + w]) << (b + other);
            }
        out[i] = 4.0 * (double)squares - 4.0 * top * (double)total + top * top * (64.0 * (double)words);
    }
}
