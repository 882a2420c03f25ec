// Fixed non-maximum suppression in three kernels, without a word to the host:
//   sort      one block per group: bitonic in shared memory, skipped where the scores arrive in order (after a top-k);
//   overlaps  one block per pair of tiles of 64 boxes: one bit per pair of boxes;
//   scan      one block per group: tile by tile, greedy, until k boxes are kept.
// Bytes from memory (mostly second-level cache), N boxes per group: 20 N read, 40 N written and read in sorting and
// overlaps; N^2 / 16 written in overlaps, and in scan N / 8 read per tile visited. 5 x 1000: 0.2 MB + 0.3 MB + 0.3 MB.
#include <algorithm>

#include "iou.h"
#include "refinemask_kernels.h"

namespace refinemask {
namespace {

constexpr int kTile = 64;
constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kMaxThreads = 1024;
constexpr int kMaxBoxesPerThread = REFINEMASK_NMS_MAX_BOXES / kMaxThreads;

struct Workspace {
    float4* boxes;       // [G, padded], sorted
    int* order;          // [G, padded], index before sorting
    int* counts;         // [G], boxes that are not padding
    uint32_t* overlaps;  // [G, tiles, padded, 2]: bits over the tile's boxes
    int tiles;
    int padded;

    Workspace(void* memory, int groups, int num_boxes)
        : tiles(ceil_div(num_boxes, kTile)), padded(tiles * kTile) {
        const int64_t entries = static_cast<int64_t>(groups) * padded;
        boxes = static_cast<float4*>(memory);
        overlaps = reinterpret_cast<uint32_t*>(boxes + entries);
        order = reinterpret_cast<int*>(overlaps + entries * tiles * 2);
        counts = order + entries;
    }
    int64_t bytes(int groups) const {
        const int64_t entries = static_cast<int64_t>(groups) * padded;
        return entries * (sizeof(float4) + sizeof(int) + static_cast<int64_t>(tiles) * sizeof(uint64_t)) +
               groups * sizeof(int);
    }
};

__global__ void __launch_bounds__(kMaxThreads)
    sort_boxes(const RefinemaskFixedNms problem, const Workspace work, int slots) {
    auto* const keys = reinterpret_cast<uint64_t*>(dynamic_shared());  // [slots], a power of two
    const int group = blockIdx.x, n = problem.num_boxes;
    const float* const scores = problem.scores + static_cast<int64_t>(group) * n;
    for (int i = threadIdx.x; i < slots; i += blockDim.x) {
        keys[i] = i < n ? sort_key(scores[i], i) : ~0ull;
    }
    __syncthreads();
    bool ordered = true;
    for (int i = threadIdx.x; i + 1 < slots; i += blockDim.x) {
        ordered = ordered && keys[i] <= keys[i + 1];
    }
    if (!__syncthreads_and(ordered)) {
        for (int length = 2; length <= slots; length *= 2) {
            for (int distance = length / 2; distance > 0; distance /= 2) {
                for (int pair = threadIdx.x; pair < slots / 2; pair += blockDim.x) {
                    const int low = 2 * pair - (pair & (distance - 1)), high = low + distance;
                    const bool ascending = (low & length) == 0;
                    const uint64_t a = keys[low], b = keys[high];
                    if ((a > b) == ascending) {
                        keys[low] = b;
                        keys[high] = a;
                    }
                }
                __syncthreads();
            }
        }
    }
    const auto* const boxes = reinterpret_cast<const float4*>(problem.boxes) + static_cast<int64_t>(group) * n;
    const int64_t base = static_cast<int64_t>(group) * work.padded;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        if (!is_padding(keys[i])) {
            const int index = static_cast<int>(keys[i] & 0xffffffffu);
            work.order[base + i] = index;
            work.boxes[base + i] = boxes[index];
            if (i + 1 == n || is_padding(keys[i + 1])) {
                work.counts[group] = i + 1;
            }
        } else if (i == 0) {
            work.counts[group] = 0;
        }
    }
}

// Row and column of an entry of a lower triangle that is stored row by row.
__device__ __forceinline__ int2 triangle(int index) {
    int row = static_cast<int>((sqrtf(8.0f * static_cast<float>(index) + 1.0f) - 1.0f) * 0.5f);
    row -= row * (row + 1) / 2 > index;
    row += (row + 1) * (row + 2) / 2 <= index;
    return {row, index - row * (row + 1) / 2};
}

// Bits of the boxes of one tile that a box of the same or an earlier tile overlaps; within a tile, of the boxes before
// it. Half the block's threads take the low 32 bits, half the high.
__global__ void __launch_bounds__(2 * kTile) find_overlaps(const Workspace work, float threshold) {
    __shared__ float4 columns[kTile];
    const int group = blockIdx.y, count = work.counts[group];
    const int2 tile = triangle(blockIdx.x);
    if (tile.x * kTile >= count) {
        return;
    }
    const int64_t base = static_cast<int64_t>(group) * work.padded;
    const int lane = threadIdx.x % kTile, half = threadIdx.x / kTile;
    if (half == 0 && tile.x * kTile + lane < count) {
        columns[lane] = work.boxes[base + tile.x * kTile + lane];
    }
    __syncthreads();
    const int row = tile.y * kTile + lane;
    if (row >= count) {
        return;
    }
    const float4 box = work.boxes[base + row];
    const int present = tile.x == tile.y ? lane : min(count - tile.x * kTile, kTile);
    uint32_t bits = 0;
#pragma unroll 4
    for (int j = 0; j < 32; ++j) {
        const int column = half * 32 + j;
        if (column < present && overlaps(box, columns[column], threshold)) {
            bits |= 1u << j;
        }
    }
    work.overlaps[((static_cast<int64_t>(group) * work.tiles + tile.x) * work.padded + row) * 2 + half] = bits;
}

__device__ __forceinline__ uint64_t or_over_warp(uint64_t value) {
    const uint32_t low = __reduce_or_sync(kAllLanes, static_cast<uint32_t>(value));
    const uint32_t high = __reduce_or_sync(kAllLanes, static_cast<uint32_t>(value >> 32));
    return static_cast<uint64_t>(high) << 32 | low;
}

// The boxes of a tile that greedy suppression keeps, by one warp: `keep <- alive and no kept box before it overlaps`,
// repeated until nothing changes. Each round settles at least the next box in order, in practice a few settle all.
__device__ __forceinline__ uint64_t settle(uint64_t alive, uint64_t before_low, uint64_t before_high) {
    const int lane = threadIdx.x % kWarp;
    uint64_t keep = alive;
    while (true) {
        const uint32_t low = __ballot_sync(kAllLanes, alive >> lane & 1 && (before_low & keep) == 0);
        const uint32_t high = __ballot_sync(kAllLanes, alive >> (lane + kWarp) & 1 && (before_high & keep) == 0);
        const uint64_t next = static_cast<uint64_t>(high) << 32 | low;
        if (next == keep) {
            return keep;
        }
        keep = next;
    }
}

// Each thread owns boxes threadIdx.x, threadIdx.x + blockDim.x, … and remembers which of them are kept. For a tile it
// reads which of the tile's boxes its own overlap, one tile ahead of use.
template <int kBoxesPerThread>
__global__ void __launch_bounds__(kMaxThreads) scan(const RefinemaskFixedNms problem, const Workspace work) {
    __shared__ uint64_t suppressed_by_warp[kMaxThreads / kWarp];
    __shared__ uint64_t before[kTile];
    __shared__ uint64_t kept_in_tile;
    const int group = blockIdx.x, count = work.counts[group], k = problem.k;
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
    const int64_t base = static_cast<int64_t>(group) * work.padded;
    const auto* const words = reinterpret_cast<const uint64_t*>(work.overlaps) + base * work.tiles;
    int* const indices = problem.indices + static_cast<int64_t>(group) * k;

    uint64_t ahead[kBoxesPerThread];
    bool kept[kBoxesPerThread] = {};
    const auto read = [&](int tile) {
#pragma unroll
        for (int m = 0; m < kBoxesPerThread; ++m) {
            const int box = threadIdx.x + m * blockDim.x;
            const bool there = box < min((tile + 1) * kTile, count);
            ahead[m] = there ? words[static_cast<int64_t>(tile) * work.padded + box] : 0;
        }
    };

    int total = 0;
    read(0);
    for (int tile = 0; tile * kTile < count && total < k; ++tile) {
        uint64_t suppressed = 0;
#pragma unroll
        for (int m = 0; m < kBoxesPerThread; ++m) {
            const int box = threadIdx.x + m * blockDim.x;
            suppressed |= kept[m] ? ahead[m] : 0;
            if (box / kTile == tile) {
                before[box % kTile] = ahead[m];
            }
        }
        if ((tile + 1) * kTile < count) {
            read(tile + 1);
        }
        suppressed = or_over_warp(suppressed);
        if (lane == 0) {
            suppressed_by_warp[warp] = suppressed;
        }
        __syncthreads();
        if (warp == 0) {
            suppressed = or_over_warp(lane < warps ? suppressed_by_warp[lane] : 0);
            const int left = count - tile * kTile;
            const uint64_t present = left >= kTile ? ~0ull : (1ull << left) - 1;
            const uint64_t keep = settle(present & ~suppressed, before[lane], before[lane + kWarp]);
            if (lane == 0) {
                kept_in_tile = keep;
            }
        }
        __syncthreads();
        const uint64_t keep = kept_in_tile;
#pragma unroll
        for (int m = 0; m < kBoxesPerThread; ++m) {
            const int box = threadIdx.x + m * blockDim.x;
            if (box / kTile == tile && keep >> (box % kTile) & 1) {
                kept[m] = true;
                const int rank = total + __popcll(keep & ((1ull << (box % kTile)) - 1));
                if (rank < k) {
                    indices[rank] = work.order[base + box];
                }
            }
        }
        total += __popcll(keep);
    }
    total = min(total, k);
    for (int i = total + threadIdx.x; i < k; i += blockDim.x) {
        indices[i] = 0;
    }
    if (threadIdx.x == 0) {
        problem.num_kept[group] = total;
    }
}

bool valid(const RefinemaskFixedNms& problem) {
    return problem.groups >= 0 && problem.groups <= 65535 && problem.num_boxes >= 0 &&
           problem.num_boxes <= REFINEMASK_NMS_MAX_BOXES && problem.k > 0 && problem.iou_threshold >= 0.0f &&
           problem.iou_threshold <= 1.0f;
}

int next_power_of_two(int n) {
    int power = kTile;
    while (power < n) {
        power *= 2;
    }
    return power;
}

template <int kBoxesPerThread>
cudaError_t launch_scan(const RefinemaskFixedNms& problem, const Workspace& work, void* stream) {
    const int threads = std::min(next_power_of_two(problem.num_boxes), kMaxThreads);
    return launch(scan<kBoxesPerThread>, problem.groups, threads, 0, stream, problem, work);
}

cudaError_t fixed_nms(const RefinemaskFixedNms& problem, void* stream) {
    if (!valid(problem)) {
        return cudaErrorInvalidValue;
    }
    if (problem.groups == 0) {
        return cudaSuccess;
    }
    const Workspace work(problem.workspace, problem.groups, problem.num_boxes);
    if (problem.num_boxes == 0) {
        const size_t groups = problem.groups;
        const auto queue = static_cast<cudaStream_t>(stream);
        const cudaError_t error = cudaMemsetAsync(problem.num_kept, 0, groups * sizeof(int), queue);
        return error ? error : cudaMemsetAsync(problem.indices, 0, groups * problem.k * sizeof(int), queue);
    }
    const int slots = next_power_of_two(problem.num_boxes);
    cudaError_t error = launch(sort_boxes, problem.groups, std::min(slots / 2, kMaxThreads), slots * sizeof(uint64_t),
                               stream, problem, work, slots);
    if (error) {
        return error;
    }
    const dim3 pairs(work.tiles * (work.tiles + 1) / 2, problem.groups);
    error = launch(find_overlaps, pairs, 2 * kTile, 0, stream, work, problem.iou_threshold);
    if (error) {
        return error;
    }
    if (problem.num_boxes <= kMaxThreads) {
        return launch_scan<1>(problem, work, stream);
    }
    return problem.num_boxes <= 2 * kMaxThreads ? launch_scan<2>(problem, work, stream)
                                                : launch_scan<kMaxBoxesPerThread>(problem, work, stream);
}

}  // namespace
}  // namespace refinemask

extern "C" int64_t refinemask_fixed_nms_workspace(int32_t groups, int32_t num_boxes) {
    return refinemask::Workspace(nullptr, groups, num_boxes).bytes(groups);
}

extern "C" int refinemask_fixed_nms(const RefinemaskFixedNms* problem, void* stream) {
    return refinemask::fixed_nms(*problem, stream);
}
