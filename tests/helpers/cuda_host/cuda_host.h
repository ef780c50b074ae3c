// A meaning on the host for the words of CUDA C++ that our kernels use, so that they run without a GPU.
//
// One thread of the system stands for each warp of a block, in which the warp's lanes take turns: a lane runs until
// it comes to a barrier, a shuffle or a ballot, and goes on when all lanes of the warp have come there. Blocks run
// one after the other, as the hardware may do. What it shows: indices, arithmetic, barriers, atomics between
// warps, and lanes that come to different barriers, which end the program. What it cannot show: speed, and memory
// orderings weaker than those of the host.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__ static
#define MERGESKETCH_HOST 1

using std::isfinite;
using std::isnan;
using std::max;
using std::min;

struct uint3 {
    unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

inline thread_local uint3 threadIdx, blockIdx;
inline thread_local dim3 blockDim, gridDim;

namespace host {
constexpr int WARP = 32;
constexpr int STACK = 128 << 10;
enum class Waits { NOTHING, WARP_BARRIER, BLOCK_BARRIER, DONE };

struct Lane {
    ucontext_t context;
    jmp_buf here;
    uint3 index;
    Waits waits = Waits::NOTHING;
    std::unique_ptr<char[]> stack{new char[STACK]};
};

struct Team {
    Team(int n, int n_warps) : everyone(n_warps), lanes(n), slots(n) {}
    std::barrier<> everyone;
    std::vector<Lane> lanes;
    std::vector<uint64_t> slots;  // what each thread shows to its warp
};

inline thread_local Team* team = nullptr;
inline thread_local int rank = 0;
inline thread_local jmp_buf scheduler;
inline thread_local void (*kernel_of)(void*) = nullptr;
inline thread_local void* arguments_of = nullptr;
inline unsigned char* dynamic_shared = nullptr;

// Lanes and their scheduler change places by jumps, which ask nothing of the system.
inline void wait(Waits what) {
    Lane& lane = team->lanes[rank];
    lane.waits = what;
    if (_setjmp(lane.here) == 0) _longjmp(scheduler, 1);
}
inline void warp_barrier() { wait(Waits::WARP_BARRIER); }

inline void enter() {
    kernel_of(arguments_of);
    wait(Waits::DONE);
}

[[noreturn]] inline void fail(const char* why) {
    std::fprintf(stderr, "cuda_host: %s\n", why);
    std::abort();
}

// One block's lanes [first, last) of a warp, from their beginning to their end.
inline void run_warp(int first, int last) {
    for (int i = first; i < last; ++i) team->lanes[i].waits = Waits::NOTHING;
    bool begun = false;
    while (true) {
        for (volatile int i = first; i < last; i = i + 1) {
            Lane& lane = team->lanes[i];
            rank = i;
            threadIdx = lane.index;
            if (_setjmp(scheduler)) continue;
            if (begun) _longjmp(lane.here, 1);
            getcontext(&lane.context);
            lane.context.uc_stack.ss_sp = lane.stack.get();
            lane.context.uc_stack.ss_size = STACK;
            lane.context.uc_link = nullptr;
            makecontext(&lane.context, enter, 0);
            setcontext(&lane.context);
        }
        begun = true;
        Waits waits = team->lanes[first].waits;
        for (int i = first; i < last; ++i)
            if (team->lanes[i].waits != waits) fail("lanes of a warp came to different barriers, or ended without");
        if (waits == Waits::DONE) return;
        if (waits == Waits::BLOCK_BARRIER) team->everyone.arrive_and_wait();
    }
}

// Every thread of the warp shows a value and reads what `lane` shows. All must come here together:
// a mask that leaves lanes out is an error here, so kernels use full masks only.
template <class T> T exchange(T value, int lane) {
    static_assert(sizeof(T) <= 8);
    std::memcpy(&team->slots[rank], &value, sizeof(T));
    warp_barrier();
    T other;
    std::memcpy(&other, &team->slots[rank / WARP * WARP + lane], sizeof(T));
    warp_barrier();
    return other;
}
}  // namespace host

constexpr int warpSize = host::WARP;

inline void __syncthreads() { host::wait(host::Waits::BLOCK_BARRIER); }
inline void __syncwarp(unsigned = 0xFFFFFFFFu) { host::warp_barrier(); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

template <class T> T __shfl_sync(unsigned, T value, int lane) { return host::exchange(value, lane & 31); }
template <class T> T __shfl_xor_sync(unsigned, T value, int mask) {
    return host::exchange(value, (host::rank & 31) ^ mask);
}
template <class T> T __shfl_down_sync(unsigned, T value, unsigned by) {
    int lane = (host::rank & 31) + static_cast<int>(by);
    return host::exchange(value, lane < host::WARP ? lane : host::rank & 31);
}
template <class T> T __shfl_up_sync(unsigned, T value, unsigned by) {
    int lane = (host::rank & 31) - static_cast<int>(by);
    return host::exchange(value, lane >= 0 ? lane : host::rank & 31);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
    host::team->slots[host::rank] = predicate != 0;
    host::warp_barrier();
    unsigned bits = 0;
    int first = host::rank / host::WARP * host::WARP;
    int n = std::min<int>(host::WARP, static_cast<int>(host::team->slots.size()) - first);
    for (int lane = 0; lane < n; ++lane) bits |= static_cast<unsigned>(host::team->slots[first + lane]) << lane;
    host::warp_barrier();
    return bits;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
inline unsigned __reduce_min_sync(unsigned, unsigned value) {
    for (int by = 16; by; by /= 2) value = std::min(value, __shfl_xor_sync(~0u, value, by));
    return value;
}

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
template <class T> T __ldg(const T* p) { return *p; }

template <class T, class U> T host_float_add(T* address, U value) {
    using Word = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    auto* word = reinterpret_cast<Word*>(address);
    Word seen = __atomic_load_n(word, __ATOMIC_RELAXED), next;
    T old, sum;
    do {
        std::memcpy(&old, &seen, sizeof(T));
        sum = old + value;
        std::memcpy(&next, &sum, sizeof(T));
    } while (!__atomic_compare_exchange_n(word, &seen, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
// As CUDA has them: no overload for signed 64-bit words.
inline int atomicAdd(int* p, int v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
inline unsigned atomicAdd(unsigned* p, unsigned v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) {
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}
inline float atomicAdd(float* p, float v) { return host_float_add(p, v); }
inline double atomicAdd(double* p, double v) { return host_float_add(p, v); }
template <class T> T host_replace(T* p, T v, bool (*better)(T, T)) {
    T seen = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (better(v, seen) &&
           !__atomic_compare_exchange_n(p, &seen, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return seen;
}
template <class T> T atomicMin(T* p, T v) {
    return host_replace<T>(p, v, [](T a, T b) { return a < b; });
}
template <class T> T atomicMax(T* p, T v) {
    return host_replace<T>(p, v, [](T a, T b) { return a > b; });
}
template <class T> T atomicOr(T* p, T v) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }
template <class T> T atomicAnd(T* p, T v) { return __atomic_fetch_and(p, v, __ATOMIC_RELAXED); }
template <class T> T atomicExch(T* p, T v) { return __atomic_exchange_n(p, v, __ATOMIC_RELAXED); }
template <class T> T atomicCAS(T* p, T expected, T v) {
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}

inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
inline double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }

namespace host {
template <class Kernel> void launch(const unsigned* grid, const unsigned* block, long shared, Kernel kernel) {
    dim3 blocks{grid[0], grid[1], grid[2]}, threads{block[0], block[1], block[2]};
    int n = static_cast<int>(threads.x * threads.y * threads.z), n_warps = (n + WARP - 1) / WARP;
    Team crew(n, n_warps);
    for (int i = 0; i < n; ++i) {
        unsigned u = static_cast<unsigned>(i);
        crew.lanes[i].index = {u % threads.x, u / threads.x % threads.y, u / (threads.x * threads.y)};
    }
    // Filled with a pattern, for what is not written has no value on a GPU either.
    std::vector<unsigned char> memory(shared + 16, 0xA5);
    dynamic_shared = memory.data() + (16 - reinterpret_cast<uintptr_t>(memory.data()) % 16) % 16;
    auto work = [&](int warp) {
        team = &crew;
        blockDim = threads;
        gridDim = blocks;
        kernel_of = [](void* called) { (*static_cast<Kernel*>(called))(); };
        arguments_of = &kernel;
        for (unsigned z = 0; z < blocks.z; ++z)
            for (unsigned y = 0; y < blocks.y; ++y)
                for (unsigned x = 0; x < blocks.x; ++x) {
                    blockIdx = {x, y, z};
                    run_warp(warp * WARP, std::min(n, (warp + 1) * WARP));
                    crew.everyone.arrive_and_wait();
                }
    };
    std::vector<std::thread> others;
    for (int warp = 1; warp < n_warps; ++warp) others.emplace_back(work, warp);
    work(0);
    for (auto& thread : others) thread.join();
}
}  // namespace host
