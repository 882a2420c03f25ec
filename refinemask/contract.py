"""The contract between the exporter, which writes a file, and the engines, which run it.

The network takes padded images and their valid sizes, and returns the five tensors of :class:`Detections`. The file
describes itself by :class:`Metadata`, and its custom operators have the names below. This module imports no PyTorch: a
deployment machine without PyTorch runs engines too.
"""

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from refinemask.config import STRIDE, ModelConfig, Preprocessing
from refinemask.config_json import from_json, to_json
from refinemask.external_data import require_data_inside
from refinemask.files import UserError
from refinemask.foreign import foreign_errors, one_line
from refinemask.json_files import Count, checked
from refinemask.kept_layers import KeptLayers
from refinemask.structures import Detections

if TYPE_CHECKING:
    import onnx

INPUTS = ("images", "image_sizes")
"""Names of the inputs: uint8 [B, 3, H, W] RGB, padded at the bottom and right; int64 [B, 2] valid (height, width)."""
OUTPUTS = Detections._fields
"""Names of the outputs, in order."""

DOMAIN = "refinemask"
"""ONNX domain of the custom operators, and TensorRT's plugin namespace."""
PLUGIN_ATTRIBUTES = {"plugin_version": "1", "plugin_namespace": DOMAIN}
"""Attributes of every custom node, by which TensorRT finds the plugin."""


class Operator(NamedTuple):
    """A custom operator: a node in the file, a function of standard operators, and a plugin of the same name."""

    name: str
    attributes: Mapping[str, type[int] | type[float]]
    """Type of each attribute, by name."""


_POOLING = {"output_size": int, "sampling_ratio": int, "finest_scale": int}
ROI_ALIGN_4 = Operator("MultilevelRoIAlign4", _POOLING)
ROI_ALIGN_1 = Operator("MultilevelRoIAlign1", _POOLING | {"channel_begin": int, "channels": int})
FIXED_NMS = Operator("FixedNMS", {"iou_threshold": float, "k": int})
BOUNDARY_MERGE = Operator("BoundaryMerge", {})
SELECT_PROPOSALS = Operator("SelectProposals", {"k": int})
TOP_SCORES = Operator("TopScores", {"k": int})
LABEL_LOGITS = Operator("LabelLogits", {})
UPSAMPLED_LABEL_LOGITS = Operator("UpsampledLabelLogits", {})
OPERATORS = (
    ROI_ALIGN_4,
    ROI_ALIGN_1,
    FIXED_NMS,
    BOUNDARY_MERGE,
    SELECT_PROPOSALS,
    TOP_SCORES,
    LABEL_LOGITS,
    UPSAMPLED_LABEL_LOGITS,
)

Masks = Literal["all", "found"]
"""Which of an image's K places for detections get a mask: all, or only the first ones, which hold detections."""
Limits = tuple[int, int, int]
"""The smallest, the typical and the largest value."""
LARGEST_SIDE = 1 << 16
"""Largest height and width in pixels, and largest batch, that a file may state."""
LARGEST_BATCH = 1 << 30
"""Most pixels of a batch of the typical size that a file may state."""
FilePrecision = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8"]
"""Type of the convolutions in a file or an engine; tf32 is an engine's of an fp32 file."""


class InputError(UserError, ValueError):
    """Images that do not fit the contract or the bounds of a file."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The batches and sizes of padded images that a file accepts; equal limits make it static.

    Raises:
        UserError: limits are out of order or out of range, or a height or width is no multiple of 32.
    """

    batch: Limits
    """Numbers of images in a batch."""
    height: Limits
    """Heights of the padded images, in pixels."""
    width: Limits
    """Widths of the padded images, in pixels."""

    def __post_init__(self) -> None:
        for name, limits in dataclasses.asdict(self).items():
            if limits[2] > LARGEST_SIDE:
                raise UserError(f"{name} limits {limits}: expected at most {LARGEST_SIDE}")
            if not 1 <= limits[0] <= limits[1] <= limits[2]:
                raise UserError(f"{name} limits {limits}: expected 1 <= smallest <= typical <= largest")
            if name != "batch" and any(limit % STRIDE for limit in limits):
                raise UserError(f"{name} limits {limits}: heights and widths are padded to multiples of {STRIDE}")
        # What the engines allocate before they look at an image.
        if self.batch[1] * self.height[1] * self.width[1] > LARGEST_BATCH:
            raise UserError(
                f"typical limits {self.batch[1]}x{self.height[1]}x{self.width[1]}: expected at most {LARGEST_BATCH} "
                "pixels in a batch"
            )

    def to_json(self) -> str:
        """The text that the file's metadata stores."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Bounds":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: the text is something else.
            UserError: the limits are out of order or out of range.
        """
        return from_json(cls, text)

    @property
    def smallest_batch(self) -> int:
        """The smallest number of images in a batch."""
        return self.batch[0]

    @property
    def typical_batch(self) -> int:
        """The number of images in a batch for which an engine is tuned."""
        return self.batch[1]

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """The padded (height, width) for an image of ``height`` × ``width`` pixels.

        This is the smallest accepted size that holds the image. A static file has one size only: a larger image must
        be shrunk to fit.

        Raises:
            InputError: the image is larger than a dynamic file accepts.
        """
        if self.height[0] == self.height[2] and self.width[0] == self.width[2]:
            return self.height[0], self.width[0]
        padded = [-(-size // STRIDE) * STRIDE for size in (height, width)]
        for name, size, (_, _, largest) in zip(("height", "width"), padded, (self.height, self.width), strict=True):
            if size > largest:
                raise InputError(f"an image of {height}x{width} does not fit: this file takes a {name} up to {largest}")
        return max(padded[0], self.height[0]), max(padded[1], self.width[0])

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`InputError` unless images of ``shape`` [B, 3, H, W] lie within the bounds."""
        sizes = {"batch": shape[0], "height": shape[2], "width": shape[3]}
        for name, size in sizes.items():
            smallest, _, largest = getattr(self, name)
            if not smallest <= size <= largest:
                accepted = f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
                raise InputError(
                    f"images have {name} {size}, but this file was exported for a {name} of {accepted}: "
                    "pad or split the batch, or export again with other bounds (python -m export.to_onnx --help)"
                )


def default_sizes(preprocessing: Preprocessing) -> tuple[Limits, Limits]:
    """Limits of height and of width that hold every resized image; the typical size is that of a landscape image."""
    short, long = (-(-side // STRIDE) * STRIDE for side in (preprocessing.short_side, preprocessing.long_side))
    return (STRIDE, short, long), (STRIDE, long, long)


def parse_size(text: str) -> tuple[int, int]:
    """Read (height, width) from ``HxW``.

    Raises:
        UserError: the text is no size.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise UserError(f"size {text!r}: expected HEIGHTxWIDTH in pixels, such as 800x1344")
    return int(match[1]), int(match[2])


TEXTS = ("exporter", "recipe", "source_sha256", "calibration")
"""Metadata that may be any text."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What an exported file says about itself."""

    config: ModelConfig
    """Configuration of the model."""
    precision: str
    """Type of the convolutions: fp32, fp16, bf16, int8 or fp8; in an engine also tf32."""
    bounds: Bounds
    """Batches and sizes of images that the file accepts."""
    masks: Masks = "all"
    """Which places for detections get a mask."""
    exporter: str = ""
    """Version of this project that wrote the file."""
    recipe: str = ""
    """Recipe by which the checkpoint was trained."""
    source_sha256: str = ""
    """SHA-256 of the checkpoint."""
    calibration: str = ""
    """Tool and method that measured the ranges of a quantised file; empty if the file is not quantised."""
    calibration_images: int = 0
    """Number of images that the ranges were measured on."""
    kept: KeptLayers | None = None
    """Layers of a quantised file that stay in higher precision for its accuracy; None if none were searched."""

    def to_properties(self) -> dict[str, str]:
        """The metadata properties of the ONNX file."""
        texts = {"config": to_json(self.config), "bounds": self.bounds.to_json()}
        properties = {field.name: str(getattr(self, field.name)) for field in dataclasses.fields(self)} | texts
        if not self.calibration:
            del properties["calibration"], properties["calibration_images"]
        if self.kept is None:
            del properties["kept"]
        else:
            properties["kept"] = to_json(self.kept)
        return properties

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], path: str | os.PathLike[str]) -> "Metadata":
        """Read what :meth:`to_properties` made; ``path`` names the file in errors.

        Raises:
            UserError: a property is missing or unreadable, so this project did not export the file.
        """
        expected = "expected a file written by `python -m export.to_onnx MODEL -o FILE`"
        if missing := missing_properties(properties):
            raise UserError(f"{path}: not a RefineMask export: its metadata lacks {', '.join(missing)}; {expected}")
        try:
            texts = checked(dict(properties), dict[str, str])
            return cls(
                config=from_json(ModelConfig, texts["config"]),
                precision=_property(texts, "precision", FilePrecision, ""),
                bounds=Bounds.from_json(texts["bounds"]),
                masks=_property(texts, "masks", Masks, "all"),
                calibration_images=_property(texts, "calibration_images", Count, 0),
                kept=from_json(KeptLayers, texts["kept"]) if "kept" in texts else None,
                **{name: texts[name] for name in TEXTS if name in texts},
            )
        except (UserError, ValueError) as error:
            raise UserError(f"{path}: unreadable RefineMask metadata ({error}); {expected}") from error

    @classmethod
    def of_file(cls, path: str | os.PathLike[str]) -> "Metadata":
        """Read the metadata of an ONNX file.

        Raises:
            UserError: the file is missing, is no ONNX file, or was not exported by this project.
        """
        return cls.of_model(read_onnx(path), path)

    @classmethod
    def of_model(cls, model: "onnx.ModelProto", path: str | os.PathLike[str]) -> "Metadata":
        """Read the metadata of an ONNX model; ``path`` names its file in errors.

        Raises:
            UserError: the file was not exported by this project.
        """
        return cls.from_properties({entry.key: entry.value for entry in model.metadata_props}, path)


def _property(properties: Mapping[str, str], name: str, kind: Any, default: Any) -> Any:
    """A property of the kind that its field has."""
    try:
        return checked(properties.get(name, default), kind)
    except ValueError as error:
        raise ValueError(f"{name} is {properties[name]!r:.60}: {error}") from error


def missing_properties(properties: Mapping[str, str]) -> list[str]:
    """Names of the properties that every exported file has and that ``properties`` lacks."""
    return [name for name in ("config", "precision", "bounds") if name not in properties]


def require_onnx_name(output: str | os.PathLike[str]) -> None:
    """Raise a UserError unless ``output``, which is to be written, has the name of an ONNX file."""
    if Path(output).suffix != ".onnx":
        raise UserError(f"{output}: expected the name of a .onnx file")


def require_tensors(path: str | os.PathLike[str], inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Raise a UserError, which names the file ``path``, unless a network has the inputs and outputs of the contract."""
    for kind, found, expected in (("inputs", {*inputs}, {*INPUTS}), ("outputs", {*outputs}, {*OUTPUTS})):
        if found != expected:
            names = one_line(", ".join(sorted(found)) or "none")
            raise UserError(
                f"{path}: not a RefineMask export: its {kind} are {names}; expected {', '.join(sorted(expected))}"
            )


def read_onnx(path: str | os.PathLike[str], *, weights: bool = False) -> "onnx.ModelProto":
    """Read an ONNX file.

    Args:
        path: the file.
        weights: whether tensors that are stored in separate files are read, too.

    Raises:
        UserError: the file is missing, is no ONNX file, or keeps data outside its folder.
    """
    # Imported here because it is heavy, and a machine with only an engine and its sidecar does not need it.
    import onnx

    require_data_inside(path)
    # Protobuf and the reader raise a dozen kinds of exceptions.
    with foreign_errors(f"{path}: not a readable ONNX file", "export it again (export.to_onnx)"):
        return onnx.load(path, load_external_data=weights)
