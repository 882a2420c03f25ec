// The objects of one frame, from the outputs of a RefineMask network, for DeepStream's nvinfer (network-type=3).
//
// g++ -std=c++17 -O2 -shared -fPIC -I DEEPSTREAM/sources/includes -I CUDA/include parser.cpp
//     -o libnvdsinfer_refinemask.so
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <vector>

#include "nvdsinfer_custom_impl.h"

namespace
{

using Layers = std::vector<NvDsInferLayerInfo>;

bool fail(char const* name, char const* reason)
{
    std::cerr << "RefineMask parser: output '" << name << "' " << reason << "; expected the network that "
              << "python -m engines.deepstream wrote" << std::endl;
    return false;
}

NvDsInferLayerInfo const* find(Layers const& layers, char const* name, unsigned int dimensions)
{
    for (auto const& layer : layers)
    {
        if (layer.layerName && !std::strcmp(layer.layerName, name) && layer.buffer
            && layer.inferDims.numDims == dimensions)
        {
            return &layer;
        }
    }
    fail(name, "is missing or has another number of dimensions");
    return nullptr;
}

int64_t labelAt(NvDsInferLayerInfo const& labels, unsigned int index)
{
    return labels.dataType == INT64 ? static_cast<int64_t const*>(labels.buffer)[index]
                                    : static_cast<int32_t const*>(labels.buffer)[index];
}

} // namespace

extern "C" bool NvDsInferParseRefineMask(Layers const& layers, NvDsInferNetworkInfo const&,
    NvDsInferParseDetectionParams const& parameters, std::vector<NvDsInferInstanceMaskInfo>& objects)
{
    auto const* boxes = find(layers, "boxes", 2);
    auto const* scores = find(layers, "scores", 1);
    auto const* labels = find(layers, "labels", 1);
    auto const* masks = find(layers, "masks", 3);
    if (!boxes || !scores || !labels || !masks)
    {
        return false;
    }
    if (boxes->dataType != FLOAT || scores->dataType != FLOAT || masks->dataType != FLOAT)
    {
        return fail("boxes, scores or masks", "is not float32");
    }
    if (labels->dataType != INT64 && labels->dataType != INT32)
    {
        return fail("labels", "is neither int64 nor int32");
    }
    unsigned int const places = scores->inferDims.d[0];
    if (boxes->inferDims.d[0] != places || boxes->inferDims.d[1] != 4 || labels->inferDims.d[0] != places
        || masks->inferDims.d[0] != places)
    {
        return fail("boxes, labels or masks", "does not fit the scores");
    }
    // The rows of a mask are its second dimension and the columns its third, in memory one row after the other.
    unsigned int const rows = masks->inferDims.d[1];
    unsigned int const columns = masks->inferDims.d[2];
    size_t const points = static_cast<size_t>(rows) * columns;
    for (unsigned int place = 0; place < places; ++place)
    {
        float const score = static_cast<float const*>(scores->buffer)[place];
        // Places behind the last object hold zeros.
        if (!(score > 0))
        {
            break;
        }
        int64_t const label = labelAt(*labels, place);
        if (label < 0 || label >= static_cast<int64_t>(parameters.numClassesConfigured)
            || label >= static_cast<int64_t>(parameters.perClassPreclusterThreshold.size())
            || score < parameters.perClassPreclusterThreshold[label])
        {
            continue;
        }
        float const* box = static_cast<float const*>(boxes->buffer) + 4 * static_cast<size_t>(place);
        float const width = box[2] - box[0];
        float const height = box[3] - box[1];
        if (!(width > 0 && height > 0) || !std::isfinite(width) || !std::isfinite(height))
        {
            continue;
        }
        NvDsInferInstanceMaskInfo object{};
        object.classId = static_cast<unsigned int>(label);
        object.detectionConfidence = score;
        object.left = box[0];
        object.top = box[1];
        object.width = width;
        object.height = height;
        object.mask_width = columns;
        object.mask_height = rows;
        object.mask_size = static_cast<unsigned int>(points * sizeof(float));
        // nvinfer frees it with delete[].
        object.mask = new float[points];
        std::memcpy(object.mask, static_cast<float const*>(masks->buffer) + place * points, object.mask_size);
        objects.push_back(object);
    }
    return true;
}

CHECK_CUSTOM_INSTANCE_MASK_PARSE_FUNC_PROTOTYPE(NvDsInferParseRefineMask)
