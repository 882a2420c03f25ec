// Buffers of a device without slack, and what is said where something does not hold.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <string>
#include <vector>

#include "refinemask_kernels.h"

namespace awkward {

inline int failures = 0;

inline void expect(bool holds, const std::string& what) {
    if (!holds) {
        std::printf("%s\n", what.c_str());
        ++failures;
    }
}

inline void expect_success(int error, const std::string& what) {
    expect(error == 0, what + ": " + refinemask_error_string(error));
}

// Frees its buffers at its end.
class DeviceMemory {
public:
    DeviceMemory() = default;
    DeviceMemory(const DeviceMemory&) = delete;
    ~DeviceMemory() {
        for (void* const address : memory_) {
            expect_success(cudaFree(address), "cudaFree");
        }
    }

protected:
    template <typename T>
    T* upload(const std::vector<T>& values) {
        T* const address = allocate<T>(values.size());
        if (address != nullptr) {
            const size_t bytes = values.size() * sizeof(T);
            expect_success(cudaMemcpy(address, values.data(), bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
        }
        return address;
    }
    // What kernels write: -1 at first, NaN as a float.
    template <typename T>
    T* reserve(size_t count) {
        T* const address = allocate<T>(count);
        if (address != nullptr) {
            expect_success(cudaMemset(address, 0xff, count * sizeof(T)), "cudaMemset");
        }
        return address;
    }
    template <typename T>
    static std::vector<T> download(const T* address, size_t count) {
        std::vector<T> values(count);
        if (count > 0) {
            const size_t bytes = count * sizeof(T);
            expect_success(cudaMemcpy(values.data(), address, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
        }
        return values;
    }

private:
    template <typename T>
    T* allocate(size_t count) {
        void* address = nullptr;
        if (count > 0) {
            expect_success(cudaMalloc(&address, count * sizeof(T)), "cudaMalloc");
            memory_.push_back(address);
        }
        return static_cast<T*>(address);
    }

    std::vector<void*> memory_;
};

}  // namespace awkward
