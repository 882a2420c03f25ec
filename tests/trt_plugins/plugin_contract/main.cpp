// Calls a plugin library as TensorRT does, without TensorRT. Prints "ok" or what went wrong.
//   plugin_contract LIBRARY 10|11 [run|operators]
// with the logger as that major version lays it out. With `run` the library must be one whose kernels run on the CPU,
// and the plugins' enqueue is called on host memory. With `operators` prints each plugin's namespace, version, name and
// attributes, one plugin a line, and checks nothing else.
// The checks of a plugin are in the file of its name; here are those that all plugins share.
#include "contract.h"

#include <dlfcn.h>

#include <cmath>
#include <cstring>

namespace contract {
namespace {

// Loggers and their finders as in TensorRT 10 and 11, whichever headers this is compiled with.
struct Logger10 {
    virtual void log(int32_t, char const* message) noexcept { last = message; }
    virtual ~Logger10() = default;
};
struct Finder10 {
    Logger10 logger;
    virtual Logger10* findLogger() { return &logger; }
    virtual ~Finder10() = default;
};
struct Logger11 : IVersionedInterface {
    InterfaceInfo getInterfaceInfo() const noexcept override { return {"ILogger", 1, 0}; }
    virtual void log(int32_t, char const* message) noexcept { last = message; }
};
struct Finder11 : IVersionedInterface {
    Logger11 logger;
    InterfaceInfo getInterfaceInfo() const noexcept override { return {"ILoggerFinder", 1, 0}; }
    virtual Logger11* findLogger() { return &logger; }
};

// What a plugin costs depends on its attributes, besides the shapes and formats, which TensorRT adds.
std::string timing_cache_id(IPluginV3* plugin) {
    return static_cast<IPluginV3OneBuild*>(plugin->getCapabilityInterface(PluginCapabilityType::kBUILD))
        ->getTimingCacheID();
}

void check_identity_and_round_trip(char const* name, std::vector<PluginField> const& fields) {
    Parts const original = create(name, fields);
    CHECK(original.plugin && original.core && original.build && original.runtime);
    CHECK(std::strcmp(original.core->getPluginName(), name) == 0);
    CHECK(std::strcmp(original.core->getPluginVersion(), "1") == 0);
    CHECK(std::strcmp(original.core->getPluginNamespace(), "refinemask") == 0);
    PluginFieldCollection const* const stored = original.runtime->getFieldsToSerialize();
    CHECK(stored->nbFields == static_cast<int32_t>(fields.size()));
    // What an engine keeps: copies of the bytes.
    std::vector<std::vector<char>> bytes;
    std::vector<PluginField> loaded;
    for (int32_t i = 0; i < stored->nbFields; ++i) {
        char const* const data = static_cast<char const*>(stored->fields[i].data);
        bytes.emplace_back(data, data + 4);
        loaded.emplace_back(stored->fields[i].name, nullptr, stored->fields[i].type, stored->fields[i].length);
    }
    for (size_t i = 0; i < loaded.size(); ++i) {
        loaded[i].data = bytes[i].data();
    }
    Parts const recreated = create(name, loaded);
    CHECK(recreated.plugin);
    PluginFieldCollection const* const again = recreated.runtime->getFieldsToSerialize();
    for (int32_t i = 0; i < again->nbFields; ++i) {
        CHECK(std::memcmp(again->fields[i].data, bytes[i].data(), 4) == 0);
    }
    IPluginV3* const clone = recreated.plugin->clone();
    CHECK(clone != nullptr && clone->getCapabilityInterface(PluginCapabilityType::kRUNTIME) != nullptr);
    std::string const id = timing_cache_id(original.plugin);
    CHECK(id.rfind(name, 0) == 0 && id == timing_cache_id(recreated.plugin) && id == timing_cache_id(clone));
    for (PluginField const& field : fields) {
        CHECK(id.find(std::string(" ") + field.name + '=') != std::string::npos);
    }
    IPluginV3* const attached = recreated.runtime->attachToContext(nullptr);
    CHECK(attached != nullptr);
    for (IPluginV3* plugin : {original.plugin, recreated.plugin, clone, attached}) {
        delete plugin;
    }
}

void check_timing_cache_ids() {
    Parts const nms = create("FixedNMS", {real("iou_threshold", threshold), integer("k", k)});
    CHECK(timing_cache_id(nms.plugin) == "FixedNMS iou_threshold=0.5 k=100");
    float const next = std::nextafter(threshold, 1.0f);
    Parts const other = create("FixedNMS", {real("iou_threshold", next), integer("k", k)});
    CHECK(timing_cache_id(other.plugin) != timing_cache_id(nms.plugin));
    Parts const merge = create("BoundaryMerge", {});
    CHECK(timing_cache_id(merge.plugin) == "BoundaryMerge");
    for (Parts const& parts : {nms, other, merge}) {
        delete parts.plugin;
    }
}

void check_attribute_errors() {
    CHECK(create("FixedNMS", {integer("k", k)}).plugin == nullptr);
    CHECK(said("FixedNMS: attribute 'iou_threshold' is missing; expected a float32 from 0 to 1"));
    CHECK(create("FixedNMS", {real("iou_threshold", nonsense), integer("k", k)}).plugin == nullptr);
    CHECK(said("attribute 'iou_threshold' is 2; expected"));
    CHECK(create("FixedNMS", {integer("iou_threshold", k), integer("k", k)}).plugin == nullptr);
    CHECK(said("has field type"));
    std::vector<PluginField> fields = pooling();
    fields[0].data = &too_large;
    CHECK(create("MultilevelRoIAlign4", fields).plugin == nullptr);
    CHECK(said("MultilevelRoIAlign4: attribute 'output_size' is 1000; expected an int32 from 1 to 128"));
    int32_t const too_many = 4097;
    for (char const* const name : {"SelectProposals", "TopScores"}) {
        CHECK(create(name, {integer("k", too_many)}).plugin == nullptr);
        CHECK(said(name) && said("attribute 'k' is 4097; expected an int32 from 1 to 4096"));
    }
}

void print_operator(IPluginCreatorV3One& creator) {
    std::printf("%s %s %s", creator.getPluginNamespace(), creator.getPluginVersion(), creator.getPluginName());
    PluginFieldCollection const& fields = *creator.getFieldNames();
    for (int32_t i = 0; i < fields.nbFields; ++i) {
        bool const integer = fields.fields[i].type == PluginFieldType::kINT32;
        CHECK(integer || fields.fields[i].type == PluginFieldType::kFLOAT32);
        std::printf(" %s:%s", fields.fields[i].name, integer ? "int" : "float");
    }
    std::printf("\n");
}

}  // namespace
}  // namespace contract

using namespace contract;

int main(int count_of_arguments, char** arguments) {
    void* const library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        std::printf("%s\n", dlerror());
        return 1;
    }
    const auto set_finder = reinterpret_cast<void (*)(void*)>(dlsym(library, "setLoggerFinder"));
    const auto get_creators =
        reinterpret_cast<IPluginCreatorInterface* const* (*)(int32_t&)>(dlsym(library, "getCreators"));
    CHECK(set_finder != nullptr && get_creators != nullptr);
    static Finder10 finder_of_10;
    static Finder11 finder_of_11;
    set_finder(std::strcmp(arguments[2], "10") == 0 ? static_cast<void*>(&finder_of_10) : &finder_of_11);
    std::string const mode = count_of_arguments > 3 ? arguments[3] : "";
    int32_t count = 0;
    IPluginCreatorInterface* const* const list = get_creators(count);
    for (int32_t i = 0; i < count; ++i) {
        CHECK(std::strcmp(list[i]->getInterfaceInfo().kind, "PLUGIN CREATOR_V3ONE") == 0);
        auto* const creator = static_cast<IPluginCreatorV3One*>(list[i]);
        creators[creator->getPluginName()] = creator;
        if (mode == "operators") {
            print_operator(*creator);
        }
    }
    if (mode == "operators") {
        return 0;
    }
    check_identity_and_round_trip("MultilevelRoIAlign4", pooling());
    check_identity_and_round_trip("MultilevelRoIAlign1", pooling_of(channel_begin, channels));
    check_identity_and_round_trip("FixedNMS", {real("iou_threshold", threshold), integer("k", k)});
    check_identity_and_round_trip("BoundaryMerge", {});
    check_identity_and_round_trip("SelectProposals", {integer("k", k)});
    check_identity_and_round_trip("TopScores", {integer("k", k)});
    check_identity_and_round_trip("LabelLogits", {});
    check_identity_and_round_trip("UpsampledLabelLogits", {});
    check_roi_align("MultilevelRoIAlign4", 4);
    check_roi_align("MultilevelRoIAlign1", 1);
    check_timing_cache_ids();
    check_channels_of_a_joint_map();
    check_nodes_without_channels();
    check_fixed_nms();
    check_boundary_merge();
    check_select_proposals();
    check_top_scores();
    check_label_logits("LabelLogits", 1);
    check_label_logits("UpsampledLabelLogits", 2);
    check_attribute_errors();
    if (mode == "run") {
        check_enqueue_of_roi_align();
        check_enqueue_of_channels(TensorFormat::kLINEAR);
        check_enqueue_of_channels(TensorFormat::kHWC8);
        check_refusal_of_too_many_samples();
        check_enqueue_of_fixed_nms();
        check_enqueue_of_boundary_merge();
        check_enqueue_of_select_proposals();
        check_enqueue_of_top_scores();
        check_enqueue_of_label_logits();
    }
    std::printf("ok\n");
    return 0;
}
