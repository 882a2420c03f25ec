"""Names of the models that official checkpoints may hold and this project does not have."""

from collections.abc import Iterable, Mapping

from torch import Tensor

_LONGEST = 80
"""Characters of a key that errors show."""
_SHOWN = 3
"""Number of keys that errors show of a list."""

# Parts of keys, and what they tell. The first that is found names the model.
_PARTS: tuple[tuple[str, str], ...] = (
    ("backbone.bottom_up.", "a detectron2 model"),
    ("backbone.body.", "a torchvision model"),
    ("student.", "a semi-supervised pair of models"),
    ("conv_offset", "a model with deformable convolutions"),
    ("context_block", "a model with global context blocks"),
    ("non_local_block", "a model with non-local blocks"),
    ("gen_attention_block", "a model with generalised attention"),
    ("mask_iou_head.", "Mask Scoring R-CNN"),
    ("grid_head.", "Grid R-CNN"),
    ("backbone.patch_embed", "a model with a transformer as backbone"),
    ("backbone.stages.", "a model with another backbone than ResNet"),
    ("backbone.stem.", "a ResNet with a deep stem, such as ResNetV1d or ResNeSt"),
    (".gn1.", "a model with group normalisation"),
    (".gn.", "a model with group normalisation"),
    (".bbox_head.shared_convs.", "a box head with convolutions"),
    ("neck.downsample_convs.", "a PAFPN"),
    ("neck.1.", "a model with several necks"),
)


def printable(name: str) -> str:
    """A key of a checkpoint as an error shows it: on one line, and not too long."""
    shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return shown if shown.isprintable() else ascii(shown)


def first_few(names: Iterable[str]) -> str:
    """The first three names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(map(printable, names[:_SHOWN])) or "none") + more


def other_model(state: Mapping[str, Tensor]) -> str:
    """What model a state dict is of, if it is recognisably none of this project's; otherwise empty."""
    for part, name in _PARTS:
        if found := next((key for key in state if part in f".{key}"), None):
            return f"{name} (key {printable(found)})"
    if any(key.startswith("model.") for key in state) and "backbone.conv1.weight" not in state:
        return "a model that Lightning, Ultralytics or another wrapper holds under 'model.'"
    if "bbox_head.fc_cls.weight" in state:
        return "an mmdetection 1 model; upgrade it with mmdetection's tools/model_converters/upgrade_model_version.py"
    if any(key.startswith("bbox_head.") for key in state):
        return "a one-stage detector (keys bbox_head.…)"
    return _other_backbone(state) or _other_heads(state)


def _other_backbone(state: Mapping[str, Tensor]) -> str:
    second = state.get("backbone.layer1.0.conv2.weight")
    if second is None:
        return ""
    if "backbone.layer1.0.conv3.weight" not in state:
        return "a ResNet-18 or -34 (blocks of two convolutions; expected those of three, as in ResNet-50)"
    if second.dim() == 4 and second.shape[1] and second.shape[0] > second.shape[1]:
        return f"a ResNeXt ({second.shape[0] // second.shape[1]} groups)"
    if "backbone.bn1.running_mean" not in state:
        return "a model without batch normalisation (no key backbone.bn1.running_mean)"
    return ""


def _other_heads(state: Mapping[str, Tensor]) -> str:
    if not any(key.startswith("roi_head.bbox_head.") for key in state):
        return ""
    if not any(key.startswith(("roi_head.mask_head.", "roi_head.point_head.")) for key in state):
        return "Faster R-CNN, or a cascade of it (it has no mask head)"
    if "roi_head.bbox_head.0.fc_cls.weight" in state and not any("semantic_head" in key for key in state):
        return "Cascade Mask R-CNN (a cascade without HTC's semantic branch)"
    return ""
