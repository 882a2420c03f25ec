// RoIAlign on [B, C, H, W] maps.
//
// A block pools up to four RoIs on a slice of the channels, in two passes per chunk of (channel, bin row) pairs:
//   1. down the columns: one value per column of the RoI's window, threads along x, four cells per load;
//   2. along the rows: one output per bin from those columns, in shared memory.
// Bytes from memory: each map once, where the RoIs cover it (the groups' repeated reads hit the caches), and the output
// once: (sum B*C*H*W + R*C*P*P) * sizeof(T). Bytes from the second-level cache: per group of RoIs, channel and bin
// row, the union of (rows of taps) x (columns of the window).
#pragma once

#include "roi_group.h"

namespace refinemask {

struct PlanarShape {
    Divisor by_bins;
    int group;
    int channels_per_block;
    int capacity_y;
    int capacity_x;
    int columns_capacity;  // floats of the first pass' results, a multiple of the vector's width
};

constexpr int kPlanarThreads = 256;
constexpr int kPlanarVector = 4;

// The columns that a RoI's taps touch, from a multiple of the vector's width on.
struct Window {
    int first;
    int columns;  // a multiple of the vector's width
    int offset;   // of the window among the group's
    bool wide;    // rows start at multiples of the vector's width
};

template <typename T>
__device__ void find_windows(const TapTable& table, const Member* members, int group, Window* windows) {
    __shared__ int low[kMaxGroup], high[kMaxGroup];
    if (threadIdx.x < group) {
        low[threadIdx.x] = 1 << 30;
        high[threadIdx.x] = -1;
    }
    __syncthreads();
    for (int item = threadIdx.x; item < group * table.bins; item += blockDim.x) {
        const int member = item / table.bins;
        const Bin columns = table.bin(member, 1, item % table.bins);
        int bin_low = 1 << 30, bin_high = -1;
        for (int i = 0; i < columns.count; ++i) {
            bin_low = min(bin_low, columns.taps[i].index);
            bin_high = max(bin_high, columns.taps[i].index);
        }
        atomicMin(&low[member], bin_low);
        atomicMax(&high[member], bin_high);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        int offset = 0;
        for (int member = 0; member < group; ++member) {
            const int first = low[member] / kPlanarVector * kPlanarVector;
            const int columns = high[member] < 0 ? 0 : round_up(high[member] + 1 - first, kPlanarVector);
            const bool aligned = reinterpret_cast<uintptr_t>(members[member].map) % (sizeof(T) * kPlanarVector) == 0;
            windows[member] = {first, columns, offset, aligned && members[member].width % kPlanarVector == 0};
            offset += columns;
        }
    }
    __syncthreads();
}

// Weighted sum down the columns from `column` of one channel.
template <typename T>
__device__ __forceinline__ void sum_rows(const T* column, const Bin& rows, int width, float (&sums)[kPlanarVector]) {
    constexpr int kInFlight = 4;
#pragma unroll 1
    for (int first = 0; first < rows.count; first += kInFlight) {
        // All loads before the first use, the last few included: most bins are two to five cells high.
        Pack<T, kPlanarVector> packs[kInFlight];
        float weights[kInFlight];
#pragma unroll
        for (int i = 0; i < kInFlight; ++i) {
            if (first + i < rows.count) {
                const Tap tap = rows.taps[first + i];
                packs[i] = Pack<T, kPlanarVector>::load(column + static_cast<int64_t>(tap.index) * width);
                weights[i] = tap.weight;
            }
        }
#pragma unroll
        for (int i = 0; i < kInFlight; ++i) {
            if (first + i < rows.count) {
#pragma unroll
                for (int k = 0; k < kPlanarVector; ++k) {
                    sums[k] = fmaf(packs[i][k], weights[i], sums[k]);
                }
            }
        }
    }
}

// The same where rows are not aligned: of the first `present` columns, one by one.
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

template <typename T>
__global__ void __launch_bounds__(kPlanarThreads, 4)
    roi_align_planar(const RefinemaskRoiAlign problem, const PlanarShape shape) {
    __shared__ Member members[kMaxGroup];
    __shared__ Window windows[kMaxGroup];
    const int bins = problem.output_size, channels = problem.channels;
    float* const column_sums = reinterpret_cast<float*>(dynamic_shared());
    const TapTable table(column_sums + shape.columns_capacity, shape.group, bins, shape.capacity_y, shape.capacity_x);
    const int first_roi = blockIdx.x * shape.group;
    const int first_channel = blockIdx.y * shape.channels_per_block;

    if (threadIdx.x < shape.group) {
        members[threadIdx.x] = read_member(problem, first_roi + threadIdx.x, [&](int height, int width) {
            return static_cast<int64_t>(channels) * height * width * sizeof(T);
        });
    }
    __syncthreads();
    fill_taps(table, members, shape.group);
    find_windows<T>(table, members, shape.group, windows);

    const Window last = windows[shape.group - 1];
    const int vectors = (last.offset + last.columns) / kPlanarVector;
    const int pairs = min(shape.channels_per_block, channels - first_channel) * bins;
    const int chunk = min(pairs, shape.columns_capacity / (max(vectors, 1) * kPlanarVector));
    const int present = min(shape.group, problem.num_rois - first_roi);
    const Divisor by_vectors(max(vectors, 1));

    for (int first_pair = 0; first_pair < pairs; first_pair += chunk) {
        const int chunk_pairs = min(chunk, pairs - first_pair);
        for (int item = threadIdx.x; item < chunk_pairs * vectors; item += kPlanarThreads) {
            const int pair = by_vectors.quotient(item);
            const int column = (item - pair * vectors) * kPlanarVector;
            int member = 0;
            while (member + 1 < shape.group && column >= windows[member + 1].offset) {
                ++member;
            }
            const Window& window = windows[member];
            const int channel = shape.by_bins.quotient(first_pair + pair);
            const Bin rows = table.bin(member, 0, first_pair + pair - channel * bins);
            const int width = members[member].width, x = window.first + column - window.offset;
            const int64_t plane = static_cast<int64_t>(first_channel + channel) * members[member].height * width;
            const T* cells = static_cast<const T*>(members[member].map) + plane + x;
            float sums[kPlanarVector] = {};
            if (window.wide) {
                sum_rows(cells, rows, width, sums);
            } else {
                sum_rows_narrow(cells, rows, width, width - x, sums);
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
            const Bin columns = table.bin(member, 1, output - pair * bins);
            const int offset = pair * vectors * kPlanarVector + windows[member].offset - windows[member].first;
            const float* row = column_sums + offset;
            float sum = 0.0f;
#pragma unroll 4
            for (int i = 0; i < columns.count; ++i) {
                sum = fmaf(row[columns.taps[i].index], columns.taps[i].weight, sum);
            }
            const int64_t plane = static_cast<int64_t>(first_roi + member) * channels + first_channel;
            static_cast<T*>(problem.output)[(plane * bins + first_pair) * bins + output] = from_float<T>(sum);
        }
        __syncthreads();
    }
}

}  // namespace refinemask
