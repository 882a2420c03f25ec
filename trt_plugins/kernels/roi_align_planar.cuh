// RoIAlign on [B, C, H, W] maps.
//
// A block pools a group of RoIs on a slice of the channels, in two passes per chunk of (channel, bin row) pairs:
//   1. down the columns: one value per column of the RoIs' windows, threads along x, four cells per load;
//   2. along the rows: one output per bin from those columns, in shared memory.
// Bytes from memory: each map once, where the RoIs cover it (the groups' repeated reads hit the caches), and the output
// once: (sum B*C*H*W + R*C*P*P) * sizeof(T). Loads: per group of RoIs, channel and bin row, (rows of taps) x (columns
// of the window) cells for each set of rows. 100 RoIs on fp16 200 x 336 maps, in gigabytes, counted by the tests'
// stand-in for a device: COCO-like boxes, then full-image ones, then large ones without a common side:
//   14 x 14, 256 channels: 0.23, 0.26, 3.06; 28 x 28, 128: 0.14, 0.14, 1.65; 56 x 56, 64: 0.10, 0.15, 0.97.
#pragma once

#include "column_sums.h"

namespace refinemask {

struct PlanarShape {
    Divisor by_bins;
    int group;
    int channels_per_block;
    int capacity_y;
    int capacity_x;
    int columns_capacity;  // floats of the first pass' results, a multiple of the vector's width
};

constexpr int kPlanarThreads = 512;
constexpr int kPlanarVector = 4;

// As sum_rows where rows are not aligned: of the first `present` columns, one by one.
template <typename T>
__device__ __forceinline__ void sum_rows_narrow(const T* column, const Bin& rows, int width, int present,
                                                float (&sums)[kPlanarVector]) {
#pragma unroll 1
    for (int i = 0; i < rows.count; ++i) {
        const Tap tap = rows.taps[i];
        const T* cells = column + static_cast<int64_t>(tap.index) * width;
#pragma unroll
        for (int k = 0; k < kPlanarVector; ++k) {
            if (k < present) {
                sums[k] = fmaf(to_float(cells[k]), tap.weight, sums[k]);
            }
        }
    }
}

// Whether the rows of a member's map start at multiples of the vector's size.
template <typename T>
__device__ __forceinline__ bool has_wide_rows(const Member& member) {
    const bool aligned = reinterpret_cast<uintptr_t>(member.map) % (sizeof(T) * kPlanarVector) == 0;
    return aligned && member.width % kPlanarVector == 0;
}

template <typename T>
__global__ void __launch_bounds__(kPlanarThreads, 2)
    roi_align_planar(const RefinemaskRoiAlign problem, const PlanarShape shape) {
    __shared__ Member members[kMaxGroup];
    __shared__ Window windows[kMaxGroup];
    const int bins = problem.output_size, channels = problem.channels;
    const int map_channels = problem.map_channels ? problem.map_channels : channels;
    float* const column_sums = reinterpret_cast<float*>(dynamic_shared());
    const TapTable table(column_sums + shape.columns_capacity, shape.group, bins, shape.capacity_y, shape.capacity_x);
    const int first_roi = blockIdx.x * shape.group;
    const int first_channel = blockIdx.y * shape.channels_per_block;

    if (threadIdx.x < shape.group) {
        members[threadIdx.x] = read_member(problem, first_roi + threadIdx.x, [&](int height, int width) {
            return static_cast<int64_t>(map_channels) * height * width * sizeof(T);
        });
    }
    __syncthreads();
    fill_taps(table, members, shape.group);
    find_windows(table, members, shape.group, kPlanarVector, windows);

    const Window last = windows[shape.group - 1];
    const int vectors = (last.offset + last.columns) / kPlanarVector;
    const int pairs = min(shape.channels_per_block, channels - first_channel) * bins;
    const int room = shape.columns_capacity / (max(vectors, 1) * kPlanarVector);
    const int chunk = min(pairs, min(room, Divisor::kExact / (bins * shape.group)));
    const int present = min(shape.group, problem.num_rois - first_roi);
    const Divisor by_vectors(max(vectors, 1));

    for (int first_pair = 0; first_pair < pairs; first_pair += chunk) {
        const int chunk_pairs = min(chunk, pairs - first_pair);
        for (int item = threadIdx.x; item < chunk_pairs * vectors; item += kPlanarThreads) {
            const int pair = by_vectors.quotient(item);
            const int column = (item - pair * vectors) * kPlanarVector;
            const int at = member_at(windows, shape.group, column);
            const Member& member = members[at];
            const int channel = shape.by_bins.quotient(first_pair + pair);
            const Bin rows = table.bin(at, 0, first_pair + pair - channel * bins);
            const int x = column - windows[at].base;
            const int64_t plane = static_cast<int64_t>(first_channel + channel) * member.height * member.width;
            const T* cells = static_cast<const T*>(member.map) + plane + x;
            float sums[kPlanarVector] = {};
            if (has_wide_rows<T>(member)) {
                sum_rows(cells, rows, member.width, sums);
            } else {
                sum_rows_narrow(cells, rows, member.width, member.width - x, sums);
            }
            Pack<float, kPlanarVector>::of(sums).store(column_sums + item * kPlanarVector);
        }
        __syncthreads();

        const int outputs = chunk_pairs * bins;
        const Divisor by_outputs(outputs);
        for (int item = threadIdx.x; item < outputs * present; item += kPlanarThreads) {
            const int member = by_outputs.quotient(item);
            const int output = item - member * outputs;
            const int pair = shape.by_bins.quotient(output);
            const int bin = output - pair * bins;
            const float* row = column_sums + pair * vectors * kPlanarVector + windows[member].base;
            float sum = 0.0f;
            for_each_from<4>(table.bin(member, 1, bin), bin,
                             [&](const Tap& tap) { sum = fmaf(row[tap.index], tap.weight, sum); });
            const int64_t plane = static_cast<int64_t>(first_roi + member) * channels + first_channel;
            static_cast<T*>(problem.output)[(plane * bins + first_pair) * bins + output] = from_float<T>(sum);
        }
        __syncthreads();
    }
}

}  // namespace refinemask
