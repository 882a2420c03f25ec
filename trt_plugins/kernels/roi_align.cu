#include <algorithm>

#include "roi_align_interleaved.cuh"
#include "roi_align_planar.cuh"

namespace refinemask {
namespace {

constexpr int kMostChannels = 8192;  // with 128 bins, every index within a block stays where Divisor is exact
constexpr int kWidestMap = 1 << 16;  // times the channels, a row stays within 32 bits
constexpr int kMostBins = 128;
constexpr int kMostSamples = 64;
constexpr int kMostItems = Divisor::kExact / 2;  // of a block, not counting what fills up the last turns

constexpr int kVectorBytes = 16;

int vector_of(const RefinemaskRoiAlign& problem) { return kVectorBytes / (problem.type == REFINEMASK_FLOAT ? 4 : 2); }

// The limit that a problem breaks, on any device; null if it breaks none.
const char* broken_limit(const RefinemaskRoiAlign& problem) {
    const auto outside = [](int value, int least, int most) { return value < least || value > most; };
    if (outside(problem.type, REFINEMASK_FLOAT, REFINEMASK_BFLOAT16)) {
        return "the type is not float, half or bfloat16";
    }
    if (outside(problem.layout, REFINEMASK_PLANAR, REFINEMASK_INTERLEAVED)) {
        return "the layout is neither planar nor interleaved";
    }
    if (outside(problem.num_levels, 1, kMaxLevels)) {
        return "there are not 1 to 4 maps";
    }
    const bool planar = problem.layout == REFINEMASK_PLANAR;
    for (int i = 0; i < problem.num_levels; ++i) {
        if (!planar && reinterpret_cast<uintptr_t>(problem.features[i]) % kVectorBytes != 0) {
            return "an interleaved map does not start at a multiple of 16 bytes";
        }
        if (problem.heights[i] < 1 || outside(problem.widths[i], 1, kWidestMap)) {
            return "a map has no cell, or more than 65536 columns";
        }
    }
    if (problem.batch < 0 || problem.num_rois < 0) {
        return "the number of images or RoIs is negative";
    }
    if (outside(problem.channels, 1, kMostChannels)) {
        return "there are not 1 to 8192 channels";
    }
    const bool dense = problem.map_channels == 0;
    const bool whole = planar || problem.map_channels % vector_of(problem) == 0;
    if (!dense && (!whole || outside(problem.map_channels, problem.channels, kMostChannels))) {
        return "the maps have fewer channels than are pooled, more than 8192, or, interleaved, no whole 16 bytes of them";
    }
    if (outside(problem.output_size, 1, kMostBins) || outside(problem.sampling_ratio, 0, kMostSamples)) {
        return "the output size is not 1 to 128, or the sampling ratio not 0 to 64";
    }
    return problem.finest_scale < 1 ? "the finest scale is not positive" : nullptr;
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

// Whether RoIs may span many cells: a pyramid has a level for each size, and a fixed ratio few taps.
bool has_large_boxes(const RefinemaskRoiAlign& problem) {
    return problem.num_levels == 1 && problem.sampling_ratio == 0;
}

// The dynamic shared memory of a block: its RoIs' taps, and sums down their columns.
struct SharedTables {
    int bins;
    int capacity_y;
    int capacity_x;
    int least_columns;  // floats
    int columns_per_roi;

    SharedTables(const RefinemaskRoiAlign& problem, const Device& device) : bins(problem.output_size) {
        constexpr int kFewestPlanarColumns = 3072;
        const int height = *std::max_element(problem.heights, problem.heights + problem.num_levels);
        const int width = *std::max_element(problem.widths, problem.widths + problem.num_levels);
        capacity_y = max_taps(height, bins, problem.sampling_ratio);
        capacity_x = max_taps(width, bins, problem.sampling_ratio);
        if (problem.layout == REFINEMASK_PLANAR) {
            least_columns = kFewestPlanarColumns;
            columns_per_roi = round_up(width, kPlanarVector);
            return;
        }
        const int wanted = width * (kSharedChannels + kColumnPadding);
        const bool room = wanted * sizeof(float) <= device.shared_bytes * 2 / 3;
        least_columns = has_large_boxes(problem) && room ? wanted : 0;
        columns_per_roi = 0;
    }
    int columns(int group) const { return std::max(least_columns, group * columns_per_roi); }
    size_t bytes(int group) const {
        return TapTable::bytes(group, bins, capacity_y, capacity_x) + columns(group) * sizeof(float);
    }
};

// The largest group whose tables fit. Few RoIs are spread over more blocks.
int choose_group_log2(const RefinemaskRoiAlign& problem, int parallel_per_roi, int wanted_blocks, size_t shared_bytes,
                      const SharedTables& tables) {
    int log2 = has_large_boxes(problem) ? 4 : 2;
    const auto fills = [&] { return ceil_div(problem.num_rois, 1 << log2) * parallel_per_roi >= wanted_blocks; };
    while (log2 > 0 && !(tables.bytes(1 << log2) <= shared_bytes && fills())) {
        --log2;
    }
    return log2;
}

// Splits `work` so that `blocks` times the parts reach the wanted number of blocks; a part is at least `smallest`.
int choose_part(int work, int smallest, int blocks, int wanted_blocks) {
    const int parts = ceil_div(wanted_blocks, std::max(blocks, 1));
    return std::max(ceil_div(work, parts), std::min(smallest, work));
}

template <typename T>
cudaError_t launch_planar(const RefinemaskRoiAlign& problem, const Device& device, const SharedTables& tables,
                          void* stream) {
    constexpr int kSmallestSlice = 2;
    const int slices = ceil_div(problem.channels, kSmallestSlice);
    const int group_log2 = choose_group_log2(problem, slices, device.wanted_blocks / 2, device.shared_bytes, tables);
    const int group = 1 << group_log2, blocks = ceil_div(problem.num_rois, group);
    const int slice = choose_part(problem.channels, kSmallestSlice, blocks, device.wanted_blocks);
    const int columns = tables.columns(group);
    const PlanarShape shape{problem.output_size, group, slice, tables.capacity_y, tables.capacity_x, columns};
    const dim3 grid(blocks, ceil_div(problem.channels, slice));
    const cudaError_t error = allow_shared(roi_align_planar<T>, device.shared_bytes);
    return error ? error
                 : launch(roi_align_planar<T>, grid, kPlanarThreads, tables.bytes(group), stream, problem, shape);
}

template <typename T>
cudaError_t launch_interleaved(const RefinemaskRoiAlign& problem, const Device& device, const SharedTables& tables,
                               void* stream) {
    constexpr int kLine = 8;  // vectors of 128 bytes, a line of the caches
    const int vectors = ceil_div(problem.channels, kChannelVector<T>), size = problem.output_size;
    const int parallel = size * ceil_div(vectors, kLine);
    const int group_log2 = choose_group_log2(problem, parallel, device.wanted_blocks / 3, device.shared_bytes, tables);
    const int blocks = ceil_div(problem.num_rois, 1 << group_log2);
    const int most_vectors = std::min(kMostItems / (size << group_log2), vectors);
    const int most_rows = kMostItems / (size * most_vectors << group_log2);
    const int rows = std::min(choose_part(size, 1, blocks, device.wanted_blocks), most_rows);
    const int bands = ceil_div(size, rows);
    const int part = round_up(choose_part(vectors, 1, blocks * bands, device.wanted_blocks), kLine);
    const int slice = std::min(part, most_vectors);
    const int output_stride = vectors * kChannelVector<T>;
    const int map_stride = problem.map_channels ? problem.map_channels : output_stride;
    const InterleavedShape shape{
        size,       slice,         group_log2,       rows, tables.capacity_y, tables.capacity_x,
        map_stride, output_stride, tables.columns(1)};
    const dim3 grid(blocks, bands, ceil_div(vectors, slice));
    const cudaError_t error = allow_shared(roi_align_interleaved<T>, device.shared_bytes);
    return error ? error
                 : launch(roi_align_interleaved<T>, grid, kInterleavedThreads, tables.bytes(1 << group_log2), stream,
                          problem, shape);
}

template <typename T>
cudaError_t launch_layout(const RefinemaskRoiAlign& problem, const Device& device, const SharedTables& tables,
                          void* stream) {
    return problem.layout == REFINEMASK_PLANAR ? launch_planar<T>(problem, device, tables, stream)
                                               : launch_interleaved<T>(problem, device, tables, stream);
}

cudaError_t roi_align(const RefinemaskRoiAlign& problem, void* stream) {
    if (broken_limit(problem)) {
        return cudaErrorInvalidValue;
    }
    if (problem.num_rois == 0) {
        return cudaSuccess;
    }
    Device device{};
    if (const cudaError_t error = device.read()) {
        return error;
    }
    const SharedTables tables(problem, device);
    if (tables.bytes(1) > device.shared_bytes) {
        return cudaErrorInvalidValue;
    }
    switch (problem.type) {
        case REFINEMASK_FLOAT: return launch_layout<float>(problem, device, tables, stream);
        case REFINEMASK_HALF: return launch_layout<__half>(problem, device, tables, stream);
        default: return launch_layout<__nv_bfloat16>(problem, device, tables, stream);
    }
}

const char* refusal(const RefinemaskRoiAlign& problem) {
    if (const char* const limit = broken_limit(problem)) {
        return limit;
    }
    Device device{};
    if (device.read()) {
        return nullptr;  // the launch says what is wrong with the device
    }
    return SharedTables(problem, device).bytes(1) <= device.shared_bytes
               ? nullptr
               : "a RoI's samples do not fit in a block's shared memory: the maps, or output size times sampling "
                 "ratio, are too large";
}

}  // namespace
}  // namespace refinemask

extern "C" int refinemask_roi_align(const RefinemaskRoiAlign* problem, void* stream) {
    return refinemask::roi_align(*problem, stream);
}

extern "C" const char* refinemask_roi_align_refusal(const RefinemaskRoiAlign* problem) {
    return refinemask::refusal(*problem);
}

extern "C" const char* refinemask_error_string(int error) {
    return cudaGetErrorString(static_cast<cudaError_t>(error));
}
