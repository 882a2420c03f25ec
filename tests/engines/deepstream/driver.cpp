// Calls the parser as nvinfer does, with arrays of the test, and gives the objects as arrays.
#include <cstring>
#include <vector>

#include "nvdsinfer_custom_impl.h"

extern "C" bool NvDsInferParseRefineMask(std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&,
    NvDsInferParseDetectionParams const&, std::vector<NvDsInferInstanceMaskInfo>&);

struct Array
{
    char const* name;
    int type;
    unsigned int dimensions;
    unsigned int sides[8];
    void* data;
};

// rows: [classId, score, left, top, width, height, mask_width, mask_height, mask_size] of each object. masks: the
// memory of each object's mask, one after the other. The number of objects; -1 where the parser refuses.
extern "C" int parse(
    Array const* arrays, int count, unsigned int classes, float threshold, float* rows, float* masks)
{
    std::vector<NvDsInferLayerInfo> layers;
    for (int index = 0; index < count; ++index)
    {
        NvDsInferLayerInfo layer{};
        layer.layerName = arrays[index].name;
        layer.dataType = static_cast<NvDsInferDataType>(arrays[index].type);
        layer.inferDims.numDims = arrays[index].dimensions;
        std::memcpy(layer.inferDims.d, arrays[index].sides, sizeof arrays[index].sides);
        layer.buffer = arrays[index].data;
        layers.push_back(layer);
    }
    NvDsInferParseDetectionParams parameters;
    parameters.numClassesConfigured = classes;
    parameters.perClassPreclusterThreshold.assign(classes, threshold);
    std::vector<NvDsInferInstanceMaskInfo> objects;
    if (!NvDsInferParseRefineMask(layers, NvDsInferNetworkInfo{}, parameters, objects))
    {
        return -1;
    }
    for (auto const& object : objects)
    {
        float const row[] = {static_cast<float>(object.classId), object.detectionConfidence, object.left, object.top,
            object.width, object.height, static_cast<float>(object.mask_width), static_cast<float>(object.mask_height),
            static_cast<float>(object.mask_size)};
        std::memcpy(rows, row, sizeof row);
        rows += 9;
        std::memcpy(masks, object.mask, object.mask_size);
        masks += object.mask_size / sizeof(float);
        delete[] object.mask;
    }
    return static_cast<int>(objects.size());
}
