// TopScores (scores float32 [G, N]) -> (values float32 [G, k], indices int32 [G, k]).
#include "plugin_base.h"
#include "plugins.h"

namespace refinemask {
namespace {

using nvinfer1::DataType;
using nvinfer1::PluginFieldType;

constexpr int kMostScores = 1 << 30;

class TopScoresPlugin final : public PluginBase<TopScoresPlugin> {
public:
    using PluginBase::PluginBase;

    std::vector<DataType> types(DataType const* inputs) const {
        expect(inputs[0] == DataType::kFLOAT, "scores are " + to_string(inputs[0]), "float32");
        return {DataType::kFLOAT, DataType::kINT32};
    }

    std::vector<nvinfer1::DimsExprs> shapes(nvinfer1::DimsExprs const* inputs, nvinfer1::IExprBuilder& builder) const {
        expect(inputs[0].nbDims == 2, "scores have rank " + std::to_string(inputs[0].nbDims), "2, [G, N]");
        nvinfer1::DimsExprs best = inputs[0];
        best.d[1] = builder.constant(k());
        return {best, best};
    }

    bool supports(int32_t position, Tensors const& tensors) const {
        DataType const type = position < 2 ? DataType::kFLOAT : DataType::kINT32;
        return tensors[position].type == type && tensors[position].format == nvinfer1::TensorFormat::kLINEAR;
    }

    void check(Tensors const& inputs) const {
        nvinfer1::Dims const& scores = inputs[0].dims;
        expect(scores.nbDims == 2 && scores.d[1] >= k() && scores.d[1] <= kMostScores,
               "scores are " + to_string(scores), "[G, N] with N from k, " + std::to_string(k()) + ", to 2^30");
        expect(scores.d[0] <= REFINEMASK_TOP_K_MAX_GROUPS, "scores are " + to_string(scores),
               "at most " + std::to_string(REFINEMASK_TOP_K_MAX_GROUPS) + " rows");
    }

    size_t workspace(Tensors const& inputs) const {
        RefinemaskTopKSegments const shapes = problem(inputs[0].dims);
        return refinemask_top_k_segments_workspace(&shapes);
    }

    int launch(nvinfer1::PluginTensorDesc const* inputs, void const* const* in, void* const* out, void* workspace,
               cudaStream_t stream) const {
        RefinemaskTopKSegments call = problem(inputs[0].dims);
        call.values = static_cast<float const*>(in[0]);
        call.top_values = static_cast<float*>(out[0]);
        call.narrow_top_indices = static_cast<int32_t*>(out[1]);
        call.workspace = workspace;
        return refinemask_top_k_segments(&call, stream);
    }

private:
    // Without addresses.
    RefinemaskTopKSegments problem(nvinfer1::Dims const& scores) const {
        RefinemaskTopKSegments problem{};
        problem.groups = static_cast<int32_t>(scores.d[0]);
        problem.num_values = problem.lengths[0] = static_cast<int32_t>(scores.d[1]);
        problem.num_segments = 1;
        problem.k = k();
        return problem;
    }
    int k() const { return attributes.integer(0); }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* top_scores_creator() {
    static Creator<TopScoresPlugin> creator(
        {"TopScores", {{"k", PluginFieldType::kINT32, 1, REFINEMASK_TOP_K_MAX}}, 1, 2});
    return &creator;
}

}  // namespace refinemask
