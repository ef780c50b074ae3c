// Entropy-coded floats: the twin of sketches/kernels/float_ranges.py. The format is described in
// sketches/coding/float_chunks.py.
//
// A block takes a range of a chunk, which has 256 streams of 1,024 values and one code. Each thread decodes
// a stream, a symbol a look-up, in a table of 4 KB in shared memory. After 32 symbols of each stream the threads
// join them with the stored bits, whose planes they read side by side, and write neighbouring values.
//
// Floors: a bfloat16 of a trained network takes 1.33 bytes to read and 2 to write, so an H100 (3.0 TB/s) could
// decode 0.9 e12 values a second. A value takes about 40 instructions, which 132 processors at 1.7 GHz run in as
// much time (0.7 e12 values a second). One of them is the look-up of its symbol in shared memory, at a random
// place: those of a warp take 3.5 cycles in the mean, so all processors do 2 e12 a second. Its 13 KB of shared
// memory let 8 blocks of 256 threads, as many as there can be, run on a processor at a time.
#include "common.cuh"

#define STREAM 1024
#define LONGEST 11
#define SYMBOLS 256
#define PLAN 11
#define TILE 32        // symbols of a stream between two rounds of writing
#define ROW (TILE + 4)  // bytes from the symbols of a stream to those of the next one, in other banks

// Fill the table of a code with all threads: entries have a symbol's number and, times 256, its length.
__device__ void fill_table(const u8* lengths, u16* table, int* start) {
    int t = (int)threadIdx.x;
    if (t == 0) {
        for (int size = 0; size <= LONGEST + 1; ++size) start[size] = 0;
        for (int i = 0; i < SYMBOLS; ++i)
            if (lengths[i] > 0) ++start[lengths[i] + 1];
        for (int size = 1; size <= LONGEST; ++size) start[size + 1] = (start[size] + start[size + 1]) << 1;
    }
    // A code of one symbol has no words, and its look-ups find symbol 0.
    for (int place = t; place < 1 << LONGEST; place += (int)blockDim.x) table[place] = 0;
    __syncthreads();
    for (int i = t; i < SYMBOLS; i += (int)blockDim.x) {
        int length = lengths[i];
        if (length == 0) continue;
        int word = start[length], turned = 0;
        for (int j = 0; j < i; ++j) word += lengths[j] == length;
        for (int bit = 0; bit < length; ++bit, word >>= 1) turned = turned << 1 | (word & 1);
        for (int place = turned; place < 1 << LONGEST; place += 1 << length)
            table[place] = (u16)(i | length << 8);
    }
    __syncthreads();
}

// A stream that is read forwards from a byte, or backwards from one.
struct Stream {
    i64 at, step;
    u64 bits;
    int held;
};

__device__ __forceinline__ u8 next_symbol(const u8* data, i64 n_data, const u16* table, Stream& stream) {
    if (stream.held < LONGEST)
        while (stream.held <= 56) {
            // Bytes of damaged files may lie outside the data; they are not those of a file that was written.
            i64 at = stream.at < 0 ? 0 : stream.at < n_data ? stream.at : n_data - 1;
            stream.bits |= (u64)data[at] << stream.held;
            stream.held += 8;
            stream.at += stream.step;
        }
    u16 entry = table[stream.bits & ((1u << LONGEST) - 1)];
    int length = entry >> 8;
    stream.bits >>= length;
    stream.held -= length;
    return (u8)entry;
}

// The stored bits of value j among n of a stream, whose planes begin at a byte.
__device__ __forceinline__ u64 stored_bits(const u8* data, i64 place, i64 padded, int raw, i64 j) {
    u64 found = 0;
    int shift = 0;
    for (int k = 0; k < raw >> 3; ++k, shift += 8) found |= (u64)data[place + k * padded + j] << shift;
    place += (raw >> 3) * padded;
    for (int width = 4; width; width >>= 1) {
        if (!(raw & width)) continue;
        i64 size = padded * width / 8, part = j / size;
        u64 some = data[place + j - part * size] >> (width * part);
        found |= (some & ((1u << width) - 1)) << shift;
        place += size;
        shift += width;
    }
    return found;
}

// Turn a value back, whose sign is not on top: 1 with the sign lowest, 2 with it below the exponent.
template <class Bits>
__device__ __forceinline__ Bits turned_back(Bits value, int turn, int mantissa) {
    const int top = 8 * (int)sizeof(Bits) - 1;
    if (turn == 1) return (Bits)((Bits)(value >> 1) | (Bits)(value << top));
    if (turn == 2) {
        Bits low = (Bits)(((Bits)1 << mantissa) - 1), exponent = (Bits)((Bits)((Bits)~low >> 1) & (Bits)~low);
        Bits sign = (Bits)((Bits)(value >> mantissa) << top);
        return (Bits)(((Bits)(value >> 1) & exponent) | sign | (value & low));
    }
    return value;
}

template <class Bits>
__device__ void decode_range(const u8* data, i64 n_data, const i64* ends, const i64* plan, const u8* lengths,
                             const i64* symbols, i64 first, i64 last, Bits* out) {
    // The launch asks for the memory of both.
    DYNAMIC_SHARED(u16, table);
    u8* tile = reinterpret_cast<u8*>(table + (1 << LONGEST));
    __shared__ int start[LONGEST + 2];
    i64 n = plan[0], place = plan[1], pair = plan[2];
    int raw = (int)plan[5], shift = (int)plan[6];
    if (plan[3] == 0) {
        for (i64 j = first + threadIdx.x; j < last; j += blockDim.x) {
            u64 value = 0;
            for (int k = 0; k < (int)sizeof(Bits); ++k)
                value |= (u64)data[place + j * (i64)sizeof(Bits) + k] << (8 * k);
            out[j - first] = (Bits)value;
        }
        return;
    }
    fill_table(lengths, table, start);
    i64 begin = first / STREAM, end = (last + STREAM - 1) / STREAM;
    // A block takes its streams in groups, one for each thread.
    for (i64 group = begin; group < end; group += blockDim.x) {
        i64 own = group + threadIdx.x;
        Stream stream = {0, 1, 0, 0};
        if (own < end) {
            i64 of_pair = own / 2, before = ends[pair + of_pair] - ends[pair];
            // Both streams of a pair are padded to 8 values each; only the last ones of a chunk have fewer than 1,024.
            i64 base = place + before + of_pair * 2 * (STREAM / 8 * raw);
            i64 left = n - of_pair * 2 * STREAM;
            i64 one = left < STREAM ? left : STREAM, two = left - one < STREAM ? left - one : STREAM;
            i64 words = base + ((one + 7) / 8 + (two + 7) / 8) * raw;
            stream.at = own & 1 ? words + ends[pair + of_pair + 1] - ends[pair + of_pair] - 1 : words;
            stream.step = own & 1 ? -1 : 1;
        }
        i64 many = end - group < blockDim.x ? end - group : blockDim.x;
        for (i64 at = 0; at < STREAM; at += TILE) {
            if (own < end)
                for (int k = 0; k < TILE; ++k)
                    tile[threadIdx.x * ROW + k] = next_symbol(data, n_data, table, stream);
            __syncthreads();
            for (i64 e = threadIdx.x; e < many * TILE; e += blockDim.x) {
                i64 which = e / TILE, j = at + e % TILE, value_at = (group + which) * STREAM + j;
                if (value_at < first || value_at >= last) continue;
                i64 of_pair = (group + which) / 2, before = ends[pair + of_pair] - ends[pair];
                i64 base = place + before + of_pair * 2 * (STREAM / 8 * raw);
                i64 left = n - of_pair * 2 * STREAM, one = left < STREAM ? left : STREAM;
                i64 size = one;
                if ((group + which) & 1) {
                    base += (one + 7) / 8 * raw;
                    size = left - one < STREAM ? left - one : STREAM;
                }
                u64 symbol = (u64)symbols[tile[which * ROW + e % TILE]];
                u64 value = (u64)plan[8] | symbol << (raw + shift);
                value |= stored_bits(data, base, (size + 7) / 8 * 8, raw, j) << shift;
                out[value_at - first] = turned_back((Bits)value, (int)plan[7], (int)plan[10]);
            }
            __syncthreads();
        }
    }
}

#define DECODE(suffix, Bits)                                                                                    \
    extern "C" __global__ void decode_ranges_##suffix(const u8* data, i64 n_data, const i64* ends,              \
                                                      const i64* plans, const u8* word_lengths,                 \
                                                      const i64* symbols, const i64* ranges, i64 n, Bits* out) {\
        for (i64 i = blockIdx.x; i < n; i += gridDim.x) {                                                       \
            const i64* range = ranges + 4 * i;                                                                  \
            i64 chunk = range[0];                                                                               \
            decode_range<Bits>(data, n_data, ends, plans + PLAN * chunk, word_lengths + SYMBOLS * chunk,        \
                               symbols + SYMBOLS * chunk, range[1], range[2], out + range[3]);                  \
            __syncthreads();                                                                                    \
        }                                                                                                       \
    }
DECODE(uint8, u8)
DECODE(uint16, u16)
DECODE(uint32, u32)
DECODE(uint64, u64)
