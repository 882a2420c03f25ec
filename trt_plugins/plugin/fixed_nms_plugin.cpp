// FixedNMS (boxes float32 [G, N, 4], scores float32 [G, N]) -> (indices int32 [G, k], num_kept int32 [G]).
#include "plugin_base.h"
#include "plugins.h"

namespace refinemask {
namespace {

using nvinfer1::DataType;
using nvinfer1::PluginFieldType;

Kind kind() {
    return {"FixedNMS",
            {{"iou_threshold", PluginFieldType::kFLOAT32, 0, 1}, {"k", PluginFieldType::kINT32, 1, 1 << 20}},
            2,
            2};
}

class FixedNmsPlugin final : public PluginBase<FixedNmsPlugin> {
public:
    using PluginBase::PluginBase;

    std::vector<DataType> types(DataType const* inputs) const {
        expect(inputs[0] == DataType::kFLOAT && inputs[1] == DataType::kFLOAT,
               "boxes are " + to_string(inputs[0]) + " and scores " + to_string(inputs[1]), "float32 for both");
        return {DataType::kINT32, DataType::kINT32};
    }

    std::vector<nvinfer1::DimsExprs> shapes(nvinfer1::DimsExprs const* inputs, nvinfer1::IExprBuilder& builder) const {
        expect(inputs[0].nbDims == 3 && inputs[1].nbDims == 2,
               "boxes and scores have ranks " + std::to_string(inputs[0].nbDims) + " and " +
                   std::to_string(inputs[1].nbDims),
               "3, [G, N, 4], and 2, [G, N]");
        nvinfer1::DimsExprs indices{}, num_kept{};
        indices.nbDims = 2;
        indices.d[0] = inputs[0].d[0];
        indices.d[1] = builder.constant(k());
        num_kept.nbDims = 1;
        num_kept.d[0] = inputs[0].d[0];
        return {indices, num_kept};
    }

    bool supports(int32_t position, Tensors const& tensors) const {
        DataType const type = position < 2 ? DataType::kFLOAT : DataType::kINT32;
        return tensors[position].type == type && tensors[position].format == nvinfer1::TensorFormat::kLINEAR;
    }

    void check(Tensors const& inputs) const {
        nvinfer1::Dims const& boxes = inputs[0].dims;
        nvinfer1::Dims const& scores = inputs[1].dims;
        expect(boxes.nbDims == 3 && boxes.d[2] == 4, "boxes are " + to_string(boxes), "[G, N, 4]");
        expect(scores.nbDims == 2 && scores.d[0] == boxes.d[0] && scores.d[1] == boxes.d[1],
               "scores are " + to_string(scores), "[G, N] of boxes " + to_string(boxes));
        expect(boxes.d[1] <= REFINEMASK_NMS_MAX_BOXES, "boxes are " + to_string(boxes),
               "N at most " + std::to_string(REFINEMASK_NMS_MAX_BOXES) + " per group");
    }

    size_t workspace(Tensors const& inputs) const {
        nvinfer1::Dims const& boxes = inputs[0].dims;
        return refinemask_fixed_nms_workspace(static_cast<int32_t>(boxes.d[0]), static_cast<int32_t>(boxes.d[1]));
    }

    int launch(nvinfer1::PluginTensorDesc const* inputs, void const* const* in, void* const* out, void* workspace,
               cudaStream_t stream) const {
        RefinemaskFixedNms problem{};
        problem.boxes = static_cast<float const*>(in[0]);
        problem.scores = static_cast<float const*>(in[1]);
        problem.groups = static_cast<int32_t>(inputs[0].dims.d[0]);
        problem.num_boxes = static_cast<int32_t>(inputs[0].dims.d[1]);
        problem.iou_threshold = attributes.real(0);
        problem.k = k();
        problem.indices = static_cast<int32_t*>(out[0]);
        problem.num_kept = static_cast<int32_t*>(out[1]);
        problem.workspace = workspace;
        return refinemask_fixed_nms(&problem, stream);
    }

private:
    int k() const { return attributes.integer(1); }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* fixed_nms_creator() {
    static Creator<FixedNmsPlugin> creator(kind());
    return &creator;
}

}  // namespace refinemask
