"""``refinemask::select_proposals``: the best boxes of each level of the region proposal network, decoded."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from refinemask.modeling.anchors import STRIDES, place_anchors
from refinemask.modeling.box_coder import clip, decode
from refinemask.ops import full_precision, top_k


def best_of_levels(
    logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], image_sizes: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """The ``k`` best boxes of each of L levels by their logits in float32, of equal ones the first.

    Args:
        logits: [B, A, h, w] of each level.
        deltas: [B, 4A, h, w] of each level.
        anchors: [h · w · A, 4] of each level, in the order row, column, anchor.
        image_sizes: [B, 2] valid (height, width), to which boxes are cut.
        k: results per level.

    Returns:
        Boxes [B · L, k, 4] and probabilities [B · L, k], image by image and level by level. A level with fewer anchors
        is padded with score -1 and zero boxes.
    """
    levels = [_best_of_level(*level, k) for level in zip(logits, deltas, anchors, strict=True)]
    # All levels at once, because on a GPU each of these small steps costs a launch.
    chosen, references, scores = (torch.cat(parts, dim=1) for parts in zip(*levels, strict=True))
    boxes = clip(decode(chosen, references), image_sizes)
    boxes = torch.where((scores != -1)[..., None], boxes, 0.0)
    return boxes.reshape(-1, k, 4), scores.reshape(-1, k)


def _best_of_level(logits: Tensor, deltas: Tensor, anchors: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Deltas and anchors [B, k, 4] of a level's best ``k``, and their scores [B, k]."""
    logits = full_precision(logits).permute(0, 2, 3, 1).flatten(1)
    deltas = full_precision(deltas).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4))
    # Padding keeps k the same on levels with fewer anchors. It lies behind the anchors, so they win every tie.
    best, index = top_k(F.pad(logits, (0, k), value=-torch.inf), k)
    scores = torch.where(index < anchors.shape[0], best.sigmoid(), -1.0)
    index = index.clamp(max=anchors.shape[0] - 1)
    return deltas.gather(1, index[..., None].expand(-1, -1, 4)), anchors[index], scores


@torch.library.custom_op("refinemask::select_proposals", mutates_args=())
def select_proposals(
    maps: Sequence[Tensor], base_anchors: Tensor, image_sizes: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """:func:`best_of_levels` of P2..P6, from joint maps of logits and deltas.

    Args:
        maps: [B, 5A, h, w] of each level, of any float type: the logits of A anchors, then four deltas of each.
        base_anchors: [5, A, 4] float32 (x1, y1, x2, y2) of each level around (0, 0), in input pixels.
        image_sizes: [B, 2] float32 valid (height, width).
        k: results per level.

    Returns:
        Boxes [5B, k, 4] and scores [5B, k], float32.
    """
    num_anchors = base_anchors.shape[1]
    logits, deltas = zip(*(x.split([num_anchors, 4 * num_anchors], dim=1) for x in maps), strict=True)
    anchors = [
        place_anchors(base, (x.shape[2], x.shape[3]), stride)
        for base, x, stride in zip(base_anchors, maps, STRIDES, strict=True)
    ]
    return best_of_levels(logits, deltas, anchors, image_sizes, k)


@select_proposals.register_fake
def _(maps: Sequence[Tensor], base_anchors: Tensor, image_sizes: Tensor, k: int) -> tuple[Tensor, Tensor]:
    rows = maps[0].shape[0] * len(maps)
    return base_anchors.new_empty(rows, k, 4), base_anchors.new_empty(rows, k)
