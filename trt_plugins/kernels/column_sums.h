// Sums down the columns: the first of the two passes of separable pooling.
//
// They depend on a RoI's rows alone. So the members of a group whose rows are the same (boxes cut off at the image's
// top and bottom; in the worst case, full-image boxes, all of them) share one set of column sums.
#pragma once

#include "roi_group.h"

namespace refinemask {

// Where the column sums of a member lie among those of the group, which follow one another.
struct Window {
    int offset;   // of the member's first column
    int columns;  // 0 where an earlier member's are used, which then span those of both
    int base;     // where column 0 of the map would be
};

__device__ inline bool same_rows(const Member& a, const Member& b) {
    return a.map == b.map && a.axes[0].start == b.axes[0].start && a.axes[0].bin == b.axes[0].bin;
}

// All threads of the block together.
__device__ inline bool all_have_same_rows(const Member* members, int count) {
    const int thread = threadIdx.x;
    return __syncthreads_and(thread >= count || same_rows(members[thread], members[0]));
}

// The columns that the taps touch, from a multiple of `quantum` on and as many; all threads of the block together.
__device__ inline void find_windows(const TapTable& table, const Member* members, int group, int quantum,
                                    Window* windows) {
    __shared__ int source[kMaxGroup], low[kMaxGroup], high[kMaxGroup];
    const int thread = threadIdx.x;
    if (thread < group) {
        int first = 0;
        while (first < thread && !same_rows(members[first], members[thread])) {
            ++first;
        }
        source[thread] = first;
        low[thread] = 1 << 30;
        high[thread] = -1;
    }
    __syncthreads();
    for (int item = thread; item < group * table.bins; item += blockDim.x) {
        const int member = item / table.bins;
        const Bin columns = table.bin(member, 1, item - member * table.bins);
        int bin_low = 1 << 30, bin_high = -1;
        for (int i = 0; i < columns.count; ++i) {
            bin_low = min(bin_low, columns.taps[i].index);
            bin_high = max(bin_high, columns.taps[i].index);
        }
        atomicMin(&low[source[member]], bin_low);
        atomicMax(&high[source[member]], bin_high);
    }
    __syncthreads();
    if (thread == 0) {
        int offset = 0;
        for (int member = 0; member < group; ++member) {
            const int first = low[member] / quantum * quantum;
            const int columns = high[member] < 0 ? 0 : round_up(high[member] + 1 - first, quantum);
            const bool own = source[member] == member;
            windows[member] = {offset, columns, own ? offset - first : windows[source[member]].base};
            offset += columns;
        }
    }
    __syncthreads();
}

// The member that the column at `column` of the group belongs to; `group` is a power of two.
__device__ __forceinline__ int member_at(const Window* windows, int group, int column) {
    int member = 0;
    for (int step = group / 2; step > 0; step /= 2) {
        member += column >= windows[member + step].offset ? step : 0;
    }
    return member;
}

// Adds the weighted rows of a bin to `sums`: kVector neighbouring values of each.
template <typename T, int kVector>
__device__ __forceinline__ void sum_rows(const T* column, const Bin& rows, int row_stride, float (&sums)[kVector]) {
    constexpr int kInFlight = 4;
#pragma unroll 1
    for (int first = 0; first < rows.count; first += kInFlight) {
        // All loads before the first use, the last few included: most bins are two to five cells high.
        Pack<T, kVector> packs[kInFlight];
        float weights[kInFlight];
#pragma unroll
        for (int i = 0; i < kInFlight; ++i) {
            if (first + i < rows.count) {
                const Tap tap = rows.taps[first + i];
                packs[i] = Pack<T, kVector>::load(column + static_cast<int64_t>(tap.index) * row_stride);
                weights[i] = tap.weight;
            }
        }
#pragma unroll
        for (int i = 0; i < kInFlight; ++i) {
            if (first + i < rows.count) {
#pragma unroll
                for (int k = 0; k < kVector; ++k) {
                    sums[k] = fmaf(packs[i][k], weights[i], sums[k]);
                }
            }
        }
    }
}

// Calls use(tap) for the taps of a bin, from the `turn`-th on and around. Neighbouring bins, read by neighbouring
// threads, lie as far apart as a bin is wide, often a multiple of the shared memory's banks; a turn each parts them.
template <int kUnroll, typename Use>
__device__ __forceinline__ void for_each_from(const Bin& bin, int turn, Use use) {
    int i = min(turn, bin.count - 1);
#pragma unroll kUnroll
    for (int n = 0; n < bin.count; ++n) {
        use(bin.taps[i]);
        i = i + 1 < bin.count ? i + 1 : 0;
    }
}

}  // namespace refinemask
