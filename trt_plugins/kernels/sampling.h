// RoIAlign's arithmetic: which level a RoI is pooled from, and which rows and columns make up a bin.
//
// The mean of bilinear samples on a grid is separable: sum over rows of wy[row] times sum over columns of wx[column]
// times the feature. So a bin is two short lists of taps, however many samples it has; big bins read each cell once
// instead of four times per sample. Compiled without contraction, coordinates equal torchvision's to the last bit.
#pragma once

#include "device.h"

#include <cmath>

namespace refinemask {

constexpr int kFinestStride = 4;
constexpr int kMaxLevels = 4;

// floor(log2(sqrt(area) / finest_scale + 1e-6)), clamped; by comparison, which rounds nowhere. NaN is level 0.
REFINEMASK_HD int roi_level(float x1, float y1, float x2, float y2, int finest_scale, int num_levels) {
    const float area = (x2 - x1) * (y2 - y1);
    const float ratio = sqrtf(area > 0.0f ? area : 0.0f) / static_cast<float>(finest_scale) + 1e-6f;
    int level = 0;
    for (int next = 1; next < num_levels; ++next) {
        level += ratio >= static_cast<float>(1 << next);
    }
    return level;
}

// A weight on one row or column of the map.
struct alignas(8) Tap {
    int index;
    float weight;
};

// The sample positions of a RoI along one axis.
struct Axis {
    float start;  // of the RoI, in cells, shifted by half a cell
    float bin;    // cells per bin
    int samples;  // per bin; 0 makes every bin empty
    int extent;   // cells of the map
};

REFINEMASK_HD Axis make_axis(float low, float high, int level, int extent, int bins, int sampling_ratio) {
    constexpr float kTooManySamples = 1 << 24;
    const float scale = 1.0f / static_cast<float>(kFinestStride << level);
    const float start = low * scale - 0.5f;
    const float bin = (high * scale - 0.5f - start) / static_cast<float>(bins);
    int samples = sampling_ratio;
    if (sampling_ratio <= 0) {
        samples = bin > 0.0f && bin < kTooManySamples ? static_cast<int>(ceilf(bin)) : 0;
    }
    return {start, bin, samples, extent};
}

// Sample range of a bin that can fall on the map, so that a box of any size costs no more than the map's extent.
struct SampleRange {
    int first;
    int last;  // one past
};

REFINEMASK_HD SampleRange samples_on_map(const Axis& axis, float bin_start, float samples) {
    constexpr int kFewSamples = 16;
    if (axis.samples <= kFewSamples || !(axis.bin > 0.0f)) {
        return {0, axis.samples};
    }
    // The margin of four samples covers rounding for coordinates up to 2^22 cells.
    const float spacing = axis.bin / samples;
    const float first = floorf((-1.0f - bin_start) / spacing) - 4.0f;
    const float last = ceilf((static_cast<float>(axis.extent) - bin_start) / spacing) + 4.0f;
    return {static_cast<int>(fminf(fmaxf(first, 0.0f), samples)), static_cast<int>(fminf(fmaxf(last, 0.0f), samples))};
}

// Calls emit(index, weight) for the taps of one bin, neighbouring samples merged. Weights sum to the share of the
// bin's samples that lie on the map.
template <typename Emit>
REFINEMASK_HD void for_each_tap(const Axis& axis, int bin, Emit emit) {
    constexpr int kNone = -2, kEnd = 1 << 30;
    const float samples = static_cast<float>(axis.samples), share = 1.0f / samples;
    const float bin_start = axis.start + static_cast<float>(bin) * axis.bin;
    const SampleRange range = samples_on_map(axis, bin_start, samples);
    const int edge = axis.extent - 1;
    int low = kNone;  // the pending taps are low and, short of the edge, low + 1
    float low_weight = 0.0f, high_weight = 0.0f;
#pragma unroll 1
    for (int i = range.first; i <= range.last; ++i) {
        int cell = kEnd;
        float fraction = 0.0f;
        if (i < range.last) {
            const float position = bin_start + (static_cast<float>(i) + 0.5f) * axis.bin / samples;
            if (!(position >= -1.0f && position <= static_cast<float>(axis.extent))) {
                continue;
            }
            const float inside = fmaxf(position, 0.0f);
            cell = min(static_cast<int>(inside), edge);
            fraction = cell == edge ? 0.0f : inside - static_cast<float>(cell);
        }
        if (cell != low) {
            if (low != kNone) {
                emit(low, low_weight * share);
                if (cell != low + 1 && low < edge) {
                    emit(low + 1, high_weight * share);
                }
            }
            low_weight = cell == low + 1 ? high_weight : 0.0f;
            high_weight = 0.0f;
            low = cell;
        }
        low_weight += 1.0f - fraction;
        high_weight += fraction;
    }
}

// Upper bound of the taps of all bins of an axis. Without a fixed ratio the bins follow one another along the map and
// share at most two cells with the next.
REFINEMASK_HD int max_taps(int extent, int bins, int sampling_ratio) {
    return sampling_ratio > 0 ? 2 * sampling_ratio * bins : extent + 2 * bins;
}

}  // namespace refinemask
