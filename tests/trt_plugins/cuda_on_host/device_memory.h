// Memory, streams and graphs for programs that run on the CPU: a buffer ends where memory that cannot be touched begins,
// and what is launched into a capture runs at once.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <map>

namespace cuda_on_host {

struct Pages {
    void* first;
    size_t bytes;
};
inline std::map<void*, Pages> allocations;

}  // namespace cuda_on_host

// Ends at a page's end, short of what keeps it aligned to a vector.
inline cudaError_t cudaMalloc(void** address, size_t bytes) {
    constexpr size_t kAlignment = 16;
    const size_t page = sysconf(_SC_PAGESIZE);
    const size_t usable = (bytes + page - 1) / page * page;
    auto* const first = static_cast<unsigned char*>(
        mmap(nullptr, usable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (first == MAP_FAILED || mprotect(first + usable, page, PROT_NONE) != 0) {
        return cudaErrorInvalidValue;
    }
    *address = first + usable - (bytes + kAlignment - 1) / kAlignment * kAlignment;
    cuda_on_host::allocations[*address] = {first, usable + page};
    return cudaSuccess;
}
inline cudaError_t cudaFree(void* address) {
    const auto found = cuda_on_host::allocations.find(address);
    if (found == cuda_on_host::allocations.end()) {
        return cudaErrorInvalidValue;
    }
    munmap(found->second.first, found->second.bytes);
    cuda_on_host::allocations.erase(found);
    return cudaSuccess;
}
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
    std::memset(memory, value, bytes);
    return cudaSuccess;
}

constexpr unsigned cudaStreamNonBlocking = 1;
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t*, unsigned) { return cudaSuccess; }
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

using cudaGraph_t = void*;
using cudaGraphExec_t = void*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal = 0 };
inline cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) { return cudaSuccess; }
inline cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*) { return cudaSuccess; }
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long) { return cudaSuccess; }
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cudaSuccess; }
inline cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
