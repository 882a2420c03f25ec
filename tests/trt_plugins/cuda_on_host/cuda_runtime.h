// As much of CUDA as the kernels use, on the CPU: a block's threads are coroutines that run one after another between
// barriers, in an order the test chooses. A missing barrier shows as a result that depends on the order; a barrier that
// not all threads reach aborts. Only for tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)

struct alignas(8) int2 { int x, y; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16, cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
using cudaStream_t = void*;
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
};

struct Index { int x, y, z; };
extern Index threadIdx, blockIdx, blockDim;

namespace cuda_on_host {

extern unsigned char* dynamic_memory;
extern int multiprocessors;
extern size_t shared_bytes_per_multiprocessor;
extern int64_t loads;

bool all_of_block(bool predicate);
uint32_t ballot(bool predicate);
uint32_t or_of_warp(uint32_t value);
uint32_t exchange(uint32_t value, int lane_mask);
void run(const cudaLaunchConfig_t& config, const std::function<void()>& kernel);
std::map<void*, size_t>& most_shared_bytes();

}  // namespace cuda_on_host

inline unsigned char* dynamic_shared() { return cuda_on_host::dynamic_memory; }
inline void __syncthreads() { cuda_on_host::all_of_block(true); }
inline int __syncthreads_and(int predicate) { return cuda_on_host::all_of_block(predicate != 0); }
inline uint32_t __ballot_sync(unsigned, bool predicate) { return cuda_on_host::ballot(predicate); }
inline uint32_t __reduce_or_sync(unsigned, uint32_t value) { return cuda_on_host::or_of_warp(value); }
inline float __shfl_xor_sync(unsigned, float value, int lane_mask) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    bits = cuda_on_host::exchange(bits, lane_mask);
    std::memcpy(&value, &bits, sizeof(bits));
    return value;
}
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(uint64_t bits) { return __builtin_popcountll(bits); }
template <typename T>
T __ldg(const T* address) {
    if (reinterpret_cast<uintptr_t>(address) % sizeof(T) != 0) {
        __builtin_trap();  // a misaligned address is an error on the device
    }
    ++cuda_on_host::loads;
    return *address;
}
inline int atomicAdd(int* address, int value) { int old = *address; *address += value; return old; }
inline int atomicMin(int* address, int value) { int old = *address; *address = std::min(old, value); return old; }
inline int atomicMax(int* address, int value) { int old = *address; *address = std::max(old, value); return old; }
using std::max;
using std::min;

template <typename... Parameters>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Parameters... arguments) {
    const size_t allowed = cuda_on_host::most_shared_bytes()[reinterpret_cast<void*>(kernel)];
    const bool fits = config->dynamicSmemBytes <= std::max<size_t>(allowed, 48 * 1024) &&
                      config->gridDim.y <= 65535 && config->gridDim.z <= 65535;
    if (!fits || config->blockDim.x == 0 || config->blockDim.x > 1024 || config->gridDim.x == 0) {
        return cudaErrorInvalidValue;
    }
    cuda_on_host::run(*config, [=] { kernel(arguments...); });
    return cudaSuccess;
}

inline cudaError_t cudaGetDevice(int* device) { *device = 0; return cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    *value = attribute == cudaDevAttrMultiProcessorCount
                 ? cuda_on_host::multiprocessors
                 : static_cast<int>(cuda_on_host::shared_bytes_per_multiprocessor);
    return cudaSuccess;
}
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel kernel, cudaFuncAttribute, int bytes) {
    cuda_on_host::most_shared_bytes()[reinterpret_cast<void*>(kernel)] = bytes;
    return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t) {
    std::memset(memory, value, bytes);
    return cudaSuccess;
}
inline const char* cudaGetErrorString(cudaError_t error) { return error ? "invalid argument" : "no error"; }

#include "device_memory.h"
