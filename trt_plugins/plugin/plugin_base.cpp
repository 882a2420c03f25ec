#include "plugin_base.h"

#include <stdexcept>

namespace refinemask {

std::string to_string(nvinfer1::Dims const& dims) {
    std::string text = "[";
    for (int32_t i = 0; i < dims.nbDims; ++i) {
        text += (i > 0 ? ", " : "") + std::to_string(dims.d[i]);
    }
    return text + "]";
}

std::string to_string(nvinfer1::DataType type) {
    switch (type) {
        case nvinfer1::DataType::kFLOAT: return "float32";
        case nvinfer1::DataType::kHALF: return "float16";
        case nvinfer1::DataType::kBF16: return "bfloat16";
        case nvinfer1::DataType::kINT32: return "int32";
        case nvinfer1::DataType::kINT64: return "int64";
        default: return "data type " + std::to_string(static_cast<int>(type));
    }
}

int32_t kernel_type(nvinfer1::DataType type) {
    switch (type) {
        case nvinfer1::DataType::kFLOAT: return REFINEMASK_FLOAT;
        case nvinfer1::DataType::kHALF: return REFINEMASK_HALF;
        default: return REFINEMASK_BFLOAT16;
    }
}

void expect(bool condition, std::string const& found, std::string const& expected) {
    if (!condition) {
        throw std::invalid_argument(found + "; expected " + expected);
    }
}

}  // namespace refinemask
