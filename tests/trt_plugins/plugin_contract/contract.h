// What the checks of all plugins share: a plugin's parts, a mocked expression builder, tensors and the last message.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace contract {

using namespace nvinfer1;

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            std::printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);         \
            std::exit(1);                                                       \
        }                                                                       \
    } while (false)

// The last message of a plugin.
inline std::string last;

inline bool said(char const* text) { return last.find(text) != std::string::npos; }

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
};
inline Builder builder;

inline std::vector<int64_t> sizes(DimsExprs const& shape) {
    std::vector<int64_t> sizes;
    for (int32_t i = 0; i < shape.nbDims; ++i) {
        sizes.push_back(shape.d[i]->getConstantValue());
    }
    return sizes;
}

inline DynamicPluginTensorDesc tensor(DataType type, TensorFormat format, std::vector<int64_t> const& shape = {}) {
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

inline std::map<std::string, IPluginCreatorV3One*> creators;

struct Parts {
    IPluginV3* plugin;
    IPluginV3OneCore* core;
    IPluginV3OneBuild* build;
    IPluginV3OneRuntime* runtime;
};

inline Parts create(char const* name, std::vector<PluginField> const& fields) {
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

inline int32_t const size = 7, ratio = 0, scale = 56, k = 100, too_large = 1000, channel_begin = 8, channels = 3;
inline float const threshold = 0.5f, nonsense = 2.0f;

inline PluginField integer(char const* name, int32_t const& value) {
    return {name, &value, PluginFieldType::kINT32, 1};
}
inline PluginField real(char const* name, float const& value) {
    return {name, &value, PluginFieldType::kFLOAT32, 1};
}
inline std::vector<PluginField> pooling() {
    return {integer("output_size", size), integer("sampling_ratio", ratio), integer("finest_scale", scale)};
}

inline std::vector<PluginField> pooling_of(int32_t const& begin, int32_t const& count) {
    std::vector<PluginField> fields = pooling();
    fields.push_back(integer("channel_begin", begin));
    fields.push_back(integer("channels", count));
    return fields;
}

void check_roi_align(char const* name, int32_t levels);
void check_channels_of_a_joint_map();
void check_nodes_without_channels();
void check_enqueue_of_roi_align();
void check_enqueue_of_channels(TensorFormat format);
void check_refusal_of_too_many_samples();

void check_fixed_nms();
void check_enqueue_of_fixed_nms();

void check_boundary_merge();
void check_enqueue_of_boundary_merge();

void check_select_proposals();
void check_enqueue_of_select_proposals();

void check_top_scores();
void check_enqueue_of_top_scores();

void check_label_logits(char const* name, int32_t maps);
void check_enqueue_of_label_logits();

}  // namespace contract
