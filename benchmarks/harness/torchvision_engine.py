"""torchvision's Mask R-CNN as its users run it: its own resizing, network and pasting, in eager PyTorch."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from benchmarks.harness.pipeline import Sample, Stopwatch
from engines import MOST_THREADS
from refinemask.config import ModelConfig
from refinemask.data.categories import COCO
from refinemask.data.images import read_image
from refinemask.files import UserError
from refinemask.float32 import float32_products
from refinemask.foreign import foreign_errors, one_line
from refinemask.readable import require_readable
from refinemask.structures import Result

COCO_LABELS = 91
"""Labels of weights of COCO in torchvision, background included: its labels are COCO's ids, with their gaps."""
FOREGROUND = 0.5
"""Probability above which a pasted pixel belongs to a mask, as in torchvision's own evaluation."""
FIRST, SECOND = "roi_heads.box_head.fc6.weight", "roi_heads.box_head.0.0.weight"
"""Weights that maskrcnn_resnet50_fpn and maskrcnn_resnet50_fpn_v2 have alone."""
CLASSES = "roi_heads.box_predictor.cls_score.weight"


class TorchvisionMaskRcnn:
    """``maskrcnn_resnet50_fpn`` or ``maskrcnn_resnet50_fpn_v2`` with weights of a file, timed phase by phase."""

    name = "torchvision"
    precision = "fp32"

    def __init__(self, path: Path, *, precision: str | None = None, threads: int | None = None, device: str) -> None:
        """Build the network that the file's keys are of, with as many classes as it has.

        Args:
            path: a state dict, as ``torch.save`` or safetensors writes it, by itself or under ``model``.
            precision: None or ``fp32``.
            threads: CPU threads; None leaves the number to PyTorch.
            device: ``cpu``, ``cuda`` or ``cuda:N``.

        Raises:
            UserError: the file cannot be read or has other weights, or the request cannot be met.
        """
        if precision not in (None, "fp32"):
            raise UserError(f"{path}: torchvision's Mask R-CNN runs in fp32 here, not in {one_line(precision)}")
        if threads is not None:
            if not 1 <= threads <= MOST_THREADS:
                raise UserError(f"{path}: cannot run on {threads} threads (--threads); expected 1 to {MOST_THREADS}")
            torch.set_num_threads(threads)
        self._path, network = path, open_network(path)
        with foreign_errors(f"{path}: cannot run on the device '{one_line(device)}'", "use --device cpu"):
            self.network = network.to(device)
        self.config = _config(self.network.roi_heads.box_predictor.cls_score.out_features)
        """Classes: COCO's for weights of 91 labels, else the ids from 1 on, whose names no file has."""
        self._device = device

    @torch.inference_mode()
    def process(
        self, paths: Sequence[str | Path], canvas: tuple[int, int] | None = None
    ) -> tuple[Sample, list[list[Result]]]:
        """Run one batch of image files, as :func:`benchmarks.harness.pipeline.process`.

        ``preprocess`` is the conversion to floats, and torchvision's normalisation and resizing, which run on the
        device; ``paste + encode`` is its pasting in full resolution, and the run lengths.

        Raises:
            UserError: an image cannot be read, torchvision fails, or a padded size is given, which it chooses itself.
        """
        if canvas is not None:
            raise UserError("torchvision chooses the padded size itself; leave --size out, or torchvision's weights")
        # PyTorch's own setting on a GPU would be tf32.
        with foreign_errors(f"{self._path}: torchvision fails on these images"), float32_products(tf32=False):
            return self._process(paths)

    def _process(self, paths: Sequence[str | Path]) -> tuple[Sample, list[list[Result]]]:
        watch, network = Stopwatch(), self.network
        originals = [read_image(path) for path in paths]
        watch.lap("decode")
        images = [torch.from_numpy(image).permute(2, 0, 1).float().div(255) for image in originals]
        watch.lap("preprocess")
        images = [image.to(self._device) for image in images]
        self._lap(watch, "copy in")
        batch, _ = network.transform(images)
        self._lap(watch, "preprocess")
        features = network.backbone(batch.tensors)
        proposals, _ = network.rpn(batch, features)
        found, _ = network.roi_heads(features, proposals, batch.image_sizes)
        self._lap(watch, "engine")
        shapes = [(image.shape[0], image.shape[1]) for image in originals]
        results = [_results(each) for each in network.transform.postprocess(found, batch.image_sizes, shapes)]
        watch.lap("paste + encode")
        height, width = batch.tensors.shape[2:]
        return Sample(watch.seconds, [len(each) for each in results], (height, width)), results

    def _lap(self, watch: Stopwatch, phase: str) -> None:
        if self._device != "cpu":
            torch.cuda.synchronize(self._device)
        watch.lap(phase)


def open_network(path: Path) -> MaskRCNN:
    """The network of a file, with its weights, in evaluation.

    Raises:
        UserError: the file cannot be read, or has other weights.
    """
    state = _read_weights(path)
    if CLASSES not in state or state[CLASSES].ndim != 2 or (FIRST in state) == (SECOND in state):
        raise UserError(
            f"{path}: expected weights of torchvision's maskrcnn_resnet50_fpn or maskrcnn_resnet50_fpn_v2, found other "
            f"keys, such as {one_line(next(iter(state), 'none'))}"
        )
    # Random weights, which the file's replace, would take seconds.
    with torch.device("meta"):
        network = _network(state)
    anchors = network.rpn.anchor_generator
    network.rpn.anchor_generator = AnchorGenerator(anchors.sizes, anchors.aspect_ratios)
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        # PyTorch's first line names the class.
        found = one_line(str(error).partition("\n")[2])
        raise UserError(f"{path}: its weights are not those of torchvision's Mask R-CNN: {found}") from error
    return network.float().eval()


def _network(state: Mapping[str, Tensor]) -> MaskRCNN:
    labels = len(state[CLASSES])
    if SECOND in state:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=labels)
    # Who began with trained weights has a batch norm that does not learn, and does not count.
    frozen = not any(key.endswith("num_batches_tracked") for key in state)
    norm: type[nn.Module] = FrozenBatchNorm2d if frozen else nn.BatchNorm2d
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=norm, trainable_layers=5)
    network = MaskRCNN(backbone, num_classes=labels)
    if frozen and labels == COCO_LABELS:
        # torchvision's own weights of COCO were trained so, and it does this for them.
        overwrite_eps(network, 0.0)
    return network


def _read_weights(path: Path) -> dict[str, Tensor]:
    require_readable(path)
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    # Arbitrary bytes can make the readers raise any exception.
    except Exception as error:
        raise UserError(
            # Not PyTorch's text, whose advice is to execute what is in the file.
            f"{path}: cannot be read as weights ({type(error).__name__}): it is damaged or holds objects of other "
            "code; save the weights alone where they were made: torch.save(model.state_dict(), FILE)"
        ) from error
    state = content.get("model", content) if isinstance(content, dict) else content
    known = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not known or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no state dict; expected one, by itself or under 'model'")
    return state


def _config(labels: int) -> ModelConfig:
    if labels == COCO_LABELS:
        return ModelConfig(class_names=COCO.class_names, category_ids=COCO.category_ids)
    ids = tuple(range(1, labels))
    return ModelConfig(class_names=tuple(f"class {number}" for number in ids), category_ids=ids)


def _results(found: Mapping[str, Tensor]) -> list[Result]:
    """What torchvision found in an image as COCO's results: labels are category ids."""
    masks = (found["masks"][:, 0] > FOREGROUND).permute(1, 2, 0).cpu().numpy()
    rles = coco_mask.encode(np.asfortranarray(masks, np.uint8)) if masks.shape[2] else []
    x1, y1, x2, y2 = found["boxes"].unbind(1)
    boxes = torch.stack((x1, y1, x2 - x1, y2 - y1), 1).tolist()
    rows = zip(found["labels"].tolist(), boxes, found["scores"].tolist(), rles, strict=True)
    return [
        {
            "category_id": label,
            "bbox": box,
            "score": score,
            "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode()},
        }
        for label, box, score, rle in rows
    ]
