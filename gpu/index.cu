// Buckets of bounded size, and the ids that stand in most of a query's buckets: the twins of
// sketches/kernels/index.py (index_buckets.py and index_query.py).
//
// A bucket keeps the ids of least priority, in whatever order they are inserted. Here they are inserted
// together: an id takes an empty slot, or that of the greatest priority if its own is less, by
// compare-and-swap. Priorities in slots only fall, so an id that is dropped has lesser ones in all slots, at
// the end too.
//
// Floors on an H100 (3.0 TB/s): an insertion reads 4 bytes of code and touches two random places, a count and
// a slot: two sectors of 32 bytes read and written back, 43 ps from memory; in a full bucket it reads all its
// slots. A query reads the buckets, 4 capacity bytes a table. A block counts its ids in a table in shared
// memory (or beyond 4,096 places in memory) and sorts that: S log(S)**2 / 2 comparisons for S places.
#include "common.cuh"

template <class Slot>
__device__ __forceinline__ u64 priority(Slot slot, u64 key) {
    return mix64((u64)slot ^ key);
}

// Put one id into a bucket, by a warp whose lanes all have the same arguments.
template <class Slot>
__device__ void put_by_warp(Slot* bucket, i64 capacity, Slot slot, u64 key) {
    int lane = lane_number();
    u64 mine = priority(slot, key);
    while (true) {
        i64 empty = capacity, at = 0;
        u64 worst = 0;
        Slot theirs = 0;
        for (i64 j = lane; j < capacity; j += 32) {
            // The slot is volatile, because another warp may have changed it.
            Slot held = *(volatile Slot*)(bucket + j);
            u64 value = priority(held, key);
            if (held == 0) {
                empty = min(empty, j);
            } else if (theirs == 0 || value > worst) {
                worst = value;
                at = j;
                theirs = held;
            }
        }
        for (int by = 16; by; by /= 2) {
            empty = min(empty, __shfl_xor_sync(ALL_LANES, empty, by));
            u64 other_worst = __shfl_xor_sync(ALL_LANES, worst, by);
            i64 other_at = __shfl_xor_sync(ALL_LANES, at, by);
            Slot other_theirs = __shfl_xor_sync(ALL_LANES, theirs, by);
            // All lanes choose alike: equal priorities belong to one id, whose places differ.
            bool better = theirs == 0 || other_worst > worst || (other_worst == worst && other_at < at);
            if (other_theirs != 0 && better) {
                worst = other_worst;
                at = other_at;
                theirs = other_theirs;
            }
        }
        if (empty < capacity) {
            at = empty;
            theirs = 0;
        } else if (mine >= worst) {
            return;
        }
        Slot found = 0;
        if (lane == 0) found = atomicCAS(bucket + at, theirs, slot);
        if (__shfl_sync(ALL_LANES, found, 0) == theirs) return;
    }
}

__device__ __forceinline__ i64 count_one(i32* place) { return atomicAdd(place, 1); }
__device__ __forceinline__ i64 count_one(i64* place) { return (i64)atomicAdd((u64*)place, 1ull); }

template <class Slot, class Count>
__device__ void insert(const u32* codes, const Slot* ids, const u64* keys, i64 n, i64 L, i64 W, i64 B,
                       i64 start, i64 stop, Slot* slots, Count* seen) {
    i64 width = stop - start, work = n * width;
    for (i64 first = warp_number() * 32; first < work; first += warp_count() * 32) {
        i64 t = first + lane_number(), base = 0;
        bool waits = false;
        Slot slot = 0;
        u64 key = 0;
        if (t < work) {
            i64 i = t / width, table = start + t % width, bucket = table * W + codes[i * L + table];
            i64 filled = count_one(seen + bucket);
            base = bucket * B;
            slot = ids[i] + 1;
            key = keys[table];
            waits = filled >= B || atomicCAS(slots + base + filled, (Slot)0, slot) != 0;
        }
        for (u32 left = __ballot_sync(ALL_LANES, waits); left; left &= left - 1) {
            int lane = __ffs((int)left) - 1;
            put_by_warp(slots + __shfl_sync(ALL_LANES, base, lane), B, __shfl_sync(ALL_LANES, slot, lane),
                        __shfl_sync(ALL_LANES, key, lane));
        }
    }
}

template <class Slot>
__device__ void merge(const Slot* others, const u64* keys, i64 W, i64 B, i64 start, i64 stop, Slot* slots) {
    for (i64 bucket = start * W + warp_number(); bucket < stop * W; bucket += warp_count())
        for (i64 j = 0; j < B && others[bucket * B + j] != 0; ++j)
            put_by_warp(slots + bucket * B, B, others[bucket * B + j], keys[bucket / W]);
}

// Write the buckets of one table in falling order of priority to `out`; an id's place is the number of ids
// before it.
template <class Slot>
__device__ void order(const Slot* slots, u64 key, i64 W, i64 B, Slot* out) {
    for (i64 bucket = warp_number(); bucket < W; bucket += warp_count()) {
        const Slot* ids = slots + bucket * B;
        i64 filled = 0;
        while (filled < B && ids[filled] != 0) ++filled;
        for (i64 j = lane_number(); j < B; j += 32) {
            if (j >= filled) {
                out[bucket * B + j] = 0;
                continue;
            }
            u64 mine = priority(ids[j], key);
            i64 before = 0;
            for (i64 other = 0; other < filled; ++other) {
                u64 value = priority(ids[other], key);
                before += value > mine || (value == mine && other < j);
            }
            out[bucket * B + before] = ids[j];
        }
    }
}

// Count the ids in a query's buckets, in a table of `size` places, a power of two, in a block's own memory.
template <class Slot>
struct Found {
    Slot* slots;
    i32* counts;
    // The first bucket of each id, with those of first probes before those of second ones; or null.
    i32* firsts;
    i64 size;

    __device__ Found(unsigned char* room, i64 size, bool with_firsts) : size(size) {
        slots = (Slot*)room;
        counts = (i32*)(slots + size);
        firsts = with_firsts ? counts + size : nullptr;
    }

    __device__ void count(const Slot* all, const u32* codes, i64 L, i64 W, i64 B, i64 P) {
        for (i64 s = threadIdx.x; s < size; s += blockDim.x) {
            slots[s] = 0;
            counts[s] = 0;
            if (firsts) firsts[s] = 0x7FFFFFFF;
        }
        __syncthreads();
        for (i64 t = threadIdx.x; t < L * P * B; t += blockDim.x) {
            i64 table = t / B % L, p = t / B / L;
            const u32* probes = codes + table * P;
            // Codes are reduced to few buckets, so two probes may have one bucket.
            bool again = false;
            for (i64 q = 0; q < p; ++q) again |= probes[q] == probes[p];
            Slot slot = again ? 0 : all[(table * W + probes[p]) * B + t % B];
            if (slot == 0) continue;
            i64 place = (i64)(((u64)slot * 0x9E3779B97F4A7C15ull) >> 32) & (size - 1);
            while (true) {
                Slot held = atomicCAS(slots + place, (Slot)0, slot);
                if (held == 0 || held == slot) break;
                place = (place + 1) & (size - 1);
            }
            atomicAdd(counts + place, 1);
            if (firsts) atomicMin(firsts + place, (i32)(t / B));
        }
        __syncthreads();
    }

    // Tell whether one goes before another: the more frequent first, then that of an earlier bucket, then the
    // lower; empty places are last.
    __device__ bool before(i64 s, i64 other) const {
        if (counts[s] != counts[other]) return counts[s] > counts[other];
        if (firsts && firsts[s] != firsts[other]) return firsts[s] < firsts[other];
        return slots[s] < slots[other];
    }

    // Batcher's bitonic sort.
    __device__ void sort() {
        for (i64 run = 2; run <= size; run *= 2) {
            for (i64 step = run / 2; step; step /= 2) {
                for (i64 s = threadIdx.x; s < size; s += blockDim.x) {
                    i64 other = s ^ step;
                    if (other < s || !((s & run) ? before(s, other) : before(other, s))) continue;
                    Slot slot = slots[s];
                    i32 count = counts[s];
                    slots[s] = slots[other];
                    counts[s] = counts[other];
                    slots[other] = slot;
                    counts[other] = count;
                    if (firsts) {
                        i32 first = firsts[s];
                        firsts[s] = firsts[other];
                        firsts[other] = first;
                    }
                }
                __syncthreads();
            }
        }
    }
};

template <class Slot>
__device__ void query(const Slot* slots, const u32* codes, i64 k, i64 L, i64 W, i64 B, i64 P, i64 size,
                      bool in_shared, u8* memory, i64 room, i64 start, i64 stop, i64* out_ids,
                      i32* out_counts) {
    DYNAMIC_SHARED(unsigned char, shared);
    Found<Slot> found(in_shared ? shared : memory + blockIdx.x * room, size, false);
    for (i64 i = start + blockIdx.x; i < stop; i += gridDim.x) {
        found.count(slots, codes + i * L * P, L, W, B, P);
        found.sort();
        for (i64 j = threadIdx.x; j < k; j += blockDim.x) {
            bool is_one = j < size && found.counts[j] > 0;
            out_ids[i * k + j] = is_one ? (i64)found.slots[j] - 1 : -1;
            out_counts[i * k + j] = is_one ? found.counts[j] : 0;
        }
        __syncthreads();
    }
}

// Write the most frequent ids until their room is full; those of query i begin at offsets[i - start].
template <class Slot>
__device__ void frequent(const Slot* slots, const u32* codes, const i64* offsets, i64 L, i64 W, i64 B, i64 P,
                         i64 size, bool in_shared, u8* memory, i64 room, i64 start, i64 stop, Slot* out,
                         i64* sizes) {
    DYNAMIC_SHARED(unsigned char, shared);
    Found<Slot> found(in_shared ? shared : memory + blockIdx.x * room, size, true);
    for (i64 i = start + blockIdx.x; i < stop; i += gridDim.x) {
        found.count(slots, codes + i * L * P, L, W, B, P);
        // An id that was added twice may count more often than there are tables: that is the most.
        for (i64 s = threadIdx.x; s < size; s += blockDim.x) found.counts[s] = min(found.counts[s], (i32)L);
        __syncthreads();
        found.sort();
        i64 first = offsets[i - start], most = min(offsets[i - start + 1] - first, size);
        for (i64 j = threadIdx.x; j < most && found.counts[j]; j += blockDim.x)
            out[first + j] = found.slots[j];
        if (threadIdx.x == 0) {
            // A search by halves for the first empty place gives their number.
            i64 low = 0, high = most;
            while (low < high) {
                i64 middle = (low + high) / 2;
                if (found.counts[middle])
                    low = middle + 1;
                else
                    high = middle;
            }
            sizes[i - start] = low;
        }
        __syncthreads();
    }
}

template <class Count>
__device__ void bound(const Count* seen, const u32* codes, i64 B, i64 L, i64 W, i64 P, i64 start, i64 stop,
                      i64* out) {
    for (i64 i = start + thread_number(); i < stop; i += thread_count()) {
        i64 total = 0;
        for (i64 t = 0; t < L; ++t)
            for (i64 p = 0; p < P; ++p) total += min((i64)seen[t * W + codes[(i * L + t) * P + p]], B);
        out[i - start] = total;
    }
}

#define INSERT(suffix, Slot, Count)                                                                    \
    extern "C" __global__ void insert_ids_##suffix(const u32* codes, const Slot* ids, const u64* keys, \
                                                   i64 n, i64 L, i64 W, i64 B, i64 start, i64 stop,    \
                                                   Slot* slots, Count* seen) {                         \
        insert(codes, ids, keys, n, L, W, B, start, stop, slots, seen);                                \
    }
INSERT(uint32_int32, u32, i32)
INSERT(uint32_int64, u32, i64)
INSERT(uint64_int32, u64, i32)
INSERT(uint64_int64, u64, i64)

#define BUCKETS(suffix, Slot)                                                                                \
    extern "C" __global__ void merge_buckets_##suffix(const Slot* others, const u64* keys, i64 W, i64 B,     \
                                                      i64 start, i64 stop, Slot* slots) {                    \
        merge(others, keys, W, B, start, stop, slots);                                                       \
    }                                                                                                        \
    extern "C" __global__ void order_buckets_##suffix(const Slot* slots, u64 key, i64 W, i64 B, Slot* out) { \
        order(slots, key, W, B, out);                                                                        \
    }                                                                                                        \
    extern "C" __global__ void priorities_##suffix(const Slot* slots, u64 key, i64 n, u64* out) {            \
        for (i64 t = thread_number(); t < n; t += thread_count())                                            \
            out[t] = slots[t] == 0 ? ~0ull : ~priority(slots[t], key);                                       \
    }                                                                                                        \
    extern "C" __global__ void query_buckets_##suffix(                                                       \
        const Slot* slots, const u32* codes, i64 k, i64 L, i64 W, i64 B, i64 P, i64 size, bool in_shared,    \
        u8* memory, i64 room, i64 start, i64 stop, i64* out_ids, i32* out_counts) {                          \
        query(slots, codes, k, L, W, B, P, size, in_shared, memory, room, start, stop, out_ids, out_counts); \
    }                                                                                                        \
    extern "C" __global__ void frequent_ids_##suffix(                                                        \
        const Slot* slots, const u32* codes, const i64* offsets, i64 L, i64 W, i64 B, i64 P, i64 size,       \
        bool in_shared, u8* memory, i64 room, i64 start, i64 stop, Slot* out, i64* sizes) {                  \
        frequent(slots, codes, offsets, L, W, B, P, size, in_shared, memory, room, start, stop, out, sizes); \
    }
BUCKETS(uint32, u32)
BUCKETS(uint64, u64)

#define BOUND(suffix, Count)                                                                           \
    extern "C" __global__ void bound_found_##suffix(const Count* seen, const u32* codes, i64 B, i64 L, \
                                                    i64 W, i64 P, i64 start, i64 stop, i64* out) {     \
        bound(seen, codes, B, L, W, P, start, stop, out);                                              \
    }
BOUND(int32, i32)
BOUND(int64, i64)
