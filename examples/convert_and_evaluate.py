"""Convert a checkpoint of the official code, evaluate it, and correct the settings that such a file does not have.

    python examples/convert_and_evaluate.py

No released checkpoint comes with this project. So the example first writes the bundled Mask R-CNN as an official file,
with mmdetection's keys. With a downloaded file only the path changes, and its data set:

    refinemask.convert_checkpoint("r50-refinemask-1x.pth", "r50.safetensors")
    refinemask.evaluate(engines.load("r50.safetensors"), "instances_val2017.json", "val2017")

It takes about a minute on two CPU cores. Needs the extra train.
"""

import re
from dataclasses import replace
from pathlib import Path

import torch
import tyro

import engines
import refinemask
from refinemask.bundled import DEMO, NUCLEI
from refinemask.config import Preprocessing

BUNDLED = DEMO / "weights" / "mask-rcnn-nuclei.safetensors"
OFFICIAL_NAMES = {
    r"fpn\.lateral_convs\.(\d)": r"neck.lateral_convs.\1.conv",
    r"fpn\.output_convs\.(\d)": r"neck.fpn_convs.\1.conv",
    r"rpn\.conv": "rpn_head.rpn_conv",
    r"rpn\.cls_logits": "rpn_head.rpn_cls",
    r"rpn\.bbox_deltas": "rpn_head.rpn_reg",
    r"box_head\.fc1": "roi_head.bbox_head.shared_fcs.0",
    r"box_head\.fc2": "roi_head.bbox_head.shared_fcs.1",
    r"box_head\.cls_logits": "roi_head.bbox_head.fc_cls",
    r"box_head\.bbox_deltas": "roi_head.bbox_head.fc_reg",
    r"mask_head\.convs\.(\d)": r"roi_head.mask_head.convs.\1.conv",
    r"mask_head\.upsample": "roi_head.mask_head.upsample",
    r"mask_head\.predictor": "roi_head.mask_head.conv_logits",
}
"""Our names of layers as mmdetection has them; the backbone's are the same."""


def main(
    output: tyro.conf.Positional[Path] = Path("out/convert_and_evaluate"), limit: int | None = None
) -> list[float]:
    """Convert the bundled Mask R-CNN from an official file; returns the mask AP of the bundled and the converted files.

    Args:
        output: folder for the files.
        limit: number of pictures to evaluate on; None is all 46.
    """
    output.mkdir(parents=True, exist_ok=True)
    official, converted = output / "official.pth", output / "converted.safetensors"
    write_official(official)

    conversion = refinemask.convert_checkpoint(official, converted)
    config = conversion.config
    print(f"{converted}: {conversion.parameters / 1e6:.2f} M parameters, classes {config.class_names}")
    # The file says nothing of image sizes and anchors. The converter has taken those of COCO's configurations.
    settings = replace(
        config, preprocessing=Preprocessing(short_side=384, long_side=384), rpn=replace(config.rpn, anchor_scale=4.0)
    )
    corrected = refinemask.convert_checkpoint(official, output / "corrected.safetensors", config=settings).path
    return [mask_ap(path, limit) for path in (BUNDLED, converted, corrected)]


def write_official(path: Path) -> None:
    """Write the bundled Mask R-CNN as mmdetection would have saved it."""
    detector = refinemask.load_detector(BUNDLED)
    state = {}
    for name, tensor in detector.state_dict().items():
        layer, _, kind = name.rpartition(".")
        for ours, theirs in OFFICIAL_NAMES.items():
            layer = re.sub(rf"^{ours}$", theirs, layer)
        state[f"{layer}.{kind}"] = tensor
    torch.save({"state_dict": state, "meta": {"CLASSES": detector.config.class_names}}, path)


def mask_ap(checkpoint: Path, limit: int | None) -> float:
    """Evaluate a checkpoint on the bundled pictures that it has not seen."""
    annotations = NUCLEI / "annotations" / "instances_val.json"
    evaluation = refinemask.evaluate(engines.load(checkpoint), annotations, NUCLEI / "images", limit=limit)
    ap = evaluation.figures["segm"]["AP"]
    print(f"{checkpoint.name}: mask AP {100 * ap:.2f} on {evaluation.images} pictures")
    return ap


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
