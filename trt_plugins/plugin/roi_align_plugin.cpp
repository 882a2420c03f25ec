// MultilevelRoIAlign4 (f0, f1, f2, f3, rois) and MultilevelRoIAlign1 (f0, rois).
//
// Maps [B, C, H, W] and output [R, C, P, P] of one float type, linear or, for 16-bit types, channels last (kHWC8, what
// convolutions use). RoIs float32 [R, 5]: batch index, x1, y1, x2, y2. MultilevelRoIAlign1 pools `channels` of the map's
// channels from `channel_begin` on; 0 is all of them.
#include "plugin_base.h"
#include "plugins.h"

namespace refinemask {
namespace {

using nvinfer1::DataType;
using nvinfer1::PluginFieldType;
using nvinfer1::TensorFormat;

constexpr int kMostChannels = 8192;
constexpr int kVector = 8;  // channels of kHWC8 that are padded and read together

Kind kind(int levels) {
    std::vector<Attribute> attributes{{"output_size", PluginFieldType::kINT32, 1, 128},
                                      {"sampling_ratio", PluginFieldType::kINT32, 0, 64},
                                      {"finest_scale", PluginFieldType::kINT32, 1, 1 << 20}};
    if (levels == 1) {
        attributes.push_back({"channel_begin", PluginFieldType::kINT32, 0, kMostChannels - 1, true});
        attributes.push_back({"channels", PluginFieldType::kINT32, 0, kMostChannels, true});
    }
    return {"MultilevelRoIAlign" + std::to_string(levels), attributes, levels + 1, 1};
}

class RoIAlignPlugin final : public PluginBase<RoIAlignPlugin> {
public:
    RoIAlignPlugin(Kind const& kind, nvinfer1::PluginFieldCollection const* fields) : PluginBase(kind, fields) {
        expect(channels() > 0 || channel_begin() == 0,
               "attribute 'channel_begin' is " + std::to_string(channel_begin()) + " and 'channels' is 0",
               "the number of channels from there on");
    }

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
        output.d[1] = channels() > 0 ? builder.constant(channels()) : inputs[0].d[1];
        output.d[2] = output.d[3] = builder.constant(output_size());
        return {output};
    }

    bool supports(int32_t position, Tensors const& tensors) const {
        nvinfer1::PluginTensorDesc const& tensor = tensors[position];
        if (position == 0) {
            bool const narrow = tensor.type == DataType::kHALF || tensor.type == DataType::kBF16;
            bool const aligned = channel_begin() % kVector == 0;
            return (tensor.format == TensorFormat::kLINEAR && (narrow || tensor.type == DataType::kFLOAT)) ||
                   (tensor.format == TensorFormat::kHWC8 && narrow && aligned);
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
        expect(channel_begin() + channels() <= inputs[0].dims.d[1],
               "map f0 is " + to_string(inputs[0].dims) + ", of which channels " + std::to_string(channel_begin()) +
                   " to " + std::to_string(channel_begin() + channels()) + " are to be pooled",
               "at least as many channels");
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
        if (channel_begin() > 0) {
            bool const planar = call.layout == REFINEMASK_PLANAR;
            int64_t const values = planar ? static_cast<int64_t>(call.heights[0]) * call.widths[0] : 1;
            int64_t const bytes = channel_begin() * values * (call.type == REFINEMASK_FLOAT ? 4 : 2);
            call.features[0] = static_cast<char const*>(in[0]) + bytes;
        }
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
        int32_t const stored = static_cast<int32_t>(map.d[1]);
        problem.channels = channels() > 0 ? channels() : stored;
        problem.map_channels = problem.layout == REFINEMASK_PLANAR ? stored : (stored + kVector - 1) / kVector * kVector;
        problem.num_rois = static_cast<int32_t>(inputs[levels()].dims.d[0]);
        problem.output_size = output_size();
        problem.sampling_ratio = attributes.integer(1);
        problem.finest_scale = attributes.integer(2);
        return problem;
    }

    int levels() const { return kind.num_inputs - 1; }
    int output_size() const { return attributes.integer(0); }
    int channel_begin() const { return levels() == 1 ? attributes.integer(3) : 0; }
    int channels() const { return levels() == 1 ? attributes.integer(4) : 0; }
    static std::string input_name(int level) { return "map f" + std::to_string(level); }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* multilevel_roi_align_creator(int levels) {
    static Creator<RoIAlignPlugin> one(kind(1)), four(kind(4));
    return levels == 1 ? &one : &four;
}

}  // namespace refinemask
