#include "contract.h"

#include <cuda_runtime_api.h>

namespace contract {

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

}  // namespace contract
