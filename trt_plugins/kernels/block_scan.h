// Sums over the threads of a block, in the order of the threads.
#pragma once

#include "device.h"

namespace refinemask {

struct Scan {
    int before;  // sum over the threads before this one
    int total;
};

// All `kThreads` threads of the block together.
template <int kThreads>
__device__ Scan scan_block(int value) {
    __shared__ int sums[2][kThreads];
    const int thread = threadIdx.x;
    int side = 0;
    sums[side][thread] = value;
    __syncthreads();
    for (int distance = 1; distance < kThreads; distance *= 2) {
        const int* const from = sums[side];
        sums[1 - side][thread] = from[thread] + (thread >= distance ? from[thread - distance] : 0);
        side = 1 - side;
        __syncthreads();
    }
    const Scan scan{sums[side][thread] - value, sums[side][kThreads - 1]};
    __syncthreads();
    return scan;
}

}  // namespace refinemask
