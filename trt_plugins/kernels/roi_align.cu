#include <algorithm>

#include "roi_align_interleaved.cuh"
#include "roi_align_planar.cuh"

namespace refinemask {
namespace {

constexpr int kMostChannels = 8192;  // with 128 bins, every index within a block stays where Divisor is exact
constexpr int kWidestMap = 1 << 16;  // times the channels, a row stays within 32 bits
constexpr int kMostItems = 1 << 20;
constexpr size_t kSharedBytes = 48 * 1024 - 1024;  // what a block gets without asking, less the static part

bool valid(const RefinemaskRoiAlign& problem) {
    bool ok = problem.num_levels >= 1 && problem.num_levels <= kMaxLevels && problem.batch >= 0 &&
              problem.channels > 0 && problem.num_rois >= 0 && problem.rois_per_image >= 0 &&
              problem.output_size >= 1 && problem.output_size <= 128 && problem.sampling_ratio >= 0 &&
              problem.sampling_ratio <= 64 && problem.finest_scale > 0 && problem.channels <= kMostChannels;
    for (int i = 0; ok && i < problem.num_levels; ++i) {
        ok = problem.heights[i] > 0 && problem.widths[i] > 0 && problem.widths[i] <= kWidestMap;
    }
    return ok;
}

struct Capacities {
    int y;
    int x;
    int widest;
};

Capacities capacities(const RefinemaskRoiAlign& problem) {
    const int height = *std::max_element(problem.heights, problem.heights + problem.num_levels);
    const int width = *std::max_element(problem.widths, problem.widths + problem.num_levels);
    return {max_taps(height, problem.output_size, problem.sampling_ratio),
            max_taps(width, problem.output_size, problem.sampling_ratio), width};
}

// The largest group whose tables fit, 0 if not even one RoI's do. Few RoIs are spread over more blocks.
template <typename Bytes>
int choose_group(int num_rois, int parallel_per_roi, int wanted_blocks, Bytes bytes) {
    for (int group = kMaxGroup; group >= 1; group /= 2) {
        const bool fits = bytes(group) <= kSharedBytes;
        const bool fills = ceil_div(num_rois, group) * parallel_per_roi >= wanted_blocks;
        if (fits && (fills || group == 1)) {
            return group;
        }
    }
    return 0;
}

// Splits `work` so that `blocks` times the parts reach the wanted number of blocks; a part is at least `smallest`.
int choose_part(int work, int smallest, int blocks, int wanted_blocks) {
    const int parts = ceil_div(wanted_blocks, std::max(blocks, 1));
    return std::max(ceil_div(work, parts), std::min(smallest, work));
}

template <typename T>
cudaError_t launch_planar(const RefinemaskRoiAlign& problem, int wanted_blocks, void* stream) {
    constexpr int kSmallestSlice = 4, kFewestColumns = 3072;
    const Capacities capacity = capacities(problem);
    const auto columns = [&](int group) {
        return std::max(kFewestColumns, group * round_up(capacity.widest, kPlanarVector));
    };
    const auto bytes = [&](int group) {
        return TapTable::bytes(group, problem.output_size, capacity.y, capacity.x) + columns(group) * sizeof(float);
    };
    const int slices = ceil_div(problem.channels, kSmallestSlice);
    const int group = choose_group(problem.num_rois, slices, wanted_blocks, bytes);
    if (group == 0) {
        return cudaErrorInvalidValue;
    }
    const int blocks = ceil_div(problem.num_rois, group);
    const int slice = choose_part(problem.channels, kSmallestSlice, blocks, wanted_blocks);
    const PlanarShape shape{Divisor(problem.output_size), group, slice, capacity.y, capacity.x, columns(group)};
    const dim3 grid(blocks, ceil_div(problem.channels, slice));
    return launch(roi_align_planar<T>, grid, kPlanarThreads, bytes(group), stream, problem, shape);
}

template <typename T>
cudaError_t launch_interleaved(const RefinemaskRoiAlign& problem, int wanted_blocks, void* stream) {
    const Capacities capacity = capacities(problem);
    const auto bytes = [&](int group) { return TapTable::bytes(group, problem.output_size, capacity.y, capacity.x); };
    const int group = choose_group(problem.num_rois, problem.output_size, wanted_blocks / 3, bytes);
    if (group == 0) {
        return cudaErrorInvalidValue;
    }
    const int blocks = ceil_div(problem.num_rois, group);
    const int vectors = ceil_div(problem.channels, kChannelVector<T>);
    const int row_items = problem.output_size * group * vectors;
    const int rows = std::min(choose_part(problem.output_size, 1, blocks, wanted_blocks), kMostItems / row_items);
    const InterleavedShape shape{Divisor(problem.output_size), Divisor(vectors), group, rows, capacity.y, capacity.x};
    const dim3 grid(blocks, ceil_div(problem.output_size, rows));
    return launch(roi_align_interleaved<T>, grid, kInterleavedThreads, bytes(group), stream, problem, shape);
}

template <typename T>
cudaError_t launch_layout(const RefinemaskRoiAlign& problem, int wanted_blocks, void* stream) {
    switch (problem.layout) {
        case REFINEMASK_PLANAR: return launch_planar<T>(problem, wanted_blocks, stream);
        case REFINEMASK_INTERLEAVED: return launch_interleaved<T>(problem, wanted_blocks, stream);
        default: return cudaErrorInvalidValue;
    }
}

cudaError_t roi_align(const RefinemaskRoiAlign& problem, void* stream) {
    constexpr int kBlocksPerMultiprocessor = 6;
    if (!valid(problem)) {
        return cudaErrorInvalidValue;
    }
    if (problem.num_rois == 0) {
        return cudaSuccess;
    }
    int count = 0;
    if (const cudaError_t error = multiprocessors(&count)) {
        return error;
    }
    const int wanted_blocks = count * kBlocksPerMultiprocessor;
    switch (problem.type) {
        case REFINEMASK_FLOAT: return launch_layout<float>(problem, wanted_blocks, stream);
        case REFINEMASK_HALF: return launch_layout<__half>(problem, wanted_blocks, stream);
        case REFINEMASK_BFLOAT16: return launch_layout<__nv_bfloat16>(problem, wanted_blocks, stream);
        default: return cudaErrorInvalidValue;
    }
}

}  // namespace
}  // namespace refinemask

extern "C" int refinemask_roi_align(const RefinemaskRoiAlign* problem, void* stream) {
    return refinemask::roi_align(*problem, stream);
}

extern "C" const char* refinemask_error_string(int error) {
    return cudaGetErrorString(static_cast<cudaError_t>(error));
}
