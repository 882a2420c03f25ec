// Pasting's arithmetic: where the pixels of an image lie on a mask, and where a column of the pasted mask changes.
//
// Compiled without contraction, it is that of refinemask/crossings.py to the last bit: float positions, double crossings.
#pragma once

#include "device.h"

#include <cmath>

namespace refinemask {

constexpr float kForeground = 0.5f;  // probability from which on a pixel is foreground

REFINEMASK_HD bool is_finite(float value) { return fabsf(value) <= 3.402823466e38f; }

// The pixels of one axis of the image that are near a box, and where their centres lie in samples of the mask.
struct PixelAxis {
    float low;
    float extent;
    float samples;
    int first;
    int end;  // one past the last; none at all where it is first
    bool middle;

    // A side must be finite; the image's at most 2^24 pixels, so that every centre is a float.
    REFINEMASK_HD PixelAxis(float low, float high, int size, int samples)
        : low(low), extent(high - low), samples(static_cast<float>(samples)), middle(false) {
        const double before = static_cast<double>(floorf(low)) - 1.0, after = static_cast<double>(ceilf(high)) + 1.0;
        first = static_cast<int>(fmin(fmax(before, 0.0), static_cast<double>(size)));
        end = static_cast<int>(fmin(fmax(after, 0.0), static_cast<double>(size)));
        if (end < first || high < low) {
            end = first;
        }
        // A box without extent divides by zero: it is sampled at the middle of its mask.
        if (extent < 1.0f && first < end) {
            middle = !is_finite(relative(first)) || !is_finite(relative(end - 1));
        }
    }
    // From -1 at the box's low side to 1 at its high side.
    REFINEMASK_HD float relative(int pixel) const {
        return (static_cast<float>(pixel) + 0.5f - low) / extent * 2.0f - 1.0f;
    }
    // Never descends from a pixel to the next.
    REFINEMASK_HD float position(int pixel) const {
        return (((middle ? 0.0f : relative(pixel)) + 1.0f) * samples - 1.0f) / 2.0f;
    }
    // The first pixel that lies behind a position of the mask; a pixel right on it does so where `inclusive`.
    REFINEMASK_HD int first_behind(double place, bool inclusive) const {
        int low_pixel = first, high_pixel = end;
        while (low_pixel < high_pixel) {
            const int pixel = low_pixel + (high_pixel - low_pixel) / 2;
            const double here = static_cast<double>(position(pixel));
            if (inclusive ? here < place : here <= place) {
                low_pixel = pixel + 1;
            } else {
                high_pixel = pixel;
            }
        }
        return low_pixel;
    }
};

// A column of the image on the mask: each sample lies between two neighbours of a row, zeros outside the mask.
struct MaskColumn {
    const float* left;
    bool has_left;
    bool has_right;
    float fraction;
    int stride;

    __device__ MaskColumn(const float* mask, int columns, float position) : stride(columns) {
        const float inside = fminf(fmaxf(position, -1.0f), static_cast<float>(columns));
        const float knot = floorf(inside);
        const int index = static_cast<int>(knot);
        fraction = inside - knot;
        has_left = index >= 0 && index < columns;
        has_right = index + 1 < columns;
        left = mask + index;
    }
    __device__ float operator[](int row) const {
        const float* const address = left + static_cast<int64_t>(row) * stride;
        const float a = has_left ? __ldg(address) : 0.0f;
        const float b = has_right ? __ldg(address + 1) : 0.0f;
        return (b - a) * fraction + a;
    }
};

// Calls emit(pixel) for the rows of the image where a column of the pasted mask begins and ends to be foreground, in
// turn; ascending, and twice the same where there is no pixel in between.
template <typename Emit>
__device__ void for_each_change(const MaskColumn& column, int rows, const PixelAxis& y, Emit emit) {
    constexpr int kGroup = 32;
    uint32_t last = 0;
    for (int base = 0; base <= rows; base += kGroup) {
        uint32_t foreground = 0;
#pragma unroll 8
        for (int i = 0; i < kGroup; ++i) {
            if (base + i < rows && column[base + i] >= kForeground) {
                foreground |= 1u << i;
            }
        }
        uint32_t changes = foreground ^ (foreground << 1 | last);
        last = foreground >> (kGroup - 1);
        while (changes != 0) {
            const int bit = __ffs(static_cast<int>(changes)) - 1, row = base + bit;
            changes &= changes - 1;
            const double before = row > 0 ? static_cast<double>(column[row - 1]) : 0.0;
            const double after = row < rows ? static_cast<double>(column[row]) : 0.0;
            const double place = row - 1 + (static_cast<double>(kForeground) - before) / (after - before);
            // A pixel right on the end of the foreground still belongs to it.
            emit(y.first_behind(place, (foreground >> bit & 1) != 0));
        }
    }
}

}  // namespace refinemask
