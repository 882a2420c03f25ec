// RoIAlign on [B, H, W, C] maps, C padded to 16 bytes, or on as many channels of wider maps.
//
// A block pools a group of RoIs on a band of bin rows and a slice of the channels, in vectors of 16 bytes, so that
// every load and store is a run of channels. Usually a thread pools one bin for one vector at a time (pool_bins). Where
// all RoIs of the group have the same rows it takes two passes instead, with sums down the columns that all share
// (pool_shared_rows). Bytes from memory: each map once, where the RoIs cover it, and the output once:
// (sum B*H*W*C + R*P*P*C) * sizeof(T), C padded. Loads: per bin, (rows of taps) x (columns of taps) cells, of each RoI
// or, where rows are shared, of each group. As in roi_align_planar.cuh, in gigabytes:
//   14 x 14, 256 channels: 0.26, 0.26, 3.16; 28 x 28, 128: 0.20, 0.26, 1.79; 56 x 56, 64: 0.22, 0.15, 1.15.
#pragma once

#include "column_sums.h"

namespace refinemask {

struct InterleavedShape {
    Divisor by_bins;
    Divisor by_vectors;  // of a block's slice of the channels
    int group_log2;
    int rows_per_block;
    int capacity_y;
    int capacity_x;
    int map_stride;        // values from one cell of a map to the next
    int output_stride;     // values from one bin of the output to the next
    int columns_capacity;  // floats of the shared column sums; 0: there are none
};

constexpr int kInterleavedThreads = 512;
constexpr int kSharedChannels = 16;  // of the widest window, whose column sums are in shared memory at once
constexpr int kColumnPadding = 4;    // floats between columns, to part the shared memory's banks

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
#pragma unroll
            for (int j = 0; j < kInFlight; ++j) {
                if (first + j < columns.count) {
                    const int x = columns.taps[first + j].index;
                    packs[j] = Pack<T, kVector>::load(row + static_cast<uint32_t>(x * column_stride));
                }
            }
#pragma unroll
            for (int j = 0; j < kInFlight; ++j) {
                if (first + j < columns.count) {
                    const float weight = y.weight * columns.taps[first + j].weight;
#pragma unroll
                    for (int k = 0; k < kVector; ++k) {
                        sums[k] = fmaf(packs[j][k], weight, sums[k]);
                    }
                }
            }
        }
    }
}

// The first RoI, bin row and vector of a block's share of the output.
struct Share {
    int roi;
    int row;
    int vector;

    __device__ explicit Share(const InterleavedShape& shape)
        : roi(blockIdx.x << shape.group_log2),
          row(blockIdx.y * shape.rows_per_block),
          vector(blockIdx.z * shape.by_vectors.value) {}
};

template <typename T>
__device__ __forceinline__ void store_bin(const RefinemaskRoiAlign& problem, int stride, int roi, int row, int column,
                                          int vector, float (&sums)[kChannelVector<T>]) {
    constexpr int kVector = kChannelVector<T>;
    const int bins = problem.output_size, channel = vector * kVector;
#pragma unroll
    for (int k = 0; k < kVector; ++k) {
        sums[k] = channel + k < problem.channels ? sums[k] : 0.0f;
    }
    const int64_t place = (static_cast<int64_t>(roi) * bins + row) * bins + column;
    Pack<T, kVector>::of(sums).store(static_cast<T*>(problem.output) + place * stride + channel);
}

// The order in which a block's threads take the bins of its RoIs, a unit each.
//
// The RoIs take turns, so that they share cache lines. A turn is a run of bins, as many as a warp takes at once: if a
// warp's threads pooled different RoIs, all would wait for the largest. The turns shift, so that no warp is left with
// the largest RoI alone.
struct Turns {
    int run_log2;
    int group_log2;

    __device__ explicit Turns(const InterleavedShape& shape)
        : run_log2(shape.by_vectors.value >= 32 ? 0 : shape.by_vectors.value > 8 ? 1 : 2),
          group_log2(shape.group_log2) {}

    __device__ int units(int bins) const { return ceil_div(bins, 1 << run_log2) << (run_log2 + group_log2); }
    __device__ int bin(int unit) const {
        return (unit >> (run_log2 + group_log2) << run_log2) + (unit & ((1 << run_log2) - 1));
    }
    __device__ int member(int unit) const {
        const int turn = unit >> run_log2;
        return (turn + turn / kMaxGroup) & ((1 << group_log2) - 1);
    }
};

// Each thread one bin of one RoI at a time.
template <typename T>
__device__ __forceinline__ void pool_bins(const RefinemaskRoiAlign& problem, const InterleavedShape& shape,
                                          const Share& share, const Member* members, const TapTable& table) {
    constexpr int kVector = kChannelVector<T>;
    const Turns turns(shape);
    const int bins = min(shape.rows_per_block, table.bins - share.row) * table.bins;
    const int items = turns.units(bins) * shape.by_vectors.value;
    for (int item = threadIdx.x; item < items; item += kInterleavedThreads) {
        const int unit = shape.by_vectors.quotient(item), bin = turns.bin(unit), member = turns.member(unit);
        const int vector = share.vector + item - unit * shape.by_vectors.value;
        if (bin >= bins || share.roi + member >= problem.num_rois || vector * kVector >= shape.output_stride) {
            continue;
        }
        const int band_row = shape.by_bins.quotient(bin), row = share.row + band_row;
        const int column = bin - band_row * table.bins;
        const T* cells = static_cast<const T*>(members[member].map) + vector * kVector;
        float sums[kVector] = {};
        sum_bin(cells, table.bin(member, 0, row), table.bin(member, 1, column),
                members[member].width * shape.map_stride, shape.map_stride, sums);
        store_bin<T>(problem, shape.output_stride, share.roi + member, row, column, vector, sums);
    }
}

// Vectors of one bin row whose column sums are in shared memory together.
struct Chunk {
    Divisor vectors;
    int first_vector;
    int row;
    int pitch;  // floats from one column to the next
};

// First pass: down the columns of the window.
template <typename T>
__device__ __forceinline__ void sum_window(const Chunk& chunk, const Member& member, int stride, const Window& window,
                                           const TapTable& table, float* column_sums) {
    constexpr int kVector = kChannelVector<T>;
    const Bin rows = table.bin(0, 0, chunk.row);
    for (int item = threadIdx.x; item < chunk.vectors.value * window.columns; item += kInterleavedThreads) {
        const int column = chunk.vectors.quotient(item), vector = item - column * chunk.vectors.value;
        const int64_t cell = static_cast<int64_t>(column - window.base) * stride;
        const T* cells = static_cast<const T*>(member.map) + cell + (chunk.first_vector + vector) * kVector;
        float sums[kVector] = {};
        sum_rows(cells, rows, member.width * stride, sums);
        auto* const quads = reinterpret_cast<float4*>(column_sums + column * chunk.pitch + vector * kVector);
#pragma unroll
        for (int k = 0; k < kVector; k += 4) {
            quads[k / 4] = float4{sums[k], sums[k + 1], sums[k + 2], sums[k + 3]};
        }
    }
}

// Second pass: along the row, for each RoI.
template <typename T>
__device__ __forceinline__ void sum_bins(const RefinemaskRoiAlign& problem, const InterleavedShape& shape,
                                         const Share& share, const Chunk& chunk, const Window& window,
                                         const TapTable& table, const float* column_sums) {
    constexpr int kVector = kChannelVector<T>;
    const int present = min(1 << shape.group_log2, problem.num_rois - share.roi);
    const int items = chunk.vectors.value * table.bins * present;
    for (int item = threadIdx.x; item < items; item += kInterleavedThreads) {
        const int bin = chunk.vectors.quotient(item), vector = item - bin * chunk.vectors.value;
        const int member = shape.by_bins.quotient(bin), column = bin - member * table.bins;
        const float* const cells = column_sums + window.base * chunk.pitch + vector * kVector;
        float sums[kVector] = {};
        for_each_from<1>(table.bin(member, 1, column), column, [&](const Tap& tap) {
            const auto* const quads = reinterpret_cast<const float4*>(cells + tap.index * chunk.pitch);
#pragma unroll
            for (int k = 0; k < kVector; k += 4) {
                const float4 quad = quads[k / 4];
                sums[k] = fmaf(quad.x, tap.weight, sums[k]);
                sums[k + 1] = fmaf(quad.y, tap.weight, sums[k + 1]);
                sums[k + 2] = fmaf(quad.z, tap.weight, sums[k + 2]);
                sums[k + 3] = fmaf(quad.w, tap.weight, sums[k + 3]);
            }
        });
        store_bin<T>(problem, shape.output_stride, share.roi + member, chunk.row, column, chunk.first_vector + vector,
                     sums);
    }
}

// All RoIs of a group whose rows are the same, in two passes per chunk.
template <typename T>
__device__ __forceinline__ void pool_shared_rows(const RefinemaskRoiAlign& problem, const InterleavedShape& shape,
                                                 const Share& share, const Member& member, const Window& window,
                                                 const TapTable& table, float* column_sums) {
    constexpr int kVector = kChannelVector<T>;
    const int end_row = min(share.row + shape.rows_per_block, table.bins);
    const int end_vector = min(share.vector + shape.by_vectors.value, shape.output_stride / kVector);
    const int room = (shape.columns_capacity / max(window.columns, 1) - kColumnPadding) / kVector;
#pragma unroll 1
    for (int row = share.row; row < end_row; ++row) {
#pragma unroll 1
        for (int first = share.vector; first < end_vector; first += room) {
            const int vectors = min(room, end_vector - first);
            const Chunk chunk{vectors, first, row, vectors * kVector + kColumnPadding};
            sum_window<T>(chunk, member, shape.map_stride, window, table, column_sums);
            __syncthreads();
            sum_bins<T>(problem, shape, share, chunk, window, table, column_sums);
            __syncthreads();
        }
    }
}

template <typename T>
__global__ void __launch_bounds__(kInterleavedThreads, 2)
    roi_align_interleaved(const RefinemaskRoiAlign problem, const InterleavedShape shape) {
    __shared__ Member members[kMaxGroup];
    __shared__ Window windows[kMaxGroup];
    const int group = 1 << shape.group_log2;
    float* const column_sums = reinterpret_cast<float*>(dynamic_shared());
    const TapTable table(column_sums + shape.columns_capacity, group, problem.output_size, shape.capacity_y,
                         shape.capacity_x);
    const Share share(shape);
    if (threadIdx.x < group) {
        members[threadIdx.x] = read_member(problem, share.roi + threadIdx.x, [&](int height, int width) {
            return static_cast<int64_t>(height) * width * shape.map_stride * sizeof(T);
        });
    }
    __syncthreads();
    fill_taps(table, members, group);
    if (shape.columns_capacity > 0 && all_have_same_rows(members, min(group, problem.num_rois - share.roi))) {
        find_windows(table, members, group, 1, windows);
        pool_shared_rows<T>(problem, shape, share, members[0], windows[0], table, column_sums);
        return;
    }
    pool_bins<T>(problem, shape, share, members, table);
}

}  // namespace refinemask
