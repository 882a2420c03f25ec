// What TensorRT's plugin registry looks for when it loads a library. Nothing here or in the plugins calls TensorRT, so
// that one binary serves TensorRT 10, 11 and RTX.
#include <cstdint>
#include <cstdio>

#include "logging.h"
#include "plugins.h"

namespace {

nvinfer1::ILoggerFinder* logger_finder = nullptr;

}  // namespace

void refinemask::log_error(char const* plugin, std::string const& message) noexcept {
    try {
        std::string const line = std::string(plugin) + ": " + message;
        nvinfer1::ILogger* const logger = logger_finder != nullptr ? logger_finder->findLogger() : nullptr;
        if (logger != nullptr) {
            logger->log(nvinfer1::ILogger::Severity::kERROR, line.c_str());
        } else {
            std::fprintf(stderr, "%s\n", line.c_str());
        }
    } catch (...) {
        // A message that cannot be delivered is lost; the caller reports failure by its return value.
    }
}

extern "C" __attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
    logger_finder = finder;
}

extern "C" __attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(
    int32_t& count) {
    static nvinfer1::IPluginCreatorInterface* const creators[] = {
        refinemask::multilevel_roi_align_creator(4), refinemask::multilevel_roi_align_creator(1),
        refinemask::fixed_nms_creator(), refinemask::boundary_merge_creator()};
    count = sizeof(creators) / sizeof(creators[0]);
    return creators;
}
