#include "contract.h"

#include <algorithm>

namespace contract {

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

}  // namespace contract
