#include "contract.h"

#include <algorithm>

namespace contract {

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

}  // namespace contract
