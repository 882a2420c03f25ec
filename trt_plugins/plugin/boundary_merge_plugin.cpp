// BoundaryMerge (coarse float32 [R, 1, n, n], fine float32 [R, 1, 2n, 2n]) -> float32 [R, 1, 2n, 2n].
#include "plugin_base.h"
#include "plugins.h"

namespace refinemask {
namespace {

using nvinfer1::DataType;

class BoundaryMergePlugin final : public PluginBase<BoundaryMergePlugin> {
public:
    using PluginBase::PluginBase;

    std::vector<DataType> types(DataType const* inputs) const {
        expect(inputs[0] == DataType::kFLOAT && inputs[1] == DataType::kFLOAT,
               "coarse logits are " + to_string(inputs[0]) + " and fine ones " + to_string(inputs[1]),
               "float32 for both: the boundary test comes within 4e-5 of a tie");
        return {DataType::kFLOAT};
    }

    std::vector<nvinfer1::DimsExprs> shapes(nvinfer1::DimsExprs const* inputs, nvinfer1::IExprBuilder&) const {
        expect(inputs[0].nbDims == 4 && inputs[1].nbDims == 4,
               "coarse and fine logits have ranks " + std::to_string(inputs[0].nbDims) + " and " +
                   std::to_string(inputs[1].nbDims),
               "4, [R, 1, n, n] and [R, 1, 2n, 2n]");
        return {inputs[1]};
    }

    bool supports(int32_t position, Tensors const& tensors) const {
        return tensors[position].type == DataType::kFLOAT &&
               tensors[position].format == nvinfer1::TensorFormat::kLINEAR;
    }

    void check(Tensors const& inputs) const {
        nvinfer1::Dims const& coarse = inputs[0].dims;
        nvinfer1::Dims const& fine = inputs[1].dims;
        expect(coarse.nbDims == 4 && coarse.d[1] == 1 && coarse.d[2] == coarse.d[3] && coarse.d[2] <= 1024,
               "coarse logits are " + to_string(coarse), "[R, 1, n, n] with n at most 1024");
        expect(fine.nbDims == 4 && fine.d[0] == coarse.d[0] && fine.d[1] == 1 && fine.d[2] == 2 * coarse.d[2] &&
                   fine.d[3] == fine.d[2],
               "fine logits are " + to_string(fine), "twice the size of coarse ones " + to_string(coarse));
    }

    size_t workspace(Tensors const&) const { return 0; }

    int launch(nvinfer1::PluginTensorDesc const* inputs, void const* const* in, void* const* out, void*,
               cudaStream_t stream) const {
        RefinemaskBoundaryMerge problem{};
        problem.coarse = static_cast<float const*>(in[0]);
        problem.fine = static_cast<float const*>(in[1]);
        problem.output = static_cast<float*>(out[0]);
        problem.num_rois = static_cast<int32_t>(inputs[0].dims.d[0]);
        problem.size = static_cast<int32_t>(inputs[0].dims.d[2]);
        return refinemask_boundary_merge(&problem, stream);
    }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* boundary_merge_creator() {
    static Creator<BoundaryMergePlugin> creator({"BoundaryMerge", {}, 2, 1});
    return &creator;
}

}  // namespace refinemask
