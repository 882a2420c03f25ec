"""The operations that become one node each in an exported graph, with their exact eager reference."""

from refinemask.ops.boundary_merge import boundary_map, boundary_merge, upsample_aligned
from refinemask.ops.constants import constant
from refinemask.ops.label_logits import (
    label_logits,
    label_rows,
    logits_of_labels,
    logits_of_upsampled,
    project,
    upsampled_label_logits,
)
from refinemask.ops.map_channels import MapChannels, pool_channels, roi_align_channels, split_channels
from refinemask.ops.nms import fixed_nms
from refinemask.ops.precision import full_precision
from refinemask.ops.roi_align import FINEST_SCALE, multilevel_roi_align, pool, roi_levels, to_rois
from refinemask.ops.top_k import best, top_k, top_k_segments, top_scores

__all__ = [
    "FINEST_SCALE",
    "MapChannels",
    "best",
    "boundary_map",
    "boundary_merge",
    "constant",
    "fixed_nms",
    "full_precision",
    "label_logits",
    "label_rows",
    "logits_of_labels",
    "logits_of_upsampled",
    "multilevel_roi_align",
    "pool",
    "pool_channels",
    "project",
    "roi_align_channels",
    "roi_levels",
    "split_channels",
    "to_rois",
    "top_k",
    "top_k_segments",
    "top_scores",
    "upsample_aligned",
    "upsampled_label_logits",
]
