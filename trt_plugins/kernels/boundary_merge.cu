// Boundary-aware merge of two stages in one pass.
//
// A block makes a band of output rows of one RoI: it reads the coarse rows around the band, finds the boundary pixels
// in shared memory, and writes each output from the upsampled coarse logits or, near the boundary, the fine ones.
// Bytes: coarse read 4 n^2 (and the bands' shared rows), fine read at most 16 n^2 (only vectors near the boundary),
// output written 16 n^2: at most 36 n^2 R. R = 100, n = 56: 11.3 MB.
#include <algorithm>

#include "boundary.h"
#include "refinemask_kernels.h"

namespace refinemask {
namespace {

constexpr int kThreads = 256;

// `coarse_rows` bounds the coarse rows of a band, its halo included.
template <int kVector>
__global__ void __launch_bounds__(kThreads, 4)
    boundary_merge(const RefinemaskBoundaryMerge problem, int band_rows, int coarse_rows) {
    const int n = problem.size, width = 2 * n, m = width - 1;
    const int first_output = blockIdx.y * band_rows, last_output = min(first_output + band_rows, width) - 1;
    // The rows that interpolation needs, and with a halo of one those that the boundary test needs.
    const int first = between(first_output, n).low, last = between(last_output, n).high;
    const int halo_first = max(first - 1, 0), rows = min(last + 1, n - 1) - halo_first + 1;
    auto* const logits = reinterpret_cast<float*>(dynamic_shared());             // [rows, n]
    auto* const interior = reinterpret_cast<uint8_t*>(logits + coarse_rows * n);  // [rows, n]

    const float* const coarse = problem.coarse + (static_cast<int64_t>(blockIdx.x) * n + halo_first) * n;
    for (int i = threadIdx.x; i < rows * n; i += kThreads) {
        logits[i] = __ldg(coarse + i);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < (last - first + 1) * n; i += kThreads) {
        const int y = first + i / n, x = i % n;
        int foreground = 0;
        for (int dy = -1; dy <= 1; ++dy) {
            for (int dx = -1; dx <= 1; ++dx) {
                const bool inside = y + dy >= 0 && y + dy < n && x + dx >= 0 && x + dx < n;
                foreground += inside && is_foreground(logits[(y + dy - halo_first) * n + x + dx]);
            }
        }
        interior[(y - halo_first) * n + x] = foreground == 0 || foreground == 9;
    }
    __syncthreads();

    const float inverse = 1.0f / static_cast<float>(m);
    const int vectors = width / kVector;
    for (int i = threadIdx.x; i < (last_output - first_output + 1) * vectors; i += kThreads) {
        const int output_y = first_output + i / vectors, output_x = i % vectors * kVector;
        const Between y = between(output_y, n);
        const float y_high = static_cast<float>(y.part) * inverse, y_low = static_cast<float>(m - y.part) * inverse;
        const int low_row = (y.low - halo_first) * n, high_row = (y.high - halo_first) * n;
        const int64_t place = (static_cast<int64_t>(blockIdx.x) * width + output_y) * width + output_x;
        float values[kVector];
        bool keep[kVector], all = true;
#pragma unroll
        for (int k = 0; k < kVector; ++k) {
            const Between x = between(output_x + k, n);
            const float x_high = static_cast<float>(x.part) * inverse, x_low = static_cast<float>(m - x.part) * inverse;
            keep[k] = at_least_half(m, y, x, interior[low_row + x.low], interior[low_row + x.high],
                                    interior[high_row + x.low], interior[high_row + x.high]);
            all = all && keep[k];
            values[k] =
                interpolate(interpolate(logits[low_row + x.low], logits[low_row + x.high], x_low, x_high),
                            interpolate(logits[high_row + x.low], logits[high_row + x.high], x_low, x_high), y_low,
                            y_high);
        }
        if (!all) {
            const auto fine = Pack<float, kVector>::load(problem.fine + place);
#pragma unroll
            for (int k = 0; k < kVector; ++k) {
                values[k] = keep[k] ? values[k] : fine[k];
            }
        }
        Pack<float, kVector>::of(values).store(problem.output + place);
    }
}

cudaError_t merge(const RefinemaskBoundaryMerge& problem, void* stream) {
    constexpr int kMaxSize = 1024, kBlocksPerMultiprocessor = 4, kMaxCells = 8192;
    const int n = problem.size;
    if (problem.num_rois < 0 || n < 1 || n > kMaxSize) {
        return cudaErrorInvalidValue;
    }
    if (problem.num_rois == 0) {
        return cudaSuccess;
    }
    int count = 0;
    if (const cudaError_t error = device_attribute(cudaDevAttrMultiProcessorCount, &count)) {
        return error;
    }
    const int bands = std::max(ceil_div(count * kBlocksPerMultiprocessor, problem.num_rois), 1);
    // A band of b rows reads at most b / 2 + 4 coarse rows, which must fit in shared memory.
    const int most_rows = 2 * (kMaxCells / n - 4);
    const int band_rows = std::min(std::max(ceil_div(2 * n, bands), std::min(8, 2 * n)), most_rows);
    const int coarse_rows = std::min(band_rows / 2 + 4, n);
    const size_t bytes = static_cast<size_t>(coarse_rows) * n * (sizeof(float) + sizeof(uint8_t));
    const dim3 grid(problem.num_rois, ceil_div(2 * n, band_rows));
    const auto address = reinterpret_cast<uintptr_t>(problem.fine) | reinterpret_cast<uintptr_t>(problem.output);
    return n % 2 == 0 && address % 16 == 0
               ? launch(boundary_merge<4>, grid, kThreads, bytes, stream, problem, band_rows, coarse_rows)
               : launch(boundary_merge<2>, grid, kThreads, bytes, stream, problem, band_rows, coarse_rows);
}

}  // namespace
}  // namespace refinemask

extern "C" int refinemask_boundary_merge(const RefinemaskBoundaryMerge* problem, void* stream) {
    return refinemask::merge(*problem, stream);
}
