#include "contract.h"

#include <cuda_runtime_api.h>

#include <algorithm>

namespace contract {
namespace {

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

}  // namespace

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

}  // namespace contract
