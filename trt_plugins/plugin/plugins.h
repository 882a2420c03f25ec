// The creators of the library's plugins, which live as long as the library.
#pragma once

#include <NvInferRuntime.h>

namespace refinemask {

nvinfer1::IPluginCreatorInterface* multilevel_roi_align_creator(int levels);
nvinfer1::IPluginCreatorInterface* fixed_nms_creator();
nvinfer1::IPluginCreatorInterface* boundary_merge_creator();
nvinfer1::IPluginCreatorInterface* select_proposals_creator();
nvinfer1::IPluginCreatorInterface* top_scores_creator();
nvinfer1::IPluginCreatorInterface* label_logits_creator(bool upsampled);

}  // namespace refinemask
