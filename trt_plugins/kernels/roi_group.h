// The RoIs of one block and the taps of their bins, in shared memory.
//
// A block pools several RoIs so that boxes that cover the same part of the map find it in the first-level cache, and
// those with the same rows in shared memory: the second level is then read once per group, not once per RoI.
#pragma once

#include "refinemask_kernels.h"
#include "sampling.h"

namespace refinemask {

constexpr int kMaxGroup = 16;

// A RoI and the map it is pooled from.
struct Member {
    const void* map;  // of the RoI's image and level; null where there is none to read
    int height;
    int width;
    Axis axes[2];  // y, x
};

// Where a bin's taps lie in its axis' part of the table.
struct alignas(8) Span {
    int begin;
    int count;
};

// The taps of one bin along one axis.
struct Bin {
    const Tap* taps;
    int count;
};

// A view of the dynamic shared memory that holds the taps of `group` members.
struct TapTable {
    Tap* taps;
    Span* spans;
    int bins;
    int capacity_y;
    int capacity_x;

    static REFINEMASK_HD size_t bytes(int group, int bins, int capacity_y, int capacity_x) {
        return group * ((capacity_y + capacity_x) * sizeof(Tap) + 2 * bins * sizeof(Span));
    }
    __device__ TapTable(void* memory, int group, int bins, int capacity_y, int capacity_x)
        : taps(static_cast<Tap*>(memory)),
          spans(reinterpret_cast<Span*>(taps + group * (capacity_y + capacity_x))),
          bins(bins),
          capacity_y(capacity_y),
          capacity_x(capacity_x) {}

    __device__ int capacity(int axis) const { return axis == 0 ? capacity_y : capacity_x; }
    __device__ Tap* axis_taps(int member, int axis) const {
        return taps + member * (capacity_y + capacity_x) + axis * capacity_y;
    }
    __device__ Bin bin(int member, int axis, int index) const {
        const Span span = spans[(member * 2 + axis) * bins + index];
        // Cut off only where coordinates are so large that rounding breaks the order of the bins.
        return {axis_taps(member, axis) + span.begin, min(span.count, capacity(axis) - span.begin)};
    }
};

// Reads RoI `index`. `map_bytes(level)` is the size of one image's map.
template <typename MapBytes>
__device__ Member read_member(const RefinemaskRoiAlign& problem, int index, MapBytes map_bytes) {
    Member member{};
    if (index >= problem.num_rois) {
        return member;
    }
    const float* const row = problem.rois + static_cast<int64_t>(index) * 5;
    const float image = row[0], x1 = row[1], y1 = row[2], x2 = row[3], y2 = row[4];
    const int level = roi_level(x1, y1, x2, y2, problem.finest_scale, problem.num_levels);
    // Indexed by constants only, or the parameter would be copied to local memory.
    const void* features = nullptr;
#pragma unroll
    for (int i = 0; i < kMaxLevels; ++i) {
        if (i == level) {
            features = problem.features[i];
            member.height = problem.heights[i];
            member.width = problem.widths[i];
        }
    }
    member.axes[0] = make_axis(y1, y2, level, member.height, problem.output_size, problem.sampling_ratio);
    member.axes[1] = make_axis(x1, x2, level, member.width, problem.output_size, problem.sampling_ratio);
    if (image >= 0.0f && image < static_cast<float>(problem.batch)) {
        const int64_t offset = static_cast<int64_t>(image) * map_bytes(member.height, member.width);
        member.map = static_cast<const unsigned char*>(features) + offset;
    }
    return member;
}

// Fills the table, all threads of the block together. The members must be visible to the whole block already, and the
// table is so when this returns.
__device__ inline void fill_taps(const TapTable& table, const Member* members, int group) {
    const int items = group * 2 * table.bins;
    for (int item = threadIdx.x; item < items; item += blockDim.x) {
        const int slot = item / table.bins;
        int count = 0;
        if (members[slot / 2].map != nullptr) {
            for_each_tap(members[slot / 2].axes[slot % 2], item % table.bins, [&](int, float) { ++count; });
        }
        table.spans[item].count = count;
    }
    __syncthreads();
    for (int item = threadIdx.x; item < items; item += blockDim.x) {
        const int slot = item / table.bins, bin = item % table.bins;
        int begin = 0;
        for (int other = item - bin; other < item; ++other) {
            begin += table.spans[other].count;
        }
        const int capacity = table.capacity(slot % 2);
        begin = min(begin, capacity);
        table.spans[item].begin = begin;
        if (members[slot / 2].map != nullptr) {
            Tap* const taps = table.axis_taps(slot / 2, slot % 2);
            for_each_tap(members[slot / 2].axes[slot % 2], bin, [&](int index, float weight) {
                if (begin < capacity) {
                    taps[begin++] = {index, weight};
                }
            });
        }
    }
    __syncthreads();
}

}  // namespace refinemask
