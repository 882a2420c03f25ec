"""The kernels' C interface (``kernels/refinemask_kernels.h``) through ctypes, for addresses of device memory."""

import ctypes
import os
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_char_p, c_int, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any

from refinemask.files import UserError
from trt_plugins import BUILD_COMMAND, require_as_built
from trt_plugins.problems import (
    BoundaryMerge,
    FixedNms,
    LabelLogits,
    PasteRuns,
    RleStrings,
    RoiAlign,
    SelectProposals,
    TopKSegments,
)

FLOAT, HALF, BFLOAT16 = range(3)
PLANAR, INTERLEAVED = range(2)
MAX_NMS_BOXES = 4096
MAX_TOP_K = 4096
MAX_LABEL_LOGITS_COLUMNS = 4096
NOT_FINITE_RUNS = -1
"""Number of runs of a mask that is not finite, or whose box is not."""


class KernelError(RuntimeError):
    """A launch that CUDA or the launcher refused."""


@dataclass(frozen=True)
class FeatureMap:
    """A pyramid level: device address, and height and width in cells."""

    address: int
    height: int
    width: int


class Kernels:
    """The launchers of a kernel library.

    All addresses are device pointers, and ``stream`` is a ``cudaStream_t``. A launch that is refused raises
    :class:`KernelError`.

    Raises:
        UserError: the library is not what was built there, or was built from sources that had other kernels.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require_as_built(path)
        self._library = ctypes.CDLL(os.fspath(path))
        problems = {
            "roi_align": RoiAlign,
            "fixed_nms": FixedNms,
            "top_k_segments": TopKSegments,
            "boundary_merge": BoundaryMerge,
            "label_logits": LabelLogits,
            "paste_runs": PasteRuns,
            "rle_strings": RleStrings,
            "select_proposals": SelectProposals,
        }
        for name, problem in problems.items():
            launcher = self._launcher(name)
            launcher.argtypes, launcher.restype = [POINTER(problem), c_void_p], c_int
        self._library.refinemask_fixed_nms_workspace.argtypes = [c_int32, c_int32]
        self._library.refinemask_fixed_nms_workspace.restype = c_int64
        self._library.refinemask_top_k_segments_workspace.argtypes = [POINTER(TopKSegments)]
        self._library.refinemask_top_k_segments_workspace.restype = c_int64
        self._library.refinemask_roi_align_refusal.argtypes = [POINTER(RoiAlign)]
        self._library.refinemask_roi_align_refusal.restype = c_char_p
        self._library.refinemask_select_proposals_workspace.argtypes = [POINTER(SelectProposals)]
        self._library.refinemask_select_proposals_workspace.restype = c_int64
        self._library.refinemask_select_proposals_refusal.argtypes = [POINTER(SelectProposals)]
        self._library.refinemask_select_proposals_refusal.restype = c_char_p
        self._library.refinemask_error_string.restype = c_char_p

    def roi_align(
        self,
        levels: Sequence[FeatureMap],
        rois: int,
        output: int,
        *,
        batch: int,
        channels: int,
        num_rois: int,
        output_size: int,
        sampling_ratio: int,
        finest_scale: int,
        type: int,
        layout: int = PLANAR,
        map_channels: int = 0,
        stream: int = 0,
    ) -> None:
        """Pool RoIs from the pyramid; see ``RefinemaskRoiAlign``.

        Maps that are channels of wider ones are read in place: each address is that of the first channel, and
        ``map_channels`` the number of channels of the wider maps.
        """
        problem = RoiAlign(
            num_levels=len(levels),
            type=type,
            layout=layout,
            batch=batch,
            channels=channels,
            map_channels=map_channels,
            rois=rois,
            num_rois=num_rois,
            output_size=output_size,
            sampling_ratio=sampling_ratio,
            finest_scale=finest_scale,
            output=output,
        )
        for index, level in enumerate(levels):
            problem.features[index] = level.address
            problem.heights[index], problem.widths[index] = level.height, level.width
        if refusal := self._library.refinemask_roi_align_refusal(ctypes.byref(problem)):
            raise KernelError(f"refinemask_roi_align: {refusal.decode()}; it was called with {_describe(problem)}")
        self._launch("roi_align", problem, stream)

    def fixed_nms_workspace(self, groups: int, num_boxes: int) -> int:
        """Bytes of device memory that :meth:`fixed_nms` needs, at an address that is a multiple of 256."""
        return self._library.refinemask_fixed_nms_workspace(groups, num_boxes)

    def fixed_nms(
        self,
        boxes: int,
        scores: int,
        indices: int,
        num_kept: int,
        workspace: int,
        *,
        groups: int,
        num_boxes: int,
        iou_threshold: float,
        k: int,
        stream: int = 0,
    ) -> None:
        """Greedy suppression in each group; see ``RefinemaskFixedNms``."""
        problem = FixedNms(boxes, scores, groups, num_boxes, iou_threshold, k, indices, num_kept, workspace)
        self._launch("fixed_nms", problem, stream)

    def top_k_segments_workspace(self, *, groups: int, lengths: Sequence[int], k: int) -> int:
        """Bytes of device memory that :meth:`top_k_segments` needs, at an address that is a multiple of 256."""
        return self._library.refinemask_top_k_segments_workspace(ctypes.byref(_top_k_segments(groups, lengths, k)))

    def top_k_segments(
        self,
        values: int,
        top_values: int,
        top_indices: int,
        workspace: int,
        *,
        groups: int,
        lengths: Sequence[int],
        k: int,
        narrow_indices: bool = False,
        stream: int = 0,
    ) -> None:
        """The largest values of each segment of each row in order; see ``RefinemaskTopKSegments``.

        Indices are int64 or, where they are to be narrow, int32.
        """
        problem = _top_k_segments(groups, lengths, k)
        problem.values, problem.top_values, problem.workspace = values, top_values, workspace
        if narrow_indices:
            problem.narrow_top_indices = top_indices
        else:
            problem.top_indices = top_indices
        self._launch("top_k_segments", problem, stream)

    def select_proposals_workspace(
        self, sizes: Sequence[tuple[int, int]], *, batch: int, num_anchors: int, k: int
    ) -> int:
        """Bytes of device memory that :meth:`select_proposals` needs, at an address that is a multiple of 256.

        Args:
            sizes: (height, width) of each level in cells.
            batch: number of images.
            num_anchors: anchors of a cell.
            k: proposals of each level.
        """
        levels = [FeatureMap(0, *size) for size in sizes]
        problem = _select_proposals(levels, batch=batch, num_anchors=num_anchors, k=k)
        return self._library.refinemask_select_proposals_workspace(ctypes.byref(problem))

    def select_proposals(
        self,
        levels: Sequence[FeatureMap],
        base_anchors: int,
        image_sizes: int,
        boxes: int,
        scores: int,
        workspace: int,
        *,
        batch: int,
        num_anchors: int,
        k: int,
        type: int,
        layout: int = PLANAR,
        stream: int = 0,
    ) -> None:
        """The best anchors of each level of each image as boxes; see ``RefinemaskSelectProposals``."""
        problem = _select_proposals(levels, batch=batch, num_anchors=num_anchors, k=k, type=type, layout=layout)
        problem.base_anchors, problem.image_sizes = base_anchors, image_sizes
        problem.boxes, problem.scores, problem.workspace = boxes, scores, workspace
        if refusal := self._library.refinemask_select_proposals_refusal(ctypes.byref(problem)):
            raise KernelError(
                f"refinemask_select_proposals: {refusal.decode()}; it was called with {_describe(problem)}"
            )
        self._launch("select_proposals", problem, stream)

    def boundary_merge(self, coarse: int, fine: int, output: int, *, num_rois: int, size: int, stream: int = 0) -> None:
        """Merge two stages' logits; see ``RefinemaskBoundaryMerge``."""
        self._launch("boundary_merge", BoundaryMerge(coarse, fine, output, num_rois, size), stream)

    def label_logits(
        self,
        features: int,
        masks: int | None,
        weight: int,
        bias: int,
        labels: int,
        output: int,
        *,
        num_rois: int,
        channels: int,
        mask_channels: int,
        num_rows: int,
        size: int,
        type: int,
        layout: int = PLANAR,
        stream: int = 0,
    ) -> None:
        """Logits of each RoI's label, with ``masks`` at twice the size; see ``RefinemaskLabelLogits``."""
        problem = LabelLogits(
            features=features,
            masks=masks,
            weight=weight,
            bias=bias,
            labels=labels,
            output=output,
            type=type,
            layout=layout,
            num_rois=num_rois,
            channels=channels,
            mask_channels=mask_channels,
            num_rows=num_rows,
            size=size,
        )
        self._launch("label_logits", problem, stream)

    def paste_runs(
        self,
        masks: int,
        boxes: int,
        num_valid: int | None,
        ends: int,
        num_runs: int,
        *,
        num_masks: int,
        rows: int,
        columns: int,
        scale: Sequence[float],
        height: int,
        width: int,
        capacity: int,
        stream: int = 0,
    ) -> None:
        """Find the runs of pasted masks; see ``RefinemaskPasteRuns``."""
        problem = PasteRuns(
            masks=masks,
            boxes=boxes,
            num_valid=num_valid,
            num_masks=num_masks,
            rows=rows,
            columns=columns,
            scale=tuple(scale),
            height=height,
            width=width,
            capacity=capacity,
            ends=ends,
            num_runs=num_runs,
        )
        self._launch("paste_runs", problem, stream)

    def rle_strings(
        self,
        ends: int,
        num_runs: int,
        num_bytes: int,
        strings: int,
        *,
        num_masks: int,
        capacity: int,
        string_capacity: int,
        stream: int = 0,
    ) -> None:
        """Write runs as COCO's compressed strings; see ``RefinemaskRleStrings``."""
        problem = RleStrings(ends, num_runs, num_masks, capacity, num_bytes, strings, string_capacity)
        self._launch("rle_strings", problem, stream)

    def _launch(self, name: str, problem: Structure, stream: int) -> None:
        error = self._launcher(name)(ctypes.byref(problem), stream)
        if error:
            text = self._library.refinemask_error_string(error).decode()
            raise KernelError(f"refinemask_{name}: {text} (CUDA error {error}) for {_describe(problem)}")

    def _launcher(self, name: str) -> Any:
        try:
            return getattr(self._library, f"refinemask_{name}")
        except AttributeError:
            raise UserError(
                f"{self._library._name}: has no refinemask_{name}, so it was built from other sources; build it again "
                f"with: {BUILD_COMMAND}"
            ) from None


def _top_k_segments(groups: int, lengths: Sequence[int], k: int) -> TopKSegments:
    """The problem without addresses."""
    return TopKSegments(groups=groups, num_values=sum(lengths), lengths=tuple(lengths), num_segments=len(lengths), k=k)


def _select_proposals(levels: Sequence[FeatureMap], **numbers: int) -> SelectProposals:
    """The problem with no addresses but those of the maps."""
    problem = SelectProposals(**numbers)
    for index, level in enumerate(levels):
        problem.maps[index], problem.heights[index], problem.widths[index] = level.address, level.height, level.width
    return problem


def _describe(problem: Structure) -> str:
    """The fields of a problem that are plain numbers or short lists of them."""
    values = {name: getattr(problem, name) for name, *_ in problem._fields_}
    shown = {name: list(value) if isinstance(value, ctypes.Array) else value for name, value in values.items()}
    return ", ".join(f"{name}={value}" for name, value in shown.items())
