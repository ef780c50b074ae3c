"""Test that the stand-in for a GPU follows CUDA, and ends programs that a GPU might accept."""

from __future__ import annotations

import subprocess
import sys

import cuda_host
import numpy as np
import pytest
from paths import environment

pytestmark = pytest.mark.skipif(cuda_host.compiler() is None, reason="needs g++")

SOURCE = """
extern "C" __global__ void lanes(unsigned* shown, unsigned* ballots, int n) {
    unsigned t = blockIdx.x * blockDim.x + threadIdx.x;
    shown[t] = __shfl_xor_sync(0xFFFFFFFFu, t, 5) + 1000 * __shfl_sync(0xFFFFFFFFu, t, (int)(t + 1));
    ballots[t] = __ballot_sync(0xFFFFFFFFu, t % 3 == 0);
}
extern "C" __global__ void reverse(const int* in, int* out) {
    __shared__ int room[64];
    room[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    out[blockIdx.x * blockDim.x + threadIdx.x] = room[blockDim.x - 1 - threadIdx.x];
}
extern "C" __global__ void count(unsigned long long* total, int turns) {
    for (int i = 0; i < turns; ++i) atomicAdd(total, 1ull);
}
extern "C" __global__ void part(int* out) {
    if (threadIdx.x % 2) __syncwarp();
    out[threadIdx.x] = 1;
}
"""


@pytest.mark.slow
def test_shuffles_and_ballots() -> None:
    shown, ballots = np.zeros(128, np.uint32), np.zeros(128, np.uint32)
    cuda_host.HostModule(SOURCE).launch("lanes", (2,), (64,), (shown, ballots, np.int32(0)))
    t = np.arange(128)
    np.testing.assert_array_equal(shown, (t ^ 5) + 1000 * (t // 32 * 32 + (t + 1) % 32))
    for first in range(0, 128, 32):
        bits = sum(1 << lane for lane in range(32) if (first + lane) % 3 == 0)
        assert (ballots[first : first + 32] == bits).all()


def test_blocks_wait_for_all_their_warps() -> None:
    given, out = np.arange(192, dtype=np.int32), np.zeros(192, np.int32)
    cuda_host.HostModule(SOURCE).launch("reverse", (3,), (64,), (given, out))
    np.testing.assert_array_equal(out, given.reshape(3, 64)[:, ::-1].ravel())


def test_atomics_lose_nothing() -> None:
    total = np.zeros(1, np.uint64)
    cuda_host.HostModule(SOURCE).launch("count", (2,), (256,), (total, np.int32(1000)))
    assert total[0] == 2 * 256 * 1000


def test_lanes_that_part_at_a_barrier_end_the_program() -> None:
    code = (
        "import numpy as np, cuda_host\n"
        f"module = cuda_host.HostModule({SOURCE!r})\n"
        "module.launch('part', (1,), (32,), (np.zeros(32, np.int32),))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment()
    )
    assert done.returncode != 0
    assert "lanes of a warp came to different barriers" in done.stderr


def test_arguments_are_checked() -> None:
    module = cuda_host.HostModule(SOURCE)
    with pytest.raises(TypeError, match="argument 1 of count must be a scalar of int32, got int64"):
        module.launch("count", (1,), (32,), (np.zeros(1, np.uint64), np.int64(1)))
    with pytest.raises(TypeError, match="count takes 2 arguments, got 1"):
        module.launch("count", (1,), (32,), (np.zeros(1, np.uint64),))
    with pytest.raises(ValueError, match="no block has 49153 bytes of shared memory"):
        module.launch("count", (1,), (32,), (np.zeros(1, np.uint64), np.int32(1)), 49153)
