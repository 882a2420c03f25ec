#include <algorithm>

#include "roi_align_interleaved.cuh"
#include "roi_align_planar.cuh"

namespace refinemask {
namespace {

constexpr int kMostChannels = 8192;  // with 128 bins, every index within a block stays where Divisor is exact
constexpr int kWidestMap = 1 << 16;  // times the channels, a row stays within 32 bits
constexpr int kMostItems = 1 << 20;

bool valid(const RefinemaskRoiAlign& problem) {
    bool ok = problem.num_levels >= 1 && problem.num_levels <= kMaxLevels && problem.batch >= 0 &&
              problem.channels > 0 && problem.channels <= kMostChannels && problem.num_rois >= 0 &&
              problem.output_size >= 1 && problem.output_size <= 128 && problem.sampling_ratio >= 0 &&
              problem.sampling_ratio <= 64 && problem.finest_scale > 0;
    for (int i = 0; ok && i < problem.num_levels; ++i) {
        ok = problem.heights[i] > 0 && problem.widths[i] > 0 && problem.widths[i] <= kWidestMap;
    }
    return ok;
}

// What the launches depend on.
struct Device {
    int wanted_blocks;
    size_t shared_bytes;  // dynamic, for each of two blocks on a multiprocessor

    cudaError_t read() {
        constexpr int kBlocksPerMultiprocessor = 4, kStaticAndReserved = 3 * 1024;
        int count = 0, shared = 0;
        if (const cudaError_t error = device_attribute(cudaDevAttrMultiProcessorCount, &count)) {
            return error;
        }
        if (const cudaError_t error = device_attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, &shared)) {
            return error;
        }
        wanted_blocks = count * kBlocksPerMultiprocessor;
        shared_bytes = std::max<size_t>(shared / 2, kUsualSharedBytes) - kStaticAndReserved;
        return cudaSuccess;
    }
};

struct Capacities {
    int y;
    int x;
    int widest;

    explicit Capacities(const RefinemaskRoiAlign& problem) {
        const int height = *std::max_element(problem.heights, problem.heights + problem.num_levels);
        widest = *std::max_element(problem.widths, problem.widths + problem.num_levels);
        y = max_taps(height, problem.output_size, problem.sampling_ratio);
        x = max_taps(widest, problem.output_size, problem.sampling_ratio);
    }
};

// Whether RoIs may span many cells: a pyramid has a level for each size, and a fixed ratio few taps.
bool has_large_boxes(const RefinemaskRoiAlign& problem) {
    return problem.num_levels == 1 && problem.sampling_ratio == 0;
}

// The largest group whose tables fit, 0 if not even one RoI's do. Few RoIs are spread over more blocks.
template <typename Bytes>
int choose_group_log2(const RefinemaskRoiAlign& problem, int parallel_per_roi, int wanted_blocks, size_t shared_bytes,
                      Bytes bytes) {
    for (int log2 = has_large_boxes(problem) ? 4 : 2; log2 >= 0; --log2) {
        const bool fits = bytes(1 << log2) <= shared_bytes;
        const bool fills = ceil_div(problem.num_rois, 1 << log2) * parallel_per_roi >= wanted_blocks;
        if (fits && (fills || log2 == 0)) {
            return log2;
        }
    }
    return -1;
}

// Splits `work` so that `blocks` times the parts reach the wanted number of blocks; a part is at least `smallest`.
int choose_part(int work, int smallest, int blocks, int wanted_blocks) {
    const int parts = ceil_div(wanted_blocks, std::max(blocks, 1));
    return std::max(ceil_div(work, parts), std::min(smallest, work));
}

template <typename T>
cudaError_t launch_planar(const RefinemaskRoiAlign& problem, const Device& device, void* stream) {
    constexpr int kSmallestSlice = 2, kFewestColumns = 3072;
    const Capacities capacity(problem);
    const auto columns = [&](int group) {
        return std::max(kFewestColumns, group * round_up(capacity.widest, kPlanarVector));
    };
    const auto bytes = [&](int group) {
        return TapTable::bytes(group, problem.output_size, capacity.y, capacity.x) + columns(group) * sizeof(float);
    };
    const int slices = ceil_div(problem.channels, kSmallestSlice);
    const int group_log2 = choose_group_log2(problem, slices, device.wanted_blocks / 2, device.shared_bytes, bytes);
    if (group_log2 < 0) {
        return cudaErrorInvalidValue;
    }
    const int group = 1 << group_log2, blocks = ceil_div(problem.num_rois, group);
    const int slice = choose_part(problem.channels, kSmallestSlice, blocks, device.wanted_blocks);
    const PlanarShape shape{problem.output_size, group, slice, capacity.y, capacity.x, columns(group)};
    const dim3 grid(blocks, ceil_div(problem.channels, slice));
    const cudaError_t error = allow_shared(roi_align_planar<T>, device.shared_bytes);
    return error ? error : launch(roi_align_planar<T>, grid, kPlanarThreads, bytes(group), stream, problem, shape);
}

template <typename T>
cudaError_t launch_interleaved(const RefinemaskRoiAlign& problem, const Device& device, void* stream) {
    constexpr int kLine = 8;  // vectors of 128 bytes, a line of the caches
    const Capacities capacity(problem);
    const int wanted_columns = capacity.widest * (kSharedChannels + kColumnPadding);
    const bool room = wanted_columns * sizeof(float) <= device.shared_bytes * 2 / 3;
    const int columns = has_large_boxes(problem) && room ? wanted_columns : 0;
    const auto bytes = [&](int group) {
        return TapTable::bytes(group, problem.output_size, capacity.y, capacity.x) + columns * sizeof(float);
    };
    const int vectors = ceil_div(problem.channels, kChannelVector<T>), size = problem.output_size;
    const int parallel = size * ceil_div(vectors, kLine);
    const int group_log2 = choose_group_log2(problem, parallel, device.wanted_blocks / 3, device.shared_bytes, bytes);
    if (group_log2 < 0) {
        return cudaErrorInvalidValue;
    }
    const int blocks = ceil_div(problem.num_rois, 1 << group_log2);
    const int most_rows = std::max(kMostItems / (size * vectors << group_log2), 1);
    const int rows = std::min(choose_part(size, 1, blocks, device.wanted_blocks), most_rows);
    const int bands = ceil_div(size, rows);
    const int slice = std::min(round_up(choose_part(vectors, 1, blocks * bands, device.wanted_blocks), kLine), vectors);
    const int stride = vectors * kChannelVector<T>;
    const InterleavedShape shape{size, slice, group_log2, rows, capacity.y, capacity.x, stride, columns};
    const dim3 grid(blocks, bands, ceil_div(vectors, slice));
    const cudaError_t error = allow_shared(roi_align_interleaved<T>, device.shared_bytes);
    return error ? error
                 : launch(roi_align_interleaved<T>, grid, kInterleavedThreads, bytes(1 << group_log2), stream, problem,
                          shape);
}

template <typename T>
cudaError_t launch_layout(const RefinemaskRoiAlign& problem, const Device& device, void* stream) {
    switch (problem.layout) {
        case REFINEMASK_PLANAR: return launch_planar<T>(problem, device, stream);
        case REFINEMASK_INTERLEAVED: return launch_interleaved<T>(problem, device, stream);
        default: return cudaErrorInvalidValue;
    }
}

cudaError_t roi_align(const RefinemaskRoiAlign& problem, void* stream) {
    if (!valid(problem)) {
        return cudaErrorInvalidValue;
    }
    if (problem.num_rois == 0) {
        return cudaSuccess;
    }
    Device device{};
    if (const cudaError_t error = device.read()) {
        return error;
    }
    switch (problem.type) {
        case REFINEMASK_FLOAT: return launch_layout<float>(problem, device, stream);
        case REFINEMASK_HALF: return launch_layout<__half>(problem, device, stream);
        case REFINEMASK_BFLOAT16: return launch_layout<__nv_bfloat16>(problem, device, stream);
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
