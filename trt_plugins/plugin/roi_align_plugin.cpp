// MultilevelRoIAlign4 (f0, f1, f2, f3, rois) and MultilevelRoIAlign1 (f0, rois).
//
// Maps [B, C, H, W] and output [R, C, P, P] of one float type, linear or, for 16-bit types, channels last (kHWC8, what
// convolutions use). RoIs float32 [R, 5]: batch index, x1, y1, x2, y2.
#include "plugin_base.h"
#include "plugins.h"

namespace refinemask {
namespace {

using nvinfer1::DataType;
using nvinfer1::PluginFieldType;
using nvinfer1::TensorFormat;

Kind kind(int levels) {
    return {"MultilevelRoIAlign" + std::to_string(levels),
            {{"output_size", PluginFieldType::kINT32, 1, 128},
             {"sampling_ratio", PluginFieldType::kINT32, 0, 64},
             {"finest_scale", PluginFieldType::kINT32, 1, 1 << 20}},
            levels + 1,
            1};
}

class RoIAlignPlugin final : public PluginBase<RoIAlignPlugin> {
public:
    using PluginBase::PluginBase;

    std::vector<DataType> types(DataType const* inputs) const {
        for (int i = 0; i < levels(); ++i) {
            bool const is_float =
                inputs[i] == DataType::kFLOAT || inputs[i] == DataType::kHALF || inputs[i] == DataType::kBF16;
            expect(is_float && inputs[i] == inputs[0], input_name(i) + " is " + to_string(inputs[i]),
                   "float32, float16 or bfloat16, the same for all maps");
        }
        expect(inputs[levels()] == DataType::kFLOAT, "rois are " + to_string(inputs[levels()]),
               "float32, whatever the type of the maps: 16 bits are too coarse for coordinates");
        return {inputs[0]};
    }

    std::vector<nvinfer1::DimsExprs> shapes(nvinfer1::DimsExprs const* inputs, nvinfer1::IExprBuilder& builder) const {
        for (int i = 0; i < levels(); ++i) {
            expect(inputs[i].nbDims == 4, input_name(i) + " has rank " + std::to_string(inputs[i].nbDims),
                   "4, [B, C, H, W]");
        }
        expect(inputs[levels()].nbDims == 2, "rois have rank " + std::to_string(inputs[levels()].nbDims),
               "2, [R, 5]");
        nvinfer1::DimsExprs output{};
        output.nbDims = 4;
        output.d[0] = inputs[levels()].d[0];
        output.d[1] = inputs[0].d[1];
        output.d[2] = output.d[3] = builder.constant(output_size());
        return {output};
    }

    bool supports(int32_t position, Tensors const& tensors) const {
        nvinfer1::PluginTensorDesc const& tensor = tensors[position];
        if (position == 0) {
            bool const narrow = tensor.type == DataType::kHALF || tensor.type == DataType::kBF16;
            return (tensor.format == TensorFormat::kLINEAR && (narrow || tensor.type == DataType::kFLOAT)) ||
                   (tensor.format == TensorFormat::kHWC8 && narrow);
        }
        if (position == levels()) {
            return tensor.type == DataType::kFLOAT && tensor.format == TensorFormat::kLINEAR;
        }
        return tensor.type == tensors[0].type && tensor.format == tensors[0].format;
    }

    void check(Tensors const& inputs) const {
        nvinfer1::Dims const& rois = inputs[levels()].dims;
        for (int i = 0; i < levels(); ++i) {
            nvinfer1::Dims const& map = inputs[i].dims;
            expect(map.nbDims == 4 && map.d[0] == inputs[0].dims.d[0] && map.d[1] == inputs[0].dims.d[1],
                   input_name(i) + " is " + to_string(map),
                   "[B, C, H, W] with batch and channels of " + to_string(inputs[0].dims));
        }
        expect(rois.nbDims == 2 && rois.d[1] == 5, "rois are " + to_string(rois),
               "[R, 5] (batch index, x1, y1, x2, y2)");
        RefinemaskRoiAlign const shapes = problem(inputs.data());
        char const* const refusal = refinemask_roi_align_refusal(&shapes);
        expect(refusal == nullptr, refusal ? refusal : "", "what the kernel takes on this device");
    }

    size_t workspace(Tensors const&) const { return 0; }

    int launch(nvinfer1::PluginTensorDesc const* inputs, void const* const* in, void* const* out, void*,
               cudaStream_t stream) const {
        RefinemaskRoiAlign call = problem(inputs);
        std::copy(in, in + levels(), call.features);
        call.rois = static_cast<float const*>(in[levels()]);
        call.output = out[0];
        return refinemask_roi_align(&call, stream);
    }

private:
    // Without addresses.
    RefinemaskRoiAlign problem(nvinfer1::PluginTensorDesc const* inputs) const {
        nvinfer1::Dims const& map = inputs[0].dims;
        RefinemaskRoiAlign problem{};
        for (int i = 0; i < levels(); ++i) {
            problem.heights[i] = static_cast<int32_t>(inputs[i].dims.d[2]);
            problem.widths[i] = static_cast<int32_t>(inputs[i].dims.d[3]);
        }
        problem.num_levels = levels();
        problem.type = kernel_type(inputs[0].type);
        problem.layout = inputs[0].format == TensorFormat::kHWC8 ? REFINEMASK_INTERLEAVED : REFINEMASK_PLANAR;
        problem.batch = static_cast<int32_t>(map.d[0]);
        problem.channels = static_cast<int32_t>(map.d[1]);
        problem.num_rois = static_cast<int32_t>(inputs[levels()].dims.d[0]);
        problem.output_size = output_size();
        problem.sampling_ratio = attributes.integer(1);
        problem.finest_scale = attributes.integer(2);
        return problem;
    }

    int levels() const { return kind.num_inputs - 1; }
    int output_size() const { return attributes.integer(0); }
    static std::string input_name(int level) { return "map f" + std::to_string(level); }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* multilevel_roi_align_creator(int levels) {
    static Creator<RoIAlignPlugin> one(kind(1)), four(kind(4));
    return levels == 1 ? &one : &four;
}

}  // namespace refinemask
