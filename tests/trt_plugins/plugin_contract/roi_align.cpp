#include "contract.h"

#include <cuda_fp16.h>

#include <cmath>

namespace contract {

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

}  // namespace contract
