// What encodes floats at their entropy: the twins of sketches/kernels/float_encoding.py. The format is described in
// sketches/coding/float_chunks.py.
//
// Floors on an H100 (3.0 TB/s): a bfloat16 is read twice, to be counted and to be encoded, and 1.33 bytes are
// written. Counts of a block's values are added up in shared memory where they fit. A thread writes the words of a
// stream of 1,024 values, byte by byte, after another launch has found how long they are; the stored bits
// are written by a thread for each byte. What takes most time is not on the GPU: the code of each chunk is
// built on the CPU from its counts.
#include "common.cuh"

#define STREAM 1024

// Turn a value so that its sign is where the plan says: 1 lowest, 2 below the exponent.
template <class Bits>
__device__ __forceinline__ Bits turned(Bits value, int turn, int mantissa) {
    const int top = 8 * (int)sizeof(Bits) - 1;
    if (turn == 1) return (Bits)((Bits)(value << 1) | (Bits)(value >> top));
    if (turn == 2) {
        Bits low = (Bits)(((Bits)1 << mantissa) - 1), exponent = (Bits)((Bits)((Bits)~low >> 1) & (Bits)~low);
        return (Bits)((Bits)((value & exponent) << 1) | (Bits)((Bits)(value >> top) << mantissa) | (value & low));
    }
    return value;
}

// The bits of a plan that all kernels need.
struct Plan {
    int bits, raw, constant, turn, mantissa;
};

template <class Bits>
__device__ __forceinline__ u32 symbol_of(Bits value, Plan plan, i64 first) {
    Bits moved = turned(value, plan.turn, plan.mantissa);
    return (u32)(((u64)moved >> (plan.raw + plan.constant) & ((1ull << plan.bits) - 1)) - (u64)first);
}

// Find the bytes of the words of each stream.
template <class Bits>
__device__ void measure_streams(const Bits* values, i64 n, Plan plan, i64 first, const u32* words, i64* sizes) {
    for (i64 s = thread_number(); s * STREAM < n; s += thread_count()) {
        i64 end = (s + 1) * STREAM < n ? (s + 1) * STREAM : n, bits = 0;
        for (i64 j = s * STREAM; j < end; ++j) bits += words[symbol_of(values[j], plan, first)] >> 16;
        sizes[s] = (bits + 7) / 8;
    }
}

// Write the words of each stream: those of the first of a pair forwards from its start, those of the second backwards.
template <class Bits>
__device__ void write_streams(const Bits* values, i64 n, Plan plan, i64 first, const u32* words, const i64* starts,
                              u8* out) {
    for (i64 s = thread_number(); s * STREAM < n; s += thread_count()) {
        i64 end = (s + 1) * STREAM < n ? (s + 1) * STREAM : n, at = starts[s], step = s & 1 ? -1 : 1;
        u64 bits = 0;
        int held = 0;
        for (i64 j = s * STREAM; j < end; ++j) {
            u32 word = words[symbol_of(values[j], plan, first)];
            bits |= (u64)(word & 0xFFFF) << held;
            held += (int)(word >> 16);
            for (; held >= 8; held -= 8, bits >>= 8, at += step) out[at] = (u8)bits;
        }
        if (held > 0) out[at] = (u8)bits;
    }
}

// Write the stored bits, a thread for each byte of a plane. `places` has the first byte of each stream's planes.
template <class Bits>
__device__ void write_planes(const Bits* values, i64 n, Plan plan, const i64* places, u8* out) {
    i64 n_streams = (n + STREAM - 1) / STREAM, room = STREAM / 8 * plan.raw;
    for (i64 e = thread_number(); e < n_streams * room; e += thread_count()) {
        i64 s = e / room, byte = e - s * room, start = s * STREAM;
        i64 size = n - start < STREAM ? n - start : STREAM, padded = (size + 7) / 8 * 8;
        if (byte >= padded / 8 * plan.raw) continue;
        i64 plane = byte / padded;
        u8 found = 0;
        if (plane < plan.raw >> 3) {
            i64 j = byte - plane * padded;
            if (j < size)
                found = (u8)(turned(values[start + j], plan.turn, plan.mantissa) >> (plan.constant + 8 * plane));
        } else {
            i64 at = byte - (plan.raw >> 3) * padded;
            int shift = plan.constant + (plan.raw >> 3) * 8;
            for (int width = 4; width; width >>= 1) {
                if (!(plan.raw & width)) continue;
                i64 bytes = padded * width / 8;
                if (at < bytes) {
                    for (int part = 0; part < 8 / width; ++part) {
                        i64 j = part * bytes + at;
                        if (j >= size) continue;
                        u64 value = (u64)turned(values[start + j], plan.turn, plan.mantissa) >> shift;
                        found |= (u8)((value & ((1u << width) - 1)) << (width * part));
                    }
                    break;
                }
                at -= bytes;
                shift += width;
            }
        }
        out[places[s] + byte] = found;
    }
}

#define ENCODE(suffix, Bits)                                                                                     \
    extern "C" __global__ void varying_bits_##suffix(const Bits* values, i64 n, u64* found) {                    \
        u64 own = 0;                                                                                             \
        for (i64 j = thread_number(); j < n; j += thread_count()) own |= (u64)(Bits)(values[j] ^ values[0]);     \
        if (own) atomicOr(found, own);                                                                           \
    }                                                                                                            \
    extern "C" __global__ void count_tops_##suffix(const Bits* values, i64 n, i64 down, i64 n_counts, u32* counts) {\
        i64 whole = n & ~3ll;                                                                                    \
        for (i64 j = thread_number(); j < n; j += thread_count()) {                                              \
            i64 row = j < whole ? j & 3 : 0;                                                                     \
            atomicAdd(counts + row * n_counts + (i64)((u64)values[j] >> down & (u64)(n_counts - 1)), 1u);        \
        }                                                                                                        \
    }                                                                                                            \
    extern "C" __global__ void measure_streams_##suffix(const Bits* values, i64 n, i64 bits, i64 raw,            \
                                                        i64 constant, i64 turn, i64 mantissa, i64 first,         \
                                                        const u32* words, i64* sizes) {                          \
        Plan plan = {(int)bits, (int)raw, (int)constant, (int)turn, (int)mantissa};                              \
        measure_streams(values, n, plan, first, words, sizes);                                                   \
    }                                                                                                            \
    extern "C" __global__ void write_streams_##suffix(const Bits* values, i64 n, i64 bits, i64 raw, i64 constant,\
                                                      i64 turn, i64 mantissa, i64 first, const u32* words,       \
                                                      const i64* starts, const i64* places, u8* out) {           \
        Plan plan = {(int)bits, (int)raw, (int)constant, (int)turn, (int)mantissa};                              \
        write_streams(values, n, plan, first, words, starts, out);                                               \
        write_planes(values, n, plan, places, out);                                                              \
    }
ENCODE(uint8, u8)
ENCODE(uint16, u16)
ENCODE(uint32, u32)
ENCODE(uint64, u64)
