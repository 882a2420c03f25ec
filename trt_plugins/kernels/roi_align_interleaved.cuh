// RoIAlign on [B, H, W, C] maps, C padded to 16 bytes.
//
// A thread pools one bin of one RoI for the channels of a 16-byte vector; neighbouring threads take neighbouring
// vectors, so that every load and store is a full run of channels. Bytes from memory: each map once, where the RoIs
// cover it, and the output once: (sum B*H*W*C + R*P*P*C) * sizeof(T), C padded. Bytes from the first-level cache: per
// bin, (rows of taps) x (columns of taps) cells.
#pragma once

#include "roi_group.h"

namespace refinemask {

struct InterleavedShape {
    Divisor by_bins;
    Divisor by_vectors;
    int group;  // 1, 2 or 4
    int rows_per_block;
    int capacity_y;
    int capacity_x;
};

constexpr int kInterleavedThreads = 256;

template <typename T>
constexpr int kChannelVector = 16 / sizeof(T);

// Adds the cells of a bin, weighted, to `sums`.
template <typename T>
__device__ __forceinline__ void sum_bin(const T* cells, const Bin& rows, const Bin& columns, int row_stride,
                                        int column_stride, float (&sums)[kChannelVector<T>]) {
    constexpr int kVector = kChannelVector<T>, kInFlight = 4;
#pragma unroll 1
    for (int i = 0; i < rows.count; ++i) {
        const Tap y = rows.taps[i];
        const T* row = cells + static_cast<int64_t>(y.index) * row_stride;
#pragma unroll 1
        for (int first = 0; first < columns.count; first += kInFlight) {
            // All loads before the first use, the last few of a row included: most bins are two to five cells wide.
            Pack<T, kVector> packs[kInFlight];
            float weights[kInFlight];
#pragma unroll
            for (int j = 0; j < kInFlight; ++j) {
                if (first + j < columns.count) {
                    const Tap x = columns.taps[first + j];
                    packs[j] = Pack<T, kVector>::load(row + static_cast<uint32_t>(x.index * column_stride));
                    weights[j] = y.weight * x.weight;
                }
            }
#pragma unroll
            for (int j = 0; j < kInFlight; ++j) {
                if (first + j < columns.count) {
#pragma unroll
                    for (int k = 0; k < kVector; ++k) {
                        sums[k] = fmaf(packs[j][k], weights[j], sums[k]);
                    }
                }
            }
        }
    }
}

template <typename T>
__global__ void __launch_bounds__(kInterleavedThreads, 4)
    roi_align_interleaved(const RefinemaskRoiAlign problem, const InterleavedShape shape) {
    constexpr int kVector = kChannelVector<T>;
    __shared__ Member members[kMaxGroup];
    const int bins = problem.output_size, vectors = shape.by_vectors.value;
    const int stride = vectors * kVector;
    const TapTable table(dynamic_shared(), shape.group, bins, shape.capacity_y, shape.capacity_x);
    const int first_roi = blockIdx.x * shape.group;
    const int first_row = blockIdx.y * shape.rows_per_block;

    if (threadIdx.x < shape.group) {
        members[threadIdx.x] = read_member(problem, first_roi + threadIdx.x, [&](int height, int width) {
            return static_cast<int64_t>(height) * width * stride * sizeof(T);
        });
    }
    __syncthreads();
    fill_taps(table, members, shape.group);

    const int units = min(shape.rows_per_block, bins - first_row) * bins * shape.group;
    for (int item = threadIdx.x; item < units * vectors; item += kInterleavedThreads) {
        const int unit = shape.by_vectors.quotient(item);
        const int vector = item - unit * vectors;
        // RoIs take turns, bin by bin, so that they share cache lines; the turn shifts, so that no warp is left with
        // the largest RoI alone.
        const int bin = unit >> (shape.group / 2);  // of 1, 2 or 4
        const int member = (unit + unit / 8) & (shape.group - 1);
        if (first_roi + member >= problem.num_rois) {
            continue;
        }
        const int row = shape.by_bins.quotient(bin), column = bin - row * bins;
        const T* cells = static_cast<const T*>(members[member].map) + vector * kVector;
        float sums[kVector] = {};
        sum_bin(cells, table.bin(member, 0, first_row + row), table.bin(member, 1, column),
                members[member].width * stride, stride, sums);
#pragma unroll
        for (int k = 0; k < kVector; ++k) {
            sums[k] = vector * kVector + k < problem.channels ? sums[k] : 0.0f;
        }
        const int64_t place = (static_cast<int64_t>(first_roi + member) * bins + first_row + row) * bins + column;
        Pack<T, kVector>::of(sums).store(static_cast<T*>(problem.output) + place * stride + vector * kVector);
    }
}

}  // namespace refinemask
