// The logits of each RoI's label, in one pass over its features.
//
// A block makes a band of rows of one RoI. First it multiplies the features of the band with the label's row of weights
// and keeps the products in shared memory. Of channels-last features a few neighbouring lanes take a pixel, each a
// vector of 16 bytes of its channels at a time; of planar ones a thread takes a pixel. Then the block writes the
// products or, where there are masks, the upsampled products plus those of the masks.
// Bytes: features R C s^2 sizeof(T), with C padded to 16 bytes where they are channels last (and the rows that bands
// share, which the caches hold); masks 4 R M s^2 sizeof(T); output 4 R s^2, or with masks 16 R s^2. In fp16, R = 100:
//   14 x 14, 256 channels: 10.1 MB; 14 x 14, 126, to 28 x 28: 5.6 MB; 28 x 28, 62, to 56 x 56: 12.5 MB;
//   56 x 56, 30, to 112 x 112: 30.1 MB.
#include <algorithm>

#include "device.h"
#include "refinemask_kernels.h"

namespace refinemask {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kMostColumns = 4096;
constexpr int kMostPixels = 8192;  // with the weights, what a block gets without asking
constexpr int kMostSize = 1024;

// The rows of features that a block reads, and those whose logits it writes.
struct Band {
    int first;
    int last;
    int first_read;
    int last_read;

    __device__ Band(const RefinemaskLabelLogits& problem, int rows) {
        const int halo = problem.mask_channels > 0;
        first = blockIdx.y * rows;
        last = min(first + rows, problem.size) - 1;
        first_read = max(first - halo, 0);
        last_read = min(last + halo, problem.size - 1);
    }
};

// The sum over the lanes of an aligned group, whose number is a power of two; in all of them.
__device__ __forceinline__ float sum_of_lanes(float value, int lanes) {
    for (int offset = lanes / 2; offset > 0; offset /= 2) {
        value += __shfl_xor_sync(0xffffffff, value, offset);
    }
    return value;
}

template <typename T>
__device__ __forceinline__ void multiply_interleaved(const T* features, int channels, int pixels, const float* weights,
                                                     float* products) {
    constexpr int kVector = 16 / sizeof(T), kInFlight = 4;
    const int vectors = ceil_div(channels, kVector);
    int lanes = 1;
    while (lanes < min(vectors, kWarp)) {
        lanes *= 2;
    }
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = kThreads / lanes;
    for (int first_vector = 0; first_vector < vectors; first_vector += lanes) {
        const int first_channel = (first_vector + lane) * kVector;
        const int present = min(channels - first_channel, kVector);  // what pads the last vector may be NaN
        float row[kVector];
#pragma unroll
        for (int k = 0; k < kVector; ++k) {
            row[k] = k < present ? weights[first_channel + k] : 0.0f;
        }
        for (int first_pixel = 0; first_pixel < pixels; first_pixel += groups * kInFlight) {
            Pack<T, kVector> packs[kInFlight];
#pragma unroll
            for (int j = 0; j < kInFlight; ++j) {
                const int pixel = first_pixel + j * groups + group;
                if (pixel < pixels && present > 0) {
                    packs[j] = Pack<T, kVector>::load(features + pixel * vectors * kVector + first_channel);
                }
            }
#pragma unroll
            for (int j = 0; j < kInFlight; ++j) {
                const int pixel = first_pixel + j * groups + group;
                float sum = 0.0f;
                if (pixel < pixels && present > 0) {
#pragma unroll
                    for (int k = 0; k < kVector; ++k) {
                        sum = fmaf(k < present ? packs[j][k] : 0.0f, row[k], sum);
                    }
                }
                sum = sum_of_lanes(sum, lanes);
                if (lane == 0 && pixel < pixels) {
                    products[pixel] = first_vector == 0 ? sum : products[pixel] + sum;
                }
            }
        }
    }
}

template <typename T>
__device__ __forceinline__ void multiply_planar(const T* features, int channels, int plane, int pixels,
                                                const float* weights, float* products) {
    constexpr int kInFlight = 8;
    for (int pixel = threadIdx.x; pixel < pixels; pixel += kThreads) {
        float sum = 0.0f;
        for (int first = 0; first < channels; first += kInFlight) {
            T values[kInFlight];
#pragma unroll
            for (int j = 0; j < kInFlight; ++j) {
                if (first + j < channels) {
                    values[j] = __ldg(features + static_cast<int64_t>(first + j) * plane + pixel);
                }
            }
#pragma unroll
            for (int j = 0; j < kInFlight; ++j) {
                if (first + j < channels) {
                    sum = fmaf(to_float(values[j]), weights[first + j], sum);
                }
            }
        }
        products[pixel] = sum;
    }
}

// Two neighbouring logits at a time. Their centres lie a quarter of a cell off that of their cell, on either side.
template <typename T>
__device__ __forceinline__ void write_upsampled(const RefinemaskLabelLogits& problem, const Band& band,
                                                const float* products, const float* mask_weights, float bias) {
    const int size = problem.size, width = 2 * size;
    const auto between = [](float near, float far) { return 0.75f * near + 0.25f * far; };
    for (int i = threadIdx.x; i < (band.last - band.first + 1) * width; i += kThreads) {
        const int y = 2 * band.first + i / size, x = i % size;
        const int row = y / 2, other_row = min(max(row + y % 2 * 2 - 1, 0), size - 1);
        const float* const near = products + (row - band.first_read) * size;
        const float* const far = products + (other_row - band.first_read) * size;
        const int left = max(x - 1, 0), right = min(x + 1, size - 1);
        const float middle = between(near[x], far[x]);
        float logits[] = {between(middle, between(near[left], far[left])),
                          between(middle, between(near[right], far[right]))};
        for (int m = 0; m < problem.mask_channels; ++m) {
            const int64_t plane = static_cast<int64_t>(blockIdx.x) * problem.mask_channels + m;
            const T* const mask = static_cast<const T*>(problem.masks) + (plane * width + y) * width;
            const auto pair = Pack<T, 2>::load(mask + 2 * x);
            logits[0] = fmaf(pair[0], mask_weights[m], logits[0]);
            logits[1] = fmaf(pair[1], mask_weights[m], logits[1]);
        }
        logits[0] += bias;
        logits[1] += bias;
        const int64_t place = (static_cast<int64_t>(blockIdx.x) * width + y) * width + 2 * x;
        Pack<float, 2>::of(logits).store(problem.output + place);
    }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 4) label_logits(const RefinemaskLabelLogits problem, int band_rows) {
    const int columns = problem.channels + problem.mask_channels, size = problem.size, plane = size * size;
    auto* const weights = reinterpret_cast<float*>(dynamic_shared());  // [C + M]
    float* const products = weights + columns;                         // [rows, s]
    const Band band(problem, band_rows);
    const int row = min(max(problem.labels[blockIdx.x], 0), problem.num_rows - 1);
    const float bias = to_float(static_cast<const T*>(problem.bias)[row]);
    for (int i = threadIdx.x; i < columns; i += kThreads) {
        weights[i] = to_float(static_cast<const T*>(problem.weight)[static_cast<int64_t>(row) * columns + i]);
    }
    __syncthreads();

    const int first_pixel = band.first_read * size, pixels = (band.last_read - band.first_read + 1) * size;
    const auto* const features = static_cast<const T*>(problem.features);
    if (problem.layout == REFINEMASK_INTERLEAVED) {
        const int stride = round_up(problem.channels, 16 / sizeof(T));
        const int64_t first = (static_cast<int64_t>(blockIdx.x) * plane + first_pixel) * stride;
        multiply_interleaved(features + first, problem.channels, pixels, weights, products);
    } else {
        const int64_t first = static_cast<int64_t>(blockIdx.x) * problem.channels * plane + first_pixel;
        multiply_planar(features + first, problem.channels, plane, pixels, weights, products);
    }
    __syncthreads();

    if (problem.mask_channels > 0) {
        write_upsampled<T>(problem, band, products, weights + problem.channels, bias);
        return;
    }
    for (int i = threadIdx.x; i < pixels; i += kThreads) {
        problem.output[static_cast<int64_t>(blockIdx.x) * plane + first_pixel + i] = products[i] + bias;
    }
}

bool is_sound(const RefinemaskLabelLogits& problem) {
    const auto within = [](int value, int least, int most) { return value >= least && value <= most; };
    return within(problem.type, REFINEMASK_FLOAT, REFINEMASK_BFLOAT16) &&
           within(problem.layout, REFINEMASK_PLANAR, REFINEMASK_INTERLEAVED) && problem.num_rois >= 0 &&
           problem.num_rows >= 1 && within(problem.size, 1, kMostSize) && within(problem.channels, 1, kMostColumns) &&
           within(problem.mask_channels, 0, kMostColumns - problem.channels);
}

cudaError_t predict(const RefinemaskLabelLogits& problem, void* stream) {
    constexpr int kBlocksPerMultiprocessor = 4;
    if (!is_sound(problem)) {
        return cudaErrorInvalidValue;
    }
    if (problem.num_rois == 0) {
        return cudaSuccess;
    }
    int count = 0;
    if (const cudaError_t error = device_attribute(cudaDevAttrMultiProcessorCount, &count)) {
        return error;
    }
    // Bands that are upsampled share a row with each neighbour, so they must not be thin.
    const int halo = problem.mask_channels > 0 ? 2 : 0, thinnest = halo ? 7 : 2, size = problem.size;
    const int bands = ceil_div(count * kBlocksPerMultiprocessor, problem.num_rois);
    const int wanted = std::max(ceil_div(size, bands), std::min(thinnest, size));
    const int band_rows = std::min(wanted, kMostPixels / size - halo);
    const int rows_read = std::min(band_rows + halo, size);
    const size_t bytes = (problem.channels + problem.mask_channels + rows_read * size) * sizeof(float);
    const dim3 grid(problem.num_rois, ceil_div(size, band_rows));
    switch (problem.type) {
        case REFINEMASK_FLOAT: return launch(label_logits<float>, grid, kThreads, bytes, stream, problem, band_rows);
        case REFINEMASK_HALF: return launch(label_logits<__half>, grid, kThreads, bytes, stream, problem, band_rows);
        default: return launch(label_logits<__nv_bfloat16>, grid, kThreads, bytes, stream, problem, band_rows);
    }
}

}  // namespace
}  // namespace refinemask

extern "C" int refinemask_label_logits(const RefinemaskLabelLogits* problem, void* stream) {
    return refinemask::predict(*problem, stream);
}
