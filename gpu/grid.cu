// Cells of shifted and rotated grids, and their keys: the twins of sketches/kernels/grid.py.
//
// A thread takes a row and a grid, and adds up in the order of the features, as the CPU does. Floors on an
// H100 (3.0 TB/s): 8 d bytes of a row are read, from the caches for each grid; 4 d bytes a grid are written,
// and read again for the 8 bytes of key: 8 d + R (8 d + 8) bytes a row.
#include "common.cuh"

extern "C" __global__ void grid_cells(const double* X, i64 d, const double* rotations, bool rotated,
                                      const double* shifts, const double* widths, i64 R, i64 start, i64 stop,
                                      i32* cells) {
    for (i64 t = thread_number(); t < (stop - start) * R; t += thread_count()) {
        i64 i = start + t / R, r = t % R;
        for (i64 j = 0; j < d; ++j) {
            double y = X[i * d + j];
            if (rotated) {
                y = 0.0;
                for (i64 k = 0; k < d; ++k) y += rotations[(r * d + j) * d + k] * X[i * d + k];
            }
            cells[(i * R + r) * d + j] = (i32)floor(y / widths[j] + shifts[r * d + j]);
        }
    }
}

extern "C" __global__ void grid_keys(const i32* cells, i64 d, const u64* words, i64 n_words,
                                     const i32* repetitions, bool given, i64 start, i64 stop, u64* keys) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        u64 key = words[given ? repetitions[i] : i % n_words];
        for (i64 j = 0; j < d; ++j) key = mix64(key ^ (u64)(u32)cells[i * d + j]);
        keys[i] = key;
    }
}
