// Overlap of boxes, as torchvision computes it.
#pragma once

#include "device.h"

namespace refinemask {

// Whether the IoU of two boxes (x1, y1, x2, y2) is above the threshold. Symmetric to the last bit. Boxes without area
// and boxes with NaN overlap nothing.
REFINEMASK_HD bool overlaps(const float4& a, const float4& b, float threshold) {
    const float width = fmaxf(fminf(a.z, b.z) - fmaxf(a.x, b.x), 0.0f);
    const float height = fmaxf(fminf(a.w, b.w) - fmaxf(a.y, b.y), 0.0f);
    const float intersection = width * height;
    if (!(intersection > 0.0f)) {
        return false;
    }
    const float areas = (a.z - a.x) * (a.w - a.y) + (b.z - b.x) * (b.w - b.y);
    return intersection / (areas - intersection) > threshold;
}

// Sorts ascending to descending scores, of equals the lower index first; padding last.
REFINEMASK_HD uint64_t sort_key(float score, int index) {
    constexpr uint64_t kPadding = ~0ull;
    if (!(score >= 0.0f)) {
        return kPadding;
    }
    const float positive = score + 0.0f;  // -0 is 0
    uint32_t bits;
    memcpy(&bits, &positive, sizeof(bits));
    return static_cast<uint64_t>(~bits) << 32 | static_cast<uint32_t>(index);
}

REFINEMASK_HD bool is_padding(uint64_t key) { return key == ~0ull; }

}  // namespace refinemask
