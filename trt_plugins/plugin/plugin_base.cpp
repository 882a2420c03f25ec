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

void expect(bool condition, std::string const& found, std::string const& expected) {
    if (!condition) {
        throw std::invalid_argument(found + "; expected " + expected);
    }
}

}  // namespace refinemask
