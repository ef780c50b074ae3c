// The nearest rows of some candidates of each query: the twins of sketches/kernels/rank.py (rank_vectors.py
// and rank_sets.py).
//
// A block takes a query: a warp (for weights a thread) compares it with a candidate's row, then the block
// sorts the distances, ties by id. Distances of vectors are in float64 and added up in the CPU's order, in 32
// running sums. The CPU's float32 products, which exclude most rows, are left out: reading a row costs more.
// Floors on an H100 (3.0 TB/s): a candidate's row is read once, 4 d bytes: 1 ns at d = 784; S log(S)**2 / 2
// comparisons for S candidates.
#include "common.cuh"

#define ANGLE 0
#define EUCLIDEAN 1
#define CITYBLOCK 2
#define INNER_PRODUCT 3
#define NOT_A_NUMBER __longlong_as_double(0x7FF8000000000000ll)
#define INFINITE __longlong_as_double(0x7FF0000000000000ll)
#define NOBODY 0x7FFFFFFFFFFFFFFFll

// Add up the 32 sums, one after the other; every lane gets the result.
__device__ double add_lanes(double sum) {
    double total = 0.0;
    for (int lane = 0; lane < 32; ++lane) total += __shfl_sync(ALL_LANES, sum, lane);
    return total;
}

template <class Real>
struct Vectors {
    static constexpr int LANES = 32;
    static constexpr bool OF_SETS = false;
    i64 metric, d;
    const double *Q, *lengths;
    const Real* rows;

    // Return the norm of scale * (row - q), or of scale * row.
    __device__ double length(const Real* row, const double* q, double scale) const {
        double sum = 0.0;
        for (i64 j = lane_number(); j < d; j += 32) {
            double x = ((double)row[j] - (q ? q[j] : 0.0)) * scale;
            sum += x * x;
        }
        return sqrt(add_lanes(sum));
    }
    // Return the largest magnitude of row - q; NaN if one is not finite.
    __device__ double largest(const Real* row, const double* q) const {
        double most = 0.0;
        bool finite = true;
        for (i64 j = lane_number(); j < d; j += 32) {
            double x = fabs((double)row[j] - (q ? q[j] : 0.0));
            finite &= isfinite(x);
            most = max(most, x);
        }
        for (int by = 16; by; by /= 2) most = max(most, __shfl_xor_sync(ALL_LANES, most, by));
        return __all_sync(ALL_LANES, finite) ? most : NOT_A_NUMBER;
    }
    __device__ static double scale_of(double most) {
        int exponent;
        frexp(most, &exponent);
        return ldexp(1.0, min(-exponent, 1022));
    }
    // Return sin(angle / 2) ** 2, a quarter of the squared distance of unit vectors: exact for small angles.
    __device__ double haversine(const double* q, const Real* row) const {
        double scale = 1.0, norm = length(row, nullptr, 1.0);
        if (!(1e-125 < norm && norm < 1e125)) {
            double most = largest(row, nullptr);
            if (most == 0.0) return 0.5;
            if (!isfinite(most)) return NOT_A_NUMBER;
            scale = scale_of(most);
            norm = length(row, nullptr, scale);
        }
        double sum = 0.0;
        for (i64 j = lane_number(); j < d; j += 32) {
            double x = (double)row[j] * scale / norm - q[j];
            sum += x * x;
        }
        double half = sqrt(add_lanes(sum));
        return 0.25 * (half * half);
    }
    __device__ double operator()(i64 query, i64 number) const {
        const double* q = Q + query * d;
        const Real* row = rows + number * d;
        // A vector of zeros is at a right angle to all others.
        if (metric == ANGLE) return lengths[query] > 0.0 ? haversine(q, row) : 0.5;
        if (metric == EUCLIDEAN) {
            double norm = length(row, q, 1.0);
            if (1e-125 < norm && norm < 1e125) return norm;
            double most = largest(row, q);
            if (most == 0.0 || !isfinite(most)) return most == 0.0 ? norm : NOT_A_NUMBER;
            double scale = scale_of(most);
            return length(row, q, scale) / scale;
        }
        double sum = 0.0;
        for (i64 j = lane_number(); j < d; j += 32) {
            if (metric == CITYBLOCK)
                sum += fabs((double)row[j] - q[j]);
            else
                sum -= (double)row[j] * q[j];
        }
        return add_lanes(sum);
    }
};

struct Bits {
    static constexpr int LANES = 32;
    static constexpr bool OF_SETS = false;
    const u8 *Q, *rows;
    i64 width;
    u32 last_mask;
    __device__ double operator()(i64 query, i64 number) const {
        const u8 *q = Q + query * width, *row = rows + number * width;
        int total = 0;
        for (i64 j = lane_number(); j < width; j += 32)
            total += __popc((u32)(row[j] ^ q[j]) & (j == width - 1 ? last_mask : 0xFFu));
        for (int by = 16; by; by /= 2) total += __shfl_xor_sync(ALL_LANES, total, by);
        return (double)total;
    }
};

// Sets whose tokens rise; the distance is -1 if those of a row do not.
struct Sets {
    static constexpr int LANES = 32;
    static constexpr bool OF_SETS = true;
    const u64* Q;
    const i64 *Q_begins, *Q_ends;
    const u64* rows;
    const i64 *begins, *ends;
    __device__ double operator()(i64 query, i64 number) const {
        i64 p = begins[number], end = ends[number], q = Q_begins[query], q_end = Q_ends[query], common = 0;
        bool rises = true;
        for (i64 j = p + lane_number(); j < end; j += 32) {
            rises &= j == p || rows[j] > rows[j - 1];
            i64 low = q, high = q_end;
            while (low < high) {
                i64 middle = (low + high) / 2;
                if (Q[middle] < rows[j])
                    low = middle + 1;
                else
                    high = middle;
            }
            common += low < q_end && Q[low] == rows[j];
        }
        if (!__all_sync(ALL_LANES, rises)) return -1.0;
        for (int by = 16; by; by /= 2) common += __shfl_xor_sync(ALL_LANES, common, by);
        i64 both = (end - p) + (q_end - q);
        return both ? 1.0 - (double)common / (double)(both - common) : 0.0;
    }
};

struct Weights {
    static constexpr int LANES = 1;
    static constexpr bool OF_SETS = false;
    const i64 *Q, *q_features;
    const double* q_weights;
    const i64 *rows, *features;
    const double* weights;
    __device__ double operator()(i64 query, i64 number) const {
        i64 p = rows[number], end = rows[number + 1], q = Q[query], q_end = Q[query + 1];
        double lesser = 0.0, greater = 0.0;
        while (p < end || q < q_end) {
            if (q == q_end || (p < end && features[p] < q_features[q])) {
                greater += weights[p++];
            } else if (p == end || q_features[q] < features[p]) {
                greater += q_weights[q++];
            } else {
                lesser += min(weights[p], q_weights[q]);
                greater += max(weights[p++], q_weights[q++]);
            }
        }
        return greater > 0.0 ? 1.0 - lesser / greater : 0.0;
    }
};

// Rank candidates, which are ids plus one. refused[0] falls to the least id without a row or with one that is
// not finite; refused[1] becomes 1 if the tokens of a row do not rise.
template <class Distance, class Slot>
__device__ void rank(const Distance& distance_of, i64 n_rows, const Slot* candidates, const i64* offsets,
                     const i64* sizes, i64 n, i64 k, i64 first, i64 size, bool in_shared, u8* memory,
                     u64* refused, i64* ids, double* distances) {
    DYNAMIC_SHARED(unsigned char, shared);
    double* far = (double*)(in_shared ? shared : memory + blockIdx.x * size * 16);
    i64* numbers = (i64*)(far + size);
    i64 teams = blockDim.x / Distance::LANES, team = threadIdx.x / Distance::LANES;
    bool speaks = threadIdx.x % Distance::LANES == 0;
    for (i64 i = blockIdx.x; i < n; i += gridDim.x) {
        i64 found = sizes[i];
        for (i64 c = team; c < size; c += teams) {
            i64 number = c < found ? (i64)candidates[offsets[i] + c] - 1 : NOBODY;
            double value = INFINITE;
            if ((u64)number < (u64)n_rows) value = distance_of(first + i, number);
            if (!speaks) continue;
            // A forged file may have negative ids.
            if (c < found && ((u64)number >= (u64)n_rows || !isfinite(value)))
                atomicMin(refused, (u64)(number < 0 ? n_rows : number));
            if (Distance::OF_SETS && value < 0.0) atomicMax(refused + 1, (u64)1);
            far[c] = value;
            numbers[c] = number;
        }
        __syncthreads();
        for (i64 run = 2; run <= size; run *= 2) {
            for (i64 step = run / 2; step; step /= 2) {
                for (i64 s = threadIdx.x; s < size; s += blockDim.x) {
                    i64 other = s ^ step;
                    if (other < s) continue;
                    bool falls = far[s] > far[other] || (far[s] == far[other] && numbers[s] > numbers[other]);
                    bool rises = far[s] < far[other] || (far[s] == far[other] && numbers[s] < numbers[other]);
                    if ((s & run) ? rises : falls) {
                        double value = far[s];
                        i64 number = numbers[s];
                        far[s] = far[other];
                        numbers[s] = numbers[other];
                        far[other] = value;
                        numbers[other] = number;
                    }
                }
                __syncthreads();
            }
        }
        for (i64 j = threadIdx.x; j < k; j += blockDim.x) {
            bool is_one = j < found;
            ids[(first + i) * k + j] = is_one ? numbers[j] : -1;
            distances[(first + i) * k + j] = is_one ? far[j] : INFINITE;
        }
        __syncthreads();
    }
}

#define CANDIDATES(Slot)                                                                               \
    i64 n_rows, const Slot *candidates, const i64 *offsets, const i64 *sizes, i64 n, i64 k, i64 first, \
        i64 size, bool in_shared, u8 *memory, u64 *refused, i64 *ids, double *distances
#define RANKED \
    n_rows, candidates, offsets, sizes, n, k, first, size, in_shared, memory, refused, ids, distances

#define VECTORS(suffix, Real, Slot)                                                                      \
    extern "C" __global__ void rank_vectors_##suffix(                                                    \
        const double* Q, const double* lengths, const Real* rows, i64 metric, i64 d, CANDIDATES(Slot)) { \
        rank(Vectors<Real>{metric, d, Q, lengths, rows}, RANKED);                                        \
    }
VECTORS(float32_uint32, float, u32)
VECTORS(float32_uint64, float, u64)
VECTORS(float64_uint32, double, u32)
VECTORS(float64_uint64, double, u64)

#define OTHERS(suffix, Slot)                                                                                \
    extern "C" __global__ void rank_bits_##suffix(const u8* Q, const u8* rows, i64 width, u32 last_mask,    \
                                                  CANDIDATES(Slot)) {                                       \
        rank(Bits{Q, rows, width, last_mask}, RANKED);                                                      \
    }                                                                                                       \
    extern "C" __global__ void rank_sets_##suffix(const u64* Q, const i64* Q_begins, const i64* Q_ends,     \
                                                  const u64* rows, const i64* begins, const i64* ends,      \
                                                  CANDIDATES(Slot)) {                                       \
        rank(Sets{Q, Q_begins, Q_ends, rows, begins, ends}, RANKED);                                        \
    }                                                                                                       \
    extern "C" __global__ void rank_weights_##suffix(                                                       \
        const i64* Q, const i64* q_features, const double* q_weights, const i64* rows, const i64* features, \
        const double* weights, CANDIDATES(Slot)) {                                                          \
        rank(Weights{Q, q_features, q_weights, rows, features, weights}, RANKED);                           \
    }
OTHERS(uint32, u32)
OTHERS(uint64, u64)
