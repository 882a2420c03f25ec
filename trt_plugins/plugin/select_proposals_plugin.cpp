// SelectProposals (m0, m1, m2, m3, m4, base_anchors, image_sizes) -> (boxes, scores).
//
// Maps [B, 5A, H, W] of P2 to P6, of one float type, linear or, for 16-bit types, channels last (kHWC8, what
// convolutions write): the logits of A anchors, then their deltas. All else is float32: base anchors [5, A, 4], image
// sizes [B, 2]; boxes [5B, k, 4], scores [5B, k].
#include "plugin_base.h"
#include "plugins.h"

namespace refinemask {
namespace {

using nvinfer1::DataType;
using nvinfer1::PluginFieldType;
using nvinfer1::TensorFormat;

constexpr int kLevels = REFINEMASK_PROPOSAL_LEVELS;
constexpr int kBaseAnchors = kLevels, kImageSizes = kLevels + 1;  // positions of the inputs behind the maps

class SelectProposalsPlugin final : public PluginBase<SelectProposalsPlugin> {
public:
    using PluginBase::PluginBase;

    std::vector<DataType> types(DataType const* inputs) const {
        for (int i = 0; i < kLevels; ++i) {
            bool const is_float =
                inputs[i] == DataType::kFLOAT || inputs[i] == DataType::kHALF || inputs[i] == DataType::kBF16;
            expect(is_float && inputs[i] == inputs[0], input_name(i) + " is " + to_string(inputs[i]),
                   "float32, float16 or bfloat16, the same for all maps");
        }
        for (int const i : {kBaseAnchors, kImageSizes}) {
            expect(inputs[i] == DataType::kFLOAT, input_name(i) + " are " + to_string(inputs[i]),
                   "float32, whatever the type of the maps: 16 bits are too coarse for coordinates");
        }
        return {DataType::kFLOAT, DataType::kFLOAT};
    }

    std::vector<nvinfer1::DimsExprs> shapes(nvinfer1::DimsExprs const* inputs, nvinfer1::IExprBuilder& builder) const {
        constexpr int kRanks[] = {4, 4, 4, 4, 4, 3, 2};
        for (int i = 0; i < kind.num_inputs; ++i) {
            expect(inputs[i].nbDims == kRanks[i], input_name(i) + " has rank " + std::to_string(inputs[i].nbDims),
                   std::to_string(kRanks[i]));
        }
        nvinfer1::DimsExprs boxes{}, scores{};
        boxes.nbDims = 3;
        scores.nbDims = 2;
        boxes.d[0] = scores.d[0] = builder.operation(nvinfer1::DimensionOperation::kPROD, *inputs[0].d[0],
                                                     *builder.constant(kLevels));
        boxes.d[1] = scores.d[1] = builder.constant(attributes.integer(0));
        boxes.d[2] = builder.constant(4);
        return {boxes, scores};
    }

    bool supports(int32_t position, Tensors const& tensors) const {
        nvinfer1::PluginTensorDesc const& tensor = tensors[position];
        if (position >= kLevels) {
            return tensor.type == DataType::kFLOAT && tensor.format == TensorFormat::kLINEAR;
        }
        if (position > 0) {
            return tensor.type == tensors[0].type && tensor.format == tensors[0].format;
        }
        bool const narrow = tensor.type == DataType::kHALF || tensor.type == DataType::kBF16;
        return (tensor.format == TensorFormat::kLINEAR && (narrow || tensor.type == DataType::kFLOAT)) ||
               (tensor.format == TensorFormat::kHWC8 && narrow);
    }

    void check(Tensors const& inputs) const {
        nvinfer1::Dims const& first = inputs[0].dims;
        nvinfer1::Dims const& anchors = inputs[kBaseAnchors].dims;
        nvinfer1::Dims const& sizes = inputs[kImageSizes].dims;
        for (int i = 0; i < kLevels; ++i) {
            nvinfer1::Dims const& map = inputs[i].dims;
            expect(map.nbDims == 4 && map.d[0] == first.d[0] && map.d[1] == first.d[1] && map.d[1] % 5 == 0,
                   input_name(i) + " is " + to_string(map),
                   "[B, 5A, H, W] with batch and channels of " + to_string(first));
        }
        expect(anchors.nbDims == 3 && anchors.d[0] == kLevels && anchors.d[1] == first.d[1] / 5 && anchors.d[2] == 4,
               "base_anchors are " + to_string(anchors), "[5, A, 4] for maps " + to_string(first) + " of 5A channels");
        expect(sizes.nbDims == 2 && sizes.d[0] == first.d[0] && sizes.d[1] == 2,
               "image_sizes are " + to_string(sizes), "[B, 2] (height, width) for maps " + to_string(first));
        RefinemaskSelectProposals const shapes = problem(inputs.data());
        char const* const refusal = refinemask_select_proposals_refusal(&shapes);
        expect(refusal == nullptr, refusal ? refusal : "", "what the kernel takes");
    }

    size_t workspace(Tensors const& inputs) const {
        RefinemaskSelectProposals const shapes = problem(inputs.data());
        return refinemask_select_proposals_workspace(&shapes);
    }

    int launch(nvinfer1::PluginTensorDesc const* inputs, void const* const* in, void* const* out, void* workspace,
               cudaStream_t stream) const {
        RefinemaskSelectProposals call = problem(inputs);
        std::copy(in, in + kLevels, call.maps);
        call.base_anchors = static_cast<float const*>(in[kBaseAnchors]);
        call.image_sizes = static_cast<float const*>(in[kImageSizes]);
        call.boxes = static_cast<float*>(out[0]);
        call.scores = static_cast<float*>(out[1]);
        call.workspace = workspace;
        return refinemask_select_proposals(&call, stream);
    }

private:
    // Without addresses.
    RefinemaskSelectProposals problem(nvinfer1::PluginTensorDesc const* inputs) const {
        RefinemaskSelectProposals problem{};
        for (int i = 0; i < kLevels; ++i) {
            problem.heights[i] = static_cast<int32_t>(inputs[i].dims.d[2]);
            problem.widths[i] = static_cast<int32_t>(inputs[i].dims.d[3]);
        }
        problem.type = kernel_type(inputs[0].type);
        problem.layout = inputs[0].format == TensorFormat::kHWC8 ? REFINEMASK_INTERLEAVED : REFINEMASK_PLANAR;
        problem.batch = static_cast<int32_t>(inputs[0].dims.d[0]);
        problem.num_anchors = static_cast<int32_t>(inputs[0].dims.d[1] / 5);
        problem.k = attributes.integer(0);
        return problem;
    }

    static std::string input_name(int position) {
        return position == kBaseAnchors  ? "base_anchors"
               : position == kImageSizes ? "image_sizes"
                                         : "map m" + std::to_string(position);
    }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* select_proposals_creator() {
    static Creator<SelectProposalsPlugin> creator(
        {"SelectProposals", {{"k", PluginFieldType::kINT32, 1, REFINEMASK_TOP_K_MAX}}, kLevels + 2, 2});
    return &creator;
}

}  // namespace refinemask
