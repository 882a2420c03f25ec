#include "contract.h"

namespace contract {

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

}  // namespace contract
