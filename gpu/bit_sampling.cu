// Bits of packed rows, sampled and mixed: the twins of lsh/kernels/bit_sampling.py.
//
// A thread makes a word of up to 32 bits. Floors on an H100 (3.0 TB/s): a row is read once from memory, and
// then a byte for each bit from the first-level cache; 4 bytes a word are written, and read again to be
// mixed.
#include "common.cuh"

extern "C" __global__ void sample_bits(const u8* X, i64 width, const i64* columns, const i64* places,
                                       const u8* masks, i64 n_hashes, i64 power, i64 first, i64 start,
                                       i64 stop, i64 out_width, u32* out) {
    i64 W = (power + 31) / 32;
    for (i64 t = thread_number(); t < (stop - start) * n_hashes * W; t += thread_count()) {
        i64 i = t / (n_hashes * W), h = t / W % n_hashes, w = t % W;
        const u8* row = X + (start + i) * width;
        u32 word = 0;
        for (i64 k = 32 * w; k < min(power, 32 * w + 32); ++k)
            word |= (u32)((row[columns[places[h * power + k]]] & masks[h * power + k]) != 0) << (k - 32 * w);
        out[i * out_width + (first + h) * W + w] = word;
    }
}

extern "C" __global__ void mix_words(const u32* words, const u32* flips, const u64* keys, u64 n_buckets,
                                     i64 n, i64 n_hashes, i64 probes, i64 W, u32* out) {
    for (i64 t = thread_number(); t < n * n_hashes * probes; t += thread_count()) {
        i64 row_hash = t / probes, p = t % probes, h = row_hash % n_hashes;
        const u32 *word = words + row_hash * W, *flip = flips + (h * probes + p) * W;
        u64 z = keys[h];
        for (i64 w = 0; w < W; ++w) z = mix64(z ^ (u64)(word[w] ^ flip[w]));
        out[t] = n_buckets == 0 ? word[0] ^ flip[0] : reduce_word(z, n_buckets);
    }
}
