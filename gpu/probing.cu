// Multi-probe codes of signs and of steps: the twins of probe_signs and probe_steps in
// lsh/kernels/probing.py.
//
// A thread takes a row's hash and makes its sets of changes as the CPU does, from a heap in memory of its
// own, most of it in the first-level cache. Floors on an H100: 4 or 16 bytes a value are read and 4 bytes a
// probe written; some 30 n_probes log2(n_probes) dependent accesses a hash take most of the time.
#include "common.cuh"

// Memory of a thread: `room` bytes for its changes and sets.
struct Workspace {
    double *squares, *sorted, *totals;
    i64* moved;
    i32 *changes, *prefixes, *lasts, *heap, *order;
    __device__ Workspace(u8* memory, i64 n_changes, i64 n_sets) {
        squares = (double*)memory;
        sorted = squares + n_changes;
        totals = sorted + n_changes;
        moved = (i64*)(totals + 2 * n_sets);
        changes = (i32*)(moved + n_changes);
        prefixes = changes + n_changes;
        lasts = prefixes + 2 * n_sets;
        heap = lasts + 2 * n_sets;
        order = heap + 2 * n_sets;
    }
};

// Find the `keep` least of n squares, in rising order: their places and themselves. The order is stable.
__device__ i64 least_changes(Workspace& w, i64 n, i64 keep) {
    i64 kept = 0;
    for (i64 c = 0; c < n; ++c) {
        double score = w.squares[c];
        if (kept == keep && !(kept > 0 && score < w.sorted[kept - 1])) continue;
        i64 at = min(kept, keep - 1);
        for (; at > 0 && score < w.sorted[at - 1]; --at) {
            w.sorted[at] = w.sorted[at - 1];
            w.changes[at] = w.changes[at - 1];
        }
        w.sorted[at] = score;
        w.changes[at] = (i32)c;
        kept = min(kept + 1, keep);
    }
    return kept;
}

// Find the first change after `place` whose group no change of the set `prefix` has. Changes of one group
// share all bits except their last `shared` ones.
__device__ i64 next_change(const Workspace& w, i64 place, i64 n, i64 prefix, int shared) {
    for (i64 candidate = place + 1; candidate < n; ++candidate) {
        bool free = true;
        for (i64 node = prefix; node > 0 && free; node = w.prefixes[node])
            free = w.changes[w.lasts[node]] >> shared != w.changes[candidate] >> shared;
        if (free) return candidate;
    }
    return n;
}

__device__ void push(Workspace& w, i64 size, i64 node) {
    i64 at = size;
    while (at > 0) {
        i64 up = (at - 1) / 2;
        if (w.totals[w.heap[up]] <= w.totals[node]) break;
        w.heap[at] = w.heap[up];
        at = up;
    }
    w.heap[at] = (i32)node;
}

__device__ i64 pop(Workspace& w, i64 size) {
    i64 least = w.heap[0], node = w.heap[size - 1], at = 0;
    --size;
    while (true) {
        i64 down = 2 * at + 1;
        if (down >= size) break;
        if (down + 1 < size && w.totals[w.heap[down + 1]] < w.totals[w.heap[down]]) ++down;
        if (w.totals[node] <= w.totals[w.heap[down]]) break;
        w.heap[at] = w.heap[down];
        at = down;
    }
    w.heap[at] = (i32)node;
    return least;
}

// Find the n_sets sets of least score of n sorted changes, at most one of each group; the empty set is first.
__device__ void likeliest_sets(Workspace& w, i64 n, i64 n_sets, int shared) {
    w.order[0] = 0;
    w.totals[0] = 0.0;
    w.prefixes[0] = w.lasts[0] = -1;
    i64 nodes = 1, waiting = 0;
    if (n > 0) {
        w.totals[1] = w.sorted[0];
        w.prefixes[1] = w.lasts[1] = 0;
        w.heap[0] = 1;
        nodes = 2;
        waiting = 1;
    }
    for (i64 found = 1; found < n_sets && waiting > 0; ++found) {
        i64 node = pop(w, waiting--);
        w.order[found] = (i32)node;
        for (int side = 0; side < 2; ++side) {
            i64 prefix = side ? node : w.prefixes[node];
            i64 last = next_change(w, w.lasts[node], n, prefix, shared);
            if (last < n) {
                w.totals[nodes] = w.totals[prefix] + w.sorted[last];
                w.prefixes[nodes] = (i32)prefix;
                w.lasts[nodes] = (i32)last;
                push(w, waiting++, nodes++);
            }
        }
    }
}

extern "C" __global__ void probe_signs(const float* products, i64 stride, i64 n, i64 n_hashes, i64 power,
                                       const u64* keys, bool mixed, u64 n_buckets, i64 n_probes, u8* memory,
                                       i64 room, u32* out) {
    Workspace w(memory + thread_number() * room, power, n_probes);
    for (i64 t = thread_number(); t < n * n_hashes; t += thread_count()) {
        i64 i = t / n_hashes, h = t % n_hashes;
        u32 code = 0;
        for (i64 k = 0; k < power; ++k) {
            double product = (double)products[i * stride + k * n_hashes + h];
            w.squares[k] = product * product;
            code |= (u32)(product >= 0.0) << k;
        }
        likeliest_sets(w, least_changes(w, power, min(power, n_probes - 1)), n_probes, 0);
        for (i64 r = 0; r < n_probes; ++r) {
            u32 probe = code;
            for (i64 node = w.order[r]; node > 0; node = w.prefixes[node])
                probe ^= 1u << w.changes[w.lasts[node]];
            out[t * n_probes + r] = mixed ? reduce_word(mix64(keys[h] ^ probe), n_buckets) : probe;
        }
    }
}

extern "C" __global__ void probe_steps(const i64* steps, const double* above, i64 n, i64 n_hashes, i64 power,
                                       const u64* keys, u64 n_buckets, i64 n_probes, u8* memory, i64 room,
                                       u32* out) {
    Workspace w(memory + thread_number() * room, 2 * power, n_probes);
    for (i64 t = thread_number(); t < n * n_hashes; t += thread_count()) {
        i64 i = t / n_hashes, h = t % n_hashes;
        const i64* own = steps + i * power * n_hashes + h;
        for (i64 k = 0; k < power; ++k) {
            double distance = above[(i * power + k) * n_hashes + h];
            w.squares[2 * k] = distance * distance;
            w.squares[2 * k + 1] = (1.0 - distance) * (1.0 - distance);
        }
        likeliest_sets(w, least_changes(w, 2 * power, min(2 * power, n_probes - 1)), n_probes, 1);
        for (i64 r = 0; r < n_probes; ++r) {
            for (i64 k = 0; k < power; ++k) w.moved[k] = own[k * n_hashes];
            for (i64 node = w.order[r]; node > 0; node = w.prefixes[node]) {
                i32 change = w.changes[w.lasts[node]];
                w.moved[change / 2] += 2 * (change % 2) - 1;
            }
            u64 word = keys[h];
            for (i64 k = 0; k < power; ++k) word = mix64(word ^ (u64)w.moved[k]);
            out[t * n_probes + r] = reduce_word(word, n_buckets);
        }
    }
}
