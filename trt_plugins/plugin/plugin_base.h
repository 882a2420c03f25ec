// What all plugins share: identity, cloning, serialisation, and error handling around what differs.
//
// A plugin derives from PluginBase<Plugin> and throws on errors; nothing crosses the library's edge. It gives
//   shapes(inputs, builder)              output shapes
//   types(inputs)                        output types; throws on input types that it cannot take
//   supports(position, tensors)          whether tensor `position` may have this type and format, given those before it
//   check(tensors)                       throws on shapes that it cannot take
//   workspace(largest inputs)            bytes
//   launch(tensors, buffers, …)          queues the kernels; returns a CUDA error, 0 for success
// where `tensors` are the inputs followed by the outputs.
#pragma once

#include <NvInferRuntime.h>

#include <algorithm>
#include <string>
#include <vector>

#include "attributes.h"
#include "logging.h"
#include "refinemask_kernels.h"

namespace refinemask {

constexpr char const* kVersion = "1";
constexpr char const* kNamespace = "refinemask";

// "[2, 256, 200, 336]"
std::string to_string(nvinfer1::Dims const& dims);

// "float32"
std::string to_string(nvinfer1::DataType type);

// RefinemaskType of a float type.
int32_t kernel_type(nvinfer1::DataType type);

// Throws std::invalid_argument("what is …; expected …") unless the condition holds.
void expect(bool condition, std::string const& found, std::string const& expected);

using Tensors = std::vector<nvinfer1::PluginTensorDesc>;

// A plugin's kind: its name, attributes and numbers of tensors.
struct Kind {
    std::string name;
    std::vector<Attribute> attributes;
    int32_t num_inputs;
    int32_t num_outputs;
};

template <typename Plugin>
class PluginBase : public nvinfer1::IPluginV3,
                   public nvinfer1::IPluginV3OneCore,
                   public nvinfer1::v_1_0::IPluginV3OneBuild,
                   public nvinfer1::IPluginV3OneRuntime {
public:
    PluginBase(Kind const& kind, nvinfer1::PluginFieldCollection const* fields)
        : kind(kind), attributes(kind.attributes, fields), timing_cache_id_(kind.name + attributes.text()) {}
    PluginBase(PluginBase const& other)
        : kind(other.kind), attributes(other.attributes), timing_cache_id_(other.timing_cache_id_) {}

    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
        switch (type) {
            case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
            case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::v_1_0::IPluginV3OneBuild*>(this);
            case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }
    nvinfer1::IPluginV3* clone() noexcept override {
        return guarded<nvinfer1::IPluginV3*>(name(), nullptr, [&] { return new Plugin(self()); });
    }

    char const* getPluginName() const noexcept override { return name(); }
    char const* getPluginVersion() const noexcept override { return kVersion; }
    char const* getPluginNamespace() const noexcept override { return kNamespace; }
    int32_t getNbOutputs() const noexcept override { return kind.num_outputs; }

    int32_t getOutputDataTypes(nvinfer1::DataType* outputs, int32_t num_outputs, nvinfer1::DataType const* inputs,
                               int32_t num_inputs) const noexcept override {
        return report([&] {
            expect_counts(num_inputs, num_outputs);
            std::vector<nvinfer1::DataType> const types = self().types(inputs);
            std::copy(types.begin(), types.end(), outputs);
            return 0;
        });
    }
    int32_t getOutputShapes(nvinfer1::DimsExprs const* inputs, int32_t num_inputs, nvinfer1::DimsExprs const*, int32_t,
                            nvinfer1::DimsExprs* outputs, int32_t num_outputs,
                            nvinfer1::IExprBuilder& builder) noexcept override {
        return report([&] {
            expect_counts(num_inputs, num_outputs);
            std::vector<nvinfer1::DimsExprs> const shapes = self().shapes(inputs, builder);
            std::copy(shapes.begin(), shapes.end(), outputs);
            return 0;
        });
    }
    bool supportsFormatCombination(int32_t position, nvinfer1::DynamicPluginTensorDesc const* tensors,
                                   int32_t num_inputs, int32_t num_outputs) noexcept override {
        return guarded(name(), false, [&] {
            expect_counts(num_inputs, num_outputs);
            Tensors known;
            for (int32_t i = 0; i <= position; ++i) {
                known.push_back(tensors[i].desc);
            }
            return self().supports(position, known);
        });
    }
    int32_t configurePlugin(nvinfer1::DynamicPluginTensorDesc const* inputs, int32_t num_inputs,
                            nvinfer1::DynamicPluginTensorDesc const*, int32_t num_outputs) noexcept override {
        return report([&] {
            expect_counts(num_inputs, num_outputs);
            self().check(largest(inputs));
            return 0;
        });
    }
    size_t getWorkspaceSize(nvinfer1::DynamicPluginTensorDesc const* inputs, int32_t,
                            nvinfer1::DynamicPluginTensorDesc const*, int32_t) const noexcept override {
        return guarded<size_t>(name(), 0, [&] { return self().workspace(largest(inputs)); });
    }
    // TensorRT adds shapes and formats by itself. Without an identity the plugin would be timed again in every build.
    char const* getTimingCacheID() noexcept override { return timing_cache_id_.c_str(); }
    int32_t onShapeChange(nvinfer1::PluginTensorDesc const* inputs, int32_t num_inputs,
                          nvinfer1::PluginTensorDesc const*, int32_t num_outputs) noexcept override {
        return report([&] {
            expect_counts(num_inputs, num_outputs);
            self().check(Tensors(inputs, inputs + num_inputs));
            return 0;
        });
    }
    int32_t enqueue(nvinfer1::PluginTensorDesc const* inputs, nvinfer1::PluginTensorDesc const*,
                    void const* const* input_buffers, void* const* output_buffers, void* workspace,
                    cudaStream_t stream) noexcept override {
        return report([&] {
            int const error = self().launch(inputs, input_buffers, output_buffers, workspace, stream);
            expect(error == 0, std::string("a launch gave \"") + refinemask_error_string(error) + '"', "success");
            return 0;
        });
    }
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override { return clone(); }
    nvinfer1::PluginFieldCollection const* getFieldsToSerialize() noexcept override {
        return guarded<nvinfer1::PluginFieldCollection const*>(name(), nullptr, [&] {
            fields_ = attributes.fields();
            collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
            return &collection_;
        });
    }

protected:
    Kind kind;
    Attributes attributes;

private:
    char const* name() const noexcept { return kind.name.c_str(); }
    Plugin& self() noexcept { return static_cast<Plugin&>(*this); }
    Plugin const& self() const noexcept { return static_cast<Plugin const&>(*this); }

    template <typename Body>
    int32_t report(Body body) const noexcept {
        return guarded<int32_t>(name(), -1, body);
    }
    void expect_counts(int32_t num_inputs, int32_t num_outputs) const {
        expect(num_inputs == kind.num_inputs && num_outputs == kind.num_outputs,
               std::to_string(num_inputs) + " inputs and " + std::to_string(num_outputs) + " outputs",
               std::to_string(kind.num_inputs) + " and " + std::to_string(kind.num_outputs));
    }
    Tensors largest(nvinfer1::DynamicPluginTensorDesc const* inputs) const {
        Tensors tensors;
        for (int32_t i = 0; i < kind.num_inputs; ++i) {
            tensors.push_back(inputs[i].desc);
            tensors.back().dims = inputs[i].max;
        }
        return tensors;
    }

    std::string timing_cache_id_;
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};
};

template <typename Plugin>
class Creator : public nvinfer1::IPluginCreatorV3One {
public:
    explicit Creator(Kind kind) : kind_(std::move(kind)) {
        for (Attribute const& attribute : kind_.attributes) {
            fields_.emplace_back(attribute.name, nullptr, attribute.type, 1);
        }
        collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
    }
    nvinfer1::IPluginV3* createPlugin(char const*, nvinfer1::PluginFieldCollection const* fields,
                                      nvinfer1::TensorRTPhase) noexcept override {
        return guarded<nvinfer1::IPluginV3*>(kind_.name.c_str(), nullptr, [&] { return new Plugin(kind_, fields); });
    }
    nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override { return &collection_; }
    char const* getPluginName() const noexcept override { return kind_.name.c_str(); }
    char const* getPluginVersion() const noexcept override { return kVersion; }
    char const* getPluginNamespace() const noexcept override { return kNamespace; }

private:
    Kind kind_;
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace refinemask
