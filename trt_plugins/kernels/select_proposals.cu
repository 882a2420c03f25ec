// The best anchors of each level of each image as clipped boxes, without a word to the host:
//   gather_logits     a thread per anchor: the maps' logits as rows of float, levels one behind the other;
//   top-k             of each level of each row (top_k.cu);
//   decode_boxes      a thread per result: sigmoid, deltas, anchor, box.
// The four passes of top-k read floats that lie side by side, where those of a channels-last map lie 32 bytes apart.
#include <algorithm>
#include <cmath>

#include "device.h"
#include "refinemask_kernels.h"

namespace refinemask {
namespace {

using Problem = RefinemaskSelectProposals;
constexpr int kLevels = REFINEMASK_PROPOSAL_LEVELS;
constexpr int kFinestStride = 4;
constexpr int kThreads = 256;
constexpr int kMostAnchors = 1 << 10;  // of a cell
constexpr int kWidestMap = 1 << 16;
constexpr float kMaxLogScale = 4.135166556742356f;  // |ln(16 / 1000)|

int64_t anchors_of(const Problem& problem, int level) {
    return static_cast<int64_t>(problem.heights[level]) * problem.widths[level] * problem.num_anchors;
}

// How many values a level has in a row: its anchors, and padding where these are fewer than k.
struct Lengths {
    int anchors[kLevels];
    int padded[kLevels];
    int all;

    Lengths(const Problem& problem) : all(0) {
        for (int level = 0; level < kLevels; ++level) {
            anchors[level] = static_cast<int>(anchors_of(problem, level));
            padded[level] = std::max(anchors[level], problem.k);
            all += padded[level];
        }
    }
};

// Where the values of a map lie.
template <typename T>
struct Map {
    const T* image;  // the first value of an image
    int64_t channel_stride;
    int pixel_stride;

    __device__ Map(const Problem& problem, int level, int image_index) {
        constexpr int kVector = 16 / sizeof(T);
        const int channels = 5 * problem.num_anchors;
        const int64_t pixels = static_cast<int64_t>(problem.heights[level]) * problem.widths[level];
        const bool planar = problem.layout == REFINEMASK_PLANAR;
        channel_stride = planar ? pixels : 1;
        pixel_stride = planar ? 1 : round_up(channels, kVector);
        image = static_cast<const T*>(problem.maps[level]) + image_index * pixels * (planar ? channels : pixel_stride);
    }
    __device__ float at(int pixel, int channel) const {
        return to_float(__ldg(image + channel * channel_stride + static_cast<int64_t>(pixel) * pixel_stride));
    }
};

template <typename T>
__global__ void __launch_bounds__(kThreads)
    gather_logits(const Problem problem, const Lengths lengths, float* const logits) {
    const int place = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
    const int image = static_cast<int>(blockIdx.y);
    if (place >= lengths.all) {
        return;
    }
    int level = 0, index = place;
    while (index >= lengths.padded[level]) {
        index -= lengths.padded[level++];
    }
    float logit = -INFINITY;  // behind an anchor's own, whose index is lower
    if (index < lengths.anchors[level]) {
        const int pixel = index / problem.num_anchors;
        logit = Map<T>(problem, level, image).at(pixel, index - pixel * problem.num_anchors);
    }
    logits[static_cast<int64_t>(image) * lengths.all + place] = logit;
}

// As PyTorch clamps: NaN stays NaN.
REFINEMASK_HD float clamp(float value, float least, float most) {
    return value < least ? least : value > most ? most : value;
}
REFINEMASK_HD float clip(float value, float limit) {
    const float positive = value < 0.0f ? 0.0f : value;
    return positive < limit || positive != positive ? positive : limit;
}

// One axis of a box.
struct Interval {
    float low;
    float high;
};

// refinemask/modeling/box_coder.py in the same order of operations.
REFINEMASK_HD Interval decode(Interval anchor, float shift, float log_scale, float limit) {
    const float centre = 0.5f * (anchor.low + anchor.high) + shift * (anchor.high - anchor.low);
    const float size = (anchor.high - anchor.low) * expf(clamp(log_scale, -kMaxLogScale, kMaxLogScale));
    return {clip(centre - 0.5f * size, limit), clip(centre + 0.5f * size, limit)};
}

REFINEMASK_HD float sigmoid(float logit) { return 1.0f / (1.0f + expf(-logit)); }

template <typename T>
__global__ void __launch_bounds__(kThreads)
    decode_boxes(const Problem problem, const Lengths lengths, const float* const top_logits,
                 const int32_t* const top_indices) {
    const int result = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
    if (result >= problem.batch * kLevels * problem.k) {
        return;
    }
    const int row = result / problem.k, place = result - row * problem.k;
    const int image = row / kLevels, level = row - image * kLevels;
    const int source = (level * problem.batch + image) * problem.k + place;
    const int index = top_indices[source];
    float4 box{0.0f, 0.0f, 0.0f, 0.0f};
    float score = -1.0f;
    if (index < lengths.anchors[level]) {
        const int pixel = index / problem.num_anchors, anchor = index - pixel * problem.num_anchors;
        const int y = pixel / problem.widths[level], x = pixel - y * problem.widths[level];
        const float stride = static_cast<float>(kFinestStride << level);
        const float centre_x = static_cast<float>(x) * stride, centre_y = static_cast<float>(y) * stride;
        const float4 base =
            __ldg(reinterpret_cast<const float4*>(problem.base_anchors) + level * problem.num_anchors + anchor);
        const Map<T> map(problem, level, image);
        float deltas[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            deltas[i] = map.at(pixel, problem.num_anchors + 4 * anchor + i);
        }
        const float height = __ldg(problem.image_sizes + 2 * image), width = __ldg(problem.image_sizes + 2 * image + 1);
        const Interval across = decode({centre_x + base.x, centre_x + base.z}, deltas[0], deltas[2], width);
        const Interval down = decode({centre_y + base.y, centre_y + base.w}, deltas[1], deltas[3], height);
        box = {across.low, down.low, across.high, down.high};
        score = sigmoid(top_logits[source]);
    }
    reinterpret_cast<float4*>(problem.boxes)[result] = box;
    problem.scores[result] = score;
}

// The parts of the workspace, each from a multiple of 256 bytes on.
struct Workspace {
    RefinemaskTopKSegments top_k{};
    int64_t bytes = 0;

    Workspace(const Problem& problem, const Lengths& lengths) {
        const int64_t results = static_cast<int64_t>(problem.batch) * kLevels * problem.k;
        auto* const logits = take<float>(problem, static_cast<int64_t>(problem.batch) * lengths.all);
        top_k.values = logits;
        top_k.groups = problem.batch;
        top_k.num_values = lengths.all;
        std::copy(lengths.padded, lengths.padded + kLevels, top_k.lengths);
        top_k.num_segments = kLevels;
        top_k.k = problem.k;
        top_k.top_values = take<float>(problem, results);
        top_k.narrow_top_indices = take<int32_t>(problem, results);
        top_k.workspace = take<unsigned char>(problem, refinemask_top_k_segments_workspace(&top_k));
    }

private:
    template <typename T>
    T* take(const Problem& problem, int64_t count) {
        constexpr int64_t kAlignment = 256;
        auto* const address = reinterpret_cast<T*>(static_cast<unsigned char*>(problem.workspace) + bytes);
        bytes += (count * static_cast<int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
        return address;
    }
};

// The limit that a problem breaks; null if it breaks none.
const char* broken_limit(const Problem& problem) {
    constexpr int64_t kMostValues = 1 << 30;
    constexpr int kMostImages = 65535;
    const auto outside = [](int value, int least, int most) { return value < least || value > most; };
    if (outside(problem.type, REFINEMASK_FLOAT, REFINEMASK_BFLOAT16)) {
        return "the type is not float, half or bfloat16";
    }
    if (outside(problem.layout, REFINEMASK_PLANAR, REFINEMASK_INTERLEAVED)) {
        return "the layout is neither planar nor interleaved";
    }
    if (outside(problem.batch, 0, kMostImages)) {
        return "there are not 0 to 65535 images";
    }
    if (outside(problem.num_anchors, 1, kMostAnchors)) {
        return "a cell does not have 1 to 1024 anchors";
    }
    if (outside(problem.k, 1, REFINEMASK_TOP_K_MAX)) {
        return "k is not 1 to 4096";
    }
    int64_t values = 0;
    for (int level = 0; level < kLevels; ++level) {
        if (outside(problem.heights[level], 1, kWidestMap) || outside(problem.widths[level], 1, kWidestMap)) {
            return "a map does not have 1 to 65536 rows and columns";
        }
        values += std::max<int64_t>(anchors_of(problem, level), problem.k);
    }
    return values <= kMostValues ? nullptr : "an image has more than 2^30 anchors";
}

template <typename T>
cudaError_t select_proposals_of(const Problem& problem, void* stream) {
    const Lengths lengths(problem);
    const Workspace work(problem, lengths);
    const dim3 anchors(ceil_div(lengths.all, kThreads), problem.batch);
    auto* const logits = const_cast<float*>(work.top_k.values);
    if (const cudaError_t error = launch(gather_logits<T>, anchors, kThreads, 0, stream, problem, lengths, logits)) {
        return error;
    }
    if (const int error = refinemask_top_k_segments(&work.top_k, stream)) {
        return static_cast<cudaError_t>(error);
    }
    const dim3 results(ceil_div(problem.batch * kLevels * problem.k, kThreads));
    return launch(decode_boxes<T>, results, kThreads, 0, stream, problem, lengths, work.top_k.top_values,
                  work.top_k.narrow_top_indices);
}

cudaError_t select_proposals(const Problem& problem, void* stream) {
    if (broken_limit(problem)) {
        return cudaErrorInvalidValue;
    }
    if (problem.batch == 0) {
        return cudaSuccess;
    }
    switch (problem.type) {
        case REFINEMASK_FLOAT: return select_proposals_of<float>(problem, stream);
        case REFINEMASK_HALF: return select_proposals_of<__half>(problem, stream);
        default: return select_proposals_of<__nv_bfloat16>(problem, stream);
    }
}

}  // namespace
}  // namespace refinemask

extern "C" int64_t refinemask_select_proposals_workspace(const RefinemaskSelectProposals* problem) {
    using namespace refinemask;
    return broken_limit(*problem) ? 0 : Workspace(*problem, Lengths(*problem)).bytes;
}

extern "C" const char* refinemask_select_proposals_refusal(const RefinemaskSelectProposals* problem) {
    return refinemask::broken_limit(*problem);
}

extern "C" int refinemask_select_proposals(const RefinemaskSelectProposals* problem, void* stream) {
    return refinemask::select_proposals(*problem, stream);
}
