// Look-ups in static functions: the twins of sketches/kernels/static.py, with codes.py and elias_fano.py.
//
// A thread takes a key through all ribbons of a column; threads of a warp diverge at filters, bumped keys and
// long words. Floors on an H100 (3.0 TB/s): a key reads 8 bytes and writes 8, and from the second-level cache
// (50 MB) for each ribbon 28 bytes of the plan, which few shards share, a byte of thresholds, and three or
// four words of the solution: two sectors of 32 bytes. A window's parity with a column is 4 population
// counts, of which a processor does 16 a cycle: 11 bits of a word take 0.1 ps of the whole device.
#include "common.cuh"

#define PLAN_FIELDS 7
#define BUCKET 256
#define CLASS_FIELDS 8
#define SAMPLE 128

struct Window {
    u64 low, high;
};

struct Place {
    i64 word, start;
};

// The fields of Decoder in sketches/kernels/codes.py, with the addresses of arrays on the device.
struct Decoder {
    u64 shift, escape_first, escape_span, table_end, table_shift;
    const u64 *table, *classes, *words;
    u64 base, step, raw_base, raw_bits;
};

__device__ __forceinline__ u64 fingerprint(u64 key, i64 purpose, i64 bits) {
    return mix64(key ^ ((u64)(purpose + 1) * 0xD6E8FEB86659FD93ull)) >> (64 - bits);
}

__device__ __forceinline__ Window window_of(u64 key) {
    return {mix64(key ^ 0x9E3779B97F4A7C15ull) | 1, mix64(key + 0xC2B2AE3D27D4EB4Full)};
}

__device__ __forceinline__ i64 start_of(u64 place, u64 n_slots) {
    return (i64)(((place >> 32) * n_slots) >> 32);
}

__device__ __forceinline__ u64 next_place(u64 place) { return mix64(place ^ 0x165667B19E3779F9ull); }

// Tell whether a start lies above its bucket's threshold, of two bits.
__device__ __forceinline__ bool stays(const u8* thresholds, i64 first_bucket, i64 start) {
    i64 bucket = first_bucket + (start >> 8);
    int threshold = (thresholds[bucket >> 2] >> (2 * (bucket & 3))) & 3;
    const u64 packed = 0ull | 38ull << 16 | 89ull << 32 | (u64)BUCKET << 48;
    return (start & (BUCKET - 1)) >= (i64)((packed >> (16 * threshold)) & 0xFFFF);
}

__device__ Place locate(const u32* plan, i64 ribbon, i64 n_shards, const u8* thresholds, i64 shard,
                        u64 place) {
    const u32* row = plan + (ribbon * n_shards + shard) * PLAN_FIELDS;
    i64 first_bucket = row[6];
    if (row[1] > 0) {
        i64 start = start_of(place, (u64)row[1] * BUCKET);
        if (stays(thresholds, first_bucket, start)) return {(i64)row[0], start};
    }
    place = next_place(place);
    if (row[3] > 0) {
        i64 start = start_of(place, (u64)row[3] * BUCKET);
        if (stays(thresholds, first_bucket + row[1], start)) return {(i64)row[2], start};
    }
    return {(i64)row[4], start_of(next_place(place), row[5])};
}

// Return the parity of a window, which starts at bit `shift` of a, and the words a, b and c.
__device__ __forceinline__ u64 parity(u64 a, u64 b, u64 c, int shift, Window window) {
    u64 below = (a >> shift) | ((b << 1) << (63 - shift)), above = (b >> shift) | ((c << 1) << (63 - shift));
    return __popcll((below & window.low) ^ (above & window.high)) & 1;
}

__device__ u64 fixed_value(const u64* solution, i64 width, Place at, Window window) {
    const u64* first = solution + at.word + (at.start >> 6) * width;
    int shift = (int)(at.start & 63);
    u64 value = 0;
    for (i64 column = 0; column < width; ++column)
        value |= parity(first[column], first[width + column], first[2 * width + column], shift, window)
                 << column;
    return value;
}

// Return the bits of slots [first_slot, first_slot + n_bits) of a key's word, the first at bit 63 -
// first_bit.
__device__ u64 variable_bits(const u64* solution, Place at, Window window, i64 first_slot, i64 n_bits,
                             i64 first_bit) {
    i64 start = at.start + first_slot;
    const u64* first = solution + at.word + (start >> 6);
    int shift = (int)(start & 63);
    u64 b = first[1], c = first[2];
    u64 lowest = (first[0] >> shift) | ((b << 1) << (63 - shift));
    u64 middle = (b >> shift) | ((c << 1) << (63 - shift));
    u64 highest = (c >> shift) | ((first[3] << 1) << (63 - shift));
    u64 bits = 0;
    for (i64 j = 0; j < n_bits; ++j)
        bits |= parity(lowest, middle, highest, (int)j, window) << (63 - first_bit - j);
    return bits;
}

// Find the bit that has `rank` set bits below it.
__device__ u64 select_bit(u64 word, u64 rank) {
    u64 place = 0;
    for (int half = 32; half; half >>= 1) {
        u64 below = (u64)__popcll(word & ((1ull << half) - 1));
        if (rank >= below) {
            rank -= below;
            word >>= half;
            place += half;
        }
    }
    return place;
}

// Return the i-th value of an Elias-Fano sequence.
__device__ u64 select(const u64* words, u64 low_at, u64 low_bits, u64 high_at, u64 samples_at, u64 i) {
    u64 block = i / SAMPLE, rest = i % SAMPLE, start = 0;
    if (block > 0)
        start = (words[samples_at + ((block - 1) >> 1)] >> (((block - 1) & 1) << 5)) & 0xFFFFFFFFull;
    u64 k = high_at + (start >> 6), word = words[k] & (~0ull << (start & 63)), count = (u64)__popcll(word);
    while (rest >= count) {
        rest -= count;
        word = words[++k];
        count = (u64)__popcll(word);
    }
    u64 high = ((k - high_at) << 6) + select_bit(word, rest) - i;
    if (low_bits == 0) return high;
    u64 bit = i * low_bits, shift = bit & 63;
    k = low_at + (bit >> 6);
    u64 low = (words[k] >> shift) | ((words[k + 1] << 1) << (63 - shift));
    return (high << low_bits) | (low & ((1ull << low_bits) - 1));
}

// Return the value of the word at the window's front; `escape` tells whether raw bits follow.
__device__ u64 decode(const Decoder& decoder, u64 window, bool* escape) {
    u64 word = window >> decoder.shift;
    *escape = word - decoder.escape_first < decoder.escape_span;
    if (*escape) return decoder.raw_base;
    if (word < decoder.table_end) return decoder.table[word >> decoder.table_shift];
    const u64* row = decoder.classes;
    while (word >= row[0]) row += CLASS_FIELDS;
    u64 i = (word - row[1]) >> row[2];
    return decoder.base + decoder.step * (i + select(decoder.words, row[3], row[4], row[5], row[6], i));
}

extern "C" __global__ void check_keys(const u64* keys, i64 n, const u8* thresholds, const u64* solution,
                                      u64 n_shards, const u32* plan, i64 ribbon, i64 purpose, i64 bits,
                                      bool* out) {
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        u64 key = keys[i];
        Place at =
            locate(plan, ribbon, (i64)n_shards, thresholds, (i64)__umul64hi(key, n_shards), key * n_shards);
        out[i] = fixed_value(solution, bits, at, window_of(key)) == fingerprint(key, purpose, bits);
    }
}

extern "C" __global__ void look_up(const u64* keys, i64 n, const u8* thresholds, const u64* solution,
                                   u64 n_shards, const u32* plan, i64 first_ribbon, const i64* filter_bits,
                                   const u64* filter_values, i64 n_filters, i64 prefix_bits, i64 table_bits,
                                   i64 code_bits, u64 shift, u64 escape_first, u64 escape_span, u64 table_end,
                                   u64 table_shift, u64 table, u64 classes, u64 words, u64 base, u64 step,
                                   u64 raw_base, u64 raw_bits, u64* out) {
    Decoder decoder = {shift,
                       escape_first,
                       escape_span,
                       table_end,
                       table_shift,
                       (const u64*)table,
                       (const u64*)classes,
                       (const u64*)words,
                       base,
                       step,
                       raw_base,
                       raw_bits};
    i64 prefix_ribbon = first_ribbon + n_filters;
    i64 code_ribbon = prefix_ribbon + (prefix_bits > 0);
    i64 raw_ribbon = code_ribbon + (n_filters + code_bits > prefix_bits);
    i64 done = max(prefix_bits, min(code_bits, table_bits));
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        u64 key = keys[i], place = key * n_shards;
        i64 shard = (i64)__umul64hi(key, n_shards), f = 0;
        Window window = window_of(key);
        Place code = {0, 0};
        if (n_filters || code_bits > prefix_bits)
            code = locate(plan, code_ribbon, (i64)n_shards, thresholds, shard, place);
        for (; f < n_filters; ++f) {
            Place at = locate(plan, first_ribbon + f, (i64)n_shards, thresholds, shard, place);
            i64 bits = filter_bits[f];
            if (fixed_value(solution, bits, at, window) != fingerprint(key, f, bits)) break;
            if (!variable_bits(solution, code, window, f, 1, 0)) break;
        }
        if (f < n_filters) {
            out[i] = filter_values[f];
            continue;
        }
        u64 bits = 0;
        if (prefix_bits > 0) {
            Place at = locate(plan, prefix_ribbon, (i64)n_shards, thresholds, shard, place);
            bits = fixed_value(solution, prefix_bits, at, window) << (64 - prefix_bits);
        }
        if (code_bits > prefix_bits) {
            bits |= variable_bits(solution, code, window, n_filters, done - prefix_bits, prefix_bits);
            if (bits >> shift >= table_end && code_bits > done)
                bits |= variable_bits(solution, code, window, n_filters + done - prefix_bits,
                                      code_bits - done, done);
        }
        bool escape;
        u64 value = decode(decoder, bits, &escape);
        if (escape && raw_bits > 0) {
            Place at = locate(plan, raw_ribbon, (i64)n_shards, thresholds, shard, place);
            value = raw_base + step * fixed_value(solution, (i64)raw_bits, at, window);
        }
        out[i] = value;
    }
}
