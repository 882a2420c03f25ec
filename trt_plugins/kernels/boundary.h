// The boundary test of boundary-aware refinement, in integers.
//
// Upsampling n to m + 1 = 2n pixels with aligned corners puts output pixel o at o * (n - 1) / m of the input: all
// weights are multiples of 1 / m, and the interpolated 0/1 map is a multiple of 1 / m^2. As m is odd, it is never a
// half, and the comparison is exact.
#pragma once

#include "device.h"

namespace refinemask {

// Whether float32 sigmoid(logit) is at least a half: it rounds up to one for logits down to -1.5 * 2^-23.
REFINEMASK_HD bool is_foreground(float logit) { return logit >= -1.78813934e-7f; }

// An output pixel between two input pixels of one axis: weights (m - part) / m and part / m.
struct Between {
    int low;
    int high;
    int part;
};

REFINEMASK_HD Between between(int output, int n) {
    const int m = 2 * n - 1;
    const int low = output * (n - 1) / m;
    return {low, min(low + 1, n - 1), output * (n - 1) - low * m};
}

// Whether the upsampled map, given by its 0/1 values at the four input pixels around, is at least a half.
REFINEMASK_HD bool at_least_half(int m, const Between& y, const Between& x, int low_low, int low_high, int high_low,
                                 int high_high) {
    const int upper = (m - x.part) * low_low + x.part * low_high;
    const int lower = (m - x.part) * high_low + x.part * high_high;
    return 2 * ((m - y.part) * upper + y.part * lower) >= m * m;
}

REFINEMASK_HD float interpolate(float low, float high, float low_weight, float high_weight) {
    return low_weight * low + high_weight * high;
}

}  // namespace refinemask
