// What every kernel needs of the device: storage types, wide loads, launches.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#define REFINEMASK_HD __host__ __device__ __forceinline__

namespace refinemask {

REFINEMASK_HD float to_float(float value) { return value; }
REFINEMASK_HD float to_float(__half value) { return __half2float(value); }
REFINEMASK_HD float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename T>
REFINEMASK_HD T from_float(float value);
template <>
REFINEMASK_HD float from_float<float>(float value) {
    return value;
}
template <>
REFINEMASK_HD __half from_float<__half>(float value) {
    return __float2half_rn(value);
}
template <>
REFINEMASK_HD __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
    return __float2bfloat16_rn(value);
}

template <int kBytes>
struct WordOf;
template <>
struct WordOf<4> {
    using Type = unsigned;
};
template <>
struct WordOf<8> {
    using Type = uint2;
};
template <>
struct WordOf<16> {
    using Type = uint4;
};

// N neighbouring values that move in one instruction; the address must be a multiple of their size.
template <typename T, int N>
struct Pack {
    using Word = typename WordOf<sizeof(T) * N>::Type;
    static constexpr int kPerRegister = sizeof(uint32_t) / sizeof(T);
    uint32_t registers[N / kPerRegister];  // not T[N], which would take a register per value

    static __device__ __forceinline__ Pack load(const T* address) {
        const Word word = __ldg(reinterpret_cast<const Word*>(address));
        Pack pack;
        memcpy(pack.registers, &word, sizeof(word));
        return pack;
    }
    static __device__ __forceinline__ Pack of(const float (&values)[N]) {
        Pack pack;
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const T value = from_float<T>(values[i]);
            memcpy(reinterpret_cast<T*>(pack.registers) + i, &value, sizeof(T));
        }
        return pack;
    }
    __device__ __forceinline__ float operator[](int i) const {
        const uint32_t bits = registers[i / kPerRegister] >> (i % kPerRegister * 8 * sizeof(T));
        T value;
        memcpy(&value, &bits, sizeof(T));
        return to_float(value);
    }
    __device__ __forceinline__ void store(T* address) const {
        Word word;
        memcpy(&word, registers, sizeof(word));
        *reinterpret_cast<Word*>(address) = word;
    }
};

// Division of small non-negative integers by one divisor, in three instructions: exact below kExact.
struct Divisor {
    static constexpr int kExact = 1 << 21;
    int value;
    float inverse;

    REFINEMASK_HD Divisor(int value) : value(value), inverse(1.0f / static_cast<float>(value)) {}
    REFINEMASK_HD int quotient(int n) const { return static_cast<int>((static_cast<float>(n) + 0.5f) * inverse); }
};

REFINEMASK_HD int ceil_div(int n, int divisor) { return (n + divisor - 1) / divisor; }
REFINEMASK_HD int round_up(int n, int multiple) { return ceil_div(n, multiple) * multiple; }

#ifdef __CUDACC__
__device__ __forceinline__ unsigned char* dynamic_shared() {
    extern __shared__ __align__(16) unsigned char refinemask_dynamic_shared[];
    return refinemask_dynamic_shared;
}
#endif

constexpr size_t kUsualSharedBytes = 48 * 1024;  // what a block gets without asking

// Lets a kernel's blocks have that much dynamic shared memory. Always the same for a device: another thread may be
// about to launch it.
template <typename Kernel>
cudaError_t allow_shared(Kernel kernel, size_t bytes) {
    return bytes <= kUsualSharedBytes ? cudaSuccess
                                      : cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                             static_cast<int>(bytes));
}

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, void* stream,
                   Arguments... arguments) {
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = static_cast<cudaStream_t>(stream);
    return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// An attribute of the current device.
inline cudaError_t device_attribute(cudaDeviceAttr attribute, int* value) {
    int device = 0;
    const cudaError_t error = cudaGetDevice(&device);
    return error ? error : cudaDeviceGetAttribute(value, attribute, device);
}

}  // namespace refinemask
