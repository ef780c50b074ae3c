// From rows to codes by random projections: the twins of lsh/kernels/projection.py (projection_codes.py,
// projection_margins.py, projection_hashed.py, and mix_codes of packing.py).
//
// Codes equal the CPU's bit for bit. Both are defined by the float64 product that is added up in 32 running
// sums, feature j in sum j mod 32; float32 products only decide where their error bound leaves no doubt. A
// warp packs 32 products of a row together. It computes the exact products of those in doubt (about one in a
// thousand), each lane having one of the 32 running sums.
//
// Floors on an H100 (3.0 TB/s; 67 TFLOP/s float32): scale_rows reads the rows and writes them as float32, 8 d
// bytes a row of float32. The product is cuBLAS's for dense rows, 2 d P / 67e12 s a row of P products: 94 ns
// at d = 784, P = 4,000. pack_signs and pack_steps read 4 P bytes a row and write 4 a hash: 5.9 ns at 500
// hashes of 8 bits. Sparse rows take their products here, from panels of 64 vectors: 4 P bytes a non-zero,
// most of them from the second-level cache (50 MB).
#include "common.cuh"

#define PANEL 64
#define LARGEST_STEP 4611686018427387904.0  // 2**62
#define LARGEST_SURE 1073741824.0           // 2**30
#define SLACK 3.814697265625e-06            // 2**-18
#define LEAST 1.1754943508222875e-38f       // 2**-126, the least normal float

// Scale a row by a power of two, and bound the error of float32 products of it over the norm of the other
// vector. A sum of m terms in any order errs by at most m u / (1 - m u) of the product of norms, u = 2**-24
// (Higham 2002, section 3.1), and eight more u allow for rounding row, norms and bounds. Where factors are
// rounded before they are multiplied, `rounding` bounds the relative error of a product from that; by Cauchy
// and Schwarz's inequality it also bounds that of their sum over the product of norms. A warp takes a row;
// `error` holds for any order of additions, so it is not the CPU's number.
template <class Real>
__device__ void scale_row(const Real* row, i64 size, double rounding, float* target, double* scale_out,
                          double* error_out) {
    int lane = lane_number();
    double largest = 0.0, total = 0.0;
    for (i64 j = lane; j < size; j += 32) {
        double value = fabs((double)row[j]);
        largest = value > largest ? value : largest;
    }
    for (int by = 16; by; by /= 2) {
        double other = __shfl_xor_sync(ALL_LANES, largest, by);
        largest = other > largest ? other : largest;
    }
    double scale = power_of_two(largest);
    for (i64 j = lane; j < size; j += 32) {
        double value = (double)row[j] * scale;
        target[j] = (float)value;
        total += value * value;
    }
    for (int by = 16; by; by /= 2) total += __shfl_xor_sync(ALL_LANES, total, by);
    if (lane == 0) {
        double unit = (double)(size + 8) * 5.9604644775390625e-08, norm = sqrt(total);
        double factor = unit < 0.5 ? unit / (1.0 - unit) : __longlong_as_double(0x7FF0000000000000ll);
        *scale_out = scale;
        *error_out = norm > 0.0 ? (factor + rounding * (1.0 + factor)) * norm : 0.0;
    }
}

#define SCALE(suffix, Real)                                                                                \
    extern "C" __global__ void scale_rows_dense_##suffix(const Real* X, i64 d, double rounding, i64 start, \
                                                         i64 stop, float* scaled, double* scales,          \
                                                         double* errors) {                                 \
        for (i64 i = start + warp_number(); i < stop; i += warp_count())                                   \
            scale_row(X + i * d, d, rounding, scaled + (i - start) * d, scales + (i - start),              \
                      errors + (i - start));                                                               \
    }                                                                                                      \
    extern "C" __global__ void scale_rows_csr_##suffix(const i64* indptr, const Real* data, i64 begin,     \
                                                       i64 start, i64 stop, float* scaled, double* scales, \
                                                       double* errors) {                                   \
        for (i64 i = start + warp_number(); i < stop; i += warp_count())                                   \
            scale_row(data + indptr[i], indptr[i + 1] - indptr[i], 0.0, scaled + (indptr[i] - begin),      \
                      scales + (i - start), errors + (i - start));                                         \
    }
SCALE(float32, float)
SCALE(float64, double)

// Add up the 32 sums by halves, as the CPU does; every lane gets the result.
__device__ __forceinline__ double add_up(double sum) {
    for (int by = 16; by; by /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, by);
    return sum;
}

// Rows for the packing kernels: their products in float32, and the exact product, computed by a warp.
template <class Real>
struct Dense {
    const Real* X;
    const float* values;  // products of the rows from `start`, P of each
    i64 d, P, start;
    __device__ float product(i64 i, i64 p) const { return values[i * P + p]; }
    __device__ double exact(i64 i, double scale, const float* vector) const {
        const Real* row = X + (start + i) * d;
        double sum = 0.0;
        for (i64 j = lane_number(); j < d; j += 32) sum += ((double)row[j] * scale) * (double)vector[j];
        return add_up(sum);
    }
};

template <class Real, class Index>
struct Sparse {
    const i64* indptr;
    const Index* indices;
    const Real* data;
    const float *scaled, *panels;
    i64 d, start, begin;
    __device__ float product(i64 i, i64 p) const {
        const float* panel = panels + p / PANEL * d * PANEL + p % PANEL;
        float sum = 0.0f;
        for (i64 j = indptr[start + i]; j < indptr[start + i + 1]; ++j)
            sum += scaled[j - begin] * panel[(i64)indices[j] * PANEL];
        return sum;
    }
    __device__ double exact(i64 i, double scale, const float* vector) const {
        double sum = 0.0;
        int lane = lane_number();
        for (i64 j = indptr[start + i]; j < indptr[start + i + 1]; ++j) {
            i64 feature = indices[j];
            if ((int)(feature & 31) == lane) sum += ((double)data[j] * scale) * (double)vector[feature];
        }
        return add_up(sum);
    }
};

// Pack signs: bit k of code h tells whether product k n_hashes + h is at least 0.
template <class Rows>
__device__ void pack_signs(const Rows& rows, const double* scales, const double* errors, const float* vectors,
                           double largest_norm, i64 d, i64 n, i64 n_hashes, i64 power, u32* out) {
    i64 groups = (n_hashes + 31) / 32;
    int lane = lane_number();
    for (i64 t = warp_number(); t < n * groups; t += warp_count()) {
        i64 i = t / groups, h = t % groups * 32 + lane;
        double limit = errors[i] * largest_norm;
        u32 code = 0;
        for (i64 k = 0; k < power; ++k) {
            float value = h < n_hashes ? rows.product(i, k * n_hashes + h) : 0.0f;
            bool positive = value >= 0.0f;
            // No comparison holds for NaN, so the result of an overflow is in doubt.
            bool doubted = h < n_hashes && limit > 0.0 && !((value < 0.0f ? -value : value) >= limit);
            for (u32 left = __ballot_sync(ALL_LANES, doubted); left; left &= left - 1) {
                int which = __ffs((int)left) - 1;
                i64 place = k * n_hashes + h - lane + which;
                double dot = rows.exact(i, scales[i], vectors + place * d);
                if (lane == which) positive = dot >= 0.0;
            }
            code |= (u32)positive << k;
        }
        if (h < n_hashes) out[i * n_hashes + h] = code;
    }
}

// Compute the step of product p and the quotient of which it is the floor; tell whether float32 leaves no
// doubt.
template <class Rows>
__device__ __forceinline__ bool sure_step(const Rows& rows, i64 i, i64 p, double by, double error,
                                          const double* norms, const double* offsets, double width,
                                          double* quotient, double* step) {
    *quotient = (double)rows.product(i, p) * by + offsets[p] / width;
    *step = floor(*quotient);
    double above = *quotient - *step, margin = error * norms[p] + SLACK;
    return above > margin && above < 1.0 - margin && fabs(*quotient) < LARGEST_SURE;
}
__device__ __forceinline__ double exact_step(double dot, double scale, double offset, double width) {
    double step = floor((dot / scale + offset) / width);
    return step < -LARGEST_STEP ? -LARGEST_STEP : step > LARGEST_STEP ? LARGEST_STEP : step;
}

// Mix steps: step k of hash h is floor((product k n_hashes + h + offset) / width); word = mix64(word ^ step)
// over k.
template <class Rows>
__device__ void pack_steps(const Rows& rows, const double* scales, const double* errors, const float* vectors,
                           const double* norms, const double* offsets, double width, const u64* keys,
                           u64 n_buckets, i64 d, i64 n, i64 n_hashes, i64 power, u32* out) {
    i64 groups = (n_hashes + 31) / 32;
    int lane = lane_number();
    for (i64 t = warp_number(); t < n * groups; t += warp_count()) {
        i64 i = t / groups, h = t % groups * 32 + lane;
        double scale = scales[i], by = 1.0 / scale / width, error = errors[i] * by;
        u64 word = h < n_hashes ? keys[h] : 0;
        for (i64 k = 0; k < power; ++k) {
            double quotient = 0.0, step = 0.0;
            bool doubted = false;
            if (h < n_hashes)
                doubted =
                    !sure_step(rows, i, k * n_hashes + h, by, error, norms, offsets, width, &quotient, &step);
            for (u32 left = __ballot_sync(ALL_LANES, doubted); left; left &= left - 1) {
                int which = __ffs((int)left) - 1;
                i64 place = k * n_hashes + h - lane + which;
                double exact =
                    exact_step(rows.exact(i, scale, vectors + place * d), scale, offsets[place], width);
                if (lane == which) step = exact;
            }
            word = mix64(word ^ (u64)(i64)step);
        }
        if (h < n_hashes) out[i * n_hashes + h] = reduce_word(word, n_buckets);
    }
}

// Compute the products of P vectors, each with the sign that decides its bit, for probing.
template <class Rows>
__device__ void sign_margins(const Rows& rows, const double* scales, const double* errors,
                             const float* vectors, double largest_norm, i64 d, i64 n, i64 P, float* out) {
    i64 groups = (P + 31) / 32;
    int lane = lane_number();
    for (i64 t = warp_number(); t < n * groups; t += warp_count()) {
        i64 i = t / groups, p = t % groups * 32 + lane;
        double limit = errors[i] * largest_norm;
        float value = p < P ? rows.product(i, p) : 0.0f, size = value < 0.0f ? -value : value;
        bool doubted = p < P && limit > 0.0 && !(size >= limit);
        for (u32 left = __ballot_sync(ALL_LANES, doubted); left; left &= left - 1) {
            int which = __ffs((int)left) - 1;
            double dot = rows.exact(i, scales[i], vectors + (p - lane + which) * d);
            if (lane == which) {
                size = size >= LEAST ? size : LEAST;  // also for NaN, the result of an overflow
                value = dot >= 0.0 ? size : -size;
            }
        }
        if (p < P) out[i * P + p] = value;
    }
}

// Compute the steps of P vectors, and each value's distance from its cell's lower border, in cells.
template <class Rows>
__device__ void step_margins(const Rows& rows, const double* scales, const double* errors,
                             const float* vectors, const double* norms, const double* offsets, double width,
                             i64 d, i64 n, i64 P, i64* steps, double* above) {
    i64 groups = (P + 31) / 32;
    int lane = lane_number();
    for (i64 t = warp_number(); t < n * groups; t += warp_count()) {
        i64 i = t / groups, p = t % groups * 32 + lane;
        double scale = scales[i], by = 1.0 / scale / width, error = errors[i] * by, quotient = 0.0,
               step = 0.0;
        bool doubted = false;
        if (p < P) doubted = !sure_step(rows, i, p, by, error, norms, offsets, width, &quotient, &step);
        for (u32 left = __ballot_sync(ALL_LANES, doubted); left; left &= left - 1) {
            int which = __ffs((int)left) - 1;
            i64 place = p - lane + which;
            double exact =
                exact_step(rows.exact(i, scale, vectors + place * d), scale, offsets[place], width);
            if (lane == which) step = exact;
        }
        if (p >= P) continue;
        double distance = quotient - step;
        steps[i * P + p] = (i64)step;
        above[i * P + p] = isfinite(distance) ? min(max(distance, 0.0), 1.0) : 0.5;
    }
}

#define DENSE_ARGUMENTS(Real) const Real *X, const float *values, i64 d, i64 P, i64 start
#define SPARSE_ARGUMENTS(Real, Index)                                                                    \
    const i64 *indptr, const Index *indices, const Real *data, const float *scaled, const float *panels, \
        i64 d, i64 start, i64 begin
#define SIGN_ARGUMENTS                                                                            \
    const double *scales, const double *errors, const float *vectors, double largest_norm, i64 n, \
        i64 n_hashes, i64 power, u32 *out
#define STEP_ARGUMENTS                                                                                       \
    const double *scales, const double *errors, const float *vectors, const double *norms,                   \
        const double *offsets, double width, const u64 *keys, u64 n_buckets, i64 n, i64 n_hashes, i64 power, \
        u32 *out

#define SIGN_MARGINS                                                                              \
    const double *scales, const double *errors, const float *vectors, double largest_norm, i64 n, \
        i64 n_values, float *out
#define STEP_MARGINS                                                                       \
    const double *scales, const double *errors, const float *vectors, const double *norms, \
        const double *offsets, double width, i64 n, i64 n_values, i64 *steps, double *above

#define DENSE_KERNELS(suffix, Real)                                                                          \
    extern "C" __global__ void pack_signs_dense_##suffix(DENSE_ARGUMENTS(Real), SIGN_ARGUMENTS) {            \
        pack_signs(Dense<Real>{X, values, d, P, start}, scales, errors, vectors, largest_norm, d, n,         \
                   n_hashes, power, out);                                                                    \
    }                                                                                                        \
    extern "C" __global__ void pack_steps_dense_##suffix(DENSE_ARGUMENTS(Real), STEP_ARGUMENTS) {            \
        pack_steps(Dense<Real>{X, values, d, P, start}, scales, errors, vectors, norms, offsets, width,      \
                   keys, n_buckets, d, n, n_hashes, power, out);                                             \
    }                                                                                                        \
    extern "C" __global__ void sign_margins_dense_##suffix(DENSE_ARGUMENTS(Real), SIGN_MARGINS) {            \
        sign_margins(Dense<Real>{X, values, d, P, start}, scales, errors, vectors, largest_norm, d, n,       \
                     n_values, out);                                                                         \
    }                                                                                                        \
    extern "C" __global__ void step_margins_dense_##suffix(DENSE_ARGUMENTS(Real), STEP_MARGINS) {            \
        step_margins(Dense<Real>{X, values, d, P, start}, scales, errors, vectors, norms, offsets, width, d, \
                     n, n_values, steps, above);                                                             \
    }
#define SPARSE_KERNELS(suffix, Real, Index)                                                               \
    extern "C" __global__ void pack_signs_csr_##suffix(SPARSE_ARGUMENTS(Real, Index), SIGN_ARGUMENTS) {   \
        pack_signs(Sparse<Real, Index>{indptr, indices, data, scaled, panels, d, start, begin}, scales,   \
                   errors, vectors, largest_norm, d, n, n_hashes, power, out);                            \
    }                                                                                                     \
    extern "C" __global__ void pack_steps_csr_##suffix(SPARSE_ARGUMENTS(Real, Index), STEP_ARGUMENTS) {   \
        pack_steps(Sparse<Real, Index>{indptr, indices, data, scaled, panels, d, start, begin}, scales,   \
                   errors, vectors, norms, offsets, width, keys, n_buckets, d, n, n_hashes, power, out);  \
    }                                                                                                     \
    extern "C" __global__ void sign_margins_csr_##suffix(SPARSE_ARGUMENTS(Real, Index), SIGN_MARGINS) {   \
        sign_margins(Sparse<Real, Index>{indptr, indices, data, scaled, panels, d, start, begin}, scales, \
                     errors, vectors, largest_norm, d, n, n_values, out);                                 \
    }                                                                                                     \
    extern "C" __global__ void step_margins_csr_##suffix(SPARSE_ARGUMENTS(Real, Index), STEP_MARGINS) {   \
        step_margins(Sparse<Real, Index>{indptr, indices, data, scaled, panels, d, start, begin}, scales, \
                     errors, vectors, norms, offsets, width, d, n, n_values, steps, above);               \
    }
DENSE_KERNELS(float32, float)
DENSE_KERNELS(float64, double)
SPARSE_KERNELS(float32_int32, float, i32)
SPARSE_KERNELS(float32_int64, float, i64)
SPARSE_KERNELS(float64_int32, double, i32)
SPARSE_KERNELS(float64_int64, double, i64)

// Compute products with vectors whose entries are hashed: a thread adds up the five that share a word of a
// feature, in the order of features. Floors: 12 bytes a non-zero and row are read once, from the first-level
// cache after that; two mixes and five products for each non-zero and five vectors.
template <class Index>
__device__ void add_hashed(const i64* indptr, const Index* indices, const float* entries, u64 key,
                           const float* quantiles, i64 start, i64 stop, i64 n_values, float* out) {
    i64 n_words = (n_values + 4) / 5;
    for (i64 t = thread_number(); t < (stop - start) * n_words; t += thread_count()) {
        i64 i = t / n_words, g = t % n_words;
        float sums[5] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        for (i64 j = indptr[start + i]; j < indptr[start + i + 1]; ++j) {
            float x = entries[j];
            u64 word = mix64(mix64((u64)indices[j] ^ key) + (u64)g * 0x9E3779B97F4A7C15ull);
            for (int e = 0; e < 5; ++e, word >>= 12) sums[e] += x * quantiles[word & 4095];
        }
        for (int e = 0; e < 5; ++e)
            if (e * n_words + g < n_values) out[i * n_values + e * n_words + g] = sums[e];
    }
}
extern "C" __global__ void hashed_products_int32(const i64* indptr, const i32* indices, const float* entries,
                                                 u64 key, const float* quantiles, i64 start, i64 stop,
                                                 i64 n_values, float* out) {
    add_hashed(indptr, indices, entries, key, quantiles, start, stop, n_values, out);
}
extern "C" __global__ void hashed_products_int64(const i64* indptr, const i64* indices, const float* entries,
                                                 u64 key, const float* quantiles, i64 start, i64 stop,
                                                 i64 n_values, float* out) {
    add_hashed(indptr, indices, entries, key, quantiles, start, stop, n_values, out);
}

// Make codes of products: bit k of code h is the sign of product k n_hashes + h.
extern "C" __global__ void signs_of_products(const float* products, i64 n, i64 n_hashes, i64 power,
                                             u32* out) {
    for (i64 t = thread_number(); t < n * n_hashes; t += thread_count()) {
        const float* row = products + t / n_hashes * n_hashes * power + t % n_hashes;
        u32 code = 0;
        for (i64 k = 0; k < power; ++k) code |= (u32)(row[k * n_hashes] >= 0.0f) << k;
        out[t] = code;
    }
}

extern "C" __global__ void mix_codes(const u64* keys, u64 n_buckets, i64 n, i64 n_hashes, u32* codes) {
    for (i64 t = thread_number(); t < n * n_hashes; t += thread_count())
        codes[t] = reduce_word(mix64(keys[t % n_hashes] ^ codes[t]), n_buckets);
}
