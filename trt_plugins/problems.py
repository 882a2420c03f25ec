"""The problems of the kernels' C interface, as ``kernels/refinemask_kernels.h`` lays them out in memory."""

from ctypes import Structure, c_float, c_int32, c_int64, c_void_p

MAX_LEVELS = 4
MAX_TOP_K_SEGMENTS = 8
PROPOSAL_LEVELS = 5


class RoiAlign(Structure):
    """``RefinemaskRoiAlign``."""

    _fields_ = [
        ("features", c_void_p * MAX_LEVELS),
        ("heights", c_int32 * MAX_LEVELS),
        ("widths", c_int32 * MAX_LEVELS),
        *((name, c_int32) for name in ("num_levels", "type", "layout", "batch", "channels", "map_channels")),
        ("rois", c_void_p),
        *((name, c_int32) for name in ("num_rois", "output_size", "sampling_ratio", "finest_scale")),
        ("output", c_void_p),
    ]


class FixedNms(Structure):
    """``RefinemaskFixedNms``."""

    _fields_ = [
        ("boxes", c_void_p),
        ("scores", c_void_p),
        ("groups", c_int32),
        ("num_boxes", c_int32),
        ("iou_threshold", c_float),
        ("k", c_int32),
        ("indices", c_void_p),
        ("num_kept", c_void_p),
        ("workspace", c_void_p),
    ]


class TopKSegments(Structure):
    """``RefinemaskTopKSegments``."""

    _fields_ = [
        ("values", c_void_p),
        *((name, c_int32) for name in ("groups", "num_values")),
        ("lengths", c_int32 * MAX_TOP_K_SEGMENTS),
        *((name, c_int32) for name in ("num_segments", "k")),
        ("top_values", c_void_p),
        ("top_indices", c_void_p),
        ("narrow_top_indices", c_void_p),
        ("workspace", c_void_p),
    ]


class SelectProposals(Structure):
    """``RefinemaskSelectProposals``."""

    _fields_ = [
        ("maps", c_void_p * PROPOSAL_LEVELS),
        ("heights", c_int32 * PROPOSAL_LEVELS),
        ("widths", c_int32 * PROPOSAL_LEVELS),
        *((name, c_int32) for name in ("type", "layout", "batch", "num_anchors")),
        ("base_anchors", c_void_p),
        ("image_sizes", c_void_p),
        ("k", c_int32),
        *((name, c_void_p) for name in ("boxes", "scores", "workspace")),
    ]


class BoundaryMerge(Structure):
    """``RefinemaskBoundaryMerge``."""

    _fields_ = [
        ("coarse", c_void_p),
        ("fine", c_void_p),
        ("output", c_void_p),
        ("num_rois", c_int32),
        ("size", c_int32),
    ]


class LabelLogits(Structure):
    """``RefinemaskLabelLogits``."""

    _fields_ = [
        *((name, c_void_p) for name in ("features", "masks", "weight", "bias", "labels", "output")),
        *((name, c_int32) for name in ("type", "layout", "num_rois", "channels", "mask_channels", "num_rows", "size")),
    ]


class PasteRuns(Structure):
    """``RefinemaskPasteRuns``."""

    _fields_ = [
        ("masks", c_void_p),
        ("boxes", c_void_p),
        ("num_valid", c_void_p),
        *((name, c_int32) for name in ("num_masks", "rows", "columns")),
        ("scale", c_float * 4),
        *((name, c_int32) for name in ("height", "width", "capacity")),
        ("ends", c_void_p),
        ("num_runs", c_void_p),
    ]


class RleStrings(Structure):
    """``RefinemaskRleStrings``."""

    _fields_ = [
        ("ends", c_void_p),
        ("num_runs", c_void_p),
        ("num_masks", c_int32),
        ("capacity", c_int32),
        ("num_bytes", c_void_p),
        ("strings", c_void_p),
        ("string_capacity", c_int64),
    ]
