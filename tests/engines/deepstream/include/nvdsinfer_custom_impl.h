// Stands for DeepStream's header of the same name: only what a parser of instance masks uses, in the same layout.
// With DEEPSTREAM_INCLUDE_DIR the tests compile against the real one.
#pragma once
#include <vector>

enum NvDsInferDataType
{
    FLOAT,
    HALF,
    INT8,
    INT32,
    INT64,
    UINT8
};

struct NvDsInferDims
{
    unsigned int numDims;
    unsigned int d[8];
    unsigned int numElements;
};

struct NvDsInferLayerInfo
{
    NvDsInferDataType dataType;
    NvDsInferDims inferDims;
    int bindingIndex;
    char const* layerName;
    void* buffer;
    int isInput;
};

struct NvDsInferNetworkInfo
{
    unsigned int width, height, channels;
};

struct NvDsInferInstanceMaskInfo
{
    unsigned int classId;
    float left, top, width, height;
    float detectionConfidence;
    float* mask;
    unsigned int mask_width, mask_height, mask_size;
};

struct NvDsInferParseDetectionParams
{
    unsigned int numClassesConfigured;
    std::vector<float> perClassPreclusterThreshold;
    std::vector<float> perClassPostclusterThreshold;
};

using Parser = bool (*)(std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&,
    NvDsInferParseDetectionParams const&, std::vector<NvDsInferInstanceMaskInfo>&);

#define CHECK_CUSTOM_INSTANCE_MASK_PARSE_FUNC_PROTOTYPE(function) [[maybe_unused]] static Parser const checked = function;
