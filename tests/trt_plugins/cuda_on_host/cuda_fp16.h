// IEEE half precision, stored as bits; rounds to nearest even.
#pragma once

#include "cuda_runtime.h"

struct __half { uint16_t bits; };

inline float __half2float(__half value) {
    _Float16 half;
    std::memcpy(&half, &value, sizeof(half));
    return static_cast<float>(half);
}

inline __half __float2half_rn(float value) {
    const auto half = static_cast<_Float16>(value);
    __half result;
    std::memcpy(&result, &half, sizeof(half));
    return result;
}
