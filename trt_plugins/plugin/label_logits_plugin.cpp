// LabelLogits (features [R, C, s, s], weight [n, C], bias [n], labels [R]) -> [R, 1, s, s], and
// UpsampledLabelLogits (coarse [R, C, s, s], masks [R, M, 2s, 2s], weight [n, C + M], bias [n], labels [R]) ->
// [R, 1, 2s, 2s].
//
// Features, masks, weight and bias are of one float type, labels int32, logits float32. The features are linear or, in
// 16-bit types, channels last (kHWC8, what convolutions write); all else is linear.
#include "plugin_base.h"
#include "plugins.h"

namespace refinemask {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

class LabelLogitsPlugin final : public PluginBase<LabelLogitsPlugin> {
public:
    using PluginBase::PluginBase;

    std::vector<DataType> types(DataType const* inputs) const {
        bool const is_float =
            inputs[0] == DataType::kFLOAT || inputs[0] == DataType::kHALF || inputs[0] == DataType::kBF16;
        expect(is_float, "features are " + to_string(inputs[0]), "float32, float16 or bfloat16");
        for (int i = 1; i < labels(); ++i) {
            expect(inputs[i] == inputs[0], name(i) + " are " + to_string(inputs[i]),
                   to_string(inputs[0]) + ", the type of the features");
        }
        expect(inputs[labels()] == DataType::kINT32, "labels are " + to_string(inputs[labels()]), "int32");
        return {DataType::kFLOAT};
    }

    std::vector<nvinfer1::DimsExprs> shapes(nvinfer1::DimsExprs const* inputs, nvinfer1::IExprBuilder& builder) const {
        for (int i = 0; i < weight(); ++i) {
            expect(inputs[i].nbDims == 4, name(i) + " have rank " + std::to_string(inputs[i].nbDims), "4");
        }
        nvinfer1::DimsExprs logits = inputs[weight() - 1];
        logits.d[1] = builder.constant(1);
        return {logits};
    }

    bool supports(int32_t position, Tensors const& tensors) const {
        nvinfer1::PluginTensorDesc const& tensor = tensors[position];
        bool const linear = tensor.format == TensorFormat::kLINEAR;
        if (position == 0) {
            bool const narrow = tensor.type == DataType::kHALF || tensor.type == DataType::kBF16;
            return (linear && (narrow || tensor.type == DataType::kFLOAT)) ||
                   (tensor.format == TensorFormat::kHWC8 && narrow);
        }
        DataType const type = position < labels()    ? tensors[0].type
                              : position == labels() ? DataType::kINT32
                                                     : DataType::kFLOAT;
        return linear && tensor.type == type;
    }

    void check(Tensors const& inputs) const {
        nvinfer1::Dims const& map = inputs[0].dims;
        expect(map.nbDims == 4 && map.d[2] == map.d[3] && map.d[2] <= 1024, "features are " + to_string(map),
               "[R, C, s, s] with s at most 1024");
        int64_t channels = map.d[1];
        if (upsampled()) {
            nvinfer1::Dims const& masks = inputs[1].dims;
            expect(masks.nbDims == 4 && masks.d[0] == map.d[0] && masks.d[1] > 0 && masks.d[2] == 2 * map.d[2] &&
                       masks.d[3] == masks.d[2],
                   "masks are " + to_string(masks), "twice the size of features " + to_string(map));
            channels += masks.d[1];
        }
        nvinfer1::Dims const& rows = inputs[weight()].dims;
        expect(rows.nbDims == 2 && rows.d[0] > 0 && rows.d[1] == channels && channels <= 4096,
               "weight is " + to_string(rows) + " for " + std::to_string(channels) + " channels",
               "a column for each, at most 4096");
        nvinfer1::Dims const& bias = inputs[weight() + 1].dims;
        expect(bias.nbDims == 1 && bias.d[0] == rows.d[0], "bias is " + to_string(bias), "a value for each row");
        nvinfer1::Dims const& classes = inputs[labels()].dims;
        expect(classes.nbDims == 1 && classes.d[0] == map.d[0], "labels are " + to_string(classes),
               "one for each RoI of features " + to_string(map));
    }

    size_t workspace(Tensors const&) const { return 0; }

    int launch(nvinfer1::PluginTensorDesc const* inputs, void const* const* in, void* const* out, void*,
               cudaStream_t stream) const {
        nvinfer1::Dims const& map = inputs[0].dims;
        RefinemaskLabelLogits problem{};
        problem.features = in[0];
        problem.masks = upsampled() ? in[1] : nullptr;
        problem.weight = in[weight()];
        problem.bias = in[weight() + 1];
        problem.labels = static_cast<int32_t const*>(in[labels()]);
        problem.output = static_cast<float*>(out[0]);
        problem.type = kernel_type(inputs[0].type);
        problem.layout = inputs[0].format == TensorFormat::kHWC8 ? REFINEMASK_INTERLEAVED : REFINEMASK_PLANAR;
        problem.num_rois = static_cast<int32_t>(map.d[0]);
        problem.channels = static_cast<int32_t>(map.d[1]);
        problem.mask_channels = upsampled() ? static_cast<int32_t>(inputs[1].dims.d[1]) : 0;
        problem.num_rows = static_cast<int32_t>(inputs[weight()].dims.d[0]);
        problem.size = static_cast<int32_t>(map.d[2]);
        return refinemask_label_logits(&problem, stream);
    }

private:
    bool upsampled() const { return kind.num_inputs == 5; }
    int weight() const { return kind.num_inputs - 3; }
    int labels() const { return kind.num_inputs - 1; }
    std::string name(int input) const {
        static char const* const names[] = {"features", "masks", "weights", "biases"};
        return names[upsampled() || input == 0 ? input : input + 1];
    }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* label_logits_creator(bool upsampled) {
    static Creator<LabelLogitsPlugin> plain({"LabelLogits", {}, 4, 1}), twice({"UpsampledLabelLogits", {}, 5, 1});
    return upsampled ? &twice : &plain;
}

}  // namespace refinemask
