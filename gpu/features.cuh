// Cosines and sines of phases, and their integers, for fourier.cu and fourier_hadamard.cu.
#pragma once
#include "common.cuh"

#define CHUNK 64                     // rows that a thread adds up
#define ONE 1048576.0                // 2**20
#define ROUNDER 6755399441055744.0   // 1.5 2**52
#define TURN 6.283185307179586

__device__ __forceinline__ void cosine_and_sine(double turns, double* cosine, double* sine) {
    double part = turns - floor(turns), quarter = floor(4.0 * part + 0.5);
    double angle = TURN * (part - 0.25 * quarter), s = angle * angle;
    double up = angle * (1.0 + s * (-1.0 / 6.0 + s * (1.0 / 120.0 + s * (-1.0 / 5040.0 + s * (1.0 / 362880.0 + s * (-1.0 / 39916800.0))))));
    double across = 1.0 + s * (-1.0 / 2.0 + s * (1.0 / 24.0 + s * (-1.0 / 720.0 + s * (1.0 / 40320.0 + s * (-1.0 / 3628800.0 + s * (1.0 / 479001600.0))))));
    bool swapped = quarter == 1.0 || quarter == 3.0;
    double c = swapped ? up : across, t = swapped ? across : up;
    *cosine = quarter == 1.0 || quarter == 2.0 ? -c : c;
    *sine = quarter == 2.0 || quarter == 3.0 ? -t : t;
}

// The integer that stands for a cosine or a sine; halves round to even.
__device__ __forceinline__ i64 rounded(double value) { return (i64)((value * ONE + ROUNDER) - ROUNDER); }
