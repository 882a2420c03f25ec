// What TensorRT's plugin registry looks for when it loads a library. Nothing here or in the plugins calls TensorRT, so
// that one binary serves TensorRT 10, 11 and RTX.
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>

#include "logging.h"
#include "plugins.h"

// ILoggerFinder and ILogger are the interfaces whose layout differs between the versions, whichever headers this is
// compiled with: TensorRT 11 put the functions of a versioned interface before their own. (With external linkage, lest
// the compiler conclude that nothing implements them.)
namespace refinemask::layout {

using Severity = nvinfer1::ILogger::Severity;

struct Versioned {
    virtual int32_t getAPILanguage() const noexcept = 0;
    virtual nvinfer1::InterfaceInfo getInterfaceInfo() const noexcept = 0;
    virtual ~Versioned() = default;
};
struct Logger10 {
    virtual void log(Severity severity, char const* message) noexcept = 0;
};
struct Logger11 : Versioned {
    virtual void log(Severity severity, char const* message) noexcept = 0;
};
struct Finder10 {
    virtual Logger10* findLogger() = 0;
};
struct Finder11 : Versioned {
    virtual Logger11* findLogger() = 0;
};

}  // namespace refinemask::layout

namespace {

using namespace refinemask::layout;

void* logger_finder = nullptr;

// getInferLibVersion of the library that made the finder: 10xxxx, 11xxxx, or less for RTX; 0 if it has none.
int32_t version_of_maker(void* finder) {
    void* const first_function = **static_cast<void***>(finder);
    Dl_info info{};
    if (dladdr(first_function, &info) == 0 || info.dli_fname == nullptr) {
        return 0;
    }
    void* const library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    void* const symbol = library != nullptr ? dlsym(library, "getInferLibVersion") : nullptr;
    int32_t const version = symbol != nullptr ? reinterpret_cast<int32_t (*)()>(symbol)() : 0;
    if (library != nullptr) {
        dlclose(library);
    }
    return version;
}

bool has_layout_of_11(void* finder) {
    int32_t const version = version_of_maker(finder);
    if (version >= 100000) {
        return version >= 110000;
    }
    // RTX counts its versions otherwise: there the first function tells. It gives a logger's address in the old layout
    // and a language, 0 or 1, in the new one, of which only the low half of the register is defined.
    auto const first = reinterpret_cast<uintptr_t>(static_cast<Finder10*>(finder)->findLogger());
    return static_cast<uint32_t>(first) <= 1;
}

template <typename Finder>
bool log_with(void* finder, char const* line) {
    auto* const logger = static_cast<Finder*>(finder)->findLogger();
    if (logger != nullptr) {
        logger->log(Severity::kERROR, line);
    }
    return logger != nullptr;
}

bool log_line(void* finder, char const* line) {
    if (finder == nullptr) {
        return false;
    }
    return has_layout_of_11(finder) ? log_with<Finder11>(finder, line) : log_with<Finder10>(finder, line);
}

}  // namespace

void refinemask::log_error(char const* plugin, std::string const& message) noexcept {
    try {
        std::string const line = std::string(plugin) + ": " + message;
        if (!log_line(logger_finder, line.c_str())) {
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
        refinemask::fixed_nms_creator(), refinemask::boundary_merge_creator(),
        refinemask::select_proposals_creator(), refinemask::top_scores_creator(),
        refinemask::label_logits_creator(false), refinemask::label_logits_creator(true)};
    count = sizeof(creators) / sizeof(creators[0]);
    return creators;
}
