// Weighted MinHash: the twins of weighted_minhash and overlap_weights in lsh/kernels/weighted_minhash.py.
//
// A warp takes a row and 32 hashes, one for each lane. Each lane computes features and logarithms of weights
// and passes them to the others. Every random number is drawn where it is needed: three logarithms and two
// divisions a feature and hash, which the CPU shares between rows, cost less here than keeping them. Floors
// on an H100 (34 TFLOP/s float64): some 120 operations a non-zero and hash, 3.5 ps; 16 bytes a non-zero and 4
// a value pass through memory.
#include "common.cuh"

#define LN2 0.6931471805599453
#define STEP 0x9E3779B97F4A7C15ull
#define EMPTY 0xFFFFFFFFu
#define INFINITE __longlong_as_double(0x7FF0000000000000ll)

// Return the logarithm of a positive number that is not subnormal, by the CPU's operations.
__device__ double log_normal_number(double x) {
    u64 shifted = (u64)__double_as_longlong(x) - 0x3FE6A09E667F3BCDull;
    double e = (double)((i64)shifted >> 52);
    double m = __longlong_as_double((i64)((shifted & 0x000FFFFFFFFFFFFFull) + 0x3FE6A09E667F3BCDull));
    double s = (m - 1.0) / (m + 1.0), z = s * s, series = 1.0 / 21.0;
    series = series * z + 1.0 / 19.0;
    series = series * z + 1.0 / 17.0;
    series = series * z + 1.0 / 15.0;
    series = series * z + 1.0 / 13.0;
    series = series * z + 1.0 / 11.0;
    series = series * z + 1.0 / 9.0;
    series = series * z + 1.0 / 7.0;
    series = series * z + 1.0 / 5.0;
    series = series * z + 1.0 / 3.0;
    return e * LN2 + (2.0 * s + 2.0 * s * (z * series));
}
__device__ __forceinline__ double log_weight(double w) {
    if (w < 9.332636185032189e-302)  // 2**-1000
        return log_normal_number(w * 1.6069380442589903e+60) - 200.0 * LN2;
    return log_normal_number(w);
}
__device__ __forceinline__ double exponentials(u64 word) {
    double u = (double)(i64)((word >> 39) | 1), v = (double)(i64)(((word >> 15) & 0x1FFFFFF) | 1);
    return -log_normal_number(u * v * 8.881784197001252e-16);  // 2**-50
}

extern "C" __global__ void weighted_minhash(const i64* offsets, const u64* indices, const double* weights,
                                            u64 key, const u64* keys, i64 n, i64 m, u32* out) {
    i64 groups = (m + 31) / 32;
    int lane = lane_number();
    for (i64 task = warp_number(); task < n * groups; task += warp_count()) {
        i64 row = task / groups, v = task % groups * 32 + lane, end = offsets[row + 1];
        u64 own = v < m ? keys[v] : 0, best = 0;
        double least = INFINITE, least_step = 0.0;
        for (i64 first = offsets[row]; first < end; first += 32) {
            i64 j = first + lane;
            double weight = j < end ? weights[j] : 0.0, log_w = weight > 0.0 ? log_weight(weight) : INFINITE;
            u64 mine = j < end ? mix64(indices[j] ^ key) : 0;
            for (int e = 0; e < (int)min((i64)32, end - first); ++e) {
                double log_here = __shfl_sync(ALL_LANES, log_w, e);
                u64 feature = __shfl_sync(ALL_LANES, mine, e), start = feature ^ own;
                if (log_here == INFINITE) continue;
                u64 one = mix64(start), two = mix64(start + STEP);
                double r = exponentials(one), c = exponentials(two);
                u64 low = ((one & 0xFFFF) << 16) | (two & 0xFFFF);
                double beta = ((double)(i64)low + 0.5) * 2.3283064365386963e-10;  // 2**-32
                double at_one = log_normal_number(c) + r * beta - r;
                double t = floor(log_here * (1.0 / r) + beta), value = at_one - r * t;
                if (value < least || (value == least && feature < best)) {
                    least = value;
                    least_step = t;
                    best = feature;
                }
            }
        }
        if (v < m) {
            u64 word = mix64(best + (u64)(i64)least_step * STEP);
            u32 value = min((u32)(mix64(word ^ own) >> 32), EMPTY - 1);
            out[row * m + v] = least < INFINITE ? value : EMPTY;
        }
    }
}

// Compute the sum of the lesser over that of the greater weights of each pair of rows, a thread for each
// pair.
extern "C" __global__ void overlap_weights(const i64* x_indptr, const i64* x_indices, const double* x_data,
                                           const i64* y_indptr, const i64* y_indices, const double* y_data,
                                           i64 start, i64 stop, i64 n_y, double* out) {
    for (i64 t = thread_number(); t < (stop - start) * n_y; t += thread_count()) {
        i64 i = start + t / n_y, j = t % n_y;
        i64 a = x_indptr[i], a_stop = x_indptr[i + 1], b = y_indptr[j], b_stop = y_indptr[j + 1];
        double largest = 0.0;
        for (i64 p = a; p < a_stop; ++p) largest = max(largest, x_data[p]);
        for (i64 p = b; p < b_stop; ++p) largest = max(largest, y_data[p]);
        if (largest == 0.0) {
            out[i * n_y + j] = 1.0;
            continue;
        }
        double lesser = 0.0, greater = 0.0;
        while (a < a_stop || b < b_stop) {
            if (b == b_stop || (a < a_stop && x_indices[a] < y_indices[b])) {
                greater += x_data[a++] / largest;
            } else if (a == a_stop || y_indices[b] < x_indices[a]) {
                greater += y_data[b++] / largest;
            } else {
                double left = x_data[a++], right = y_data[b++];
                lesser += min(left, right) / largest;
                greater += max(left, right) / largest;
            }
        }
        out[i * n_y + j] = lesser / greater;
    }
}
