// Calls a plugin library as TensorRT does, without TensorRT. Prints "ok" or what went wrong.
//   plugin_contract LIBRARY 10|11 [run|operators]
// with the logger as that major version lays it out. With `run` the library must be one whose kernels run on the CPU,
// and the plugins' enqueue is called on host memory. With `operators` prints each plugin's namespace, version, name and
// attributes, one plugin a line, and checks nothing else.
#include <NvInferRuntime.h>
#include <cuda_fp16.h>
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

using namespace nvinfer1;

namespace {

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            std::printf("line %d: %s\n", __LINE__, #condition);                 \
            std::exit(1);                                                       \
        }                                                                       \
    } while (false)

// The last message, and loggers and their finders as in TensorRT 10 and 11, whichever headers this is compiled with.
std::string last;

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

bool said(char const* text) { return last.find(text) != std::string::npos; }

// A dimension is a constant or a symbol, which counts down from -1.
struct Dimension : IDimensionExpr {
    struct Impl : apiv::VDimensionExpr {
        int64_t value;
        explicit Impl(int64_t value) : value(value) {}
        bool isConstant() const override { return value >= 0; }
        int64_t getConstantValue() const override { return value; }
        bool isSizeTensor() const override { return false; }
    } impl;
    explicit Dimension(int64_t value) : impl(value) { mImpl = &impl; }
};

struct Builder : IExprBuilder {
    struct Impl : apiv::VExprBuilder {
        std::vector<std::unique_ptr<Dimension>> made;
        IDimensionExpr const* constant(int64_t value) override {
            made.push_back(std::make_unique<Dimension>(value));
            return made.back().get();
        }
        // A symbol's multiple is a symbol, too.
        IDimensionExpr const* operation(DimensionOperation op, IDimensionExpr const& a,
                                        IDimensionExpr const& b) override {
            CHECK(op == DimensionOperation::kPROD);
            return constant(a.getConstantValue() * b.getConstantValue());
        }
        IDimensionExpr const* declareSizeTensor(int32_t, IDimensionExpr const&, IDimensionExpr const&) override {
            return nullptr;
        }
    } impl;
    Builder() { mImpl = &impl; }
    DimsExprs shape(std::vector<int64_t> const& sizes) {
        DimsExprs shape{};
        shape.nbDims = static_cast<int32_t>(sizes.size());
        for (size_t i = 0; i < sizes.size(); ++i) {
            shape.d[i] = impl.constant(sizes[i]);
        }
        return shape;
    }
} builder;

std::vector<int64_t> sizes(DimsExprs const& shape) {
    std::vector<int64_t> sizes;
    for (int32_t i = 0; i < shape.nbDims; ++i) {
        sizes.push_back(shape.d[i]->getConstantValue());
    }
    return sizes;
}

DynamicPluginTensorDesc tensor(DataType type, TensorFormat format, std::vector<int64_t> const& shape = {}) {
    DynamicPluginTensorDesc tensor{};
    tensor.desc.type = type;
    tensor.desc.format = format;
    tensor.desc.dims.nbDims = static_cast<int32_t>(shape.size());
    for (size_t i = 0; i < shape.size(); ++i) {
        tensor.desc.dims.d[i] = shape[i];
    }
    tensor.min = tensor.max = tensor.desc.dims;
    return tensor;
}

std::map<std::string, IPluginCreatorV3One*> creators;

struct Parts {
    IPluginV3* plugin;
    IPluginV3OneCore* core;
    IPluginV3OneBuild* build;
    IPluginV3OneRuntime* runtime;
};

Parts create(char const* name, std::vector<PluginField> const& fields) {
    PluginFieldCollection const collection{static_cast<int32_t>(fields.size()), fields.data()};
    IPluginV3* const plugin = creators.at(name)->createPlugin("node", &collection, TensorRTPhase::kBUILD);
    if (plugin == nullptr) {
        return {};
    }
    const auto part = [&](PluginCapabilityType type) { return plugin->getCapabilityInterface(type); };
    return {plugin, static_cast<IPluginV3OneCore*>(part(PluginCapabilityType::kCORE)),
            static_cast<IPluginV3OneBuild*>(part(PluginCapabilityType::kBUILD)),
            static_cast<IPluginV3OneRuntime*>(part(PluginCapabilityType::kRUNTIME))};
}

int32_t const size = 7, ratio = 0, scale = 56, k = 100, too_large = 1000, channel_begin = 8, channels = 3;
float const threshold = 0.5f, nonsense = 2.0f;

PluginField integer(char const* name, int32_t const& value) { return {name, &value, PluginFieldType::kINT32, 1}; }
PluginField real(char const* name, float const& value) { return {name, &value, PluginFieldType::kFLOAT32, 1}; }
std::vector<PluginField> pooling() {
    return {integer("output_size", size), integer("sampling_ratio", ratio), integer("finest_scale", scale)};
}

// What a plugin costs depends on its attributes, besides the shapes and formats, which TensorRT adds.
std::string timing_cache_id(IPluginV3* plugin) {
    return static_cast<IPluginV3OneBuild*>(plugin->getCapabilityInterface(PluginCapabilityType::kBUILD))
        ->getTimingCacheID();
}

std::vector<PluginField> pooling_of(int32_t const& begin, int32_t const& count) {
    std::vector<PluginField> fields = pooling();
    fields.push_back(integer("channel_begin", begin));
    fields.push_back(integer("channels", count));
    return fields;
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

void check_roi_align(char const* name, int32_t levels) {
    Parts const parts = create(name, pooling());
    int32_t const inputs = levels + 1;
    std::vector<DimsExprs> shapes(levels, builder.shape({-1, 256, -2, -3}));
    shapes.push_back(builder.shape({-4, 5}));
    DimsExprs output{};
    CHECK(parts.build->getNbOutputs() == 1);
    CHECK(parts.build->getOutputShapes(shapes.data(), inputs, nullptr, 0, &output, 1, builder) == 0);
    CHECK(sizes(output) == (std::vector<int64_t>{-4, 256, 7, 7}));
    shapes[0].nbDims = 3;
    CHECK(parts.build->getOutputShapes(shapes.data(), inputs, nullptr, 0, &output, 1, builder) != 0);
    CHECK(said(name) && said("f0") && said("[B, C, H, W]"));

    for (DataType const type : {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT32}) {
        std::vector<DataType> types(levels, type);
        types.push_back(DataType::kFLOAT);
        DataType result{};
        bool const expected = type != DataType::kINT32;
        CHECK((parts.build->getOutputDataTypes(&result, 1, types.data(), inputs) == 0) == expected);
        CHECK(!expected || result == type);
        for (TensorFormat const format : {TensorFormat::kLINEAR, TensorFormat::kHWC8, TensorFormat::kCHW32}) {
            std::vector<DynamicPluginTensorDesc> tensors(levels, tensor(type, format));
            tensors.push_back(tensor(DataType::kFLOAT, TensorFormat::kLINEAR));
            tensors.push_back(tensor(type, format));
            bool const wanted = expected && (format == TensorFormat::kLINEAR ||
                                             (format == TensorFormat::kHWC8 && type != DataType::kFLOAT));
            bool all = true;
            for (int32_t i = 0; i < inputs + 1; ++i) {
                all = all && parts.build->supportsFormatCombination(i, tensors.data(), inputs, 1);
            }
            CHECK(all == wanted);
            if (wanted) {
                tensors[levels].desc.type = DataType::kHALF;
                CHECK(!parts.build->supportsFormatCombination(levels, tensors.data(), inputs, 1));
                tensors[levels].desc.type = DataType::kFLOAT;
                tensors[inputs].desc.format = TensorFormat::kCHW32;
                CHECK(!parts.build->supportsFormatCombination(inputs, tensors.data(), inputs, 1));
            }
        }
    }
    std::vector<DataType> types(inputs, DataType::kHALF);
    DataType result{};
    CHECK(parts.build->getOutputDataTypes(&result, 1, types.data(), inputs) != 0);
    CHECK(said("rois are float16; expected float32"));

    std::vector<PluginTensorDesc> runtime(levels, tensor(DataType::kHALF, TensorFormat::kLINEAR, {2, 256, 8, 8}).desc);
    std::vector<DynamicPluginTensorDesc> profile(
        levels, tensor(DataType::kHALF, TensorFormat::kLINEAR, {2, 256, 8, 8}));
    for (auto const& [rois, refusal] : std::map<std::vector<int64_t>, std::string>{
             {{6, 5}, ""}, {{0, 5}, ""}, {{6, 4}, "[6, 4]"}, {{6, 6}, "[6, 6]"}, {{6}, "[6]"}, {{6, 5, 1}, "[6, 5, 1]"}}) {
        runtime.resize(levels);
        profile.resize(levels);
        profile.push_back(tensor(DataType::kFLOAT, TensorFormat::kLINEAR, rois));
        runtime.push_back(profile.back().desc);
        std::string const message =
            std::string(name) + ": rois are " + refusal + "; expected [R, 5] (batch index, x1, y1, x2, y2)";
        last.clear();
        CHECK((parts.runtime->onShapeChange(runtime.data(), inputs, nullptr, 1) == 0) == refusal.empty());
        CHECK(last == (refusal.empty() ? "" : message));
        last.clear();
        CHECK((parts.build->configurePlugin(profile.data(), inputs, nullptr, 1) == 0) == refusal.empty());
        CHECK(last == (refusal.empty() ? "" : message));
    }
    CHECK(parts.runtime->onShapeChange(runtime.data(), inputs - 1, nullptr, 1) != 0);
    delete parts.plugin;
}

void check_channels_of_a_joint_map() {
    int32_t const odd = 12, none = 0;
    auto const linear = TensorFormat::kLINEAR;
    Parts const parts = create("MultilevelRoIAlign1", pooling_of(channel_begin, channels));
    DimsExprs const shapes[] = {builder.shape({-1, -5, -2, -3}), builder.shape({-4, 5})};
    DimsExprs output{};
    CHECK(parts.build->getOutputShapes(shapes, 2, nullptr, 0, &output, 1, builder) == 0);
    CHECK(sizes(output) == (std::vector<int64_t>{-4, channels, 7, 7}));
    DynamicPluginTensorDesc inputs[] = {tensor(DataType::kHALF, TensorFormat::kHWC8, {2, 11, 8, 8}),
                                        tensor(DataType::kFLOAT, linear, {6, 5})};
    CHECK(parts.build->supportsFormatCombination(0, inputs, 2, 1));
    CHECK(parts.build->configurePlugin(inputs, 2, nullptr, 1) == 0);
    inputs[0].max.d[1] = 10;
    CHECK(parts.build->configurePlugin(inputs, 2, nullptr, 1) != 0);
    CHECK(said("MultilevelRoIAlign1: map f0 is [2, 10, 8, 8], of which channels 8 to 11 are to be pooled; expected"));
    Parts const unaligned = create("MultilevelRoIAlign1", pooling_of(odd, channels));
    CHECK(!unaligned.build->supportsFormatCombination(0, inputs, 2, 1));
    inputs[0].desc.format = linear;
    CHECK(unaligned.build->supportsFormatCombination(0, inputs, 2, 1));
    CHECK(create("MultilevelRoIAlign1", pooling_of(odd, none)).plugin == nullptr);
    CHECK(said("attribute 'channel_begin' is 12 and 'channels' is 0; expected the number of channels from there on"));
    for (IPluginV3* plugin : {parts.plugin, unaligned.plugin}) {
        delete plugin;
    }
}

// Release 0.5.0 wrote nodes, and TensorRT engines of them, that have neither attribute.
void check_nodes_without_channels() {
    Parts const parts = create("MultilevelRoIAlign1", pooling());
    CHECK(parts.plugin != nullptr);
    PluginFieldCollection const* const stored = parts.runtime->getFieldsToSerialize();
    CHECK(stored->nbFields == 5);
    for (int32_t i = 3; i < 5; ++i) {
        CHECK(*static_cast<int32_t const*>(stored->fields[i].data) == 0);
    }
    delete parts.plugin;
}

void check_fixed_nms() {
    Parts const parts = create("FixedNMS", {real("iou_threshold", threshold), integer("k", k)});
    DimsExprs const shapes[] = {builder.shape({-1, 1000, 4}), builder.shape({-1, 1000})};
    DimsExprs outputs[2]{};
    CHECK(parts.build->getNbOutputs() == 2);
    CHECK(parts.build->getOutputShapes(shapes, 2, nullptr, 0, outputs, 2, builder) == 0);
    CHECK(sizes(outputs[0]) == (std::vector<int64_t>{-1, 100}) && sizes(outputs[1]) == std::vector<int64_t>{-1});
    DataType const types[] = {DataType::kFLOAT, DataType::kFLOAT};
    DataType results[2]{};
    CHECK(parts.build->getOutputDataTypes(results, 2, types, 2) == 0);
    CHECK(results[0] == DataType::kINT32 && results[1] == DataType::kINT32);
    auto const linear = TensorFormat::kLINEAR;
    DynamicPluginTensorDesc tensors[] = {tensor(DataType::kFLOAT, linear, {5, 1000, 4}),
                                         tensor(DataType::kFLOAT, linear, {5, 1000}),
                                         tensor(DataType::kINT32, linear), tensor(DataType::kINT32, linear)};
    for (int32_t i = 0; i < 4; ++i) {
        CHECK(parts.build->supportsFormatCombination(i, tensors, 2, 2));
    }
    CHECK(parts.build->configurePlugin(tensors, 2, tensors + 2, 2) == 0);
    CHECK(parts.build->getWorkspaceSize(tensors, 2, tensors + 2, 2) >= 5 * 1024 * (16 + 1024 / 8));
    tensors[0].max.d[1] = tensors[1].max.d[1] = 5000;
    CHECK(parts.build->configurePlugin(tensors, 2, tensors + 2, 2) != 0);
    CHECK(said("FixedNMS: boxes are [5, 5000, 4]") && said("4096"));
    delete parts.plugin;
}

void check_boundary_merge() {
    Parts const parts = create("BoundaryMerge", {});
    DimsExprs const shapes[] = {builder.shape({-1, 1, 28, 28}), builder.shape({-1, 1, 56, 56})};
    DimsExprs output{};
    CHECK(parts.build->getOutputShapes(shapes, 2, nullptr, 0, &output, 1, builder) == 0);
    CHECK(sizes(output) == (std::vector<int64_t>{-1, 1, 56, 56}));
    auto const linear = TensorFormat::kLINEAR;
    PluginTensorDesc inputs[] = {tensor(DataType::kFLOAT, linear, {3, 1, 28, 28}).desc,
                                 tensor(DataType::kFLOAT, linear, {3, 1, 56, 56}).desc};
    CHECK(parts.runtime->onShapeChange(inputs, 2, nullptr, 1) == 0);
    inputs[1].dims.d[3] = 57;
    CHECK(parts.runtime->onShapeChange(inputs, 2, nullptr, 1) != 0);
    CHECK(said("BoundaryMerge: fine logits are [3, 1, 56, 57]; expected twice"));
    delete parts.plugin;
}

std::vector<DynamicPluginTensorDesc> proposal_tensors(DataType type, TensorFormat format, int64_t batch = 2,
                                                      int64_t channels = 15, int64_t height = 8) {
    std::vector<DynamicPluginTensorDesc> tensors(5, tensor(type, format, {batch, channels, height, 8}));
    auto const linear = TensorFormat::kLINEAR;
    tensors.push_back(tensor(DataType::kFLOAT, linear, {5, channels / 5, 4}));
    tensors.push_back(tensor(DataType::kFLOAT, linear, {batch, 2}));
    tensors.insert(tensors.end(), 2, tensor(DataType::kFLOAT, linear));
    return tensors;
}

void check_types_of_select_proposals(Parts const& parts) {
    for (DataType const type : {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT32}) {
        std::vector<DataType> types(5, type);
        types.insert(types.end(), 2, DataType::kFLOAT);
        DataType results[2]{};
        bool const expected = type != DataType::kINT32;
        CHECK((parts.build->getOutputDataTypes(results, 2, types.data(), 7) == 0) == expected);
        CHECK(!expected || (results[0] == DataType::kFLOAT && results[1] == DataType::kFLOAT));
        for (TensorFormat const format : {TensorFormat::kLINEAR, TensorFormat::kHWC8, TensorFormat::kCHW32}) {
            auto tensors = proposal_tensors(type, format);
            bool const wanted = expected && (format == TensorFormat::kLINEAR ||
                                             (format == TensorFormat::kHWC8 && type != DataType::kFLOAT));
            bool all = true;
            for (int32_t i = 0; i < 9; ++i) {
                all = all && parts.build->supportsFormatCombination(i, tensors.data(), 7, 2);
            }
            CHECK(all == wanted);
            for (int32_t i = 1; wanted && i < 9; ++i) {
                tensors[i].desc.format = TensorFormat::kCHW32;
                CHECK(!parts.build->supportsFormatCombination(i, tensors.data(), 7, 2));
                tensors[i].desc.format = i < 5 ? format : TensorFormat::kLINEAR;
            }
        }
    }
    std::vector<DataType> const types(7, DataType::kHALF);
    DataType results[2]{};
    CHECK(parts.build->getOutputDataTypes(results, 2, types.data(), 7) != 0);
    CHECK(said("SelectProposals: base_anchors are float16; expected float32"));
}

void check_select_proposals() {
    Parts const parts = create("SelectProposals", {integer("k", k)});
    std::vector<DimsExprs> shapes(5, builder.shape({-3, 15, -1, -2}));
    shapes.push_back(builder.shape({5, 3, 4}));
    shapes.push_back(builder.shape({-3, 2}));
    DimsExprs outputs[2]{};
    CHECK(parts.build->getNbOutputs() == 2);
    CHECK(parts.build->getOutputShapes(shapes.data(), 7, nullptr, 0, outputs, 2, builder) == 0);
    CHECK(sizes(outputs[0]) == (std::vector<int64_t>{-15, 100, 4}) && sizes(outputs[1]) == (std::vector<int64_t>{-15, 100}));
    shapes[6].nbDims = 3;
    CHECK(parts.build->getOutputShapes(shapes.data(), 7, nullptr, 0, outputs, 2, builder) != 0);
    CHECK(said("SelectProposals: image_sizes has rank 3; expected 2"));
    check_types_of_select_proposals(parts);

    auto const refused = [&](int position, std::vector<int64_t> const& shape, char const* message) {
        auto tensors = proposal_tensors(DataType::kHALF, TensorFormat::kHWC8);
        CHECK(parts.build->configurePlugin(tensors.data(), 7, nullptr, 2) == 0);
        tensors[position] = tensor(tensors[position].desc.type, tensors[position].desc.format, shape);
        CHECK(parts.build->configurePlugin(tensors.data(), 7, nullptr, 2) != 0);
        CHECK(said(message));
        std::vector<PluginTensorDesc> runtime;
        for (auto const& each : tensors) {
            runtime.push_back(each.desc);
        }
        last.clear();
        CHECK(parts.runtime->onShapeChange(runtime.data(), 7, nullptr, 2) != 0);
        CHECK(said(message));
    };
    refused(3, {2, 16, 8, 8}, "SelectProposals: map m3 is [2, 16, 8, 8]; expected [B, 5A, H, W]");
    refused(0, {3, 15, 8, 8}, "SelectProposals: map m1 is [2, 15, 8, 8]; expected [B, 5A, H, W]");
    refused(5, {5, 4, 4}, "SelectProposals: base_anchors are [5, 4, 4]; expected [5, A, 4]");
    refused(6, {2, 3}, "SelectProposals: image_sizes are [2, 3]; expected [B, 2] (height, width)");
    refused(4, {2, 15, 8, 1 << 17}, "SelectProposals: a map does not have 1 to 65536 rows and columns; expected what");

    auto const tensors = proposal_tensors(DataType::kHALF, TensorFormat::kHWC8);
    // The logits, and each result's value and index.
    CHECK(parts.build->getWorkspaceSize(tensors.data(), 7, nullptr, 2) >= 2 * 5 * (3 * 8 * 8 * 4 + 100 * 8));
    delete parts.plugin;
}

void check_top_scores() {
    Parts const parts = create("TopScores", {integer("k", k)});
    DimsExprs const shape = builder.shape({-1, -2});
    DimsExprs outputs[2]{};
    CHECK(parts.build->getNbOutputs() == 2);
    CHECK(parts.build->getOutputShapes(&shape, 1, nullptr, 0, outputs, 2, builder) == 0);
    CHECK(sizes(outputs[0]) == (std::vector<int64_t>{-1, 100}) && sizes(outputs[1]) == sizes(outputs[0]));
    DataType type = DataType::kFLOAT, results[2]{};
    CHECK(parts.build->getOutputDataTypes(results, 2, &type, 1) == 0);
    CHECK(results[0] == DataType::kFLOAT && results[1] == DataType::kINT32);
    type = DataType::kHALF;
    CHECK(parts.build->getOutputDataTypes(results, 2, &type, 1) != 0);
    CHECK(said("TopScores: scores are float16; expected float32"));
    auto const linear = TensorFormat::kLINEAR;
    DynamicPluginTensorDesc tensors[] = {tensor(DataType::kFLOAT, linear, {2, 80000}),
                                         tensor(DataType::kFLOAT, linear), tensor(DataType::kINT32, linear)};
    for (int32_t i = 0; i < 3; ++i) {
        CHECK(parts.build->supportsFormatCombination(i, tensors, 1, 2));
    }
    tensors[2].desc.type = DataType::kINT64;
    CHECK(!parts.build->supportsFormatCombination(2, tensors, 1, 2));
    CHECK(parts.build->configurePlugin(tensors, 1, nullptr, 2) == 0);
    CHECK(parts.build->getWorkspaceSize(tensors, 1, nullptr, 2) >= 2 * 100 * 8);
    CHECK(parts.runtime->onShapeChange(&tensors[0].desc, 1, nullptr, 2) == 0);
    for (std::vector<int64_t> const& refused : {std::vector<int64_t>{2, 99}, {2, 80000, 1}, {65536, 100}}) {
        tensors[0] = tensor(DataType::kFLOAT, linear, refused);
        CHECK(parts.build->configurePlugin(tensors, 1, nullptr, 2) != 0);
        CHECK(parts.runtime->onShapeChange(&tensors[0].desc, 1, nullptr, 2) != 0);
        CHECK(said("TopScores: scores are [") && said(refused[0] == 2 ? "N from k, 100, to 2^30" : "at most 65535 rows"));
    }
    delete parts.plugin;
}

void check_label_logits(char const* name, int32_t maps) {
    Parts const parts = create(name, {});
    int32_t const inputs = maps + 3, side = maps == 2 ? 28 : 14;
    std::vector<DimsExprs> shapes = {builder.shape({-1, 30, 14, 14})};
    if (maps == 2) {
        shapes.push_back(builder.shape({-1, 2, 28, 28}));
    }
    for (auto const& shape : {builder.shape({80, 32}), builder.shape({80}), builder.shape({-1})}) {
        shapes.push_back(shape);
    }
    DimsExprs output{};
    CHECK(parts.build->getNbOutputs() == 1);
    CHECK(parts.build->getOutputShapes(shapes.data(), inputs, nullptr, 0, &output, 1, builder) == 0);
    CHECK(sizes(output) == (std::vector<int64_t>{-1, 1, side, side}));
    shapes[maps - 1].nbDims = 3;
    CHECK(parts.build->getOutputShapes(shapes.data(), inputs, nullptr, 0, &output, 1, builder) != 0);
    CHECK(said(name) && said("have rank 3; expected 4"));

    auto const linear = TensorFormat::kLINEAR;
    for (DataType const type : {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT32}) {
        bool const is_float = type != DataType::kINT32;
        std::vector<DataType> types(inputs - 1, type);
        types.push_back(DataType::kINT32);
        DataType result{};
        CHECK((parts.build->getOutputDataTypes(&result, 1, types.data(), inputs) == 0) == is_float);
        CHECK(!is_float || result == DataType::kFLOAT);
        for (TensorFormat const format : {linear, TensorFormat::kHWC8, TensorFormat::kCHW32}) {
            std::vector<DynamicPluginTensorDesc> tensors = {tensor(type, format)};
            tensors.resize(inputs - 1, tensor(type, linear));
            tensors.push_back(tensor(DataType::kINT32, linear));
            tensors.push_back(tensor(DataType::kFLOAT, linear));
            bool all = true;
            for (int32_t i = 0; i < inputs + 1; ++i) {
                all = all && parts.build->supportsFormatCombination(i, tensors.data(), inputs, 1);
            }
            CHECK(all == (is_float && (format == linear ||
                                       (format == TensorFormat::kHWC8 && type != DataType::kFLOAT))));
            for (int32_t i = 1; all && i < inputs + 1; ++i) {
                tensors[i].desc.format = TensorFormat::kHWC8;
                CHECK(!parts.build->supportsFormatCombination(i, tensors.data(), inputs, 1));
                tensors[i].desc.format = linear;
            }
        }
    }
    std::vector<DataType> types(inputs, DataType::kHALF);
    DataType result{};
    CHECK(parts.build->getOutputDataTypes(&result, 1, types.data(), inputs) != 0);
    CHECK(said("labels are float16; expected int32"));
    types[inputs - 1] = DataType::kINT32;
    types[inputs - 2] = DataType::kFLOAT;
    CHECK(parts.build->getOutputDataTypes(&result, 1, types.data(), inputs) != 0);
    CHECK(said("biases are float32; expected float16, the type of the features"));

    std::vector<PluginTensorDesc> runtime = {tensor(DataType::kHALF, linear, {3, 30, 14, 14}).desc};
    if (maps == 2) {
        runtime.push_back(tensor(DataType::kHALF, linear, {3, 2, 28, 28}).desc);
    }
    runtime.push_back(tensor(DataType::kHALF, linear, {80, maps == 2 ? 32 : 30}).desc);
    runtime.push_back(tensor(DataType::kHALF, linear, {80}).desc);
    runtime.push_back(tensor(DataType::kINT32, linear, {3}).desc);
    CHECK(parts.runtime->onShapeChange(runtime.data(), inputs, nullptr, 1) == 0);
    auto const refuses = [&](int32_t input, int32_t axis, int64_t size, char const* text) {
        int64_t const right = runtime[input].dims.d[axis];
        runtime[input].dims.d[axis] = size;
        CHECK(parts.runtime->onShapeChange(runtime.data(), inputs, nullptr, 1) != 0);
        CHECK(said(name) && said(text));
        runtime[input].dims.d[axis] = right;
    };
    refuses(0, 3, 15, "features are [3, 30, 14, 15]; expected [R, C, s, s]");
    refuses(maps, 1, 31, "weight is [80, 31] for 3");
    refuses(maps + 1, 0, 81, "bias is [81]");
    refuses(maps + 2, 0, 4, "labels are [4]; expected one for each RoI");
    if (maps == 2) {
        refuses(1, 2, 27, "masks are [3, 2, 27, 28]; expected twice the size");
    }
    delete parts.plugin;
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

void check_enqueue_of_roi_align() {
    Parts const parts = create("MultilevelRoIAlign4", pooling());
    int64_t const channels = 3, rois = 4;
    std::vector<std::vector<float>> maps;
    std::vector<PluginTensorDesc> descriptions;
    std::vector<void const*> buffers;
    for (int level = 0; level < 4; ++level) {
        int64_t const height = 128 >> level, width = 160 >> level;
        maps.emplace_back(2 * channels * height * width, 0.0f);
        for (int64_t i = 0; i < static_cast<int64_t>(maps.back().size()); ++i) {
            maps.back()[i] = static_cast<float>(100 * level + 10 * (i / (channels * height * width)) +
                                                i / (height * width) % channels);
        }
        buffers.push_back(maps.back().data());
        descriptions.push_back(tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {2, channels, height, width}).desc);
    }
    // One RoI for each level, of image 1, 0, 1 and 0.
    std::vector<float> const boxes = {1, 10, 10, 50,  50,  0, 10, 10, 130, 130,
                                      1, 20, 20, 260, 260, 0, 10, 10, 460, 460};
    buffers.push_back(boxes.data());
    descriptions.push_back(tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {rois, 5}).desc);
    std::vector<float> output(rois * channels * size * size, -1.0f);
    void* const outputs[] = {output.data()};
    PluginTensorDesc const description =
        tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {rois, channels, size, size}).desc;
    CHECK(parts.runtime->onShapeChange(descriptions.data(), 5, &description, 1) == 0);
    CHECK(parts.runtime->enqueue(descriptions.data(), &description, buffers.data(), outputs, nullptr, nullptr) == 0);
    for (size_t i = 0; i < output.size(); ++i) {
        int64_t const roi = i / (channels * size * size), channel = i / (size * size) % channels;
        float const expected = static_cast<float>(100 * roi + 10 * (roi % 2 == 0) + channel);
        CHECK(output[i] > expected - 0.01f && output[i] < expected + 0.01f);
    }
    descriptions[0].dims.d[2] = 0;
    CHECK(parts.runtime->enqueue(descriptions.data(), &description, buffers.data(), outputs, nullptr, nullptr) != 0);
    CHECK(said("MultilevelRoIAlign4: a launch gave \"invalid argument\""));
    delete parts.plugin;
}

// Every channel of every image has its own number, and what pads channels is not one.
void check_enqueue_of_channels(TensorFormat format) {
    Parts const parts = create("MultilevelRoIAlign1", pooling_of(channel_begin, channels));
    bool const planar = format == TensorFormat::kLINEAR;
    int64_t const stored = 12, cells = 16 * 24, padded = planar ? stored : 16, rois = 2;
    std::vector<__half> map(2 * padded * cells, __half(NAN));
    for (int64_t image = 0; image < 2; ++image) {
        for (int64_t channel = 0; channel < stored; ++channel) {
            for (int64_t cell = 0; cell < cells; ++cell) {
                int64_t const place = planar ? channel * cells + cell : cell * padded + channel;
                map[image * padded * cells + place] = __half(static_cast<float>(100 * image + channel));
            }
        }
    }
    std::vector<float> const boxes = {1, 8, 8, 40, 40, 0, 8, 8, 60, 50};
    int64_t const kept = planar ? channels : 8, bins = size * size;
    std::vector<__half> output(rois * kept * bins, __half(NAN));
    PluginTensorDesc const inputs[] = {tensor(DataType::kHALF, format, {2, stored, 16, 24}).desc,
                                       tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {rois, 5}).desc};
    PluginTensorDesc const description = tensor(DataType::kHALF, format, {rois, channels, size, size}).desc;
    void const* const buffers[] = {map.data(), boxes.data()};
    void* const outputs[] = {output.data()};
    CHECK(parts.runtime->onShapeChange(inputs, 2, &description, 1) == 0);
    CHECK(parts.runtime->enqueue(inputs, &description, buffers, outputs, nullptr, nullptr) == 0);
    for (int64_t i = 0; i < static_cast<int64_t>(output.size()); ++i) {
        int64_t const roi = i / (kept * bins), channel = planar ? i / bins % kept : i % kept;
        float const expected = channel < channels ? static_cast<float>(100 * (roi == 0) + channel_begin + channel) : 0;
        float const found = static_cast<float>(output[i]);
        CHECK(found > expected - 0.1f && found < expected + 0.1f);
    }
    delete parts.plugin;
}

// Needs a device.
void check_refusal_of_too_many_samples() {
    int32_t const most_bins = 128, most_samples = 64;
    std::vector<PluginField> fields = pooling();
    fields[0].data = &most_bins;
    fields[1].data = &most_samples;
    Parts const parts = create("MultilevelRoIAlign1", fields);
    DynamicPluginTensorDesc const inputs[] = {tensor(DataType::kHALF, TensorFormat::kHWC8, {1, 8, 16, 16}),
                                              tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {6, 5})};
    CHECK(parts.build->configurePlugin(inputs, 2, nullptr, 1) != 0);
    CHECK(said("MultilevelRoIAlign1: a RoI's samples do not fit in a block's shared memory"));
    CHECK(said("; expected what the kernel takes on this device"));
    delete parts.plugin;
}

void check_enqueue_of_fixed_nms() {
    int32_t const few = 3;
    Parts const parts = create("FixedNMS", {real("iou_threshold", threshold), integer("k", few)});
    alignas(16) float const boxes[] = {0, 0, 10, 10, 0, 0, 10, 9, 20, 20, 30, 30, 0, 0, 0, 0};
    float const scores[] = {0.8f, 0.9f, 0.5f, -1.0f};
    DynamicPluginTensorDesc const tensors[] = {tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {1, 4, 4}),
                                               tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {1, 4})};
    PluginTensorDesc const inputs[] = {tensors[0].desc, tensors[1].desc};
    std::vector<float4> workspace(parts.build->getWorkspaceSize(tensors, 2, nullptr, 2) / sizeof(float4) + 1);
    int32_t indices[] = {7, 7, 7}, num_kept[] = {7};
    void const* const buffers[] = {boxes, scores};
    void* const outputs[] = {indices, num_kept};
    CHECK(parts.runtime->enqueue(inputs, nullptr, buffers, outputs, workspace.data(), nullptr) == 0);
    CHECK(num_kept[0] == 2 && indices[0] == 1 && indices[1] == 2 && indices[2] == 0);
    delete parts.plugin;
}

void check_enqueue_of_boundary_merge() {
    Parts const parts = create("BoundaryMerge", {});
    alignas(16) float coarse[16], fine[64], merged[64];
    std::fill(coarse, coarse + 16, -3.0f);
    std::fill(fine, fine + 64, 5.0f);
    PluginTensorDesc const inputs[] = {tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {1, 1, 4, 4}).desc,
                                       tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {1, 1, 8, 8}).desc};
    void const* const buffers[] = {coarse, fine};
    void* const outputs[] = {merged};
    CHECK(parts.runtime->enqueue(inputs, nullptr, buffers, outputs, nullptr, nullptr) == 0);
    for (float const logit : merged) {
        CHECK(logit > -3.001f && logit < -2.999f);  // all background: no boundary
    }
    delete parts.plugin;
}

// Two images of one column, in each of which one anchor is best; of the smallest level there are too few.
void check_enqueue_of_select_proposals() {
    int32_t const few = 2;
    Parts const parts = create("SelectProposals", {integer("k", few)});
    std::vector<std::vector<float>> maps;
    std::vector<DynamicPluginTensorDesc> tensors;
    std::vector<void const*> buffers;
    for (int level = 0; level < 5; ++level) {
        int64_t const height = 5 - level;
        maps.emplace_back(2 * 5 * height, 0.0f);
        for (int image = 0; image < 2; ++image) {
            for (int64_t y = 0; y < height; ++y) {
                maps.back()[image * 5 * height + y] = static_cast<float>(image == 0 ? y : -y);
            }
        }
        tensors.push_back(tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {2, 5, height, 1}));
    }
    alignas(16) float anchors[20], boxes[2 * 5 * 2 * 4], scores[2 * 5 * 2];
    for (int i = 0; i < 20; ++i) {
        anchors[i] = i % 4 < 2 ? -1.0f : 2.0f;
    }
    float const sizes[] = {999.0f, 1.5f, 999.0f, 999.0f};
    for (auto const& map : maps) {
        buffers.push_back(map.data());
    }
    buffers.insert(buffers.end(), {anchors, sizes});
    tensors.push_back(tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {5, 1, 4}));
    tensors.push_back(tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {2, 2}));
    std::vector<PluginTensorDesc> inputs;
    for (auto const& each : tensors) {
        inputs.push_back(each.desc);
    }
    std::vector<float4> workspace(parts.build->getWorkspaceSize(tensors.data(), 7, nullptr, 2) / sizeof(float4) + 1);
    void* const outputs[] = {boxes, scores};
    CHECK(parts.runtime->onShapeChange(inputs.data(), 7, nullptr, 2) == 0);
    CHECK(parts.runtime->enqueue(inputs.data(), nullptr, buffers.data(), outputs, workspace.data(), nullptr) == 0);
    for (int image = 0; image < 2; ++image) {
        for (int level = 0; level < 5; ++level) {
            for (int place = 0; place < 2; ++place) {
                int const row = (image * 5 + level) * 2 + place, height = 5 - level;
                bool const real = place < height;
                int const y = (image == 0 ? height - 1 - place : place) * (4 << level);
                float const box[] = {0.0f, std::max(y - 1.0f, 0.0f), image == 0 ? 1.5f : 2.0f, y + 2.0f};
                for (int i = 0; i < 4; ++i) {
                    CHECK(boxes[4 * row + i] == (real ? box[i] : 0.0f));
                }
                CHECK(real ? scores[row] > 0.0f && scores[row] < 1.0f : scores[row] == -1.0f);
            }
        }
    }
    delete parts.plugin;
}

void check_enqueue_of_top_scores() {
    int32_t const few = 2;
    Parts const parts = create("TopScores", {integer("k", few)});
    float const scores[] = {1, 5, 5, 2, 9, 0, -1, 8};
    PluginTensorDesc const input = tensor(DataType::kFLOAT, TensorFormat::kLINEAR, {2, 4}).desc;
    float values[4];
    int32_t indices[] = {7, 7, 7, 7};
    void const* const buffers[] = {scores};
    void* const outputs[] = {values, indices};
    CHECK(parts.runtime->enqueue(&input, nullptr, buffers, outputs, nullptr, nullptr) == 0);
    CHECK(values[0] == 5 && values[1] == 5 && values[2] == 9 && values[3] == 8);
    CHECK(indices[0] == 1 && indices[1] == 2 && indices[2] == 0 && indices[3] == 3);
    delete parts.plugin;
}

void check_enqueue_of_label_logits() {
    // Two channels of 1 and 10, and a mask of 100; the second label's row is 1, 2, 3.
    float features[2 * 2 * 4], masks[2 * 16], logits[2 * 16];
    for (int i = 0; i < 16; ++i) {
        features[i] = i / 4 % 2 == 0 ? 1.0f : 10.0f;
    }
    std::fill(masks, masks + 32, 100.0f);
    float const weight[] = {5, 5, 5, 1, 2, 3}, bias[] = {7, 0.5f};
    int32_t const labels[] = {1, 0};
    auto const linear = TensorFormat::kLINEAR;
    auto const check = [&](char const* name, std::vector<PluginTensorDesc> const& inputs,
                           std::vector<void const*> const& buffers, float first, float second, int pixels) {
        Parts const parts = create(name, {});
        void* const outputs[] = {logits};
        CHECK(parts.runtime->onShapeChange(inputs.data(), static_cast<int32_t>(inputs.size()), nullptr, 1) == 0);
        CHECK(parts.runtime->enqueue(inputs.data(), nullptr, buffers.data(), outputs, nullptr, nullptr) == 0);
        for (int i = 0; i < 2 * pixels; ++i) {
            CHECK(logits[i] == (i < pixels ? first : second));
        }
        delete parts.plugin;
    };
    PluginTensorDesc const map = tensor(DataType::kFLOAT, linear, {2, 2, 2, 2}).desc;
    PluginTensorDesc const mask = tensor(DataType::kFLOAT, linear, {2, 1, 4, 4}).desc;
    PluginTensorDesc const one_for_each = tensor(DataType::kINT32, linear, {2}).desc;
    PluginTensorDesc const biases = tensor(DataType::kFLOAT, linear, {2}).desc;
    check("UpsampledLabelLogits", {map, mask, tensor(DataType::kFLOAT, linear, {2, 3}).desc, biases, one_for_each},
          {features, masks, weight, bias, labels}, 321.5f, 562.0f, 16);
    // Without masks the weights are three rows of two columns.
    float const three[] = {7, 0.5f, 0};
    check("LabelLogits",
          {map, tensor(DataType::kFLOAT, linear, {3, 2}).desc, tensor(DataType::kFLOAT, linear, {3}).desc, one_for_each},
          {features, weight, three, labels}, 15.5f, 62.0f, 4);
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
