// Messages to TensorRT's logger, which the application hands to the library when it loads it.
#pragma once

#include <NvInferRuntime.h>

#include <string>

namespace refinemask {

// One error line, "PluginName: message"; to standard error while there is no logger.
void log_error(char const* plugin, std::string const& message) noexcept;

// Runs `body`, turning an exception, which must not cross the library's edge, into an error line and `failure`.
template <typename Result, typename Body>
Result guarded(char const* plugin, Result failure, Body body) noexcept {
    try {
        return body();
    } catch (std::exception const& error) {
        log_error(plugin, error.what());
    } catch (...) {
        log_error(plugin, "unknown exception");
    }
    return failure;
}

}  // namespace refinemask
