// Rows that have places of their own among shared parameters: the twin of sketches/kernels/frequent_rows.py.
//
// A thread finds one row. The upper bits of its mixed word lead to about one kept word, so a row costs three
// reads at random places, which lie in the second-level cache for up to a million kept words.
#include "common.cuh"

extern "C" __global__ void own_starts(const u64* words, const u64* kept, const i64* first, i64 shift, i64 origin,
                                      i64 n_columns, i64 block, i64 n_runs, i64 start, i64 stop, i64* starts) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        u64 word = mix64(words[i]), bucket = word >> shift;
        i64 low = first[bucket], end = first[bucket + 1], high = end;
        while (low < high) {
            i64 middle = (low + high) / 2;
            if (kept[middle] < word) low = middle + 1;
            else high = middle;
        }
        if (low < end && kept[low] == word)
            for (i64 r = 0; r < n_runs; ++r) starts[i * n_runs + r] = origin + low * n_columns + r * block;
    }
}
